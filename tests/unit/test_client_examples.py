"""The client's example of a webhook's receiver: it believes what is signed, and nothing else."""

from __future__ import annotations

import importlib.util
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import HTTPServer
from pathlib import Path

import httpx
import pytest
from standardwebhooks.webhooks import Webhook

EXAMPLE = Path(__file__).resolve().parents[2] / "client/examples/webhook_receiver.py"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
def address() -> Iterator[str]:
    """Run the example's receiver."""
    spec = importlib.util.spec_from_file_location("webhook_receiver", EXAMPLE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.Receiver.secret = SECRET
    server = HTTPServer(("127.0.0.1", 0), module.Receiver)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def test_the_receiver_believes_what_is_signed(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A delivery with the secret's signature is taken; one changed by a byte, or unsigned, is refused."""
    body = json.dumps({"type": "job.succeeded", "data": {"id": "job-1"}})
    now = datetime.now(UTC)
    signed = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(SECRET).sign("msg_1", now, body),
    }
    assert httpx.post(address, content=body, headers=signed).status_code == 204
    assert httpx.post(address, content=body.replace("job-1", "job-2"), headers=signed).status_code == 401
    assert httpx.post(address, content=body).status_code == 401
    assert "msg_1 job.succeeded job-1" in capsys.readouterr().out
