"""The files that put a worker on a machine: they name what is there, and every setting."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from worker.settings import SettingsError, read_settings

ROOT = Path(__file__).resolve().parents[2]
WORKER = ROOT / "worker"


class Recording(Mapping[str, str]):
    """Be an empty environment that notes what is asked for."""

    def __init__(self) -> None:
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.asked.add(name)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def settings_asked_for() -> set[str]:
    environment = Recording()
    with pytest.raises(SettingsError):
        read_settings(environment)
    return environment.asked


def test_the_example_names_every_setting_and_no_other() -> None:
    """Whoever copies .env.example has the whole choice before them."""
    named = set(re.findall(r"^#?([A-Z][A-Z0-9_]+)=", (WORKER / ".env.example").read_text(), re.MULTILINE))
    credentials = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    assert named - credentials == settings_asked_for()


def test_the_example_is_read_by_a_shell_and_by_systemd() -> None:
    """Plain NAME=value lines; what stands there as a default is one."""
    for line in (WORKER / ".env.example").read_text().splitlines():
        assert not line or line.startswith("#") or re.fullmatch(r"[A-Z][A-Z0-9_]+=\S*", line), line


def test_the_image_copies_what_is_there_and_runs_as_nobody_special() -> None:
    """Every source exists, the packages are pinned, the command is no shell, the user is not root."""
    text = (WORKER / "Dockerfile").read_text()
    for source in re.findall(r"^COPY (\S+) \S+$", text, re.MULTILINE):
        assert (ROOT / source).exists(), source
    assert "USER worker" in text and 'ENTRYPOINT ["python", "-m", "worker"]' in text
    copied = set(re.findall(r"^COPY (\S+) ", text, re.MULTILINE))
    imported = set()
    for path in WORKER.rglob("*.py"):
        imported |= set(re.findall(r"^\s*from (chalicelib\.\w+)", path.read_text(), re.MULTILINE))
    parts = {name.replace(".", "/") for name in imported}
    assert {part if (ROOT / part).is_dir() else f"{part}.py" for part in parts} <= copied


def test_the_unit_starts_what_setup_installs_and_does_not_loop_on_wrong_settings() -> None:
    """Its program, its stop, its restart rule."""
    text = (WORKER / "comfysheet-worker.service").read_text()
    assert "ExecStart=@DIR@/.venv-worker/bin/python -m worker queue" in text
    assert "KillSignal=SIGTERM" in text and "RestartPreventExitStatus=2" in text
    assert ".venv-worker" in (WORKER / "setup.sh").read_text()


def test_setup_writes_a_private_env_once_and_says_what_is_next(tmp_path: Path) -> None:
    """Run twice in a clone: what was filled in stays; only its owner may read it."""
    (tmp_path / "worker").mkdir()
    for name in ("setup.sh", ".env.example", "requirements.txt"):
        shutil.copy(WORKER / name, tmp_path / "worker" / name)
    command = ["bash", "worker/setup.sh", "--no-install", "--no-doctor"]
    first = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert first.returncode == 0, first.stderr
    assert "fill it in" in first.stdout
    env = tmp_path / ".env"
    assert env.stat().st_mode & 0o777 == 0o600
    env.write_text("JOBS_TABLE=mine\n")
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert again.returncode == 0 and env.read_text() == "JOBS_TABLE=mine\n"
    assert "python -m worker queue" in again.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--help"], 0, "usage: bash worker/setup.sh"),
        (["--nonsense"], 2, "There is no option --nonsense."),
        (["--python", "python-of-nobody"], 1, "is not installed"),
    ],
)
def test_setup_answers_in_sentences(arguments: list[str], code: int, says: str) -> None:
    """Help, a wrong option, a missing Python."""
    told = subprocess.run(
        ["bash", "worker/setup.sh", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": os.environ["PATH"]},
    )
    assert told.returncode == code and says in told.stdout + told.stderr
