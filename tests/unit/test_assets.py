"""Files that clients send: the same bytes are one asset, each client has its own, names lead nowhere."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest
from blake3 import blake3
from comfy_low.models import Asset as LowAsset

from chalicelib.api_parts import Answer, Call, guarded
from chalicelib.asset import DAY_MS, INLINE_BYTES, KEPT_MS, with_assets
from chalicelib.assets import Assets
from chalicelib.assets_api import AssetsApi
from chalicelib.contract.errors import Rejected
from chalicelib.contract.job import Job, Timings
from chalicelib.contract.ports import Claimed
from chalicelib.keys import ApiKey
from chalicelib.links import output_id
from tests.fakes import MemoryLedger
from tests.file_fakes import MemoryAssetStore
from tests.jobs import NOW, new_job, output

CONTENT = b"\x89PNG\r\n--b\r\n\x00\xff picture"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
BLAKE3 = blake3(CONTENT).hexdigest()
LIMIT = 20_000_000


class Depot:
    """Hold the assets API on fakes."""

    def __init__(self) -> None:
        self.now_ms = NOW
        self.store = MemoryAssetStore(lambda: self.now_ms)
        self.ledger = MemoryLedger()
        self.assets = Assets(self.store, self.ledger, LIMIT, lambda: self.now_ms)
        self.api = AssetsApi(self.assets, LIMIT, lambda: self.now_ms)

    def send(self, content: bytes = CONTENT, *, client: str = "a", filename: str = "f.png", **fields: str) -> Answer:
        """Upload as a form that is written out by hand."""
        boundary = "b-0f3a"
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
            for name, value in fields.items()
        ]
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\n'
        parts.append(f"{head}Content-Type: image/png\r\n\r\n".encode() + content + b"\r\n")
        body = b"".join(parts) + f"--{boundary}--\r\n".encode()
        return self.send_body(body, f"multipart/form-data; boundary={boundary}", client)

    def send_body(self, body: bytes, content_type: str, client: str = "a") -> Answer:
        call = replace(self.call(client), headers={"content-type": content_type}, body=body)
        return guarded(lambda: self.api.upload(call))

    def ask(self, name: str, body: Any = None, *, client: str = "a", **path: str) -> Answer:
        call = replace(self.call(client), body=json.dumps(body).encode(), path=path)
        return guarded(lambda: getattr(self.api, name)(call))

    def call(self, client: str) -> Call:
        return Call({}, b"", "https://host/api", key=ApiKey("k", client, frozenset({"read", "submit"})))

    def made(self, client: str = "a") -> Job:
        """Have a job make one picture."""
        job = new_job(client_id=client, target=None)
        self.ledger.submit(job)
        claimed = self.ledger.claim(job.job_id, 1, owner="w", token="t", now=NOW, lease_ms=60_000)
        assert isinstance(claimed, Claimed)
        picture = output(f"outputs/{client}/{job.job_id}/1/0-abcdef12.png").model_copy(update={"sha256": SHA256})
        self.store.write(picture.key, CONTENT)
        self.ledger.commit(claimed.lease, now=NOW, outputs=[picture], timings=Timings())
        done = self.ledger.get(job.job_id)
        assert done is not None
        return done


@pytest.fixture
def depot() -> Depot:
    return Depot()


def test_an_upload_is_an_asset_of_the_contract(depot: Depot) -> None:
    """201 with what comfy-sdk reads; its id is what a worker reads; 200 for the same bytes, under the first name."""
    first = depot.send(file_path="dir/Füchs.png", content_type="image/png", tags="x")
    asset = LowAsset.model_validate(first.body)
    assert (first.status, asset.id, asset.hash, asset.created_new) == (201, SHA256, f"blake3:{BLAKE3}", True)
    assert (asset.file_path, asset.size_bytes, asset.content_type) == ("dir/Füchs.png", len(CONTENT), "image/png")
    assert depot.store.files[f"inputs/a/{SHA256}"].content == CONTENT
    again = depot.send(file_path="other.png")
    assert (again.status, again.body["id"], again.body["created_new"]) == (200, SHA256, False)
    assert again.body["file_path"] == "dir/Füchs.png"


def test_without_fields_the_file_itself_tells(depot: Depot) -> None:
    """Its part names it and says what it is."""
    body = depot.send(filename="fox.png").body
    assert (body["file_path"], body["content_type"]) == ("fox.png", "image/png")


def test_each_client_has_its_own(depot: Depot) -> None:
    """What one sent, another cannot see, probe, take, delete or use."""
    depot.send()
    assert depot.ask("probe", client="b", hash=f"blake3:{BLAKE3}").status == 404
    assert depot.ask("again", {"hash": f"blake3:{BLAKE3}"}, client="b").body["error"]["code"] == "blob_not_found"
    for name in ("get", "content", "delete"):
        assert depot.ask(name, client="b", asset_id=SHA256).status == 404
    assert depot.assets.find("b", SHA256) is None
    assert depot.send(client="b").status == 201
    assert depot.assets.find("a", SHA256) == SHA256


def test_bytes_are_found_by_either_hash(depot: Depot) -> None:
    """blake3 as v2 has it, SHA-256 as we do; what is no hash is not found."""
    depot.send()
    for named in (f"blake3:{BLAKE3}", f"BLAKE3:{BLAKE3.upper()}", f"blake3%3A{BLAKE3}", f"sha256:{SHA256}"):
        assert depot.ask("probe", hash=named).status == 200
    for named in ("blake3:" + "0" * 64, "md5:" + "0" * 32, "", "blake3:../x", f"sha256:{BLAKE3}"):
        assert depot.ask("probe", hash=named).status == 404
    answer = depot.ask("again", {"hash": f"blake3:{BLAKE3}", "file_path": "x.png", "tags": ["a"]})
    assert (answer.status, answer.body["id"], answer.body["created_new"]) == (200, SHA256, False)


def test_other_bytes_than_announced_are_refused(depot: Depot) -> None:
    """409 hash_mismatch, and nothing is kept; a right hash is taken."""
    refused = depot.send(expected_hash="blake3:" + "0" * 64)
    assert (refused.status, refused.body["error"]["code"], depot.store.files) == (409, "hash_mismatch", {})
    assert depot.send(expected_hash=f"BLAKE3:{BLAKE3.upper()}").status == 201


def test_a_file_too_large_for_a_request_is_told_the_other_way(depot: Depot) -> None:
    """413 that names the upload of its own; above the bound of all files, that."""
    refused = depot.send(bytes(INLINE_BYTES + 1))
    assert refused.status == 413 and "/api/v2/assets/uploads" in refused.body["error"]["message"]
    refused = depot.send_body(bytes(LIMIT + 1), "multipart/form-data; boundary=x")
    assert refused.status == 413 and "20 MB" in refused.body["error"]["message"]
    assert depot.send(bytes(INLINE_BYTES)).status == 201


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b"{}"),
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=", b"x"),
        ("multipart/form-data; boundary=b", b""),
        ("multipart/form-data; boundary=b", b"--b--\r\n"),
        ("multipart/form-data; boundary=b", b"\x00\xff garbage"),
        ("multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\ncut off'),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n\xff\r\n--b--\r\n',
        ),
        ("multipart/form-data; charset=nonsense; boundary=b", b"--b\r\nX"),
        ("", b""),
    ],
)
def test_what_is_no_form_is_refused(depot: Depot, content_type: str, body: bytes) -> None:
    """A 400 with a sentence; nothing is kept."""
    answer = depot.send_body(body, content_type)
    assert (answer.status, answer.body["error"]["code"], depot.store.files) == (400, "bad_request", {})


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../x.png", "a/../../x", "a\\b.png", "a\tb", "x" * 256, "\u202egnp.exe"]
)
def test_a_name_that_leads_elsewhere_is_refused(depot: Depot, name: str) -> None:
    """It names no file anywhere, and still is none."""
    answer = depot.send(file_path=name)
    assert (answer.status, answer.body["error"]["code"]) == (422, "bad_input")


def test_what_could_carry_a_script_is_kept_as_a_file(depot: Depot) -> None:
    """The address that shows it says so; a type that is none is plain bytes."""
    depot.send(b"<script>", file_path="x.html", content_type="text/html")
    page = depot.ask("content", asset_id=hashlib.sha256(b"<script>").hexdigest())
    assert page.status == 302 and "application/octet-stream&attachment" in page.headers["Location"]
    depot.send(content_type="image/png\r\nX: y")
    shown = depot.ask("get", asset_id=SHA256).body
    assert shown["content_type"] == "application/octet-stream"


def test_an_asset_that_is_used_is_kept_longer(depot: Depot) -> None:
    """On use, an asset older than a day counts as new again: it outlives every job that was given it."""
    created = depot.send().body["created_at"]
    depot.now_ms += DAY_MS - 1
    depot.assets.find("a", SHA256)
    assert depot.assets.get("a", SHA256).expires_at == NOW + KEPT_MS
    for use in (
        lambda: depot.assets.find("a", SHA256),
        lambda: depot.send(),
        lambda: depot.ask("again", {"hash": f"blake3:{BLAKE3}"}),
        lambda: depot.ask("begin_upload", {"sha256": SHA256, "size_bytes": len(CONTENT), "filename": "x"}),
    ):
        depot.now_ms += 2 * DAY_MS
        use()
        shown = depot.assets.get("a", SHA256)
        assert shown.expires_at == depot.now_ms + KEPT_MS
        assert depot.ask("probe", hash=f"blake3:{BLAKE3}").status == 200
        assert depot.store.files[f"inputs/a/by-blake3/{BLAKE3}"].modified_ms == depot.now_ms
    assert depot.ask("get", asset_id=SHA256).body["created_at"] == created


def test_a_deleted_asset_is_gone(depot: Depot) -> None:
    """The bytes, the record and the way by its hash; a second time there is none."""
    depot.send()
    assert depot.ask("delete", asset_id=SHA256).status == 204
    assert depot.store.files == {}
    assert depot.ask("delete", asset_id=SHA256).status == 404


def test_a_large_file_goes_up_by_itself(depot: Depot) -> None:
    """An address for exactly these bytes, then the asset; before that the answer says what is missing."""
    asked = {"sha256": SHA256, "size_bytes": len(CONTENT), "content_type": "image/png", "filename": "fox.png"}
    begun = depot.ask("begin_upload", asked)
    assert (begun.status, begun.body["id"], begun.body["asset"]) == (201, SHA256, None)
    assert begun.body["upload"]["headers"]["Content-Length"] == str(len(CONTENT))
    assert begun.body["complete_url"] == f"https://host/api/api/v2/assets/uploads/{SHA256}/complete"
    early = depot.ask("complete_upload", upload_id=SHA256)
    assert (early.status, early.body["error"]["code"]) == (409, "upload_incomplete")
    depot.store.create(f"inputs/a/{SHA256}", CONTENT, SHA256, "image/png", {"file-path": "fox.png"})
    done = depot.ask("complete_upload", upload_id=SHA256)
    assert (done.status, done.body["id"], done.body["hash"], done.body["file_path"]) == (200, SHA256, None, "fox.png")
    assert depot.ask("complete_upload", upload_id=SHA256).status == 200
    again = depot.ask("begin_upload", asked)
    assert (again.status, again.body["upload"], again.body["asset"]["id"]) == (200, None, SHA256)
    assert depot.send().body["hash"] == f"blake3:{BLAKE3}", "a form tells the hash that v2 knows"


def test_bytes_that_are_not_what_was_said_are_removed(depot: Depot) -> None:
    """Should the store take them, the asset is not made of them."""
    depot.store.write(f"inputs/a/{SHA256}", b"other")
    refused = depot.ask("complete_upload", upload_id=SHA256)
    assert (refused.status, refused.body["error"]["code"], depot.store.files) == (409, "hash_mismatch", {})


@pytest.mark.parametrize(
    "more", [{"size_bytes": LIMIT + 1}, {"size_bytes": 0}, {"sha256": "x"}, {"filename": "../x"}, {"filename": ""}]
)
def test_an_upload_that_cannot_be_is_refused(depot: Depot, more: dict[str, Any]) -> None:
    """Before an address is lent."""
    asked = {"sha256": SHA256, "size_bytes": 3, "filename": "x.png"}
    assert 400 <= depot.ask("begin_upload", asked | more).status < 500


def test_what_a_job_made_is_an_asset(depot: Depot) -> None:
    """By its output's id: described, led to, and used as another job's input; deleted only with its job."""
    job = depot.made()
    asset_id = output_id(job, job.outputs[0])
    shown = LowAsset.model_validate(depot.ask("get", asset_id=asset_id).body)
    assert (shown.job_id, shown.size_bytes) == (job.job_id, job.outputs[0].size_bytes)
    assert job.outputs[0].key in depot.ask("content", asset_id=asset_id).headers["Location"]
    assert depot.assets.find("a", asset_id) == SHA256
    assert depot.store.files[f"inputs/a/{SHA256}"].content == CONTENT
    assert depot.assets.find("a", asset_id) == SHA256
    assert depot.ask("delete", asset_id=asset_id).status == 422


def test_what_a_job_made_is_its_clients_alone(depot: Depot) -> None:
    """Another client, another number, and what is no id: none of it is found."""
    job = depot.made()
    asset_id = output_id(job, job.outputs[0])
    assert depot.ask("get", client="b", asset_id=asset_id).status == 404
    assert depot.assets.find("b", asset_id) is None
    for other in (f"{job.job_id}.1.1", f"{job.job_id}.2.0", job.job_id, f"{job.job_id}.", "", "x" * 3000, "é.1.0"):
        assert depot.ask("get", asset_id=other).status == 404, other
        assert depot.assets.find("a", other) is None


def test_inputs_name_assets_as_workers_read_them(depot: Depot) -> None:
    """An upload or an output by its id becomes `asset:<sha256>`; all else stays as it is."""
    job = depot.made()
    given = {
        "image": f"asset:{output_id(job, job.outputs[0])}",
        "prompt": "asset:s of a fox",
        "url": "https://x.org/a",
        "n": 3,
    }
    named = with_assets(given, lambda asset_id: depot.assets.find("a", asset_id))
    assert named == given | {"image": f"asset:{SHA256}"}
    with pytest.raises(Rejected, match=r"^image: there is no such asset\. Upload it again\.$") as refused:
        with_assets(given, lambda asset_id: depot.assets.find("b", asset_id))
    assert refused.value.code == "missing_asset"


def test_the_same_file_is_looked_up_once_for_many_jobs(depot: Depot) -> None:
    """What was found counts for ten seconds, what was not found for none; a deletion counts at once."""
    assert depot.assets.find("a", SHA256) is None
    depot.send()
    assert depot.assets.find("a", SHA256) == SHA256
    depot.store.files.pop(f"inputs/a/{SHA256}")
    assert depot.assets.find("a", SHA256) == SHA256
    depot.now_ms += 10_000
    assert depot.assets.find("a", SHA256) is None
    depot.send()
    assert depot.assets.find("a", SHA256) == SHA256
    depot.ask("delete", asset_id=SHA256)
    assert depot.assets.find("a", SHA256) is None
