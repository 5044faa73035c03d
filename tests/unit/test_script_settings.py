"""Connecting a spreadsheet, and what the Settings dialog is told."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from sandbox.apps_script import FetchResponse, ScriptError
from tests.script_world import KEY, SCRIPT, Killed, ScriptWorld, refusal

NEW_KEY = "ck_ba9876543210_" + "_-" * 21 + "A"
CODE = "cc_abcdef"


def fresh_world() -> ScriptWorld:
    world = ScriptWorld()
    world.document.clear()
    return world


def proofs(world: ScriptWorld) -> list[str]:
    """Read what stands on the spreadsheet, as the service account would."""
    return [one.value for one in world.book.metadata if one.key == "comfysheet-proof"]


def kill() -> None:
    raise Killed


def pairing(world: ScriptWorld, *, patience: int = 2, trouble: str = "") -> None:
    """Let the API ask for a proof, take its time, and answer with the key once the proof is there."""
    asked: list[dict[str, Any]] = []

    def connect(body: dict[str, Any]) -> Any:
        asked.append(body)
        if len(asked) == 1:
            return {"state": "prove", "proof": "p-1", "service_account": "sheets@example.iam"}
        if len(asked) <= 1 + patience or proofs(world) != ["p-1"]:
            return {"state": "waiting", "trouble": trouble, "service_account": "sheets@example.iam"}
        return {"state": "connected", "key": NEW_KEY, "client": "studio-a", "service_account": "sheets@example.iam"}

    world.api.answers["/v1/sheets/connect"] = connect


def error_of(world: ScriptWorld, function: str, *args: Any) -> str:
    with pytest.raises(ScriptError) as caught:
        world.run(function, args=args)
    return caught.value.message.removeprefix("Error: ")


def test_a_code_becomes_a_key_after_a_proof() -> None:
    """Unsigned, the same body each time; the key is kept and never shown, the proof is taken away."""
    world = fresh_world()
    pairing(world)
    state = world.run("settingsConnect", args=["https://api.example/prod/", f" {CODE} "])
    bodies = world.api.sent("/v1/sheets/connect")
    assert len(bodies) == 4 and all(body == bodies[0] for body in bodies)
    assert bodies[0] == {"code": CODE, "spreadsheet_id": "sheet-1", "sheet_id": world.sheet.gid, "title": "Pictures"}
    assert world.clock.slept == [2.0, 2.0] and proofs(world) == []
    assert world.document == {
        "API_URL": "https://api.example/prod", "SHEET_KEY": NEW_KEY, "SPREADSHEET_ID": "sheet-1",
        "SERVICE_ACCOUNT": "sheets@example.iam", "AUTO": "",
    }  # fmt: skip
    assert state["connected"] and state["message"].startswith("Connected.")
    assert state["keyId"] == "ba9876543210" and NEW_KEY not in json.dumps(state)


def test_an_older_proof_is_replaced() -> None:
    """One that a dead script left behind does not mislead the service, and none is left in the end."""
    world = fresh_world()
    pairing(world, patience=0)
    world.api.before = lambda path, body: kill() if len(world.api.sent("/v1/sheets/connect")) == 2 else None
    with pytest.raises(Killed):
        world.run("settingsConnect", args=["https://api.example/prod", CODE])
    assert proofs(world) == ["p-1"]
    world.api.requests.clear()
    world.api.before = lambda path, body: None
    seen: list[list[str]] = []

    def connect(body: dict[str, Any]) -> Any:
        seen.append(proofs(world))
        if len(seen) == 1:
            return {"state": "prove", "proof": "p-2", "service_account": "s"}
        return {"state": "connected", "key": NEW_KEY, "client": "studio-a", "service_account": "s"}

    world.api.answers["/v1/sheets/connect"] = connect
    world.run("settingsConnect", args=["https://api.example/prod", CODE])
    assert seen == [["p-1"], ["p-2"]] and proofs(world) == []


def test_connecting_gives_up_after_forty_seconds_and_says_why() -> None:
    """Nothing is kept, nothing is left on the spreadsheet."""
    world = fresh_world()
    pairing(world, patience=1000, trouble="Share this spreadsheet with sheets@example.iam as an editor.")
    assert error_of(world, "settingsConnect", "https://api.example/prod", CODE) == (
        "Share this spreadsheet with sheets@example.iam as an editor."
    )
    assert 38 <= sum(world.clock.slept) <= 42 and world.document == {} and proofs(world) == []


def test_a_used_code_is_refused_in_the_apis_words() -> None:
    """And the old connection stays."""
    world = ScriptWorld()
    before = dict(world.document)
    world.api.answers["/v1/sheets/connect"] = lambda body: refusal(
        403, "This code was used already. Ask for a new one."
    )
    assert error_of(world, "settingsConnect", "https://api.example/prod", CODE) == (
        "This code was used already. Ask for a new one."
    )
    assert world.document == before


@pytest.mark.parametrize(
    ("url", "code", "word"),
    [
        ("ftp://other.example", CODE, "address"),
        ("http://other.example", CODE, "address"),
        ("https://user@other.example", CODE, "address"),
        ("https://other.example?x=1", CODE, "address"),
        ("", CODE, "address"),
        ("https://other.example", "ck_short", "neither"),
        ("https://other.example", KEY + "x", "neither"),
        ("https://other.example", "", "neither"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_asked(url: str, code: str, word: str) -> None:
    """Nothing is fetched, nothing changes."""
    world = ScriptWorld()
    before = dict(world.document)
    assert word in error_of(world, "settingsConnect", url, code)
    assert world.api.requests == [] and world.document == before


def test_a_pasted_key_is_kept_and_tried() -> None:
    """Without any code; when the API is down it is kept all the same."""
    world = fresh_world()
    state = world.run("settingsConnect", args=["https://api.example/prod", KEY])
    assert state["connected"] and state["message"].startswith("Connected.") and state["client"] == "studio-a"
    assert world.document["SERVICE_ACCOUNT"] == "sheets@example.iam"
    world.api.before = lambda path, body: refusal(500, "Out of order.")
    state = world.run("settingsConnect", args=["https://api.example/prod", NEW_KEY])
    assert state["message"].startswith("Saved, but it does not work yet.") and not state["refused"]
    assert world.document["SHEET_KEY"] == NEW_KEY


def test_a_key_that_the_api_refuses_takes_no_place() -> None:
    """The key that works stays; one that is refused later on is said to be."""
    world = ScriptWorld()
    before = dict(world.document)
    world.api.before = lambda path, body: refusal(401, "Unknown key.")
    said = error_of(world, "settingsConnect", "https://api.example/prod", NEW_KEY)
    assert "Unknown key. Nothing was changed." in said and world.document == before
    state = world.run("settingsState")
    assert state["connected"] and state["refused"] and "Unknown key." in state["trouble"]


def test_the_state_tells_all_but_the_key() -> None:
    """Quota, usage, host, whom to share with."""
    world = ScriptWorld()
    state = world.run("settingsState")
    assert state == {
        "connected": True, "isCopy": False, "url": "https://api.example/prod", "fixedUrl": False,
        "keyId": "0123456789ab", "client": "studio-a", "serviceAccount": "sheets@example.iam", "auto": False,
        "imagesAsked": False,
        "usage": {"images": 12, "gpuSeconds": 34.5, "text": "12 images, 35 s of GPU time, $0.42"},
        "limits": {"rowsPerRequest": 100, "queuedMax": 1000}, "workers": 1, "parked": None, "refused": False,
        "trouble": "", "version": "1.2",
    }  # fmt: skip


def test_the_state_of_a_copy_and_of_nothing() -> None:
    """No request is made for either."""
    world = ScriptWorld()
    world.document["SPREADSHEET_ID"] = "the-original"
    state = world.run("settingsState")
    assert (state["connected"], state["isCopy"], state["keyId"]) == (False, True, "")
    world.document.clear()
    state = world.run("settingsState")
    assert (state["connected"], state["isCopy"], state["url"]) == (False, False, "")
    assert world.api.requests == []


def test_a_silent_api_is_named_in_the_state() -> None:
    """The rest of it is what the spreadsheet knows."""
    world = ScriptWorld()
    world.document["SERVICE_ACCOUNT"] = "kept@example.iam"
    world.api.before = lambda path, body: refusal(503)
    state = world.run("settingsState")
    assert state["connected"] and state["trouble"].startswith("The API has a fault")
    assert state["serviceAccount"] == "kept@example.iam" and state["usage"] is None


def test_a_deployed_address_is_fixed(tmp_path: Path) -> None:
    """Whatever is typed; properties of another address do not count."""
    script = tmp_path / "script"
    shutil.copytree(SCRIPT, script)
    text = (script / "Deployment.js").read_text()
    assert "const DEPLOYED_API_URL_ = '';" in text
    (script / "Deployment.js").write_text(text.replace("= ''", "= 'https://fixed.example/prod'"))
    world = ScriptWorld(script=script)
    hosts: list[str] = []
    api = world.api

    def fetch(request: Any) -> FetchResponse:
        hosts.append(request.url.split("/")[2])
        return api(request)

    world.project._fetch = fetch
    world.document.clear()
    state = world.run("settingsConnect", args=["https://typed.example", KEY])
    assert state["fixedUrl"] and state["url"] == "https://fixed.example/prod"
    assert set(hosts) == {"fixed.example"}


def test_test_asks_the_service_to_look() -> None:
    """Health first, then the errand that reads and writes through the service account."""
    world = ScriptWorld()
    looks = [{"state": "waiting", "message": ""}, {"state": "done", "message": "The sheet can be read and written."}]
    world.api.answers["/v1/sheets/errands/look"] = lambda body: looks.pop(0)
    assert world.run("settingsTest") == {"ok": True, "message": "The sheet can be read and written."}
    assert [path for path, _ in world.api.requests] == [
        "/health", "/v1/sheets/errands", "/v1/sheets/errands/look", "/v1/sheets/errands/look",
    ]  # fmt: skip
    assert world.api.sent("/v1/sheets/errands")[0] == {
        "spreadsheet_id": "sheet-1", "sheet_id": world.sheet.gid, "what": "check", "allow_images": False,
    }  # fmt: skip
    assert world.clock.slept == [1.5, 1.5]


@pytest.mark.parametrize(
    ("path", "answer", "message"),
    [
        ("/health", FetchResponse(404, b"<html>"), "There is no ComfySheet API at that address."),
        ("/health", FetchResponse(200, b"hello"), "There is no ComfySheet API at that address."),
        ("/v1/sheets/errands", refusal(403, "This key is for another sheet."), "This key is for another sheet."),
        ("/v1/sheets/errands/look", {"state": "failed", "message": "Share it."}, "Share it."),
        ("/v1/sheets/errands/look", {"state": "waiting"}, "The service did not answer within 30 seconds."),
    ],
)
def test_test_says_what_is_wrong(path: str, answer: Any, message: str) -> None:
    """Not ok, with a sentence."""
    world = ScriptWorld()
    world.api.answers[path] = lambda body: answer
    said = world.run("settingsTest")
    assert not said["ok"] and said["message"].startswith(message)


def test_auto_mode_is_switched_there_and_remembered_here() -> None:
    """For the tab that is open."""
    world = ScriptWorld()
    said = world.run("settingsAuto", args=[True])
    assert said["on"] and "on for this tab" in said["message"] and world.document["AUTO"] == "on"
    assert world.api.sent("/v1/sheets/auto") == [{"spreadsheet_id": "sheet-1", "sheet_id": world.sheet.gid, "on": True}]
    assert not world.run("settingsAuto", args=[False])["on"] and world.document["AUTO"] == ""


def test_auto_mode_is_not_switched_on_in_the_middle_of_a_run() -> None:
    """That run does not hold the lease."""
    world = ScriptWorld()
    world.document["RUN_12345678"] = "99999999999999"
    assert "in a minute" in error_of(world, "settingsAuto", True)
    assert world.api.requests == [] and "AUTO" not in world.document


def test_what_was_switched_elsewhere_is_learnt() -> None:
    """The API's word counts."""
    world = ScriptWorld()
    world.api.connection["auto"] = True
    assert world.run("settingsState")["auto"] and world.document["AUTO"] == "on"


def test_pictures_are_allowed_once() -> None:
    """And that it was decided is remembered; a failure is told and not remembered."""
    world = ScriptWorld()
    world.api.answers["/v1/sheets/errands/look"] = lambda body: {"state": "failed", "message": "Share it first."}
    assert error_of(world, "settingsAllowImages") == "Share it first." and "IMAGES" not in world.document
    world.api.answers["/v1/sheets/errands/look"] = lambda body: {"state": "done", "message": "Pictures are allowed."}
    assert world.run("settingsAllowImages") == {"message": "Pictures are allowed."}
    assert world.api.sent("/v1/sheets/errands")[-1]["allow_images"] is True
    assert world.run("settingsState")["imagesAsked"]


def test_disconnecting_forgets_the_key_and_ends_auto_mode() -> None:
    """The address stays; the service must not go on starting rows."""
    world = ScriptWorld()
    world.run("settingsAuto", args=[True])
    state = world.run("settingsDisconnect")
    assert not state["connected"] and world.api.connection["auto"] is False
    assert world.document == {"API_URL": "https://api.example/prod"}


def test_auto_mode_must_end_before_the_key_is_forgotten() -> None:
    """Else the service would go on starting rows and nobody here could stop it."""
    world = ScriptWorld()
    world.run("settingsAuto", args=[True])
    world.api.before = lambda path, body: refusal(503)
    assert error_of(world, "settingsDisconnect").startswith("Auto mode could not be switched off")
    assert world.run("settingsState")["connected"]


def test_the_menu_opens_the_dialog_and_the_sidebar(tmp_path: Path) -> None:
    """From the files that the script brings."""
    script = tmp_path / "script"
    shutil.copytree(SCRIPT, script)
    for name in ("Settings", "Sidebar"):
        (script / f"{name}.html").write_text(f"<p>{name}</p>")
    world = ScriptWorld(script=script)
    world.run("settings")
    world.run("showProgress")
    assert world.person.pages == [("ComfySheet settings", "<p>Settings</p>"), ("ComfySheet", "<p>Sidebar</p>")]


def test_no_page_has_the_name_of_a_script_file() -> None:
    """Google keeps files by name without ending: Sidebar.js would shut out Sidebar.html."""
    scripts = {path.stem.lower() for path in SCRIPT.glob("*.js")}
    assert scripts.isdisjoint(
        {"sidebar", "settings", "columns", *(path.stem.lower() for path in SCRIPT.glob("*.html"))}
    )
