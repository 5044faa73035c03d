"""
Measure the worker: how long the GPU waits between jobs, how many jobs a second it can do, what a job costs.

The stand-in says exactly when each prompt began and ended. Between the worker and the cloud stands a relay that adds
40 ms to every answer, where that is said.
"""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4

from bench.farm import Farm, farm
from bench.figures import Figure, single, spread
from chalicelib.contract.job import Timings
from chalicelib.contract.ports import Claimed
from chalicelib.contract.states import State
from chalicelib.ledger import DynamoLedger
from sandbox.world import ROOT
from worker.aws import AwsClients
from worker.clock import Clock
from worker.comfy.client import ComfyClient
from worker.comfy.doorbell import SocketDoorbell
from worker.comfy.outputs import files_of

ROUND_TRIP_MS = 40.0
WARM = 5
"""Jobs before the measured ones: run times and lead times are learnt, clients are warm."""

PICTURE_PX = 592
"""Of noise: a PNG of about 1 MB."""

Note = Callable[[str, Figure], None]


def sleeping(seconds: float) -> dict[str, Any]:
    """Draw a graph that takes *seconds* and saves a small picture; the jobs' prefixes keep it out of the cache."""
    return {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 1}},
        "2": {
            "class_type": "TestSleep",
            "inputs": {"image": ["1", 0], "seconds": seconds, "steps": 10, "preview": False, "seed": 0},
        },
        "9": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "x"}},
    }


def instant(size_px: int = 64) -> dict[str, Any]:
    """Draw a graph that takes no time."""
    empty = {"width": size_px, "height": size_px, "batch_size": 1, "color": 1}
    return {
        "1": {"class_type": "EmptyImage", "inputs": empty},
        "2": {"class_type": "TestNoise", "inputs": {"image": ["1", 0], "seed": random.randrange(1 << 30)}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "x"}},
    }


def measure(note: Note, *, quick: bool) -> None:
    """Measure everything."""
    few = 15 if quick else 60
    for slots, mark in ((2, ""), (1, "_one_slot")):
        _gaps(note, 0.3, few, slots, "300", mark)
    _gaps(note, 2.0, 5 if quick else 50, 2, "2000", "")
    _ceiling_and_rate(note, 100 if quick else 600)
    _finish_to_commit(note, 10 if quick else 40)
    memory(note, 300 if quick else 2000)


def _gaps(note: Note, seconds: float, count: int, slots: int, name: str, mark: str) -> None:
    """Fill the queue with jobs of *seconds* and see how long the GPU idles between them."""
    with farm(delay_ms=ROUND_TRIP_MS) as (place, relayed):
        ids = place.put(sleeping(seconds), count + WARM)
        with place.worker(relayed, SLOTS=str(slots)):
            spans = place.wait(count + WARM)
            place.settled(ids)
        spans = sorted(spans, key=lambda span: span[1])[WARM:]
        gaps = [(after[1] - before[2]) / 1e6 for before, after in pairwise(spans)]
        note(f"gpu_idle_gap_ms_{name}{mark}", spread(gaps, "ms"))
        busy = sum(end - begin for _, begin, end in spans) / (spans[-1][2] - spans[0][1])
        note(f"gpu_busy_share_{name}{mark}", single(busy * 100, "%", len(spans)))
        if relayed is not None and not mark and name == "300":
            for kind, calls in sorted(relayed.calls().items()):
                note(f"aws_calls_per_job {kind}", single(calls / len(ids), "calls", len(ids)))


def _ceiling_and_rate(note: Note, count: int) -> None:
    """Run instant jobs through the whole worker, then the bare loop, on the same stand-in."""
    with farm() as (place, _):
        ids = place.put(instant(), count)
        with place.worker(SLOTS="4"):
            spans = place.wait(count)
            place.settled(ids)
        ordered = sorted(spans, key=lambda span: span[1])[count // 5 :]
        rate = (len(ordered) - 1) / ((ordered[-1][1] - ordered[0][1]) / 1e9)
        note("worker_jobs_per_s_instant", single(rate, "jobs/s", len(ordered)))
        note("cloud_ceiling_jobs_per_s", single(_cloud_ceiling(place, min(count, 300)), "jobs/s", min(count, 300)))
        alone = _without_cloud(count)
        ceiling = _bare_loop(place, count)
        note("worker_jobs_per_s_no_cloud", single(alone, "jobs/s", count))
        note("worker_ceiling_share_no_cloud", single(100 * alone / ceiling, "%", count))
        note("comfy_ceiling_jobs_per_s", single(ceiling, "jobs/s", count))
        note("worker_ceiling_share", single(100 * rate / ceiling, "%", count))


def _without_cloud(count: int) -> float:
    """Run instant jobs through the worker's own threads with the cloud in memory; jobs a second."""
    from tests.comfy_real.server import free_port
    from tests.comfy_real.shop import RealShop

    port = free_port()
    with tempfile.TemporaryDirectory(prefix="comfysheet-bench-") as home:
        command = [sys.executable, "-m", "sandbox.comfy", "--port", str(port), "--instant", "--test-nodes"]
        comfy = subprocess.Popen([*command, "--dir", f"{home}/comfy"], cwd=ROOT, stdout=subprocess.PIPE)
        try:
            assert comfy.stdout is not None and comfy.stdout.readline()
            shop = RealShop(f"http://127.0.0.1:{port}", Path(home), SLOTS="4")
            ids = [shop.submit(instant()) for _ in range(count)]
            with shop.open(hands=10):
                begun, first = time.perf_counter(), 0
                while (done := sum(shop.job(job_id).state is State.SUCCEEDED for job_id in ids)) < count:
                    if not first and done >= count // 5:
                        begun, first = time.perf_counter(), done
                    threading.Event().wait(0.05)
                return (count - first) / (time.perf_counter() - begun)
        finally:
            comfy.terminate()
            comfy.wait(10)


def _cloud_ceiling(place: Farm, count: int) -> float:
    """Make the calls of a job, and nothing else, from four threads of one process; jobs a second."""
    ids = place.put(instant(), count)
    left = iter(ids)
    lock = threading.Lock()

    def hand(clients: Any) -> None:
        ledger = DynamoLedger(clients.dynamodb(), place.table)
        sqs, s3 = clients.sqs(), clients.s3()
        while True:
            with lock:
                job_id = next(left, None)
            if job_id is None:
                return
            # The worker's last polls, which died with it, may have taken a message or two.
            received = sqs.receive_message(QueueUrl=place.queue, MaxNumberOfMessages=1).get("Messages", [])
            claimed = ledger.claim(job_id, 1, owner="w", token=uuid4().hex, now=_now(), lease_ms=60_000)
            assert isinstance(claimed, Claimed)
            for folder in ("outputs", "runs"):
                s3.put_object(Bucket=place.bucket, Key=f"{folder}/{job_id}", Body=b"x" * 12_000, IfNoneMatch="*")
            ledger.commit(claimed.lease, now=_now(), outputs=[], timings=Timings())
            sqs.send_message(QueueUrl=place.done, MessageBody=job_id, MessageGroupId="g", MessageDeduplicationId=job_id)
            for message in received:
                sqs.delete_message(QueueUrl=place.queue, ReceiptHandle=message["ReceiptHandle"])

    makers = [AwsClients("us-east-1", 20, lambda _date: None) for _ in range(4)]
    with place.cloud_in_environment():
        hands = [threading.Thread(target=hand, args=(each,)) for each in makers]
        begun = time.perf_counter()
        for each in hands:
            each.start()
        for each in hands:
            each.join()
    return count / (time.perf_counter() - begun)


def _now() -> int:
    return time.time_ns() // 1_000_000


def _bare_loop(place: Farm, count: int) -> float:
    """Submit, wait and fetch with four in the queue, and nothing of a job around it; runs a second."""
    comfy, doorbell = ComfyClient(place.comfy.url), SocketDoorbell(place.comfy.url, Clock())
    listening = threading.Thread(target=doorbell.run, daemon=True)
    listening.start()
    left = threading.Semaphore(count)

    def hand() -> None:
        while left.acquire(blocking=False):
            graph = instant()
            graph["9"]["inputs"]["filename_prefix"] = f"bare/{uuid4()}/x"
            prompt_id, over = str(uuid4()), _Over()
            with doorbell.watch(prompt_id, graph, over) as watch:
                comfy.submit(graph, prompt_id, watch.client_id)
                over.event.wait(10)
            entry = comfy.ended(prompt_id)
            if entry is not None:
                comfy.fetch(files_of(entry.outputs)[0], 10**7, BytesIO())

    hands = [threading.Thread(target=hand) for _ in range(4)]
    begun = time.perf_counter()
    for each in hands:
        each.start()
    for each in hands:
        each.join()
    took = time.perf_counter() - begun
    doorbell.close()
    listening.join(5)
    return count / took


class _Over:
    """Follow one prompt to its end."""

    def __init__(self) -> None:
        self.event = threading.Event()

    def begun(self) -> None:
        """Nothing to do."""

    def ended(self) -> None:
        self.event.set()

    def ring(self) -> None:
        """Nothing to do."""


def _finish_to_commit(note: Note, count: int) -> None:
    """One job at a time, a picture of about 1 MB: from the end of its run to the committed item."""
    with farm() as (place, _), place.worker(SLOTS="2"):
        samples, sizes = [], []
        for number in range(count + WARM):
            [job_id] = place.put(instant(PICTURE_PX), 1)
            spans = place.wait(number + 1)
            [job] = place.settled([job_id])
            assert job.finished_at is not None
            samples.append(job.finished_at - spans[-1][2] / 1e6)
            sizes.append(job.outputs[0].size_bytes)
        note("finish_to_commit_ms", spread(samples[WARM:], "ms"))
        note("finish_to_commit_picture_bytes", single(statistics.median(sizes), "bytes", count))


def memory(note: Note, count: int) -> None:
    """Run instant jobs and fit a line through the worker's memory, once the allocator is warm (two fifths)."""
    with farm() as (place, _):
        ids = place.put(instant(), count)
        with place.worker(SLOTS="4") as worker:
            samples: list[tuple[float, float]] = []
            while len(place.comfy.spans) < count:
                samples.append((len(place.comfy.spans), _rss_kb(worker.pid)))
                threading.Event().wait(0.25)
            place.settled(ids)
    later = [sample for sample in samples if sample[0] > count * 2 / 5]
    slope = statistics.linear_regression([x for x, _ in later], [y for _, y in later]).slope
    note("worker_rss_slope_kb_per_job", single(slope, "KB/job", count))
    note("worker_rss_mb", single(samples[-1][1] / 1024, "MB", len(samples)))


def _rss_kb(pid: int) -> float:
    with Path(f"/proc/{pid}/status").open() as told:
        for line in told:
            if line.startswith("VmRSS:"):
                return float(line.split()[1])
    return 0.0
