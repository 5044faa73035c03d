"""The batch script under a stand-in of Slurm, with a worker that notes what it was told."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.waiting import wait_until
from tests.slurm_standin import Job, Refused, Slurm, options_of, seconds_of

SCRIPT = Path(__file__).resolve().parents[2] / "infra/slurm/comfysheet-worker.sbatch"

WORKER = """#!{python}
import json, os, pathlib, signal, sys
notes = pathlib.Path(os.environ["NOTES"])
told = dict(os.environ, ARGUMENTS=" ".join(sys.argv[1:]))
made = notes / (os.environ["SLURM_JOB_ID"] + ".part")
made.write_text(json.dumps(told))
# Blocked until it is waited for: one that came just before a pause() would be waited for in vain.
signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.SIGTERM}})
made.rename(made.with_suffix(".json"))
until = os.environ.get("UNTIL", "told")
if until != "told":
    sys.exit(int(until))
signal.sigwait({{signal.SIGTERM}})
sys.stderr.write("the worker hands back\\n")
"""


class Cluster:
    """Hold a clone with that worker, and the cluster."""

    def __init__(self, folder: Path, slurm: Slurm) -> None:
        self.slurm = slurm
        self.clone = folder / "clone with a space"
        self.notes = folder / "notes"
        python = self.clone / ".venv-worker/bin/python"
        for each in (python.parent, self.clone / "worker", self.notes):
            each.mkdir(parents=True)
        python.write_text(WORKER.format(python=sys.executable))
        python.chmod(0o755)
        self.env = "COMFY_DIR=/opt/ComfyUI\nJOBS_TABLE=mine\n"
        self.bin = folder / "bin"
        self.bin.mkdir()

    def submit(self, *, tells_end: bool = True, options: dict[str, str] | None = None, **environment: str) -> list[Job]:
        (self.clone / ".env").write_text(self.env)
        path = f"{self.bin}:{os.environ['PATH']}"
        given = {"PATH": path, "NOTES": str(self.notes), "CUDA_VISIBLE_DEVICES": "0", **environment}
        return self.slurm.sbatch(SCRIPT, self.clone, given, tells_end=tells_end, **(options or {}))

    def one(self, **environment: str) -> Job:
        [job] = self.submit(**environment)  # type: ignore[arg-type]
        return job

    def told(self, job: Job) -> dict[str, str]:
        """Wait until the job's worker runs; what it was told."""
        note = self.notes / f"{job.id}.json"
        assert wait_until(lambda: note.exists() or job.process.poll() is not None, 20), "no worker"
        assert note.exists(), job.said()
        found: dict[str, str] = json.loads(note.read_text())
        return found


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Slurm(tmp_path / "spool") as slurm:
        yield Cluster(tmp_path, slurm)


def test_the_worker_is_told_its_end_its_name_and_places_of_its_own(cluster: Cluster) -> None:
    """Settings of .env reach it; ports are looked for; folders are the job's own, and gone when it ends."""
    job = cluster.one(UNTIL="0")
    told = cluster.told(job)
    assert job.ends() == 0, job.said()
    assert told["ARGUMENTS"] == "-m worker queue"
    assert abs(int(told["END_AT"]) - time.time() - 4 * 3600) < 60
    assert (told["WORKER_NAME"], told["JOBS_TABLE"]) == (f"slurm-{job.id}", "mine")
    assert (told["COMFY_PORT"], told["IDLE_END_S"], told["GRACE_S"]) == ("0", "120", "20")
    assert "--output-directory" in told["COMFY_ARGS"] and "GPUS" not in told
    assert f"comfysheet-{job.id}-" in told["WORKER_HOME"]
    assert not Path(told["WORKER_HOME"]).parent.exists()


def test_each_gpu_of_several_gets_a_comfyui(cluster: Cluster) -> None:
    """Numbers are passed on; what is no number (part of a GPU) is left to what Slurm lets be seen."""
    assert cluster.told(cluster.one(UNTIL="0", CUDA_VISIBLE_DEVICES="2,3"))["GPUS"] == "2,3"
    assert "GPUS" not in cluster.told(cluster.one(UNTIL="0", CUDA_VISIBLE_DEVICES="MIG-a,MIG-b"))


def test_an_array_makes_workers_that_do_not_meet(cluster: Cluster) -> None:
    """Names and folders differ, also on one node."""
    jobs = cluster.submit(UNTIL="0", options={"array": "1-3%2"})
    told = [cluster.told(job) for job in jobs]
    assert len({each["WORKER_NAME"] for each in told}) == len({each["WORKER_HOME"] for each in told}) == 3


@pytest.mark.parametrize("code", [0, 1, 2])
def test_the_workers_exit_code_is_the_jobs(cluster: Cluster, code: int) -> None:
    """So that sacct and dependencies tell wrong settings from a good end."""
    assert cluster.one(UNTIL=str(code)).ends() == code


def test_cancelling_reaches_the_worker(cluster: Cluster) -> None:
    """Hours before the limit: scancel, or a preemption. The worker hands back, and the job ends well."""
    job = cluster.one()
    cluster.told(job)
    job.cancel()
    assert job.ends() == 0
    assert "told to end" in job.said() and "the worker hands back" in job.said()


def test_the_warning_alone_does_not_end_a_worker_that_knows_its_end(cluster: Cluster) -> None:
    """It ends by itself as late as it can; only what comes later still ends it."""
    [job] = cluster.submit(options={"time": "2:00", "signal": "B:TERM@1"})
    cluster.told(job)
    job.process.send_signal(signal.SIGTERM)
    assert wait_until(lambda: "the limit is near" in job.said(), 10), job.said()
    assert job.process.poll() is None and "hands back" not in job.said()


def test_a_warning_that_comes_early_does_not_end_it_either(tmp_path: Path) -> None:
    """Slurm may warn up to 60 s earlier than asked for: 175 s before the limit no job that fits is handed back."""
    with Slurm(tmp_path / "spool", early_s=55) as slurm:
        cluster = Cluster(tmp_path, slurm)
        [job] = cluster.submit(options={"time": "2:58"})
        cluster.told(job)
        assert wait_until(lambda: "the limit is near" in job.said() or "told to end" in job.said(), 20), job.said()
        assert job.events == ["warned"] and job.process.poll() is None
        assert "hands back" not in job.said() and "told to end" not in job.said()


def test_at_the_limit_itself_the_worker_is_told(cluster: Cluster) -> None:
    """A worker that has not ended by itself hands back within KillWait: nothing is killed."""
    [job] = cluster.submit(options={"time": "0:05", "signal": "B:TERM@1"})
    cluster.told(job)
    assert job.ends() == 0
    assert job.events[0] == "warned" and "killed" not in job.events


@pytest.mark.parametrize(
    ("tool", "says"),
    [("squeue", "2099-01-01T00:00:00"), ("scontrol", "JobId=1 JobName=x EndTime=2099-01-01T00:00:00 Deadline=N/A")],
)
def test_an_older_slurm_is_asked_for_the_end(cluster: Cluster, tool: str, says: str) -> None:
    """Where the environment does not tell it: squeue, else scontrol."""
    made = cluster.bin / tool
    made.write_text(f"#!/bin/sh\necho '{says}'\n")
    made.chmod(0o755)
    told = cluster.told(cluster.one(UNTIL="0", tells_end=False, TZ="UTC"))  # type: ignore[arg-type]
    assert told["END_AT"] == "4070908800"


def test_without_a_known_end_the_warning_ends_the_worker(cluster: Cluster) -> None:
    """Nobody knows the limit but Slurm: its warning is all there is."""
    [job] = cluster.submit(tells_end=False, options={"time": "0:30", "signal": "B:TERM@26"})
    assert cluster.told(job)["END_AT"] == ""
    assert job.ends() == 0 and job.events == ["warned"]


def test_a_folder_that_is_no_clone_is_said(cluster: Cluster) -> None:
    """Exit code 2, and what to run."""
    job = cluster.one(COMFYSHEET_DIR="/tmp")
    assert job.ends() == 2 and "Run bash worker/setup.sh there first" in job.said()


def test_the_stand_in_reads_as_sbatch_does(tmp_path: Path) -> None:
    """Options end at the first command; an unknown one is refused; limits in all their forms."""
    script = tmp_path / "script"
    script.write_text("#!/bin/bash\n#SBATCH --time=5\n\necho\n#SBATCH --mem=1G\n")
    assert options_of(script) == {"time": "5"}
    script.write_text("#SBATCH --tine=5\n")
    with pytest.raises(Refused):
        options_of(script)
    assert [seconds_of(told) for told in ("5", "0:20", "04:00:00", "1-2")] == [300, 20, 14_400, 93_600]
