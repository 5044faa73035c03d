"""setup.sh and the scripts of the RunPod image, on bare folders: what they make, what they say, what they refuse."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.image import ROOT, packages

FILL = ROOT / "infra/runpod/fill-volume.sh"
PYTHON = """\
#!/bin/sh
# Be python3, but lay installed packages into a new venv: pip itself would take half a minute.
if [ "$1 $2" = "-m venv" ]; then
  "{real}" -m venv --without-pip "$3"
  site=$("$3/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
  mkdir "$site/pip"
  echo 'import sys; open("pip-was-asked", "w").write(" ".join(sys.argv[1:]))' > "$site/pip/__main__.py"
  echo "{packages}" > "$site/installed.pth"
else
  exec "{real}" "$@"
fi
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Copy what a clone has of the worker, and nothing that was ever installed."""
    place = tmp_path / "clone"
    left_out = shutil.ignore_patterns("__pycache__")
    for name in ("worker", "chalicelib"):
        shutil.copytree(ROOT / name, place / name, ignore=left_out)
    python = tmp_path / "python"
    python.write_text(PYTHON.format(real=sys.executable, packages=packages(ROOT / "worker/requirements.txt")))
    python.chmod(0o755)
    (tmp_path / "home").mkdir()
    return place


def setup(clone: Path, **told: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(clone / "worker/setup.sh"), "--python", str(clone.parent / "python")]
    environment = {"PATH": os.environ["PATH"], "HOME": str(clone.parent / "home"), **told}
    return subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True, timeout=100)


def test_a_bare_machine_gets_a_worker_that_says_what_is_missing(clone: Path) -> None:
    """
    Venv, packages, a private .env, and the doctor's word on each empty setting; filled in, it looks further.

    From any folder, and without anything in the home folder.
    """
    first = setup(clone)
    assert first.returncode == 1 and "fill it in" in first.stdout
    assert "install --quiet" in (clone / "pip-was-asked").read_text()
    assert (clone / "pip-was-asked").read_text().endswith("-r worker/requirements.txt")
    assert (clone / ".env").stat().st_mode & 0o777 == 0o600
    said = first.stdout + first.stderr
    assert all(f"{name} is not set" in said for name in ("JOBS_QUEUE_URL", "JOBS_TABLE", "S3_BUCKET", "AWS_REGION"))
    assert "Mend what is wrong above" in said and "Traceback" not in said
    filled = {"JOBS_QUEUE_URL": "http://127.0.0.1:9/1/jobs", "COMPLETIONS_QUEUE_URL": "http://127.0.0.1:9/1/d.fifo"}
    filled |= {"JOBS_TABLE": "jobs", "S3_BUCKET": "b", "AWS_REGION": "eu-central-1"}
    lines = (clone / ".env").read_text().splitlines()
    (clone / ".env").write_text(
        "\n".join(f"{line}{filled.get(line.rstrip('='), '')}" for line in lines) + "\nCOMFY_URL=http://127.0.0.1:9\n"
    )
    again = setup(clone, AWS_ENDPOINT_URL="http://127.0.0.1:9", AWS_MAX_ATTEMPTS="1", AWS_EC2_METADATA_DISABLED="true")
    said = again.stdout + again.stderr
    assert again.returncode == 1 and "✓ settings" in said and "✗ ComfyUI" in said and "✗ credentials" in said
    assert "wrote" not in said and "making .venv-worker" not in said


def test_the_scripts_have_no_faults_that_shellcheck_knows() -> None:
    """And bash stops at the first fault."""
    scripts = [
        ROOT / "worker/setup.sh",
        *sorted((ROOT / "infra/runpod").glob("*.sh")),
        ROOT / "infra/runpod/comfy-python",
    ]
    linter = Path(sys.executable).with_name("shellcheck")
    told = subprocess.run([linter, *scripts], capture_output=True, text=True, timeout=60)
    assert (told.returncode, told.stdout) == (0, "")
    for script in scripts:
        assert "\nset -euo pipefail\n" in script.read_text() or script.read_text().startswith("#!/bin/sh\n")


def fill(place: Path, *lines: str) -> tuple[int, str]:
    (place / "list").write_text("# models\n\n" + "\n".join(lines) + "\n")
    command = ["bash", str(FILL), str(place / "list"), "--to", str(place)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return told.returncode, told.stderr


def test_a_volume_holds_only_files_that_are_what_their_sum_says(tmp_path: Path) -> None:
    """Fetched once; a wrong one is removed and named, the others come all the same; cut short, it goes on."""
    source = tmp_path / "source.safetensors"
    source.write_bytes(b"weights" * 1000)
    good, wrong = hashlib.sha256(source.read_bytes()).hexdigest(), "0" * 64
    code, said = fill(
        tmp_path,
        f"{wrong} loras/wrong.safetensors {source.as_uri()}",
        f"{good} checkpoints/good.safetensors {source.as_uri()}",
    )
    assert code == 1 and "loras/wrong.safetensors is not what its sha256 says" in said
    assert "checkpoints/good.safetensors fetched" in said
    held = sorted(path.name for path in (tmp_path / "models").rglob("*") if path.is_file())
    assert held == ["good.safetensors"]
    code, said = fill(tmp_path, f"{good} checkpoints/good.safetensors https://127.0.0.1:9/not-asked-again")
    assert code == 0 and "is there" in said
    part = tmp_path / "models/checkpoints/half.safetensors.part"
    part.write_bytes(source.read_bytes()[:3000])
    code, said = fill(tmp_path, f"{good} checkpoints/half.safetensors {source.as_uri()}")
    assert code == 0 and not part.exists(), said


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (f"{'0' * 64} ../outside.safetensors https://h/x", "leads out of models/"),
        (f"{'0' * 64} /etc/x.safetensors https://h/x", "leads out of models/"),
        (f"{'0' * 64} a.ckpt https://h/x", "is no .safetensors"),
        ("abc a.safetensors https://h/x", "this line is not"),
        (f"{'0' * 64} a.safetensors", "this line is not"),
        (f"{'0' * 64} a.safetensors http://127.0.0.1:9/x", "could not be fetched"),
    ],
)
def test_a_volumes_list_is_judged_line_by_line(line: str, says: str, tmp_path: Path) -> None:
    """Out of the folder, kinds that can run code, what is no line, what is not https."""
    code, said = fill(tmp_path, line)
    assert code == 1 and says in said
