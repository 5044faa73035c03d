"""State the manners of the ComfyUI stand-in that no recording shows: pictures, traps, switches, the command line."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import threading
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sandbox.comfy import ComfyStandIn
from sandbox.comfy.node_cache import NodeCache
from sandbox.comfy.picture import paint
from sandbox.comfy.values import Model, Pictures, Recipe, Result
from tests.edges.comfy_recordings import Client, Json, starts


def sampled(
    text: str = "a fox in the snow", *, seed: object = 7, steps: int = 4, prefix: str = "job/x", width: int = 256
) -> Json:
    """Make the usual SDXL graph."""
    return {
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd_xl_base_1.0.safetensors"}},
        "10": {
            "class_type": "LoraLoader",
            "inputs": {
                "model": ["4", 0],
                "clip": ["4", 1],
                "strength_model": 0.8,
                "lora_name": "pixel-art-xl.safetensors",
                "strength_clip": 1.0,
            },
        },
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": width, "height": 192, "batch_size": 1}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": text, "clip": ["10", 1]}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurry", "clip": ["10", 1]}},
        "3": {
            "class_type": "KSampler",
            "inputs": {
                "model": ["10", 0],
                "seed": seed,
                "steps": steps,
                "cfg": 7.5,
                "sampler_name": "euler",
                "denoise": 1.0,
                "scheduler": "normal",
                "positive": ["6", 0],
                "negative": ["7", 0],
                "latent_image": ["5", 0],
            },
        },
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": prefix}},
    }


def flux(text: str) -> Json:
    """Make the usual Flux graph, out of separate loaders and a custom sampler."""
    return {
        "1": {
            "class_type": "UNETLoader",
            "inputs": {"unet_name": "flux1-schnell.safetensors", "weight_dtype": "default"},
        },
        "2": {
            "class_type": "DualCLIPLoader",
            "inputs": {
                "clip_name1": "t5xxl_fp8_e4m3fn.safetensors",
                "clip_name2": "clip_l.safetensors",
                "type": "flux",
            },
        },
        "3": {"class_type": "VAELoader", "inputs": {"vae_name": "ae.safetensors"}},
        "4": {"class_type": "CLIPTextEncode", "inputs": {"text": text, "clip": ["2", 0]}},
        "5": {"class_type": "FluxGuidance", "inputs": {"conditioning": ["4", 0], "guidance": 3.5}},
        "6": {"class_type": "BasicGuider", "inputs": {"model": ["1", 0], "conditioning": ["5", 0]}},
        "7": {"class_type": "RandomNoise", "inputs": {"noise_seed": 3}},
        "8": {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "euler"}},
        "9": {
            "class_type": "BasicScheduler",
            "inputs": {"model": ["1", 0], "scheduler": "simple", "steps": 4, "denoise": 1.0},
        },
        "10": {"class_type": "EmptySD3LatentImage", "inputs": {"width": 128, "height": 128, "batch_size": 2}},
        "11": {
            "class_type": "SamplerCustomAdvanced",
            "inputs": {
                "noise": ["7", 0],
                "guider": ["6", 0],
                "sampler": ["8", 0],
                "sigmas": ["9", 0],
                "latent_image": ["10", 0],
            },
        },
        "12": {"class_type": "VAEDecode", "inputs": {"samples": ["11", 0], "vae": ["3", 0]}},
        "13": {"class_type": "SaveImage", "inputs": {"images": ["12", 0], "filename_prefix": "flux"}},
    }


def plain(colour: int = 1, prefix: str = "ComfyUI", **inputs: object) -> Json:
    """Make a graph without models."""
    size = {"width": 16, "height": 16, "batch_size": 1, "color": colour, **inputs}
    return {
        "1": {"class_type": "EmptyImage", "inputs": size},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": prefix}},
    }


def sleeping() -> Json:
    """Make a graph that takes 0.3 s in node 3."""
    graph = plain() | {
        "3": {
            "class_type": "TestSleep",
            "inputs": {"image": ["1", 0], "seconds": 0.3, "steps": 6, "preview": False, "seed": 1},
        }
    }
    graph["2"]["inputs"]["images"] = ["3", 0]
    return graph


@pytest.fixture()
def comfy(tmp_path: Path) -> Any:
    """Run an instant stand-in with its test nodes."""
    with ComfyStandIn(tmp_path, instant=True, test_nodes=True) as server:
        yield server


def saved(comfy: ComfyStandIn, entry: Json, node: str) -> list[Path]:
    return [comfy.folders.output / i["subfolder"] / i["filename"] for i in entry["outputs"][node]["images"]]


def test_a_graph_that_samples_gives_a_picture_of_the_asked_size(comfy: ComfyStandIn) -> None:
    """SDXL and Flux graphs end in PNGs that decode, with the prompt and extra_pnginfo inside as ComfyUI writes them."""

    async def play() -> None:
        async with Client(comfy.url) as client:
            graph, extra = sampled(), {"extra_pnginfo": {"workflow": {"id": "w"}}}
            entry = await client.run(graph, extra_data=extra)
            [path] = saved(comfy, entry, "9")
            assert path.relative_to(comfy.folders.output) == Path("job/x_00001_.png")
            with Image.open(path) as made:
                assert made.size == (256, 192)
                assert json.loads(made.text["prompt"]) == graph
                assert json.loads(made.text["workflow"]) == {"id": "w"}
            first, second = saved(comfy, await client.run(flux("city at night")), "13")
            assert first.read_bytes() != second.read_bytes()

    asyncio.run(play())


def test_equal_recipes_draw_equal_pictures_and_others_do_not() -> None:
    """Prompt, seed and model decide a picture; the same ones draw the same pixels in any process."""
    recipe = Recipe("a fox", "", 1, Model("m"))
    drawn = paint(recipe, (96, 64))
    assert drawn.tobytes() == paint(recipe, (96, 64)).tobytes()
    others = [replace(recipe, text="a cat"), replace(recipe, seed=2), replace(recipe, model=Model("n"))]
    for other in others:
        assert paint(other, (96, 64)).tobytes() != drawn.tobytes()


def test_a_new_prefix_runs_only_the_save_node_again(comfy: ComfyStandIn) -> None:
    """What feeds a changed save node comes from the cache; an equal graph writes no file at all (trap 4)."""

    async def play() -> None:
        async with Client(comfy.url) as client:
            first = await client.run(sampled(prefix="job/1"))
            second = await client.run(sampled(prefix="job/2"))
            assert set(second["status"]["messages"][1][1]["nodes"]) == {"3", "4", "5", "6", "7", "8", "10"}
            third = await client.run(sampled(prefix="job/1"))
            assert third["outputs"] == first["outputs"]
            assert len(list((comfy.folders.output / "job").iterdir())) == 2
            await client.post("/free", {"free_memory": True})
            again = await client.run(sampled(prefix="job/1"))
            assert again["outputs"]["9"]["images"][0]["filename"] == "1_00002_.png"

    asyncio.run(play())


def test_a_changed_file_under_the_same_name_is_loaded_again(comfy: ComfyStandIn) -> None:
    """LoadImage's cache key holds the file's content; a name that leads out of the folders is refused."""
    graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "a.png"}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
    }

    async def play() -> None:
        async with Client(comfy.url) as client:
            for colour in ((255, 0, 0), (0, 0, 255)):
                Image.new("RGB", (4, 4), colour).save(comfy.folders.input / "a.png")
                [path] = saved(comfy, await client.run(graph), "2")
                with Image.open(path) as made:
                    assert made.getpixel((0, 0)) == colour
            for name in ("../input/../../a.png", "/etc/hostname", "../a.png [output]"):
                graph["1"]["inputs"]["image"] = name
                status, answer = await client.post("/prompt", {"prompt": graph})
                assert (status, answer["node_errors"]["1"]["errors"][0]["type"]) == (400, "custom_validation_failed")

    asyncio.run(play())


def test_validation_converts_in_place(comfy: ComfyStandIn) -> None:
    """Words that are numbers become numbers, also in what history shows; too large a value is refused by name."""

    async def play() -> None:
        async with Client(comfy.url) as client:
            entry = await client.run(plain(width="12"))
            assert entry["prompt"][2]["1"]["inputs"]["width"] == 12
            wrong = ((plain(width=99999), "value_bigger_than_max"), (plain(width=["1"]), "bad_linked_input"))
            for graph, kind in wrong:
                status, answer = await client.post("/prompt", {"prompt": graph})
                assert (status, answer["node_errors"]["1"]["errors"][0]["type"]) == (400, kind)
            graph = sampled()
            graph["3"]["inputs"]["sampler_name"] = "no_such_sampler"
            _, answer = await client.post("/prompt", {"prompt": graph})
            [error] = answer["node_errors"]["3"]["errors"]
            assert error["details"] == "sampler_name: 'no_such_sampler' not in (list of length 44)"
            assert error["extra_info"]["input_config"] is None

    asyncio.run(play())


def test_ticks_are_sent_first_last_and_at_most_every_100_ms(tmp_path: Path) -> None:
    """Twenty steps of 20 ms bring the first, the last and a few ticks between, in order."""

    async def play() -> None:
        async with Client(comfy.url) as client:
            listener = await client.listen("me")
            _, answer = await client.post("/prompt", {"prompt": sampled(steps=20), "client_id": "me"})
            await listener.until_over(answer["prompt_id"])
            values = [f["data"]["value"] for f in listener.frames if f["type"] == "progress"]
            assert values == sorted(values)
            assert (values[0], values[-1]) == (1, 20)
            assert 3 <= len(values) <= 8

    with ComfyStandIn(tmp_path, step_ms=20) as comfy:
        asyncio.run(play())


@pytest.mark.parametrize(
    ("wants_metadata", "method", "kinds"), [(False, "auto", {1}), (True, "latent2rgb", {4}), (True, "none", set())]
)
def test_previews_come_only_when_asked_for(
    wants_metadata: bool, method: str, kinds: set[int], comfy: ComfyStandIn
) -> None:
    """preview_method brings binary frames, of type 4 to clients that know metadata and of type 1 to others."""

    async def play() -> None:
        async with Client(comfy.url) as client:
            listener = await client.listen("me")
            flags = {"type": "feature_flags", "data": {"supports_preview_metadata": wants_metadata}}
            await listener.socket.send_json(flags)
            await listener.until(lambda frames: len(frames) == 2)
            extra = {"preview_method": method}
            _, answer = await client.post("/prompt", {"prompt": sampled(), "client_id": "me", "extra_data": extra})
            await listener.until_over(answer["prompt_id"])
            assert {f["binary"]["event_type"] for f in listener.frames if "binary" in f} == kinds

    asyncio.run(play())


def test_the_same_id_and_number_twice_kill_the_executor(comfy: ComfyStandIn) -> None:
    """The heap compares dicts, TypeError: the server goes on taking prompts and runs none of them (trap 5)."""

    async def play() -> None:
        async with Client(comfy.url) as client:
            listener = await client.listen("me")
            _, first = await client.post("/prompt", {"prompt": sleeping(), "client_id": "me"})
            await listener.until(starts("3"))
            await client.post("/prompt", {"prompt": plain(), "number": 5})
            same = {"number": 500, "prompt_id": str(uuid.uuid4())}
            for colour in (1, 2):  # two orders equal in everything, down to the millisecond, would compare
                assert (await client.post("/prompt", {"prompt": plain(colour), **same}))[0] == 200
            await listener.until_over(first["prompt_id"])
            deadline = asyncio.get_running_loop().time() + 5
            while any(t.name == "comfy-executor" for t in threading.enumerate()):
                assert asyncio.get_running_loop().time() < deadline
                await asyncio.sleep(0.01)
            queue = await client.get("/queue")
            assert (queue["queue_running"], len(queue["queue_pending"]) > 0) == ([], True)
            assert (await client.post("/prompt", {"prompt": plain(2)}))[0] == 200

    asyncio.run(play())


def test_an_interrupt_while_idle_does_not_hit_the_next_prompt(comfy: ComfyStandIn) -> None:
    """A global interrupt on an idle server is forgotten."""

    async def play() -> None:
        async with Client(comfy.url) as client:
            assert await client.post("/interrupt") == (200, "")
            assert (await client.run(plain()))["status"]["status_str"] == "success"

    asyncio.run(play())


def test_an_interrupt_for_another_prompt_hits_nobody(comfy: ComfyStandIn) -> None:
    """With a prompt_id only that prompt is stopped; another one that runs then ends well (trap 9)."""

    async def play() -> None:
        async with Client(comfy.url) as client:
            listener = await client.listen("me")
            _, answer = await client.post("/prompt", {"prompt": sleeping(), "client_id": "me"})
            await listener.until(starts("3"))
            await client.post("/interrupt", {"prompt_id": str(uuid.uuid4())})
            assert (await client.finished(answer["prompt_id"]))["status"]["status_str"] == "success"

    asyncio.run(play())


def test_requests_of_the_same_site_pass_and_others_do_not(comfy: ComfyStandIn) -> None:
    """A page served by this very host may post; one from elsewhere gets 403, also when only Sec-Fetch-Site says so."""

    async def play() -> None:
        async with Client(comfy.url) as client:
            for headers, status in (
                ({"Origin": comfy.url}, 200),
                ({"Origin": "http://127.0.0.1:1"}, 403),
                ({"Sec-Fetch-Site": "cross-site"}, 403),
            ):
                assert (await client.post("/prompt", {"prompt": plain()}, headers=headers))[0] == status

    asyncio.run(play())


def test_test_nodes_are_there_only_when_asked_for(tmp_path: Path) -> None:
    """Without --test-nodes a graph with one of them is refused as any unknown class is."""
    graph = plain() | {"3": {"class_type": "TestUI", "inputs": {"image": ["1", 0], "shape": "abs"}}}

    async def play() -> None:
        async with Client(comfy.url) as client:
            status, answer = await client.post("/prompt", {"prompt": graph})
            assert (status, answer["error"]["type"]) == (400, "missing_node_type")

    with ComfyStandIn(tmp_path) as comfy:
        asyncio.run(play())


def test_image_nodes_do_what_they_say(comfy: ComfyStandIn) -> None:
    """Invert, scale, flip, rotate, crop, blend, blur, sharpen and quantize run for real and keep sizes right."""

    def op(node: str, kind: str, source: str, **inputs: object) -> Json:
        return {node: {"class_type": kind, "inputs": {"image": [source, 0], **inputs}}}

    graph = (
        plain(0xFF0000, width=40, height=20)
        | op("i", "ImageInvert", "1")
        | op("s", "ImageScale", "i", upscale_method="area", width=0, height=10, crop="disabled")
        | op("r", "ImageRotate", "s", rotation="90 degrees")
        | op("f", "ImageFlip", "r", flip_method="x-axis: vertically")
        | op("b", "ImageBlur", "f", blur_radius=2, sigma=1.0)
        | op("h", "ImageSharpen", "b", sharpen_radius=1, sigma=1.0, alpha=1.0)
        | op("q", "ImageQuantize", "h", colors=4, dither="none")
        | op("c", "ImageCrop", "q", width=8, height=8, x=6, y=0)
        | {
            "m": {
                "class_type": "ImageBlend",
                "inputs": {"image1": ["c", 0], "image2": ["1", 0], "blend_factor": 0.5, "blend_mode": "normal"},
            }
        }
    )
    graph["2"]["inputs"]["images"] = ["m", 0]

    async def play() -> None:
        async with Client(comfy.url) as client:
            [path] = saved(comfy, await client.run(graph), "2")
            with Image.open(path) as made:
                assert (made.size, made.getpixel((2, 2))) == ((4, 8), (127, 127, 127))

    asyncio.run(play())


def test_the_cache_drops_the_longest_unused() -> None:
    """What was asked for last stays when the cache is full."""
    cache = NodeCache(limit_bytes=3 * (1000 + 300))
    for key in "abc":
        cache.keep(key, Result((Pictures([Image.new("RGB", (10, 10))]),)), {})
    cache.get("a")
    cache.keep("d", Result((Pictures([Image.new("RGB", (10, 10))]),)), {})
    assert [key for key in "abcd" if cache.get(key)] == ["a", "c", "d"]


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_the_command_prints_its_url_and_ends_cleanly(sign: signal.Signals, tmp_path: Path) -> None:
    """`python -m sandbox.comfy` prints one line when it is ready, and exits 0 on SIGTERM and on Ctrl-C."""
    command = [sys.executable, "-m", "sandbox.comfy", "--port", "0", "--dir", str(tmp_path), "--instant"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        line = process.stdout.readline()
        assert line.startswith("ComfyUI stand-in on http://127.0.0.1:")

        async def ask() -> None:
            async with Client(line.split(" on ")[1].strip()) as client:
                assert (await client.run(plain()))["status"]["completed"] is True

        asyncio.run(ask())
        process.send_signal(sign)
        assert process.wait(10) == 0


def test_a_taken_port_is_said_in_a_sentence(comfy: ComfyStandIn, tmp_path: Path) -> None:
    """A second server on the same port exits 1 with a sentence, not a traceback."""
    port = comfy.url.rsplit(":", 1)[1]
    command = [sys.executable, "-m", "sandbox.comfy", "--port", port, "--dir", str(tmp_path / "b")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith("cannot listen on 127.0.0.1:")
    assert "Traceback" not in ended.stderr
