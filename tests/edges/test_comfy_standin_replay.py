"""
Hold the ComfyUI stand-in against WebSocket transcripts of real ComfyUI 0.28.0 servers: same prompts, same frames in the
same order, same answers, same history.

Not played again, and why:
- 36: the moment of its interrupt is not in the recording, and it changes nothing in what was seen.
- 40, 43: the client breaks off, after which nothing was seen.
- 50 os._exit, segv: they end the whole process, here the test's own.
- 60 video, webm, audio, latent, 3d, dataset, mask, compare: made by nodes that the stand-in has not got.
"""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path

import aiohttp
import pytest
from PIL import Image

from sandbox.comfy import ComfyStandIn
from tests.edges.comfy_recordings import Client, Listener, comparable, frame_of, is_noise, replay, starts, transcript

QUIET = [
    "01_emptyimage_saveimage",
    "02_same_again_fully_cached",
    "03_same_graph_new_prefix",
    "04_loadimage_scale_save",
    "05_invert_batch_save_and_preview",
    "06_missing_node_type",
    "07_bad_input_values",
    "08_value_not_in_list",
    "09_missing_required",
    "10_loadimage_missing_file",
    "11_no_outputs",
    "12_partly_valid_two_outputs",
    "13_type_mismatch",
    "14_link_to_missing_node",
    "15_cycle",
    "16_runtime_error_prefix_outside_output",
    "17_runtime_error_after_one_output",
    "18_slow_progress_previews",
    "19_slow_progress_previews_feature_flag",
    "20_builtin_progress_SaveImageWebsocket",
    "21_execution_blocker_message",
    "22_execution_blocker_silent",
    "23_no_client_id",
    "24_async_node",
    "25_ui_abs",
    "25_ui_gifs",
    "25_ui_none",
    "25_ui_strings",
    "25_ui_text",
    "26_oom",
    "30_client_prompt_id_and_dup",
    "31_partial_execution_targets",
    "44_two_clients_A_submits",
    "47_error_without_client_id_B_listens",
    "48_cached_output_file_deleted",
    "60_media_preview_any_text",
    "60_media_save_text",
    "60_media_animwebp",
    "60_media_animpng",
]
# Transcripts whose server had something in its cache from the ones before.
BEFORE = {
    **dict.fromkeys(("02_same_again_fully_cached", "03_same_graph_new_prefix"), "01_emptyimage_saveimage"),
    **dict.fromkeys(("25_ui_abs", "25_ui_none", "25_ui_strings", "25_ui_text"), "25_ui_gifs"),
    "60_media_animpng": "60_media_animwebp",
}


def with_input_picture(directory: Path) -> Path:
    """Put the file there that the recorded prompts load."""
    folder = directory / "input" / "jobs" / "abc"
    folder.mkdir(parents=True)
    Image.new("RGB", (32, 24), (200, 30, 60)).save(folder / "in1.png")
    return directory


@pytest.mark.parametrize("name", QUIET)
def test_the_same_prompts_bring_the_same_frames_answers_and_history(name: str, tmp_path: Path) -> None:
    """Frames, answers and history of a recorded transcript come again, status frames and every tick included."""

    async def play() -> None:
        async with Client(comfy.url) as client:
            if name in BEFORE:
                await replay(client, transcript(BEFORE[name]))
            if name.startswith("48"):
                records = transcript(name)
                await replay_with_deletion(client, comfy, records)
                return
            result = await replay(client, transcript(name))
            assert result.played == result.recorded

    with ComfyStandIn(with_input_picture(tmp_path), test_nodes=True) as comfy:
        asyncio.run(play())


async def replay_with_deletion(client: Client, comfy: ComfyStandIn, records: list[dict]) -> None:
    """Play transcript 48, whose file is deleted before its second prompt: "success", and a file that is not there."""
    posts = [i for i, r in enumerate(records) if r.get("note") == "POST /prompt"]
    parts = [records[: posts[1]], [records[0], *records[posts[1] : posts[2]]], [records[0], *records[posts[2] :]]]
    for number, part in enumerate(parts):
        if number:
            part.insert(1, records[1])
        result = await replay(client, part)
        assert result.played == result.recorded
        for path in (comfy.folders.output / "t3").glob("*.png"):
            path.unlink()


def test_front_and_number_decide_the_order(tmp_path: Path) -> None:
    """Waiting prompts run by number: an explicit one, then `front` ones last in first out, then the others (32)."""

    async def play() -> None:
        async with Client(comfy.url) as client:
            result = await replay(client, transcript("32_order_front_number", sleep_s=0.5), noisy=True)
            assert result.played == result.recorded

    with ComfyStandIn(tmp_path, test_nodes=True) as comfy:
        asyncio.run(play())


def test_interrupt_stops_the_running_prompt_and_delete_removes_a_waiting_one(tmp_path: Path) -> None:
    """Interrupting a waiting id does nothing, deleting it leaves no trace, interrupting the running id ends it (33)."""

    async def deed(client: Client, _: Listener, ids: list[str]) -> None:
        assert await client.post("/interrupt", {"prompt_id": ids[1]}) == (200, "")
        assert await client.post("/queue", {"delete": [ids[1]]}) == (200, "")
        assert await client.post("/interrupt", {"prompt_id": ids[0]}) == (200, "")

    async def play() -> None:
        async with Client(comfy.url) as client:
            result = await replay(client, transcript("33_interrupt_and_delete", sleep_s=5), deed=deed, noisy=True)
            assert result.played == result.recorded

    with ComfyStandIn(tmp_path, test_nodes=True) as comfy:
        asyncio.run(play())


def test_cancel_works_for_waiting_and_running_and_not_for_finished_jobs(tmp_path: Path) -> None:
    """POST /api/jobs/{id}/cancel says true for a waiting and a running job, false for one that is over (34)."""

    async def deed(client: Client, listener: Listener, ids: list[str]) -> None:
        assert await client.post(f"/api/jobs/{ids[1]}/cancel") == (200, {"cancelled": True})
        assert await client.post(f"/api/jobs/{ids[0]}/cancel") == (200, {"cancelled": True})
        await listener.until_over(ids[0])
        assert await client.post(f"/api/jobs/{ids[0]}/cancel") == (200, {"cancelled": False})

    async def play() -> None:
        async with Client(comfy.url) as client:
            result = await replay(client, transcript("34_api_jobs_cancel", sleep_s=5), deed=deed, noisy=True)
            assert result.played == result.recorded

    with ComfyStandIn(tmp_path, test_nodes=True) as comfy:
        asyncio.run(play())


def test_a_node_in_one_long_call_ends_before_the_interrupt_counts(tmp_path: Path) -> None:
    """An interrupt during a node without ticks is noticed when the next node begins (35)."""

    async def deed(client: Client, listener: Listener, ids: list[str]) -> None:
        await listener.until(starts("2"))
        await client.post("/interrupt", {"prompt_id": ids[0]})

    async def play() -> None:
        async with Client(comfy.url) as client:
            result = await replay(client, transcript("35_interrupt_hard_sleep", sleep_s=0.4), deed=deed, noisy=True)
            assert result.played == result.recorded

    with ComfyStandIn(tmp_path, test_nodes=True) as comfy:
        asyncio.run(play())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("kind", ["CancelledError", "GeneratorExit", "KeyboardInterrupt", "SystemExit"])
def test_what_is_no_exception_makes_a_zombie(kind: str, tmp_path: Path) -> None:
    """After such a node the server still takes prompts and answers, but nothing ever runs again (trap 6, 50)."""

    async def play() -> None:
        async with Client(comfy.url) as client:
            result = await replay(client, transcript(f"50_baseexception_{kind}"), noisy=True)
            assert result.played == result.recorded
            queue = await client.get("/queue")
            assert [len(queue["queue_running"]), len(queue["queue_pending"])] == [1, 1]
            assert await client.history(queue["queue_running"][0][1]) is None

    with ComfyStandIn(tmp_path, test_nodes=True) as comfy:
        asyncio.run(play())


def test_a_clean_reconnect_hears_the_rest(tmp_path: Path) -> None:
    """A new socket under the old clientId, opened after the old one ended, is told what runs, then the rest (41)."""
    records = transcript("41_ws_reconnect_same_client_id_clean", sleep_s=1.0)
    second = [i for i, r in enumerate(records) if r.get("note") == "connected"][1]
    wanted = [f for r in records[second:] if (f := frame_of(r)) and not is_noise(f)]
    post = next(r for r in records if r.get("note") == "POST /prompt")

    async def play() -> None:
        async with Client(comfy.url) as client:
            client_id = post["body"]["client_id"]
            first = await client.listen(client_id)
            await client.post("/prompt", post["body"])
            await first.until(starts("2"))
            await first.socket.close()
            again = await client.listen(client_id)
            await again.until(lambda got: len([f for f in got if not is_noise(f)]) >= len(wanted))
            assert comparable([f for f in again.frames if not is_noise(f)]) == comparable(wanted)

    with ComfyStandIn(tmp_path, test_nodes=True) as comfy:
        asyncio.run(play())


def test_overlapping_sockets_leave_the_newer_one_deaf(tmp_path: Path) -> None:
    """When the older of two sockets with one clientId ends, the newer one stays open and hears nothing (trap 7, 42)."""
    records = transcript("42_ws_reconnect_same_client_id_overlapping")
    assert next(r for r in records if r.get("note", "").startswith("socket2"))["events"] == []
    body = [r for r in records if r.get("note") == "POST /prompt"][-1]["body"]

    async def play() -> None:
        async with Client(comfy.url) as client:
            old = await client.listen(body["client_id"])
            new = await client.listen(body["client_id"])
            await old.socket.close()
            other = await client.listen("somebody-else")
            _, answer = await client.post("/prompt", body)
            await client.finished(answer["prompt_id"])
            await other.until(lambda frames: len(frames) == 4)  # its first, put, get, done: status reached the others
            assert [f["type"] for f in new.frames] == ["status"]
            assert not new.socket.closed

    with ComfyStandIn(tmp_path, test_nodes=True) as comfy:
        asyncio.run(play())


def test_a_fresh_client_id_is_safe_after_a_break(tmp_path: Path) -> None:
    """A new clientId hears of its own prompts at once; the one under way is followed through history (52)."""
    records = transcript("52_safe_reconnect_new_client_id", sleep_s=0.3)
    bodies = [r["body"] for r in records if r.get("note") == "POST /prompt"]
    second = [i for i, r in enumerate(records) if r.get("note") == "connected"][1]
    wanted = [f for r in records[second:] if (f := frame_of(r)) and f["type"] != "status"]

    async def play() -> None:
        async with Client(comfy.url) as client:
            first = await client.listen(bodies[0]["client_id"])
            _, answer = await client.post("/prompt", bodies[0])
            await first.until(starts("2"))
            await first.socket.close()
            fresh = await client.listen(bodies[1]["client_id"])
            assert (await client.finished(answer["prompt_id"]))["status"]["status_str"] == "success"
            _, later = await client.post("/prompt", bodies[1])
            await fresh.until_over(later["prompt_id"])
            assert comparable([f for f in fresh.frames if f["type"] != "status"]) == comparable(wanted)

    with ComfyStandIn(tmp_path, test_nodes=True) as comfy:
        asyncio.run(play())


@pytest.mark.parametrize(
    ("name", "owner"),
    [
        ("44_two_clients_B_listens", "8d4f9531-af62-47f3-92af-6522380d3484"),
        ("45_prompt_for_unconnected_client_B_listens", "nobody-is-connected-under-this"),
        ("46_interrupt_prompt_without_client_id_B_listens", None),
    ],
)
def test_others_hear_only_what_is_for_all(name: str, owner: str | None, tmp_path: Path) -> None:
    """A bystander hears status; of a prompt without owner also ticks, node states and its interrupt (44, 45, 46)."""
    wanted = [f for r in transcript(name) if (f := frame_of(r)) and (f["type"] == "status" or not is_noise(f))]
    graph = next(r["body"]["prompt"] for r in transcript("44_two_clients_A_submits") if r.get("note") == "POST /prompt")

    async def play() -> None:
        async with Client(comfy.url) as client:
            bystander = await client.listen(str(uuid.uuid4()))
            if owner:
                await client.run(graph, client_id=owner)
            else:
                graph["2"]["inputs"] |= {"seconds": 3, "steps": 30, "preview": False}
                _, answer = await client.post("/prompt", {"prompt": graph})
                await bystander.until(lambda got: any(f.get("type") == "progress" for f in got))
                await client.post("/interrupt")
                await client.finished(answer["prompt_id"])
            count = len(wanted)
            kept = lambda got: [f for f in got if f.get("type") == "status" or not is_noise(f)]  # noqa: E731
            await bystander.until(lambda got: len(kept(got)) >= count)
            assert comparable(kept(bystander.frames)) == comparable(wanted)

    with ComfyStandIn(tmp_path, test_nodes=True) as comfy:
        asyncio.run(play())


def test_a_stopped_server_breaks_its_sockets_without_goodbye(tmp_path: Path) -> None:
    """Whoever listens to a killed server sees 1006, no closing frame; queue and history are gone (51)."""

    async def play() -> None:
        async with Client(comfy.url) as client:
            listener = await client.listen("x")
            await asyncio.to_thread(comfy.stop)
            assert await listener.until_closed() == 1006
            with pytest.raises(aiohttp.ClientConnectionError):
                await client.get("/queue")

    with ComfyStandIn(tmp_path) as comfy:
        asyncio.run(play())
