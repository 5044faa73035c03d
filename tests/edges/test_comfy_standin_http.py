"""Hold the ComfyUI stand-in's HTTP answers against those recorded from real ComfyUI 0.28.0 servers."""

from __future__ import annotations

import asyncio
import io
import json
import uuid
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from PIL import Image

from sandbox.comfy import ComfyStandIn
from tests.edges.comfy_recordings import RECORDED, Client, comparable, http_recording, starts

# Exchanges that mean the same on any server, whatever happened before.
PATTERNS = (
    "api_job_unknown_404",
    "api_jobs_bad_status_400",
    "features",
    "free",
    "history_clear",
    "history_delete",
    "history_id_while_running_is_empty",
    "interrupt_*",
    "object_info_EmptyImage",
    "object_info_SaveImage",
    "object_info_unknown",
    "prompt_200_with_node_errors",
    "prompt_client_prompt_id",
    "prompt_err_*",
    "prompt_ok",
    "prompt_partial_execution_targets",
    "queue_clear",
    "queue_delete",
    "view_*_40?",
)
STATELESS = sorted(p.stem for pattern in PATTERNS for p in (RECORDED / "http").glob(f"{pattern}.json"))


async def exchange(client: Client, request: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Send a recorded request; give status, content type and body as the recording has them."""
    async with client.session.request(
        request["method"],
        client.url + prefix + request["path"],
        json=request.get("json"),
        data=request.get("data"),
        params=request.get("params"),
        headers=request.get("headers"),
    ) as response:
        body = (
            {"json": await response.json()}
            if response.content_type == "application/json"
            else {"body": await response.text()}
        )
        return {"status": response.status, "content_type": response.headers.get("Content-Type"), **body}


def told(response: dict[str, Any]) -> Any:
    """Make an answer comparable; descriptions and aliases of nodes are not part of the interface."""
    answer = {key: response[key] for key in ("status", "content_type", "json", "body") if key in response}
    if isinstance(answer.get("json"), dict):
        answer["json"] = {k: v for k, v in answer["json"].items() if k != "number"}
        for node in answer["json"].values():
            if isinstance(node, dict) and "search_aliases" in node:
                node |= {"description": "", "search_aliases": []}
    return comparable(answer)


@pytest.mark.parametrize("prefix", ["", "/api"])
@pytest.mark.parametrize("name", STATELESS)
def test_a_recorded_request_gets_the_recorded_answer(name: str, prefix: str, comfy: ComfyStandIn) -> None:
    """Status, content type and body are those that a real ComfyUI gave, with and without /api."""
    recording = http_recording(name)
    if recording["request"]["path"].startswith("/api/"):
        prefix = ""

    async def ask() -> None:
        async with Client(comfy.url) as client:
            answer = await exchange(client, recording["request"], prefix)
            assert told(answer) == told(recording["response"])

    asyncio.run(ask())


def test_enough_exchanges_are_compared() -> None:
    """The patterns above still find the recordings (a renamed file must not silently drop out)."""
    assert len(STATELESS) == 44


@pytest.fixture()
def comfy(tmp_path: Path) -> Any:
    """Run a stand-in with its test nodes."""
    with ComfyStandIn(tmp_path, test_nodes=True) as server:
        yield server


def picture(colour: str, size: tuple[int, int] = (8, 8), mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, colour).save(buffer, "PNG")
    return buffer.getvalue()


async def upload(client: Client, kind: str, fields: dict[str, str], name: str | None, content: bytes) -> Any:
    form = aiohttp.FormData(fields)
    if name is not None:
        form.add_field("image", content, filename=name, content_type="image/png")
    elif not fields:
        form.add_field("nothing", "")
    return await client.post(f"/upload/{kind}", data=form)


def test_uploads_answer_as_recorded(comfy: ComfyStandIn) -> None:
    """Same content keeps its name, other content gets `(1)`, temp and any file type work; `..` and no file are 400."""

    async def play() -> None:
        async with Client(comfy.url) as client:
            sub = {"subfolder": "jobs/abc"}
            steps = [
                ("upload_image_subfolder_overwrite", {**sub, "overwrite": "true"}, "in1.png", picture("red")),
                ("upload_image_same_content_no_overwrite", sub, "in1.png", picture("red")),
                ("upload_image_diff_content_renamed", sub, "in1.png", picture("blue")),
                ("upload_image_temp", {"type": "temp"}, "x.png", picture("red")),
                ("upload_nonimage", sub, "clip.wav", b"RIFF"),
                ("upload_image_traversal", {"subfolder": "../.."}, "x.png", picture("red")),
                ("upload_image_bad_type", {"type": "bogus"}, "x.png", picture("red")),
                ("upload_no_file", {}, None, b""),
            ]
            for name, fields, filename, content in steps:
                expected = http_recording(name)["response"]
                status, body = await upload(client, "image", fields, filename, content)
                assert (status, body) == (expected["status"], expected.get("json", expected.get("body"))), name
            assert (comfy.folders.input / "jobs/abc/in1.png").read_bytes() == picture("red")

    asyncio.run(play())


def test_a_mask_upload_gives_the_original_the_masks_alpha(comfy: ComfyStandIn) -> None:
    """The answer is the recorded one; the file has the colours of the original and the alpha of the mask."""
    expected = http_recording("upload_mask")["response"]["json"]

    async def play() -> None:
        async with Client(comfy.url) as client:
            await upload(client, "image", {}, "root.png", picture("red"))
            original = json.dumps({"filename": "root.png", "subfolder": "", "type": "input"})
            mask = picture("#00000040", mode="RGBA")
            assert await upload(client, "mask", {"original_ref": original}, "mask.png", mask) == (200, expected)

    asyncio.run(play())
    with Image.open(comfy.folders.input / "mask.png") as made:
        assert made.getpixel((0, 0)) == (255, 0, 0, 0x40)


def test_view_gives_the_file_parts_of_it_and_previews(comfy: ComfyStandIn) -> None:
    """Headers and types are as recorded; a Range gets 206; html never comes as html."""
    graph = http_recording("prompt_ok")["request"]["json"]["prompt"]

    async def play() -> None:
        async with Client(comfy.url) as client:
            await client.run(graph)
            for name in ("view_ok", "view_preview_webp"):
                recording = http_recording(name)
                params = recording["request"]["params"]
                async with client.session.get(client.url + "/view", params=params) as response:
                    assert response.status == 200
                    for header in ("Content-Type", "Content-Disposition", "X-Content-Type-Options"):
                        assert response.headers.get(header) == recording["response"]["headers"].get(header), header
                    head = recording["response"]["body"].split("magic ")[1][:8]
                    assert (await response.read()).hex().startswith(head)
            params = http_recording("view_ok")["request"]["params"]
            async with client.session.get(client.url + "/view", params=params, headers={"Range": "bytes=1-3"}) as part:
                assert (part.status, await part.read()) == (206, b"PNG")
            (comfy.folders.output / "x.html").write_text("<script>")
            async with client.session.get(client.url + "/view", params={"filename": "x.html"}) as page:
                assert page.content_type == "application/octet-stream"
                assert page.headers["Content-Disposition"].startswith("attachment")

    asyncio.run(play())


def shape(value: Any) -> Any:
    """Reduce an answer to its keys and the types of its values; int and float are both numbers."""
    if isinstance(value, dict):
        return {key: shape(v) for key, v in value.items()}
    if type(value) in (int, float):
        return "number"
    return type(value).__name__


def test_jobs_show_waiting_running_done_and_cancelled_as_recorded(comfy: ComfyStandIn) -> None:
    """/api/jobs/{id} and the list have the recorded keys and types in every state; GET /prompt and /queue agree."""
    sleeper = http_recording("api_job_completed")["response"]["json"]["workflow"]["prompt"]

    async def play() -> None:
        async with Client(comfy.url) as client:

            async def post(seconds: float, **more: object) -> str:
                sleeper["2"]["inputs"] |= {"seconds": seconds, "seed": int(seconds)}
                _, answer = await client.post("/prompt", {"prompt": sleeper, "client_id": "me", **more})
                return str(answer["prompt_id"])

            async def check(prompt_id: str, name: str) -> None:
                recorded = http_recording(name)["response"]["json"]
                job = await client.get(f"/api/jobs/{prompt_id}")
                assert (job["status"], shape(job)) == (recorded["status"], shape(recorded))

            listener = await client.listen("me")
            running = await post(1.0)
            await listener.until(starts("2", running))
            waiting = await post(20.0, number=-100)
            await check(running, "api_job_in_progress")
            await check(waiting, "api_job_pending")
            assert await client.get("/prompt") == {"exec_info": {"queue_remaining": 2}}
            queue, recorded = await client.get("/queue"), http_recording("queue_get")["response"]["json"]
            item, known = queue["queue_pending"][0], recorded["queue_pending"][0]
            assert [shape(e) for e in item[:2] + item[3:]] == [shape(e) for e in known[:2] + known[3:]]
            assert queue["queue_running"][0][1] == running
            await listener.until_over(running)
            await listener.until(starts("2", waiting))
            await client.post("/interrupt", {"prompt_id": waiting})
            await listener.until_over(waiting)
            await check(running, "api_job_completed")
            await check(waiting, "api_job_cancelled")
            listed = await client.get("/api/jobs", params={"limit": "1", "status": "completed,cancelled"})
            assert listed["pagination"] == {"offset": 0, "limit": 1, "total": 2, "has_more": True}
            entry = http_recording("api_jobs_list")["response"]["json"]["jobs"][-1]
            done = await client.get("/api/jobs", params={"status": "completed"})
            assert shape(done["jobs"][0]) == shape(entry)

    asyncio.run(play())


def test_history_pages_from_the_newest_or_by_offset(comfy: ComfyStandIn) -> None:
    """max_items alone gives the newest, oldest first; offset counts from the oldest; a deleted entry is gone."""
    graph = http_recording("prompt_ok")["request"]["json"]["prompt"]
    ids = [str(uuid.uuid4()) for _ in range(3)]

    async def play() -> None:
        async with Client(comfy.url) as client:
            for prompt_id in ids:
                await client.run(graph, prompt_id=prompt_id)
            assert list(await client.get("/history")) == ids
            assert list(await client.get("/history?max_items=2")) == ids[1:]
            assert list(await client.get("/history?max_items=1&offset=1")) == ids[1:2]
            await client.post("/history", {"delete": [ids[1]]})
            assert list(await client.get("/history")) == [ids[0], ids[2]]

    asyncio.run(play())


def test_system_stats_name_the_stand_in(comfy: ComfyStandIn) -> None:
    """The answer has the shape of a real one, the version of the protocol, and says that nothing real renders."""
    recorded = http_recording("system_stats")["response"]["json"]

    async def play() -> None:
        async with Client(comfy.url) as client:
            stats = await client.get("/system_stats")
            assert shape(stats) == shape(recorded)
            assert shape(stats["devices"][0]) == shape(recorded["devices"][0])
            assert stats["system"]["comfyui_version"] == "0.28.0"
            assert stats["devices"][0]["name"] == "ComfySheet stand-in (no GPU)"

    asyncio.run(play())


def test_load_image_lists_the_input_folder(comfy: ComfyStandIn) -> None:
    """The choices of LoadImage are the files that lie in input/; the rest of the entry is the recorded one."""
    recorded = http_recording("object_info_LoadImage")["response"]["json"]
    for name in ("root.png", "mask.png"):
        (comfy.folders.input / name).write_bytes(picture("red"))

    async def play() -> None:
        async with Client(comfy.url) as client:
            answer = await client.get("/object_info/LoadImage")
            assert told({"json": answer}) == told({"json": recorded})
            assert "TestSleep" in await client.get("/object_info")

    asyncio.run(play())
