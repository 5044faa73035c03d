"""The systemd units as they are written onto a machine, read by systemd itself."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from infra.ec2 import release

ROOT = Path(__file__).resolve().parents[2]
UNITS = ("worker/comfysheet-worker.service", "infra/ec2/comfysheet-worker.service")
LEAVE = "infra/ec2/comfysheet-leave.service"

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="there is no systemd on this system, and no unit is used"
)


def rendered(name: str, folder: Path) -> Path:
    """Write a unit as setup.sh and userdata.sh do, for an installation in *folder*."""
    app = folder / "app"
    for each in (".venv-worker/bin/python", "infra/ec2/leave.sh", ".env"):
        (app / each).parent.mkdir(parents=True, exist_ok=True)
        (app / each).write_text("#!/bin/sh\n")
        (app / each).chmod(0o755)
    unit = folder / Path(name).name
    unit.write_text((ROOT / name).read_text().replace("@DIR@", str(app)).replace("@USER@", "root"))
    return unit


def verify(unit: Path) -> str:
    """Say what systemd finds wrong with a unit; nothing when all is well."""
    assert shutil.which("systemd-analyze"), "systemd-analyze is missing: apt-get install systemd"
    # A mistyped name is only a warning to it, with exit code 0: what it says counts.
    told = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, timeout=60
    )
    return "\n".join(line for line in (told.stdout + told.stderr).splitlines() if unit.name in line)


@pytest.mark.parametrize("name", [*UNITS, LEAVE])
def test_systemd_finds_no_fault(name: str, tmp_path: Path) -> None:
    """Every name is one that it knows, every program is there."""
    rendered(LEAVE, tmp_path)
    assert verify(rendered(name, tmp_path)) == ""


@pytest.mark.parametrize(("good", "bad"), [("Restart=", "Restrat="), ("/.venv-worker/bin/python", "/nobody/python")])
def test_a_slip_is_found(good: str, bad: str, tmp_path: Path) -> None:
    """The judge is awake."""
    unit = rendered(UNITS[0], tmp_path)
    unit.write_text(unit.read_text().replace(good, bad))
    assert verify(unit) != ""


def test_the_machines_unit_differs_where_it_must() -> None:
    """A machine that is paid for goes when its worker has ended; settings and stop rules are the same everywhere."""
    own, rented = ((ROOT / name).read_text().splitlines() for name in UNITS)
    more = {line for line in rented if line and not line.startswith("#")} - set(own)
    assert more == {
        "StartLimitIntervalSec=600",
        "StartLimitBurst=5",
        "OnFailure=comfysheet-leave.service",
        "User=comfysheet",
        "ExecStartPre=+/bin/bash @DIR@/infra/ec2/fence.sh",
        "AmbientCapabilities=CAP_SETUID CAP_SETGID CAP_KILL",
        "CapabilityBoundingSet=CAP_SETUID CAP_SETGID CAP_KILL",
        "ExecStopPost=+/bin/bash @DIR@/infra/ec2/leave.sh",
    }


def test_a_worker_that_is_given_up_gives_its_machine_back() -> None:
    """Five crashes or wrong settings: systemd runs leave.sh, without an EXIT_CODE, and only if it really gave up."""
    named = re.findall(r"^OnFailure=(.*)$", (ROOT / UNITS[1]).read_text(), re.MULTILINE)
    assert named == [Path(LEAVE).name]
    lines = (ROOT / LEAVE).read_text().splitlines()
    assert "ExecStart=/bin/bash @DIR@/infra/ec2/leave.sh" in lines
    assert "ExecCondition=/usr/bin/systemctl is-failed --quiet comfysheet-worker.service" in lines
    assert not [line for line in lines if "EXIT_CODE" in line]
    assert LEAVE in release.files(ROOT)
