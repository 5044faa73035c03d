"""Deploy as an operator does: the real command, in a clone of its own, against a cloud."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import requests

from infra.package import ROOT, build
from sandbox.cloud import LocalCloud

_CLONED = ("app.py", "chalicelib", "infra", "workflows", ".chalice", "requirements.txt")
_NO_COPY = shutil.ignore_patterns("node_modules", "__pycache__", "stages", "deployed", "deployments")


class Operator:
    """Run `python -m infra` in a clone below *home*; each command ends within three minutes."""

    def __init__(self, home: Path, cloud: LocalCloud) -> None:
        self.clone = home / "clone"
        self.cloud = cloud
        build(ROOT / "dist")
        for name in _CLONED:
            source, target = ROOT / name, self.clone / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=_NO_COPY)
            else:
                shutil.copyfile(source, target)
        # What takes a minute to fetch is the same for all clones.
        shutil.copytree(ROOT / "dist", self.clone / "dist")
        fetched = max((ROOT / ".build" / "lambda").glob("dependencies-*.zip"), key=lambda path: path.stat().st_mtime)
        (self.clone / ".build" / "lambda").mkdir(parents=True)
        shutil.copyfile(fetched, self.clone / ".build" / "lambda" / fetched.name)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command; its output is in one pipe."""
        kept = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
        return subprocess.Popen(
            [sys.executable, "-u", "-m", "infra", *arguments],
            cwd=self.clone,
            env={**kept, **self.cloud.env()},
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def run(self, *arguments: str, code: int = 0) -> str:
        """Run a command to its end; return what it printed."""
        with self.start(*arguments) as running:
            printed, _ = running.communicate(timeout=180)
        assert running.returncode == code, printed
        return printed

    def deploy(self, stage: str, *more: str, code: int = 0) -> str:
        """Deploy to this machine's cloud, which speaks plain HTTP."""
        return self.run("deploy", "--stage", stage, "--set", "RequireTls=false", *more, code=code)


class Program:
    """Ask the deployed API with a key that was printed."""

    def __init__(self, address: str, key: str) -> None:
        self.address = address
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {key}"

    def submit(self, prompt: str, steps: int = 6) -> str:
        inputs = {"prompt": prompt, "steps": steps, "width": 128, "height": 96}
        asked = {"workflow_id": "txt2img-sdxl", "inputs": inputs}
        answer = self._session.post(f"{self.address}/api/v2/jobs", json=asked, timeout=60)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def job(self, job_id: str) -> dict[str, Any]:
        answer = self._session.get(f"{self.address}/api/v2/jobs/{job_id}", timeout=60)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())
