"""What an EC2 machine does to itself, with tools that only note what they were told."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from infra.ec2 import fleet
from tests.ec2_machine import ROOT, Machine

GONE = "autoscaling terminate-instance-in-auto-scaling-group --instance-id i-0123 --should-decrement-desired-capacity"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_bare_machine_becomes_a_worker_and_says_each_step(machine: Machine) -> None:
    """ComfyUI, its packages, models, the worker, settings, user, service: in this order, each in the log."""
    ran = machine.run("userdata.sh", MODELS="s3://mine/models/", WORKER_SETTINGS="SLOTS=3 IDLE_END_S=60")
    assert ran.returncode == 0, ran.stderr
    steps = [line.split("comfysheet: ")[1] for line in ran.stdout.splitlines() if "comfysheet: " in line]
    wanted = [
        "asking which",
        "i-0123, g6.xlarge, spot",
        "looking for GPUs",
        "installing ComfyUI v0.28.0",
        "looking for Python",
    ]
    wanted += [
        "installing what ComfyUI",
        "copying models",
        "installing the worker",
        "making two users",
        "writing its",
        "starting",
    ]
    assert [step[: len(want)] for step, want in zip(steps, wanted, strict=False)] == wanted
    assert steps[-1].startswith("this machine is a worker")
    assert machine.called("aws") == [
        f"s3 sync --only-show-errors s3://mine/models/ {machine.environment['COMFY_DIR']}/models/"
    ]
    assert machine.called("systemctl") == ["daemon-reload", "enable --now comfysheet-worker"]
    assert machine.called("mount") == [] and machine.called("apt-get") == []


def test_its_settings_are_private_and_the_operators_win(machine: Machine) -> None:
    """The stage's places, the machine's id as the worker's name, and last what was said with --settings."""
    machine.run("userdata.sh", WORKER_SETTINGS="SLOTS=3 IDLE_END_S=60")
    written = machine.app / ".env"
    assert written.stat().st_mode & 0o777 == 0o600
    lines = written.read_text().splitlines()
    assert {"JOBS_TABLE=comfysheet-prod-jobs", "WORKER_NAME=i-0123", "GPUS=all", "DRAIN_S=300", "SLOTS=3"} <= set(lines)
    assert [line for line in lines if line.startswith("IDLE_END_S=")][-1] == "IDLE_END_S=60"
    assert f"COMFY_PYTHON={machine.app}/comfy-python" in lines
    unit = (machine.units / "comfysheet-worker.service").read_text()
    assert f"ExecStart={machine.app}/.venv-worker/bin/python -m worker queue" in unit and "@" not in unit
    leave = (machine.units / "comfysheet-leave.service").read_text()
    assert f"ExecStart=/bin/bash {machine.app}/infra/ec2/leave.sh" in leave and "@" not in leave


def test_what_an_image_or_a_disk_brings_is_not_installed(machine: Machine) -> None:
    """A disk from a snapshot is mounted by its label; a ComfyUI with its own Python is left as it is."""
    comfy = Path(machine.environment["COMFY_DIR"])
    (comfy / "venv/bin").mkdir(parents=True)
    (comfy / "main.py").touch()
    (comfy / "venv/bin/python").write_text("#!/bin/sh\n")
    (comfy / "venv/bin/python").chmod(0o755)
    ran = machine.run("userdata.sh", SNAPSHOT="snap-1")
    assert ran.returncode == 0, ran.stderr
    assert machine.called("mount") == [f"LABEL=comfysheet {machine.environment['DATA']}"]
    assert machine.called("git") == []
    assert [line for line in machine.called("python3") if "venv" in line] == [f"-m venv {machine.app}/.venv-worker"]


@pytest.mark.parametrize(
    ("tool", "step"),
    [
        ("nvidia-smi", "looking for GPUs"),
        ("git", "installing ComfyUI"),
        ("systemctl", "starting the service"),
    ],
)
def test_a_step_that_fails_is_named_and_the_machine_goes(machine: Machine, tool: str, step: str) -> None:
    """Otherwise it would cost and do nothing; the group gets smaller by one, so that none follows at once."""
    machine.does(tool, 'case "$1" in is-system-running) echo running;; *) exit 1;; esac')
    ran = machine.run("userdata.sh")
    assert ran.returncode == 1 and f"FAILED at: {step}" in ran.stderr
    assert GONE in machine.called("aws") and machine.called("shutdown") == []


def test_a_setting_that_is_missing_ends_the_machine_too(machine: Machine) -> None:
    """It is no failed step to the shell, but no worker either."""
    del machine.environment["COMFY_VERSION"]
    assert machine.run("userdata.sh").returncode == 1 and GONE in machine.called("aws")


def first_lines(machine: Machine) -> subprocess.CompletedProcess[str]:
    """Run the user data as CloudFormation writes it, with the machine's folders in place of the system's."""
    resources = fleet.template(1)["Resources"]
    [text, more] = resources["Machine"]["Properties"]["LaunchTemplateData"]["UserData"]["Fn::Base64"]["Fn::Sub"]
    folder = machine.app.parent
    values = dict.fromkeys(re.findall(r"\$\{([A-Za-z:]+)\}", text), "x") | dict.fromkeys(more, "")
    for name, value in values.items():
        text = text.replace(f"${{{name}}}", value)
    places = {"/opt/comfysheet": machine.app, "/var/log/": f"{folder}/", "/run/comfysheet-stay": folder / "stay"}
    for place, ours in places.items():
        assert place in text
        text = text.replace(place, str(ours))
    return subprocess.run(
        ["bash", "-c", text], env=machine.environment, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("tool", ["aws", "sha256sum", "python3"])
def test_a_machine_that_cannot_fetch_its_release_goes(machine: Machine, tool: str) -> None:
    """Refused by the bucket, other bytes than were deployed, or no zip: its group is told, and it shuts down."""
    machine.does(tool, 'case "$*" in autoscaling*) ;; *) echo 403 >&2; exit 1;; esac')
    ran = first_lines(machine)
    assert ran.returncode != 0 and "FAILED while fetching" in ran.stdout
    assert GONE in machine.called("aws") and machine.called("shutdown") == ["-h now"]


@pytest.mark.parametrize("broken", ["aws", "curl"])
def test_a_machine_that_cannot_even_tell_its_group_is_shut_down(machine: Machine, broken: str) -> None:
    """EC2 terminates it then."""
    machine.does("sha256sum", "exit 1")
    machine.does(broken, "exit 1")
    assert "will order another" in first_lines(machine).stdout
    assert machine.called("shutdown") == ["-h now"]


def test_a_machine_that_somebody_looks_at_is_not_ended_by_its_first_lines(machine: Machine) -> None:
    """The same file keeps it as later."""
    machine.does("sha256sum", "exit 1")
    Path(machine.environment["STAY"]).touch()
    assert first_lines(machine).returncode == 1
    assert machine.called("shutdown") == [] and GONE not in machine.called("aws")


def test_the_first_lines_hand_over_to_the_releases_script(machine: Machine) -> None:
    """From there on the script itself gives the machine back: once, and without a shutdown."""
    machine.does("nvidia-smi", "exit 1")
    ran = first_lines(machine)
    assert "FAILED at: looking for GPUs" in ran.stdout and "while fetching" not in ran.stdout
    assert machine.called("aws").count(GONE) == 1 and machine.called("shutdown") == []


def test_comfyui_runs_apart_and_does_not_reach_the_credentials(machine: Machine) -> None:
    """An account of its own, its folder in that account's hands, and the metadata service closed to it."""
    machine.does("iptables", 'case "$*" in *--check*) exit 1;; esac')
    ran = machine.run("userdata.sh")
    assert ran.returncode == 0, ran.stderr
    comfy = machine.environment["COMFY_DIR"]
    assert f"-R comfyui:comfysheet {comfy}" in machine.called("chown")
    rule = "OUTPUT --destination 169.254.169.254 --match owner --uid-owner comfyui --jump REJECT"
    assert machine.called("iptables") == [f"--wait --check {rule}", f"--wait --insert {rule}"]
    wrapper = (machine.app / "comfy-python").read_text()
    assert "--reuid=comfyui" in wrapper and f'-- {comfy}/venv/bin/python "$@"' in wrapper


def test_without_its_fence_no_worker_starts(machine: Machine) -> None:
    """The step fails, and the machine goes."""
    machine.does("iptables", "exit 1")
    ran = machine.run("userdata.sh")
    assert ran.returncode == 1 and machine.called("systemctl") == ["is-system-running"]


def left(machine: Machine) -> list[str]:
    return [call.split()[1] for call in machine.called("aws")]


@pytest.mark.parametrize(("status", "goes"), [("0", True), ("2", False), ("1", False), ("9", False)])
def test_a_worker_that_ended_for_good_takes_the_machine_with_it(machine: Machine, status: str, goes: bool) -> None:
    """By itself; after a crash systemd starts it again, and what it gives up is for comfysheet-leave.service."""
    machine.run("leave.sh", EXIT_CODE="exited", EXIT_STATUS=status)
    wanted = ["terminate-instance-in-auto-scaling-group", "complete-lifecycle-action"] if goes else []
    assert left(machine) == wanted


def test_a_worker_that_is_not_started_again_takes_the_machine_with_it(machine: Machine) -> None:
    """As comfysheet-leave.service runs it: five crashes, or wrong settings."""
    machine.run("leave.sh")
    assert left(machine) == ["terminate-instance-in-auto-scaling-group", "complete-lifecycle-action"]


@pytest.mark.parametrize("broken", ["aws", "curl"])
def test_a_machine_without_a_worker_that_cannot_be_given_back_is_shut_down(machine: Machine, broken: str) -> None:
    """Nobody would ever end it otherwise; a look at it keeps it all the same."""
    machine.does(broken, "exit 1")
    machine.run("leave.sh")
    assert machine.called("shutdown") == ["-h now"] and "start" not in str(machine.called("systemctl"))
    machine.calls.unlink()
    Path(machine.environment["STAY"]).touch()
    machine.run("leave.sh")
    assert machine.called("shutdown") == []


def test_a_killed_worker_stays_on_its_machine(machine: Machine) -> None:
    """EXIT_CODE says how it ended: by a signal is no end of its own."""
    machine.run("leave.sh", EXIT_CODE="killed", EXIT_STATUS="9")
    assert left(machine) == []


def test_a_machine_that_its_group_ends_says_that_it_is_ready(machine: Machine) -> None:
    """Whichever of the two groups it is of; it does not end itself once more."""
    machine.tells("autoscaling/target-lifecycle-state", "Terminated")
    machine.does("aws", 'case "$*" in *"group-name one "*) exit 1;; esac')
    machine.run("leave.sh", EXIT_CODE="exited", EXIT_STATUS="0")
    calls = machine.called("aws")
    assert left(machine) == ["complete-lifecycle-action"] * 2
    assert "one-on-demand --instance-id i-0123 --lifecycle-action-result CONTINUE" in calls[1]


def test_a_spot_notice_leaves_the_group_as_large_as_it_is(machine: Machine) -> None:
    """EC2 takes the machine; the group is to order another one."""
    machine.tells("spot/instance-action", '{"action": "terminate"}')
    machine.run("leave.sh", EXIT_CODE="exited", EXIT_STATUS="0")
    assert left(machine) == []


@pytest.mark.parametrize("why", ["it was told to stay", "it is shut down or restarted", "it is none of EC2's"])
def test_a_machine_stays_when(machine: Machine, why: str) -> None:
    """Somebody looks at it, it only restarts, or nobody knows what it is."""
    if why == "it was told to stay":
        Path(machine.environment["STAY"]).touch()
    elif why == "it is shut down or restarted":
        machine.does("systemctl", "echo stopping")
    else:
        machine.does("curl", "exit 7")
    assert machine.run("leave.sh", EXIT_CODE="exited", EXIT_STATUS="0").returncode == 0
    assert left(machine) == []


def test_a_machine_that_the_group_needs_works_on(machine: Machine) -> None:
    """At the group's least size it is refused: its worker is started again."""
    machine.does("aws", "exit 1")
    machine.run("leave.sh", EXIT_CODE="exited", EXIT_STATUS="0")
    assert machine.called("systemctl")[-1] == "start --no-block comfysheet-worker"


def test_the_scripts_have_no_faults_that_shellcheck_knows() -> None:
    """All shell that goes onto a worker's machine."""
    linter = Path(sys.executable).with_name("shellcheck")
    ours = [f"infra/ec2/{name}" for name in ("userdata.sh", "leave.sh", "fence.sh", "comfy-python")]
    files = [*ours, "infra/slurm/comfysheet-worker.sbatch", "worker/setup.sh"]
    told = subprocess.run([linter, *files], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (told.returncode, told.stdout) == (0, "")
