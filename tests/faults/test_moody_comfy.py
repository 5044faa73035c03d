"""The proxy before a ComfyUI: in no mood it changes nothing, in each mood just what it says."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import websocket

from faults.kitchens import Mood, Moody
from sandbox.comfy import ComfyStandIn
from sandbox.waiting import wait_until

GRAPH: dict[str, Any] = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 1}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
}
ID = "01234567-89ab-4cde-8f01-23456789abcd"


@pytest.fixture(scope="module")
def comfy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComfyStandIn]:
    """Run one stand-in for this module."""
    with ComfyStandIn(tmp_path_factory.mktemp("comfy"), instant=True) as comfy:
        yield comfy


@pytest.fixture
def proxy(comfy: ComfyStandIn) -> Iterator[Moody]:
    """Give a proxy in no mood, and a prompt that has ended behind it."""
    proxy = Moody(comfy.url)
    requests.post(f"{proxy.url}/prompt", json={"prompt": GRAPH, "prompt_id": ID}, timeout=5)
    assert wait_until(lambda: ID in history(proxy), 5)
    yield proxy
    proxy.close()


def history(proxy: Moody) -> dict[str, Any]:
    found: dict[str, Any] = requests.get(f"{proxy.url}/history/{ID}", timeout=5).json()
    return found


def picture(proxy: Moody) -> requests.Response:
    file = history(proxy)[ID]["outputs"]["2"]["images"][0]
    return requests.get(f"{proxy.url}/view", params=file, timeout=5)


def test_in_no_mood_it_changes_nothing(comfy: ComfyStandIn, proxy: Moody) -> None:
    """History and file are those of the server behind it."""
    assert history(proxy) == requests.get(f"{comfy.url}/history/{ID}", timeout=5).json()
    assert picture(proxy).content.startswith(b"\x89PNG")


def test_a_mood_lasts_as_many_calls_as_it_is_told(proxy: Moody) -> None:
    """The first file is missing, the second is there."""
    proxy.be(Mood.NO_FILE, 1)
    assert [picture(proxy).status_code for _ in range(2)] == [404, 200]


def test_half_a_file_is_half_a_file(proxy: Moody) -> None:
    """Its length is announced and not kept."""
    proxy.be(Mood.HALF_FILE, 1)
    with pytest.raises(requests.RequestException):
        picture(proxy)


def test_garbage_is_another_one_each_time(proxy: Moody) -> None:
    """Queue and history are none of theirs; who it is still is told."""
    proxy.be(Mood.GARBAGE)
    texts = {requests.get(f"{proxy.url}/queue", timeout=5).content for _ in range(12)}
    assert len(texts) == 12 and not any(b'"queue_pending": []' in text for text in texts)
    assert requests.get(f"{proxy.url}/system_stats", timeout=5).json()["system"]


def test_a_deaf_socket_is_open_and_silent(proxy: Moody) -> None:
    """Neither news nor pongs come; when the mood is over, or the socket broken, one knows."""
    socket = websocket.create_connection(proxy.url.replace("http", "ws") + "/ws?clientId=a", timeout=3)
    assert "status" in socket.recv()
    proxy.be(Mood.DEAF)
    socket.ping()
    socket.settimeout(0.3)
    with pytest.raises(websocket.WebSocketTimeoutException):
        socket.recv_data(control_frame=True)
    proxy.drop_sockets()
    socket.settimeout(3)
    with pytest.raises((websocket.WebSocketException, OSError)):
        socket.recv_data(control_frame=True)


def test_it_notes_when_a_prompt_was_asked_to_stop(proxy: Moody) -> None:
    """By the jobs route, or by the interrupt of older versions."""
    begun = time.time()
    requests.post(f"{proxy.url}/api/jobs/{ID}/cancel", timeout=5)
    requests.post(f"{proxy.url}/interrupt", json={"prompt_id": "other"}, timeout=5)
    assert proxy.cancelled_at.keys() == {ID, "other"} and min(proxy.cancelled_at.values()) >= begun
