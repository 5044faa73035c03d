"""Licences, bills of material and the audit: what is said of the packages is what is in them."""

from __future__ import annotations

import json
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from infra.package import ROOT, Package, PackagingFailed, build
from infra.supply import sbom
from infra.supply.audit import audit
from infra.supply.licences import PAGE, REASONS, Licence, licences_of, objections, page, shipped
from infra.supply.locks import WORKER, Pin, normal, read_lock


@pytest.fixture(scope="module")
def package() -> Package:
    return build(ROOT / "dist")


def test_the_page_of_licences_is_not_stale() -> None:
    """docs/licences.md says what the locks and the installed packages say: else `python -m infra licences`."""
    assert PAGE.read_text() == page()


def test_nothing_is_shipped_that_asks_for_more_than_its_notice_unless_we_say_why() -> None:
    """Permissive, or with a reason on the page; and no reason is left over."""
    assert objections() == []
    asking = {each.pin.name for each_of in shipped().values() for each in each_of if not each.is_permissive}
    assert asking == REASONS.keys()


@pytest.mark.parametrize(
    ("expression", "permissive"),
    [
        ("MIT", True),
        ("CC0-1.0 OR Apache-2.0", True),
        ("GPL-3.0-only OR MIT", True),
        ("Apache-2.0 AND BSD-2-Clause", True),
        ("MIT AND LGPL-3.0-or-later", False),
        ("AGPL-3.0-only", False),
    ],
)
def test_a_licence_is_judged_by_the_best_of_its_choices(expression: str, permissive: bool) -> None:
    """OR leaves the choice to us; AND does not."""
    assert Licence(Pin("thing", "1", "", ()), expression).is_permissive is permissive


def test_a_package_that_is_locked_but_not_installed_is_told() -> None:
    """A licence is never guessed from another version."""
    with pytest.raises(PackagingFailed, match=r"rich 0\.1 is locked, but .* is installed"):
        licences_of([Pin("rich", "0.1", "", ())])


def test_the_bills_name_what_is_inside_no_more_no_less(package: Package) -> None:
    """
    The functions' bill lists the distributions in the zip, and Chalice's runtime; the worker's, its lock.

    Both are valid CycloneDX 1.6 (written only then) and carry hashes and licences throughout.
    """
    functions, worker = (json.loads(path.read_text()) for path in sbom.write(package))
    with zipfile.ZipFile(package.code) as zipped:
        inside = {
            tuple(name.split("/")[0].removesuffix(".dist-info").rsplit("-", 1))
            for name in zipped.namelist()
            if name.endswith(".dist-info/METADATA")
        }
    listed = {(each["name"], each["version"]) for each in functions["components"]}
    assert {pair for pair in listed if pair[0] != "chalice"} == {(normal(name), version) for name, version in inside}
    assert "chalice" in dict(listed)
    assert functions["metadata"]["component"]["hashes"] == [{"alg": "SHA-256", "content": package.digest}]
    assert [(each["name"], each["version"]) for each in worker["components"]] == [
        (pin.name, pin.version) for pin in read_lock(WORKER)
    ]
    for each in functions["components"] + worker["components"]:
        assert each["hashes"] and each["licenses"], each["name"]


def test_the_same_package_has_the_same_bill(package: Package) -> None:
    """Bytes and serial number come from the content: a bill that changed means that something changed."""
    first = [path.read_bytes() for path in sbom.write(package)]
    assert [path.read_bytes() for path in sbom.write(package)] == first
    other = sbom.bill("comfysheet-worker", shipped()["worker"][1:], {})
    assert other["serialNumber"] != json.loads(first[1])["serialNumber"]


def test_a_bill_that_is_no_cyclonedx_is_not_written(tmp_path: Path) -> None:
    """The schema judges before anything is on the disk."""
    with pytest.raises(PackagingFailed, match=r"x\.json would be no CycloneDX"):
        sbom._save(tmp_path / "x.json", {"bomFormat": "CycloneDX"})
    assert not (tmp_path / "x.json").exists()


class Osv(BaseHTTPRequestHandler):
    """Answer as OSV's POST /v1/query does: `{}`, or the advisories that are known of the package."""

    known: ClassVar[dict[str, str]] = {}
    status = 200

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["package"]["name"]
        advisory = {
            "id": self.known.get(asked),
            "summary": "It can be talked into anything.",
            "affected": [
                {
                    "package": {"name": asked, "ecosystem": "PyPI"},
                    "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99.0"}]}],
                }
            ],
        }
        body = json.dumps({"vulns": [advisory]} if asked in self.known else {}).encode()
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def osv(known: dict[str, str], status: int = 200) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Told", (Osv,), {"known": known, "status": status}))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
    finally:
        server.shutdown()
        server.server_close()


def test_a_known_vulnerability_fails_the_audit(capsys: pytest.CaptureFixture[str]) -> None:
    """The package, the advisory and the version that mends it are named, and how to take it."""
    with osv({"requests": "PYSEC-2026-9999"}) as url:
        assert audit([WORKER], url) == 1
    told = capsys.readouterr().out
    assert "requests" in told and "PYSEC-2026-9999" in told and "99.0" in told and "make lock" in told


def test_nothing_known_passes_the_audit(capsys: pytest.CaptureFixture[str]) -> None:
    """All of a lock is asked for; no news is said as such."""
    with osv({}) as url:
        assert audit([WORKER], url) == 0
    assert "No known vulnerabilities found" in capsys.readouterr().out


@pytest.mark.parametrize("must", [False, True])
def test_an_audit_that_cannot_be_made_says_so(capsys: pytest.CaptureFixture[str], must: bool) -> None:
    """Refused, or answered by something that is not OSV: not audited is no failure, unless the audit was the task."""
    with osv({}, status=403) as url:
        assert audit([WORKER], url, must=must) == int(must)
    assert "Not audited" in (told := capsys.readouterr().out) and "status 403" in told
    assert audit([WORKER], url, must=must) == int(must)  # nobody listens there any more
    assert "Not audited" in capsys.readouterr().out
