"""Which lists of a catalogue are model files, and how a kit travels."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from chalicelib.contract.card import ServerCard
from chalicelib.contract.kit import UNPACKED_MOST_BYTES, Kit, unpacked_kits
from worker.kit import CARD_MOST_BYTES, Card, Lack, Post, bare_url, kit_of, lacks_of, unfit

CATALOGUE = json.loads(Path("tests/data/object_info/comfyui_0.28.0.json").read_text())
"""As a real ComfyUI without any model told it."""


def lacking(node_class: str, name: str, value: Any, catalogue: Any = CATALOGUE) -> list[Lack]:
    return lacks_of(kit_of(catalogue), {"1": {"class_type": node_class, "inputs": {name: value}}})


def kit(files: list[str], node_class: str = "LoraLoader", name: str = "lora_name") -> Kit:
    return kit_of({"SaveImage": {}, node_class: {"input": {"required": {name: [files]}}}})


@pytest.mark.parametrize(
    ("node_class", "name"),
    [
        ("CheckpointLoaderSimple", "ckpt_name"),
        ("DualCLIPLoader", "clip_name1"),
        ("DualCLIPLoader", "clip_name2"),
        ("VAELoader", "vae_name"),
        ("UNETLoader", "unet_name"),
        ("LoraLoader", "lora_name"),
    ],
)
def test_a_loader_with_an_empty_folder_lacks_every_file(node_class: str, name: str) -> None:
    """Also where the list holds what needs no file (pixel_space): the job is for a server that has the file."""
    assert lacking(node_class, name, "sub/x.safetensors") == [Lack("1", node_class, name, "sub/x.safetensors")]


def test_what_needs_no_file_is_not_lacking() -> None:
    """A built-in choice, a sampler, a text, a number."""
    assert lacking("VAELoader", "vae_name", "pixel_space") == []
    assert lacking("KSampler", "sampler_name", "nonsense.pt") == []
    assert lacking("CLIPTextEncode", "text", "say model.safetensors") == []
    assert lacking("EmptyImage", "width", 7) == []


@pytest.mark.parametrize(
    "config",
    [
        ["COMBO", {"options": [], "remote": {"route": "/models"}}],
        ["COMBO", {"options": ["a.safetensors"], "file_upload": True}],
        [["a.safetensors"], {"image_upload": True}],
    ],
)
def test_a_list_that_is_not_all_lacks_nothing(config: Any) -> None:
    """What is uploaded joins it, and the page may fetch it from elsewhere: ComfyUI itself will tell."""
    catalogue = {"Loader": {"input": {"required": {"model_name": config}}}}
    assert lacking("Loader", "model_name", "b.safetensors", catalogue) == []


def test_somebodys_own_empty_list_lacks_nothing() -> None:
    """ComfyUI's CustomCombo has no options of its own and takes any value."""
    catalogue = {"CustomCombo": {"input": {"required": {"choice": ["COMBO", {"options": []}]}}}}
    assert lacking("CustomCombo", "choice", "b.safetensors", catalogue) == []


@pytest.mark.parametrize("told", [None, [], "x", {}, {"input": None}, {"input": {"required": []}}])
def test_an_odd_catalogue_entry_is_a_class_without_lists(told: Any) -> None:
    """A custom node's catalogue may be anything."""
    assert kit_of({"Odd": told}) == Kit(frozenset({"Odd"}), {})


def test_a_card_writes_the_same_list_once() -> None:
    """Twenty loaders of one folder cost little more than one."""
    files = [f"model-{number * 7919 % 10007:x}.safetensors" for number in range(2000)]
    loaders = {f"Loader{number}": {"input": {"required": {"lora_name": [files]}}} for number in range(20)}
    one = Card.of(
        "w", 1, [Post(ServerCard(name="http://a", version="v", device="d", queue=0), kit(files))]
    ).packed_kits()
    twenty = Card.of("w", 1, [Post(ServerCard(name="http://a", version="v", device="d", queue=0), kit_of(loaders))])
    assert len(twenty.packed_kits()) < len(one) * 1.2
    assert unpacked_kits(twenty.packed_kits()) == twenty.kits


def test_a_card_that_would_be_too_large_leaves_the_files_out_and_says_so() -> None:
    """Its nodes still count; of files it may have any, so that the job is left to it rather than failed."""
    files = [base64.b16encode(number.to_bytes(4) * 9).decode() + ".ckpt" for number in range(0, 2**32, 2**32 // 90_001)]
    card = Card.of("w", 1, [Post(ServerCard(name="http://a", version="v", device="d", queue=0), kit(files))])
    text = card.packed_kits()
    assert len(text) < CARD_MOST_BYTES < len(base64.b64encode(gzip.compress(json.dumps(files).encode())))
    [small] = unpacked_kits(text)
    assert (small.classes, small.is_whole) == (card.kits[0].classes, False)
    assert lacks_of(small, {"1": {"class_type": "LoraLoader", "inputs": {"lora_name": "any.ckpt"}}}) == []
    assert lacks_of(small, {"1": {"class_type": "Other", "inputs": {}}}) == [Lack("1", "Other")]


def packed(told: object) -> str:
    return base64.b64encode(gzip.compress(json.dumps(told).encode(), mtime=0)).decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "damaged",
        "é",
        packed([]),
        packed({}),
        packed({"lists": ["abc"], "kits": []}),
        packed({"lists": [[1]], "kits": []}),
        packed({"lists": [], "kits": [{"classes": 0, "models": [], "is_whole": True}]}),
        packed({"lists": [[]], "kits": [{"classes": 0, "models": [["a", "b"]], "is_whole": True}]}),
        packed({"lists": [[]], "kits": [{"classes": "0", "models": [], "is_whole": True}]}),
        packed({"lists": [[]], "kits": [{"classes": 0, "models": 5, "is_whole": True}]}),
        packed({"lists": [], "kits": []})[:-12],
    ],
    ids=lambda text: f"{len(text)} characters",
)
def test_what_is_no_card_is_told_as_that(text: str) -> None:
    """One kind of error, whatever is wrong with it."""
    with pytest.raises(ValueError):
        unpacked_kits(text)


def test_a_small_card_cannot_become_all_of_our_memory() -> None:
    """Unpacking stops at its limit."""
    bomb = base64.b64encode(gzip.compress(b" " * (UNPACKED_MOST_BYTES + 1))).decode()
    assert len(bomb) < CARD_MOST_BYTES
    with pytest.raises(ValueError, match="too large"):
        unpacked_kits(bomb)


@pytest.mark.parametrize(
    ("url", "bare"),
    [
        ("http://me:p@ss@host:8188/comfy?token=x#y", "http://host:8188/comfy"),
        ("http://127.0.0.1:8188", "http://127.0.0.1:8188"),
        ("https://host/a@b", "https://host/a@b"),
    ],
)
def test_a_card_says_where_a_server_is_and_not_how_to_get_in(url: str, bare: str) -> None:
    """Login, query and fragment stay at home."""
    assert bare_url(url) == bare
    assert (
        Card.of("w", 1, [Post(ServerCard(name=url, version="v", device="d", queue=0), kit([]))]).servers[0].name == bare
    )


def test_a_file_that_nobody_has_and_nothing_is_like_says_what_to_do() -> None:
    """No empty "Nearest:"; a sentence without paths of the server."""
    error = unfit(Lack("1", "LoraLoader", "lora_name", "x.safetensors"), [kit([])])
    assert error.code == "missing_model" and error.node == "1"
    assert error.text == 'No running ComfyUI has the file "x.safetensors" (lora_name of LoraLoader).'
    assert error.hint and "Nearest" not in error.hint
