"""
Put the whole world on one machine together: the local cloud with the packaged app deployed in it, the spreadsheet that
stands in for Google's, the script bound to it, a ComfyUI and a worker.

Everything that production code learns of this place comes from outside: AWS_ENDPOINT_URL, the stack's parameters
SheetsApiEndpoint and PublicUrl, a service account whose token_uri is ours, and COMFY_URL.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import requests

from chalicelib.publish import Publisher
from infra import package
from infra.keys import Doorkeeper
from infra.workflow_files import read_base, read_folder
from infra.workflows import open_blobs
from sandbox.apps_script import ScriptProject
from sandbox.apps_script_run import PropertyStore
from sandbox.cloud import LocalCloud
from sandbox.example import SPREADSHEET_ID, fill_example
from sandbox.google_auth import GoogleAuth, make_service_account
from sandbox.live import PageUi
from sandbox.server import SandboxServer
from sandbox.workbook import Books, Workbook

ROOT: Final = Path(__file__).resolve().parent.parent
HOME: Final = ROOT / ".sandbox"
CLIENT: Final = "sandbox"
STOP_S: Final = 10.0

Say = Callable[[str], None]


class WorldFailed(Exception):
    """Say in a sentence what did not start."""


@dataclass(frozen=True)
class Wishes:
    """Say what kind of world is wanted."""

    home: Path = HOME
    keep: bool = False
    """Keep tables, files and the sheet from run to run."""
    comfy_url: str = ""
    """A real ComfyUI; empty: the stand-in."""
    port: int = 0
    step_ms: int = 40
    """How long the stand-in takes for a sampler's step; 0: no time at all."""
    worker_env: Mapping[str, str] = field(default_factory=dict)
    """Settings for the worker beside what the stack tells, e.g. shorter leases in a test."""
    start_worker: bool = True
    test_nodes: bool = False


class Child:
    """Run a program of ours, its output in a log file, and end it together with us."""

    def __init__(self, name: str, command: list[str], log: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self._log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *command], cwd=ROOT, env=dict(environment), stdout=output, stderr=output
            )

    def tail(self, lines: int = 8) -> str:
        """Give the end of the log."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-lines:])

    def kill(self) -> None:
        """Pull the plug."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """Ask it to end, and insist after a while."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class World:
    """Be the sandbox. A context manager: everything that it started ends with it."""

    def __init__(self, wishes: Wishes, say: Say = lambda _: None) -> None:
        self.wishes = wishes
        self.cloud = LocalCloud()
        self.workers: list[Child] = []
        self.comfy_url = wishes.comfy_url.rstrip("/")
        self._say = say
        self._stack = ExitStack()
        self._home = wishes.home

    def __enter__(self) -> World:
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        if self.wishes.keep:
            self._save()
        self._stack.close()

    # -- starting -----------------------------------------------------------------------------------------------

    def _start(self) -> None:
        self._home.mkdir(parents=True, exist_ok=True)
        comfy = threading.Thread(target=self._start_comfy, name="comfy")
        comfy.start()
        built = self._package()
        self._stack.callback(self.cloud.stop)
        self.cloud.start(self._home / "cloud", keep=self.wishes.keep)
        self._say(f"  local cloud       {self.cloud.endpoint_url}")
        self._open_sheet()
        self._deploy(built)
        comfy.join()
        self._check_comfy()
        if self.wishes.start_worker:
            self.start_worker()
        self._say(f"  ComfyUI           {self.renders_on()}")

    def _package(self) -> Path:
        host_deps = not package.wheels_run_here()
        out = ROOT / ".build" / "local" if host_deps else ROOT / "dist"
        return package.build(out, host_deps=host_deps, say=lambda line: self._say(f"  {line} …")).folder

    def _open_sheet(self) -> None:
        """Open the workbook (as it was left, with keep), its script, and the server that shows both."""
        kept = self._kept()
        if kept:
            self.book = Workbook.from_json(kept["book"])
        else:
            self.book = Workbook(SPREADSHEET_ID, "ComfySheet demo")
            fill_example(self.book)
        self.properties = PropertyStore(kept.get("properties"))
        self.ui = PageUi()
        self.project = ScriptProject(ROOT / "apps_script", self.book, properties=self.properties, ui=self.ui)
        self.google = GoogleAuth()
        self.server = SandboxServer(
            Books(self.book),
            self.project,
            self.ui,
            auth=self.google,
            renders_on=self.renders_on,
            port=self.wishes.port or kept.get("port", 0),
        )
        self._stack.callback(self.server.stop)
        self.server.start()

    def _deploy(self, built: Path) -> None:
        """Create the stack and give it what an operator would: Google's key, the workflows, the sheet's key."""
        outputs = self.cloud.deploy(built, parameters={"SheetsApiEndpoint": self.server.url})
        self._say(f"  API               {self.cloud.api_url}")
        session = self.cloud.session()
        account = make_service_account(f"{self.server.url}/token")
        self.google.register(account)
        self.book.shared_with.add(account["client_email"])
        secrets = session.client("secretsmanager")
        try:
            secrets.create_secret(Name=outputs["GoogleSecretId"], SecretString=json.dumps(account))
        except secrets.exceptions.ResourceExistsException:
            secrets.put_secret_value(SecretId=outputs["GoogleSecretId"], SecretString=json.dumps(account))
        publisher = Publisher(open_blobs(session, outputs["Bucket"]), lambda: time.time_ns() // 1_000_000)
        publisher.keep_base(read_base())
        publisher.push(read_folder(), by="the sandbox")
        self.keys = Doorkeeper(session, outputs)
        # What a person types under ComfySheet > Settings.
        self.properties.document["API_URL"] = self.cloud.api_url
        if "SHEET_KEY" not in self.properties.document:
            self.properties.document["SHEET_KEY"] = self.keys.new_sheet(CLIENT, self.book.spreadsheet_id)

    def _start_comfy(self) -> None:
        if self.comfy_url:
            return
        command = ["sandbox.comfy", "--port", "0", "--dir", str(self._home / "comfy")]
        command += ["--instant"] if self.wishes.step_ms == 0 else ["--step-ms", str(self.wishes.step_ms)]
        command += ["--test-nodes"] if self.wishes.test_nodes else []
        process = subprocess.Popen(
            [sys.executable, "-m", *command], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._stack.callback(_end, process)
        assert process.stdout is not None
        first = process.stdout.readline()
        if " on http" in first:
            self.comfy_url = first.rsplit(" on ", 1)[1].strip()
            threading.Thread(target=process.stdout.read, name="comfy-log", daemon=True).start()

    def _check_comfy(self) -> None:
        if not self.comfy_url:
            raise WorldFailed("The ComfyUI stand-in did not start.")
        try:
            requests.get(f"{self.comfy_url}/system_stats", timeout=5).raise_for_status()
        except requests.RequestException as error:
            raise WorldFailed(
                f"No ComfyUI answers at {self.comfy_url}. Start it, or leave COMFY_URL out to use the stand-in."
            ) from error

    def start_worker(
        self, name: str = "worker-1", *, command: Sequence[str] = ("worker", "queue"), **settings: str
    ) -> Child:
        """
        Start a worker process, with the worker's own rights in the cloud and nothing else.

        *command*: the module to run and its arguments, for a program that starts the worker in its own way.
        """
        environment = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": os.environ.get("HOME", ""),
            "PYTHONUNBUFFERED": "1",
            **self.cloud.worker_env(name),
            "COMFY_URL": self.comfy_url,
            "WORKER_NAME": name,
            **self.wishes.worker_env,
            **settings,
        }
        log = self._home / f"{name}.log"
        log.unlink(missing_ok=True)
        worker = Child(name, list(command), log, environment)
        self.workers.append(worker)
        self._stack.callback(worker.stop)
        return worker

    # -- being asked --------------------------------------------------------------------------------------------

    def renders_on(self) -> str:
        """Say which ComfyUI renders, by the name that it gives itself."""
        try:
            stats = requests.get(f"{self.comfy_url}/system_stats", timeout=5).json()
            device = stats["devices"][0]["name"] if stats.get("devices") else "CPU"
            version = stats["system"].get("comfyui_version", "of before 2024-07")
            return f"{device}, ComfyUI {version}, {self.comfy_url}"
        except (requests.RequestException, ValueError, KeyError):
            return f"no answer from {self.comfy_url}"

    # -- keeping ------------------------------------------------------------------------------------------------

    def _kept(self) -> dict[str, Any]:
        path = self._home / "sheet.json"
        if not self.cloud.is_fresh and path.exists():
            kept: dict[str, Any] = json.loads(path.read_text())
            return kept
        path.unlink(missing_ok=True)
        return {}

    def _save(self) -> None:
        kept = {
            "book": self.book.to_json(),
            "properties": self.properties.to_json(),
            "port": int(self.server.url.rsplit(":", 1)[1]),
        }
        (self._home / "sheet.json").write_text(json.dumps(kept))


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
