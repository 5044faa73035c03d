"""The real clasp pushes the built script to a stand-in for Google's Apps Script API."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from infra.sheet import SheetFailed, build, prepare, push

HOST = "script.googleapis.com"
URL = "https://abc123.execute-api.eu-west-1.amazonaws.com/prod"
SCRIPT_ID = "1abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuv"
API_OFF = (
    "User has not enabled the Apps Script API. Enable it by visiting https://script.google.com/home/usersettings then "
    "retry. If you enabled this API recently, wait a few minutes for the action to propagate to our systems and retry."
)

pytestmark = pytest.mark.timeout(600)  # the first run installs clasp


class AppsScriptApi(ThreadingHTTPServer):
    """Be the proxy on the way to Google and answer in its name: one script project, replaced as a whole."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: list[dict[str, Any]] = []
        self.puts = 0
        self.refusal: tuple[int, str] | None = None
        self.certificate = folder / "google.pem"
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(_certificate(self.certificate))

    def environment(self, home: Path) -> dict[str, str]:
        """Say where Google is, and who is logged in."""
        login = {"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r"}
        token = {"access_token": "t", "expiry_date": int(time.time() + 3600) * 1000}
        (home / ".clasprc.json").write_text(json.dumps({"tokens": {"default": {**login, **token}}}))
        proxy = f"http://127.0.0.1:{self.server_address[1]}"
        found = dict.fromkeys(("HTTPS_PROXY", "https_proxy"), proxy) | dict.fromkeys(("NO_PROXY", "no_proxy"), "")
        return {**found, "NODE_EXTRA_CA_CERTS": str(self.certificate), "HOME": str(home)}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: AppsScriptApi

    def do_CONNECT(self) -> None:
        if self.path != f"{HOST}:443":
            self.send_error(502)
            return
        self.send_response(200)
        self.end_headers()
        self.connection = self.request = self.server.context.wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", 0)
        self.close_connection = False

    def do_GET(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.server.refusal:
            self.server.puts += 1
            self.server.files = sent["files"]
        self._answer()

    def _answer(self) -> None:
        code, content = 200, {"scriptId": SCRIPT_ID, "files": self.server.files}
        if self.server.refusal:
            code, message = self.server.refusal
            content = {"error": {"code": code, "message": message, "status": "PERMISSION_DENIED"}}
        elif self.path.split("?")[0] != f"/v1/projects/{SCRIPT_ID}/content":
            code, content = 404, {"error": {"code": 404, "message": "Requested entity was not found."}}
        body = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _certificate(path: Path) -> Path:
    """Make a certificate in Google's name, good for an hour."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = datetime.now(UTC)
    until = now + timedelta(hours=1)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, until)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + secret)
    return path


@pytest.fixture
def google(tmp_path: Path) -> Iterator[AppsScriptApi]:
    with AppsScriptApi(tmp_path) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """Build a small script."""
    source = tmp_path / "apps_script"
    source.mkdir()
    (source / "appsscript.json").write_text('{"runtimeVersion": "V8"}')
    (source / "Deployment.js").write_text("const DEPLOYED_API_URL_ = '';\n")
    (source / "Sidebar.html").write_text("<p>é\n", encoding="utf-8")
    (source / "notes.md").write_text("not for Google")
    build(source, tmp_path / "out", URL)
    prepare(tmp_path / "out", {"scriptId": SCRIPT_ID, "rootDir": "apps_script"})
    return tmp_path / "out"


def test_a_push_replaces_the_project_with_the_stamped_files(google: AppsScriptApi, built: Path, tmp_path: Path) -> None:
    """Google gets the manifest with its list, scripts and pages under their bare names, and nothing else stays."""
    google.files = [{"name": "Old", "type": "SERVER_JS", "source": "function old() {}"}]
    said = push(built, google.environment(tmp_path))
    assert said.startswith("Pushed 3 files")
    sent = {file["name"]: (file["type"], file["source"]) for file in google.files}
    assert sent["Deployment"] == ("SERVER_JS", f"const DEPLOYED_API_URL_ = '{URL}';\n")
    assert sent["Sidebar"] == ("HTML", "<p>é\n")
    kind, manifest = sent["appsscript"]
    assert (kind, json.loads(manifest)) == ("JSON", {"runtimeVersion": "V8", "urlFetchWhitelist": [URL + "/"]})
    assert sorted(sent) == ["Deployment", "Sidebar", "appsscript"]


def test_a_changed_manifest_is_pushed_without_a_question(google: AppsScriptApi, built: Path, tmp_path: Path) -> None:
    """A new address reaches a project that has an older one, where nobody sits at the terminal."""
    push(built, google.environment(tmp_path))
    build(tmp_path / "apps_script", built, "https://render.example.com/api")
    push(built, google.environment(tmp_path))
    manifest = next(file["source"] for file in google.files if file["name"] == "appsscript")
    assert json.loads(manifest)["urlFetchWhitelist"] == ["https://render.example.com/api/"]
    assert google.puts == 2


def test_a_second_push_of_the_same_is_no_fault(google: AppsScriptApi, built: Path, tmp_path: Path) -> None:
    """clasp sees that nothing has changed, and says so."""
    push(built, google.environment(tmp_path))
    assert push(built, google.environment(tmp_path)) == "Script is already up to date."


def test_what_google_refuses_is_told_with_the_remedy(google: AppsScriptApi, built: Path, tmp_path: Path) -> None:
    """The Apps Script API is off for a new account; the sentence says where to switch it on."""
    google.refusal = (403, API_OFF)
    with pytest.raises(SheetFailed, match="Switch the Apps Script API on at https://"):
        push(built, google.environment(tmp_path))
    assert google.puts == 0


def test_without_a_login_the_sentence_says_how(google: AppsScriptApi, built: Path, tmp_path: Path) -> None:
    """Nobody is logged in on this machine."""
    environment = google.environment(tmp_path)
    (tmp_path / ".clasprc.json").unlink()
    with pytest.raises(SheetFailed, match="Log in first: python -m infra sheet clasp login"):
        push(built, environment)
    assert google.puts == 0
