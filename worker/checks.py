"""
Look at one thing that a worker needs, and say what was seen and what to do: the checks of `python -m worker doctor`.

Each is handed what it asks. None takes a job, none renders; only `Cloud.write` leaves something, and `Cloud.bus` when
told.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import websocket
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.contract.errors import Unavailable
from chalicelib.contract.kit import LIVE_MS
from worker.aws import DateSkew
from worker.bus import EventBus
from worker.clock import Clock
from worker.comfy.client import ComfyClient
from worker.gpus import NoGpus, list_gpus
from worker.health import NOBODY
from worker.kit import bare_url
from worker.ports import Event
from worker.settings import Settings

if TYPE_CHECKING:
    from boto3.session import Session

GOOD: Final = "good"
BAD: Final = "bad"
NOTE: Final = "note"
ASK_S: Final = 5
"""How long one answer may take; what drips is the caller's to bound."""


@dataclass(frozen=True)
class Finding:
    """Hold what one check found: `good`, `bad` or `note` (cannot be told, or is not used), and what to do."""

    name: str
    verdict: str
    seen: str
    remedy: str = ""


Check = Callable[[], Finding]


def check_disk(settings: Settings) -> Finding:
    """Want room for two largest jobs."""
    folder = settings.home
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    free_mb, needed_mb = shutil.disk_usage(folder).free // 1_000_000, 2 * settings.max_output_bytes // 1_000_000
    seen = f"{free_mb:,} MB free at {settings.home}"
    if free_mb >= needed_mb:
        return Finding("disk", GOOD, seen)
    return Finding("disk", BAD, seen, f"{needed_mb:,} MB must be free: make room, or lower MAX_OUTPUT_MB.")


def check_folder(settings: Settings) -> Finding:
    """Look at the ComfyUI that the worker is to start, and at the GPUs."""
    try:
        gpus = ", ".join(f"{gpu.index}: {gpu.name} ({gpu.memory_mb:,} MB)" for gpu in list_gpus())
    except NoGpus as error:
        verdict = BAD if settings.gpus == "all" else NOTE
        return Finding("ComfyUI", verdict, f"{settings.comfy_dir}; {error}", "Without a GPU add --cpu to COMFY_ARGS.")
    return Finding("ComfyUI", GOOD, f"{settings.comfy_dir}, to be started; {gpus}")


def check_comfy(url: str) -> Finding:
    """Ask ComfyUI who it is and what waits there."""
    comfy = ComfyClient(url)
    try:
        facts, length = comfy.facts(), comfy.queue_length()
        nodes = len(comfy.object_info())
    except Unavailable as error:
        remedy = f"Start ComfyUI at {bare_url(url)}, or name it with COMFY_URL."
        return Finding("ComfyUI", BAD, error.message, remedy)
    seen = f"{bare_url(url)}: ComfyUI {facts.version} on {facts.device}, {nodes} nodes, {length} in its queue"
    return Finding("ComfyUI", GOOD, seen)


def check_websocket(url: str) -> Finding:
    """Open the WebSocket and wait for its first word."""
    address = url.replace("http", "ws", 1) + "/ws?clientId=comfysheet-doctor"
    try:
        socket = websocket.create_connection(address, timeout=ASK_S, suppress_origin=True, http_no_proxy=["*"])
        try:
            first = json.loads(socket.recv())
        finally:
            socket.close()
    except (OSError, websocket.WebSocketException, ValueError) as error:
        remedy = "A proxy in between must pass WebSockets. Without one progress is late and the GPU may wait."
        return Finding("WebSocket", BAD, f"{bare_url(url)}: {type(error).__name__}", remedy)
    if not isinstance(first, dict) or first.get("type") != "status":
        return Finding("WebSocket", BAD, f"{bare_url(url)}: it does not speak as ComfyUI does", "Check COMFY_URL.")
    return Finding("WebSocket", GOOD, f"{bare_url(url)}: its first word is status")


def check_credentials(session: Session) -> Finding:
    """Say where AWS credentials come from; never what they are."""
    try:
        found = session.get_credentials()
    except BotoCoreError as error:
        return Finding("credentials", BAD, type(error).__name__, "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.")
    if found is None:
        remedy = "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the machine a role."
        return Finding("credentials", BAD, "there are none", remedy)
    return Finding("credentials", GOOD, f"from {found.method}")


class Cloud:
    """Check what lies in AWS, each thing with one small question."""

    def __init__(self, settings: Settings, session: Any) -> None:
        self._settings = settings
        self._config = Config(connect_timeout=3, read_timeout=ASK_S, retries={"total_max_attempts": 1})
        self._session = session
        self._skew = DateSkew(Clock().now_ms)
        self._has_date = False

    def jobs_queue(self) -> Finding:
        """Count what waits."""

        def ask() -> str:
            wanted = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
            told = self._client("sqs").get_queue_attributes(
                QueueUrl=self._settings.jobs_queue_url,
                AttributeNames=wanted,
            )["Attributes"]
            return f"{told[wanted[0]]} jobs wait, {told[wanted[1]]} are in hand"

        return _asked("jobs queue", ask, "Check JOBS_QUEUE_URL, and that the worker policy is attached.")

    def completions(self) -> Finding:
        """Look at the queue that completion reads."""
        return self._send_only("completions queue", "COMPLETIONS_QUEUE_URL", self._settings.completions_queue_url)

    def dead_letters(self) -> Finding:
        """Look at the queue for what nobody can read."""
        url = self._settings.jobs_dlq_url
        if url is None:
            seen = "JOBS_DLQ_URL is not set: what nobody can read is left to the queue's own redrive"
            return Finding("dead letters", NOTE, seen)
        return self._send_only("dead letters", "JOBS_DLQ_URL", url)

    def _send_only(self, name: str, setting: str, url: str) -> Finding:
        """Say that it cannot be told without sending, where a worker may do nothing else."""
        try:
            self._client("sqs").get_queue_attributes(QueueUrl=url)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if "AccessDenied" in code:
                return Finding(name, NOTE, "a worker may only send there: not tried")
            return Finding(name, BAD, f"AWS says {code}", f"Check {setting}.")
        except BotoCoreError as error:
            return Finding(name, BAD, type(error).__name__, "Check the network and AWS_REGION.")
        return Finding(name, GOOD, "it is there")

    def table(self) -> Finding:
        """Read a job that is nobody's; the answer's date tells the time."""

        def ask() -> str:
            client = self._client("dynamodb")
            client.meta.events.register("after-call.dynamodb", self._note_date)
            client.get_item(TableName=self._settings.jobs_table, Key={"job_id": {"S": NOBODY}})
            return self._settings.jobs_table

        return _asked("jobs table", ask, "Check JOBS_TABLE and AWS_REGION, and that the worker policy is attached.")

    def workers(self) -> Finding:
        """Read the other workers' cards."""
        name = self._settings.workers_table
        if name is None:
            return Finding("workers table", NOTE, "WORKERS_TABLE is not set: other workers are not known")

        def ask() -> str:
            found = self._client("dynamodb").scan(TableName=name, ProjectionExpression="seen_at")["Items"]
            now_ms = Clock().now_ms()
            live = sum(int(item["seen_at"]["N"]) > now_ms - LIVE_MS for item in found)
            return f"{live} workers are alive"

        return _asked("workers table", ask, "Check WORKERS_TABLE, and that the worker policy is attached.")

    def workflows(self) -> Finding:
        """Read the catalog."""

        def ask() -> str:
            found = self._client("s3").get_object(Bucket=self._settings.bucket, Key="workflows/index.json")
            index = json.loads(found["Body"].read())
            # A removed workflow stays in the index for a while, so that it can be brought back.
            there = sum("removed_at" not in entry for entry in index.values() if isinstance(entry, dict))
            return f"{there} workflows"

        return _asked("workflows", ask, "Push them: python -m infra workflows push --stage STAGE. Check S3_BUCKET.")

    def write(self) -> Finding:
        """Write one small file."""

        def ask() -> str:
            key = f"runs/doctor/{self._settings.worker_name}.txt"
            self._client("s3").put_object(Bucket=self._settings.bucket, Key=key, Body=b"The doctor was here.\n")
            return f"{self._settings.bucket} can be written"

        return _asked("bucket", ask, "Check S3_BUCKET, and that the worker policy is attached.")

    def bus(self, *, send: bool) -> Finding:
        """Say whether events go anywhere; with *send* one goes there, of the kind `Doctor`."""
        name = self._settings.bus_name
        if name is None:
            return Finding("event bus", NOTE, "EVENTBRIDGE_BUS_NAME is not set: nobody is told of events")
        if not send:
            return Finding("event bus", NOTE, f"{name}: a worker may only send there: try it with --send")

        def ask() -> str:
            event = Event("Doctor", {"worker": self._settings.worker_name})
            if EventBus(self._client("events"), name).send([event]):
                raise Unavailable("the bus did not take the event", retry_in_s=0)
            return f"{name} took one event"

        return _asked("event bus", ask, "Check EVENTBRIDGE_BUS_NAME, and that the worker policy is attached.")

    def clock(self) -> Finding:
        """Compare clocks, by the date of the table's answer."""
        if not self._has_date:
            return Finding("clock", NOTE, "AWS gave no answer to compare with")
        skew_s, limit = self._skew.skew_s, self._settings.clock_skew_s
        side = "ahead of" if skew_s > 0 else "behind"
        seen = f"{abs(skew_s):.1f} s {side} AWS's"
        if abs(skew_s) <= limit:
            return Finding("clock", GOOD, seen)
        return Finding("clock", BAD, seen, "Set this machine's clock (NTP): leases compare clocks.")

    def _note_date(self, http_response: Any, **_: object) -> None:
        date = http_response.headers.get("date")
        if date:
            self._skew.note(date)
            self._has_date = True

    def _client(self, name: str) -> Any:
        return self._session.client(name, config=self._config)


def _asked(name: str, ask: Callable[[], str], remedy: str) -> Finding:
    try:
        return Finding(name, GOOD, ask())
    except ClientError as error:
        return Finding(name, BAD, f"AWS says {error.response['Error']['Code']}", remedy)
    except Unavailable as error:
        return Finding(name, BAD, error.message, remedy)
    except (BotoCoreError, ValueError, KeyError) as error:
        return Finding(name, BAD, type(error).__name__, remedy)
