"""
Read the recorded ComfyUI traffic, play it again against a server, and make both comparable.

A transcript is played as it was recorded: a socket is opened where one was, and a prompt is posted once all the frames
that were seen before it have come again. What differs from run to run is made equal on both sides: ids become the order
in which they appear, times and paths vanish, sets become sorted lists, a file's number becomes N.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

RECORDED = Path(__file__).parents[1] / "data" / "comfyui"
DEADLINE_S = 10.0
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
UNORDERED = ("executed", "nodes", "current_outputs", "cycle_nodes")
Json = dict[str, Any]


def http_recording(name: str) -> Json:
    """Give {"request": ..., "response": ...} of one recorded exchange."""
    return json.loads((RECORDED / "http" / f"{name}.json").read_text())


def transcript(name: str, *, sleep_s: float = 0.15) -> list[Json]:
    """Give the records of one transcript; its sleeping nodes are told to sleep no longer than *sleep_s*."""
    records = [json.loads(line) for line in (RECORDED / "ws" / f"{name}.jsonl").read_text().splitlines()]
    return [_hurried(record, sleep_s) for record in records]


def _hurried(value: Any, sleep_s: float) -> Any:
    if isinstance(value, dict):
        return {k: min(v, sleep_s) if k == "seconds" else _hurried(v, sleep_s) for k, v in value.items()}
    return [_hurried(v, sleep_s) for v in value] if isinstance(value, list) else value


def comparable(value: Any) -> Any:
    """Give *value* (frames, answers) without what differs from run to run."""
    names: dict[str, str] = {}

    def same(item: Any, key: str = "") -> Any:
        if key in ("timestamp", "create_time", "execution_start_time", "execution_end_time"):
            return type(item).__name__
        if key == "traceback":
            return [] if item == [] else "lines of a traceback"
        if key == "details" and "\n" in item:
            return sorted(item.split("\n"))
        if key == "errors":  # ComfyUI walks a set of inputs: any order
            return sorted((same(error) for error in item), key=lambda error: error["details"])
        if isinstance(item, dict):
            return {UUID.sub(rename, k): same(v, k) for k, v in item.items() if k != "tooltip"}
        if isinstance(item, list):
            items = [same(v) for v in item]
            return sorted(items) if key in UNORDERED and all(isinstance(v, str) for v in items) else items
        return text(item) if isinstance(item, str) else item

    def rename(match: re.Match[str]) -> str:
        return names.setdefault(match[0].lower(), f"<id {len(names)}>")

    def text(item: str) -> str:
        item = UUID.sub(rename, item)
        item = re.sub(r"(?<=: )/\S*|(?<=path )/\S+", "<path>", item)
        item = re.sub(r"_temp_[a-z]{5}_", "_temp_abcde_", item)
        return re.sub(r"_\d{5}(?=[_.])", "_N", item)

    return same(value)


def is_noise(frame: Json) -> bool:
    """Say whether a frame depends on how the threads of a busy server fall: status, and every tick of a node."""
    if frame.get("type") in ("status", "progress"):
        return True
    nodes = frame.get("data", {}).get("nodes", {})
    return frame.get("type") == "progress_state" and any(
        n["state"] == "running" and n["max"] != 1.0 for n in nodes.values()
    )


def frame_of(record: Json) -> Json | None:
    """Give the server's frame in a record: a text frame as it is, of a binary one its kind; None for other records."""
    if record.get("dir") != "server->client":
        return None
    if record["frame"] == "text":
        return record["json"]
    return binary_frame(record["desc"])


def binary_frame(seen: Json) -> Json:
    """Keep of a binary frame what can be compared: event type, format, start of the picture, metadata."""
    kept = ("event_type", "image_type", "image_magic", "metadata")
    return {"binary": {key: seen[key] for key in kept if key in seen}}


def described(blob: bytes) -> Json:
    """Describe a binary frame as the recording does."""
    kind = int.from_bytes(blob[:4], "big")
    if kind == 4:
        length = int.from_bytes(blob[4:8], "big")
        return {
            "event_type": 4,
            "metadata": json.loads(blob[8 : 8 + length]),
            "image_magic": blob[8 + length :][:8].hex(),
        }
    return {"event_type": kind, "image_type": int.from_bytes(blob[4:8], "big"), "image_magic": blob[8:16].hex()}


@dataclass
class Listener:
    """Be one WebSocket client: collect every frame, and let others wait for them."""

    socket: aiohttp.ClientWebSocketResponse
    frames: list[Json] = field(default_factory=list)
    closed_with: int | None = None
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def listen(self) -> None:
        async for message in self.socket:
            binary = message.type is aiohttp.WSMsgType.BINARY
            frame = binary_frame(described(message.data)) if binary else json.loads(message.data)
            async with self._news:
                self.frames.append(frame)
                self._news.notify_all()
        async with self._news:
            self.closed_with = self.socket.close_code
            self._news.notify_all()

    async def until(self, enough: Callable[[list[Json]], bool]) -> None:
        """Wait until the frames are *enough*; fails with what came when they never are."""
        try:
            async with self._news:
                await asyncio.wait_for(self._news.wait_for(lambda: enough(self.frames)), DEADLINE_S)
        except TimeoutError:
            raise AssertionError(f"still waiting after {json.dumps(self.frames)[-3000:]}") from None

    async def until_closed(self) -> int | None:
        async with self._news:
            await asyncio.wait_for(self._news.wait_for(lambda: self.closed_with is not None), DEADLINE_S)
        return self.closed_with

    async def until_over(self, prompt_id: str) -> None:
        """Wait for `executing(null)` of *prompt_id*."""
        await self.until(lambda frames: any(is_end(f, prompt_id) for f in frames))


def is_end(frame: Json, prompt_id: str) -> bool:
    return frame.get("type") == "executing" and frame["data"] == {"node": None, "prompt_id": prompt_id}


def starts(node: str, prompt_id: str | None = None) -> Callable[[list[Json]], bool]:
    """Recognise that *node* runs, of *prompt_id* or of any prompt."""

    def seen(frames: list[Json]) -> bool:
        running = (f["data"] for f in frames if f.get("type") == "executing")
        return any(d["node"] == node and prompt_id in (None, d.get("prompt_id")) for d in running)

    return seen


class Client:
    """Speak with one server as a ComfyUI client does."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.session = aiohttp.ClientSession()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.session.close()
        for task in self._tasks:
            task.cancel()

    async def listen(self, client_id: str) -> Listener:
        """Open a socket; its first frame has come."""
        listener = Listener(await self.session.ws_connect(f"{self.url}/ws?clientId={client_id}", max_msg_size=0))
        self._tasks.append(asyncio.create_task(listener.listen()))
        await listener.until(lambda frames: bool(frames))
        return listener

    async def post(self, path: str, body: object = None, **options: Any) -> tuple[int, Any]:
        async with self.session.post(self.url + path, json=body, **options) as response:
            text = await response.text()
            return response.status, json.loads(text) if response.content_type == "application/json" else text

    async def get(self, path: str, **options: Any) -> Any:
        async with self.session.get(self.url + path, **options) as response:
            return await response.json()

    async def history(self, prompt_id: str) -> Json | None:
        return (await self.get(f"/history/{prompt_id}")).get(prompt_id)

    async def run(self, graph: Json, **more: object) -> Json:
        """Post a graph and give its history entry once it is over; asks again until it is there."""
        status, answer = await self.post("/prompt", {"prompt": graph, **more})
        assert status == 200, answer
        return await self.finished(answer["prompt_id"])

    async def finished(self, prompt_id: str) -> Json:
        deadline = asyncio.get_running_loop().time() + DEADLINE_S
        while (entry := await self.history(prompt_id)) is None:
            assert asyncio.get_running_loop().time() < deadline, f"{prompt_id} never ended"
            await asyncio.sleep(0.005)
        return entry


@dataclass
class Replay:
    """Hold what was recorded and what came when it was played again, in one order each."""

    recorded: list[Json]
    played: list[Json]


Deed = Callable[[Client, Listener, list[str]], Awaitable[None]]


async def replay(client: Client, records: list[Json], *, deed: Deed | None = None, noisy: bool = False) -> Replay:
    """
    Play one transcript. *deed* is done after the last prompt is posted (and is given the prompt ids so far): what the
    recording did beside prompts (interrupts, deletions). *noisy* leaves status frames and ticks out of account.
    """
    keep: Callable[[Json], bool] = (lambda f: not is_noise(f)) if noisy else (lambda f: True)
    frames = [f for f in map(frame_of, records) if f]
    wanted = [f for f in frames if keep(f)]
    posts = [i for i, r in enumerate(records) if r.get("note") == "POST /prompt"]
    listener: Listener | None = None
    prompt_ids: list[str] = []
    recorded, played = [], []

    async def have(count: int) -> None:
        assert listener
        await listener.until(lambda got: sum(map(keep, got)) >= count)

    for index, record in enumerate(records):
        if record.get("note") == "connected":
            listener = await client.listen(record["url"].split("=")[1])
        elif record.get("dir") == "client->server":
            assert listener
            await listener.socket.send_json(record["json"])
        elif record.get("note") == "POST /prompt":
            await have(sum(1 for r in records[:index] if (f := frame_of(r)) and keep(f)))
            status, answer = await client.post("/prompt", record["body"])
            prompt_ids += [answer["prompt_id"]] if status == 200 else []
            recorded.append({"status": record["status"], "answer": record["response"]})
            played.append({"status": status, "answer": answer})
            if deed and index == posts[-1]:
                assert listener
                await deed(client, listener, prompt_ids)
        elif record.get("note") == "history":
            await have(len(wanted))
            recorded.append({"history": record["history"]})
            played.append({"history": await client.history(prompt_ids[-1])})
    await have(len(wanted))
    assert listener
    _count_from_zero(recorded)
    _count_from_zero(played)
    return Replay(comparable([recorded, wanted]), comparable([played, [f for f in listener.frames if keep(f)]]))


def _count_from_zero(steps: list[Json]) -> None:
    """Let the prompt numbers, which count on through a server's life, begin at 0 for the first answer."""
    first = next((s["answer"]["number"] for s in steps if "number" in s.get("answer", {})), 0)

    def shifted(number: float) -> float:
        return number if isinstance(number, float) else number - first if number >= 0 else number + first

    for step in steps:
        if "number" in step.get("answer", {}):
            step["answer"]["number"] = shifted(step["answer"]["number"])
        if step.get("history"):
            step["history"]["prompt"][0] = shifted(step["history"]["prompt"][0])
