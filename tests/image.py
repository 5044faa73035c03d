"""
Build an image without Docker: carry a Dockerfile out in a bare folder, and run its entry point there.

The folder is the image's whole world (chroot in a mount namespace): it holds what COPY and RUN put there, and lends
the host's /usr for programs and this Python for the base image's. What would take gigabytes or the network is noted
instead of done: packages of apt and of pip that are not the worker's own, and `git clone`, which leaves a ComfyUI that
only says how it was started.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HOST_PYTHON = "/opt/host-python"
_PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
_PASSWD = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"
_ENTER = """
set -e
root=$1; python=$2; shift 2
for place in /usr /bin /sbin /lib /lib32 /lib64; do
  [ -d "$place" ] && [ ! -L "$place" ] && mount --bind "$place" "$root$place"
done
mount --bind "$python" "$root/opt/host-python"
mount --rbind /dev "$root/dev"
mount --rbind /proc "$root/proc"
exec chroot "$@"
"""
COMFY = '''
"""Answer as ComfyUI does, and tell who runs it."""
import http.server, json, os, sys
print("ComfyUI here", os.getuid(), os.getgid(), flush=True)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        told = {"environment": dict(os.environ), "uid": os.getuid(), "pid": os.getpid(), "argv": sys.argv}
        try:
            told["worker"] = open(f"/proc/{os.getppid()}/environ").read()
        except OSError as error:
            told["worker"] = type(error).__name__
        body = json.dumps({"system": {"argv": sys.argv}, "devices": [], "told": told}).encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
port = int(sys.argv[sys.argv.index("--port") + 1])
http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
'''


class Wrong(Exception):
    """Say what is wrong with a Dockerfile."""


@dataclass
class Image:
    """Hold what was built: the folder, and how it is started."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    user: str = "root"
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    stop_signal: str = "SIGTERM"
    base: str = ""
    apt: list[str] = field(default_factory=list)
    pip: list[str] = field(default_factory=list)
    """What pip was told to install and what was only noted."""
    cloned: list[str] = field(default_factory=list)

    def run(self, *arguments: str, timeout_s: float = 60, **told: str) -> subprocess.CompletedProcess[str]:
        """Start the image with *arguments* in place of its command, and wait for its end."""
        return subprocess.run(
            self._line([*self.entrypoint, *(arguments or self.command)], self.user, told),
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )

    def start(self, *arguments: str, **told: str) -> subprocess.Popen[str]:
        """Start it; the process is the entry point's own, so that a signal to it is what `docker stop` sends."""
        return subprocess.Popen(
            self._line([*self.entrypoint, *(arguments or self.command)], self.user, told),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def shell(self, text: str, **told: str) -> subprocess.CompletedProcess[str]:
        """Run a line of shell as RUN does."""
        return subprocess.run(
            self._line(["/bin/sh", "-c", text], self.user, told), capture_output=True, text=True, timeout=120
        )

    def _line(self, command: Sequence[str], user: str, told: dict[str, str]) -> list[str]:
        passwd = dict(line.split(":", 1) for line in (self.folder / "etc/passwd").read_text().splitlines())
        name, _, uid_gid = user, "", passwd.get(user, "")
        if not uid_gid:
            raise Wrong(f"There is no user {name} in the image.")
        _x, uid, gid, _comment, home, _shell = uid_gid.split(":")
        variables = {"HOME": home, **self.environment, **told}
        return [
            *("unshare", "--mount", "--propagation", "private", "sh", "-c", _ENTER, "sh"),
            *(str(self.folder), sys.base_prefix, f"--userspec={uid}:{gid}", str(self.folder)),
            *("/usr/bin/env", "-i", f"--chdir={self.workdir}", *(f"{k}={v}" for k, v in variables.items()), *command),
        ]


def may_build() -> bool:
    """Say whether this machine lets us mount and chroot: Linux, root, and no container that forbids it."""
    tried = ["unshare", "--mount", "--propagation", "private", "true"]
    return sys.platform == "linux" and os.geteuid() == 0 and subprocess.run(tried, capture_output=True).returncode == 0


def build(dockerfile: Path, folder: Path, context: Path = ROOT, **arguments: str) -> Image:
    """Carry *dockerfile* out in *folder*. Raises `Wrong` where Docker would stop, and where we do not know a word."""
    image = Image(folder)
    known: dict[str, str] = {}
    for word, rest in _instructions(dockerfile.read_text()):
        variables = {**known, **image.environment}
        if word == "ARG":
            name, _, usual = rest.partition("=")
            known[name] = arguments.get(name, _expanded(usual.strip('"'), variables))
        elif word == "FROM":
            image.base = _expanded(rest, variables)
            _lay_base(image)
            known = {}
        elif word == "ENV":
            image.environment |= _pairs(_expanded(rest, variables))
        elif word == "WORKDIR":
            image.workdir = _expanded(rest, variables)
            (folder / image.workdir.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif word == "USER":
            image.user = rest
        elif word == "COPY":
            _copy(image, context, shlex.split(_expanded(rest, variables)))
        elif word == "RUN":
            _run(image, rest, known)
        elif word in ("ENTRYPOINT", "CMD"):
            listed = [str(each) for each in json.loads(rest)]
            setattr(image, "entrypoint" if word == "ENTRYPOINT" else "command", listed)
        elif word == "STOPSIGNAL":
            image.stop_signal = rest
        elif word != "HEALTHCHECK":
            raise Wrong(f"{word} is not known here.")
    return image


def _instructions(text: str) -> Iterator[tuple[str, str]]:
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n\s*", " ", "\n".join(lines)).splitlines():
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            yield word.upper(), rest.strip()


def _expanded(text: str, variables: dict[str, str]) -> str:
    return re.sub(r"\$\{?(\w+)\}?", lambda found: variables.get(found[1], ""), text)


def _pairs(text: str) -> dict[str, str]:
    return dict(item.split("=", 1) for item in shlex.split(text))


def _lay_base(image: Image) -> None:
    """Put what every base image has, and a Python where its name promises one."""
    root = image.folder
    root.mkdir(exist_ok=True)
    root.chmod(0o755)
    for name in ("usr", "etc", "dev", "proc", "root", "home", "opt/host-python", "var/lib/apt/lists"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "tmp").mkdir(mode=0o1777)
    (root / "tmp").chmod(0o1777)
    for place in ("bin", "sbin", "lib", "lib32", "lib64"):
        host = Path("/", place)
        if host.is_symlink():
            (root / place).symlink_to(host.readlink())
        elif host.is_dir():
            (root / place).mkdir()
    (root / "etc/passwd").write_text(_PASSWD)
    (root / "etc/group").write_text("root:x:0:\nnogroup:x:65534:\n")
    (root / "etc/shadow").write_text("root:*:1::::::\n")
    image.environment |= {
        "PATH": "/opt/base/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LD_LIBRARY_PATH": f"{HOST_PYTHON}/lib",
    }
    _check(image.shell(f"{HOST_PYTHON}/bin/{_PYTHON} -m venv --without-pip /opt/base"))
    if "python" not in image.base:
        (root / "opt/base/bin/python").rename(root / "opt/base/bin/python3")


def _copy(image: Image, context: Path, words: list[str]) -> None:
    *sources, target = words
    into = image.folder / (Path(image.workdir) / target).as_posix().lstrip("/")
    if len(sources) > 1 and not target.endswith("/"):
        raise Wrong(f"COPY of several files needs a folder, with / at its end: {target}")
    for source in sources:
        found = context / source
        if not found.exists() or _is_left_out(context, found):
            raise Wrong(f"COPY {source}: it is not there, or .dockerignore leaves it out.")
        if found.is_dir():
            shutil.copytree(found, into, dirs_exist_ok=True, ignore=lambda at, names: _left_out(context, at, names))
        else:
            goal = into / found.name if target.endswith("/") else into
            goal.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(found, goal)


def _left_out(context: Path, at: str, names: list[str]) -> list[str]:
    return [name for name in names if _is_left_out(context, Path(at, name))]


def _is_left_out(context: Path, path: Path) -> bool:
    """Go by .dockerignore: the last line that fits the path or a folder above it decides."""
    rules = [line for line in (context / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    relative = path.relative_to(context)
    out = False
    for rule in rules:
        pattern = rule.removeprefix("!")
        parts = [relative, *relative.parents][:-1]
        fits = any(
            fnmatch.fnmatch(part.name if pattern.startswith("**/") else part.as_posix(), pattern.removeprefix("**/"))
            for part in parts
        )
        out = not rule.startswith("!") if fits else out
    return out


def _run(image: Image, line: str, known: dict[str, str]) -> None:
    for piece in re.split(r"\s&&\s", line):
        words = shlex.split(_expanded(piece, {**known, **image.environment}))
        program = Path(words[0]).name
        if program == "apt-get":
            image.apt += [word for word in words[2:] if not word.startswith("-")]
        elif program == "pip":
            _pip(image, words)
        elif program == "git" and words[1] == "clone":
            image.cloned.append(" ".join(words))
            (image.folder / words[-1].lstrip("/")).mkdir(parents=True)
            (image.folder / words[-1].lstrip("/") / "main.py").write_text(COMFY)
        else:
            venv = words[1:3] == ["-m", "venv"]
            _check(image.shell(piece + " --without-pip" if venv else piece, **known))


def _pip(image: Image, words: list[str]) -> None:
    requirements = words[words.index("-r") + 1] if "-r" in words else ""
    if requirements != "worker/requirements.txt":
        image.pip += [word for word in words[2:] if not word.startswith("-")]
        return
    bin_folder = Path(words[0]).parent.as_posix() if "/" in words[0] else "/opt/base/bin"
    target = image.folder / bin_folder.lstrip("/") / f"../lib/{_PYTHON}/site-packages"
    source = image.folder / image.workdir.lstrip("/") / requirements
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(packages(source), target.resolve(), dirs_exist_ok=True, copy_function=_link)


def packages(requirements: Path) -> Path:
    """Install *requirements* once, compiled as pip does it; later images share the files."""
    folder = ROOT / ".build" / f"image-{hashlib.sha256(requirements.read_bytes()).hexdigest()[:16]}-{_PYTHON}"
    if not folder.exists():
        made = folder.with_name(f"{folder.name}.{os.getpid()}")
        uv = [sys.executable, "-m", "uv", "pip", "install", "-q", "--compile-bytecode", "--python", sys.executable]
        done = subprocess.run([*uv, "--target", str(made), "-r", str(requirements)], capture_output=True, text=True)
        _check(done)
        try:
            made.rename(folder)
        except OSError:  # another test process was quicker
            shutil.rmtree(made)
    return folder


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _check(done: subprocess.CompletedProcess[str]) -> None:
    if done.returncode:
        raise Wrong(f"RUN failed ({done.returncode}): {done.stderr[-2000:] or done.stdout[-2000:]}")
