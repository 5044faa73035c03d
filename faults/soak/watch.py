"""Look at a run from outside: states, events on the bus, memory and open files of the workers."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from chalicelib.contract.errors import Unavailable
from chalicelib.contract.job import Job
from chalicelib.contract.states import TERMINAL, State
from faults.farm import Farm
from faults.soak.record import Record

ENDS: Final = {"Job Completed": State.SUCCEEDED, "Job Failed": State.FAILED, "Job Cancelled": State.CANCELED}
AGAIN_S: Final = 45.0
"""How often jobs that have ended are looked at once more."""
COMPLETION: Final = "completion"


@dataclass(frozen=True)
class Told:
    """Be one event of a job: its version, its kind, and which worker told it, or completion."""

    version: int
    kind: str
    sender: str = COMPLETION


class Thread:
    """Call *look* every *every_s* seconds, and once more in the end. A context manager."""

    def __init__(self, look: Callable[[], None], every_s: float, record: Record) -> None:
        self._look = look
        self._every_s = every_s
        self._record = record
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Thread:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            last = self._ended.wait(self._every_s)
            try:
                self._look()
            except Unavailable:
                pass
            except Exception as error:
                self._record.trouble(f"a watcher failed: {type(error).__name__}: {error}")
            if last:
                return


class States:
    """Sample the jobs' states: no way leads out of an end (P7), and a version never goes down."""

    def __init__(self, farm: Farm, record: Record) -> None:
        self._farm = farm
        self._record = record
        self._open: dict[str, int] = {}
        """Versions of the jobs that were open when last seen."""
        self._ended: dict[str, tuple[object, ...]] = {}
        self._full_at = 0.0
        self.wrong: list[str] = []
        self.samples = 0
        self.counts: Counter[State] = Counter()

    def look(self) -> None:
        """Take a sample of all that is open, and at times of what has ended too."""
        now = time.monotonic()
        is_full = now - self._full_at > AGAIN_S
        ids = [job_id for job_id in self._record.job_ids() if is_full or job_id not in self._ended]
        for job in self._farm.ledger.get_many(ids):
            self.samples += 1
            self._see(job)
        if is_full:
            self._full_at = now

    def _see(self, job: Job) -> None:
        before = self._ended.get(job.job_id)
        if before is not None:
            if before != _end_of(job):
                self.wrong.append(f"job {job.job_id} changed after its end: {before[:2]} became {_end_of(job)[:2]}")
            return
        if job.version < self._open.get(job.job_id, 0):
            self.wrong.append(f"the version of job {job.job_id} went down")
        self._open[job.job_id] = job.version
        if job.state in TERMINAL:
            self._ended[job.job_id] = _end_of(job)
            self.counts[job.state] += 1


def _end_of(job: Job) -> tuple[object, ...]:
    return (job.state, job.version, job.attempt, job.committed_attempt, job.finished_at, job.outputs, job.error)


class Bus:
    """Hear all events of the stage's bus, through a queue of our own."""

    def __init__(self, farm: Farm) -> None:
        session: Any = farm.world.cloud.session()
        events = session.client("events")
        self._sqs = farm.sqs
        self._queue = self._sqs.create_queue(QueueName="soak-events")["QueueUrl"]
        arn = self._sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=["QueueArn"])["Attributes"][
            "QueueArn"
        ]
        bus, pattern = farm.outputs["BusName"], json.dumps({"source": ["comfyui.monitor"]})
        events.put_rule(Name="soak", EventBusName=bus, EventPattern=pattern)
        events.put_targets(Rule="soak", EventBusName=bus, Targets=[{"Id": "soak", "Arn": arn}])
        self.told: dict[str, list[Told]] = {}
        """What was told of each job, in the order heard."""
        self.count = 0

    def look(self) -> None:
        """Take what is there."""
        while True:
            answer = self._sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10, WaitTimeSeconds=0)
            messages = answer.get("Messages", [])
            if not messages:
                return
            for message in messages:
                event = json.loads(message["Body"])
                detail = event["detail"]
                if "version" in detail:
                    told = Told(int(detail["version"]), event["detail-type"], detail.get("worker", COMPLETION))
                    self.told.setdefault(detail["job_id"], []).append(told)
                    self.count += 1
            entries = [{"Id": str(n), "ReceiptHandle": each["ReceiptHandle"]} for n, each in enumerate(messages)]
            self._sqs.delete_message_batch(QueueUrl=self._queue, Entries=entries)

    def breaches(self, jobs: dict[str, Job]) -> list[str]:
        """
        Say where a consumer that keeps the highest version would be wrong, and who went back to a lower one (P19).

        Each end must be heard: it is told by completion, whose way to the bus no fault of a soak is on. Of what workers
        tell some is lost, for theirs is cut and loses answers.
        """
        wrong = []
        for job_id, told in self.told.items():
            job = jobs.get(job_id)
            wrong += [f"an event speaks of {job_id}, for which nobody asked"] if job is None else _misled(job, told)
        for job in jobs.values():
            if job.state in TERMINAL and not any(each.kind in ENDS for each in self.told.get(job.job_id, ())):
                wrong.append(f"job {job.job_id} is {job.state}, and the bus was not told of its end")
        return wrong


def _misled(job: Job, told: Sequence[Told]) -> list[str]:
    wrong = []
    highest = max(each.version for each in told)
    ends = {(each.version, each.kind) for each in told if each.kind in ENDS}
    if highest > job.version:
        wrong.append(f"an event of job {job.job_id} has version {highest}; the job has {job.version}")
    if ends and (len(ends) > 1 or ends != {(job.version, _kind(job))}):
        wrong.append(f"job {job.job_id} ended as {job.state} at version {job.version}; told was {sorted(ends)}")
    if ends and any(each.version >= job.version and each.kind not in ENDS for each in told):
        wrong.append(f"something of job {job.job_id} was told with its last version that is not its end")
    for sender in {each.sender for each in told}:
        versions = [each.version for each in told if each.sender == sender]
        if versions != sorted(versions):
            wrong.append(f"the versions of job {job.job_id} that {sender} told went down: {versions}")
    return wrong


def _kind(job: Job) -> str:
    return next((kind for kind, state in ENDS.items() if state is job.state), "")


@dataclass
class Body:
    """Hold what one worker process has used over its life."""

    name: str
    samples: list[tuple[float, float, int]] = field(default_factory=list)
    """Seconds of the run, resident megabytes, open files."""

    @property
    def life_s(self) -> float:
        return self.samples[-1][0] - self.samples[0][0] if self.samples else 0.0

    def slope(self) -> float:
        """Give the slope of its memory over the last four fifths of its life, by least squares (MB a minute)."""
        kept = self.samples[len(self.samples) // 5 :]
        if len(kept) < 3:
            return 0.0
        mean_x = sum(x for x, _, _ in kept) / len(kept)
        mean_y = sum(y for _, y, _ in kept) / len(kept)
        spread = sum((x - mean_x) ** 2 for x, _, _ in kept)
        return 60 * sum((x - mean_x) * (y - mean_y) for x, y, _ in kept) / spread if spread else 0.0


class Bodies:
    """Weigh the workers' processes."""

    def __init__(self, workers: Callable[[], dict[str, int]], begun: float) -> None:
        """*workers*: names and process ids of those that work now."""
        self._workers = workers
        self._begun = begun
        self.bodies: dict[str, Body] = {}

    def look(self) -> None:
        """Weigh each once."""
        for name, pid in self._workers().items():
            try:
                status = Path(f"/proc/{pid}/status").read_text()
                files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
            except OSError:
                continue  # it was killed just now
            resident = next((line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")), None)
            if resident is None:
                continue
            body = self.bodies.setdefault(name, Body(name))
            body.samples.append((time.monotonic() - self._begun, int(resident) / 1024, files))

    def oldest(self) -> Body | None:
        """Give the one that lived longest."""
        return max(self.bodies.values(), key=lambda body: body.life_s, default=None)
