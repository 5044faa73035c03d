"""The copy of the script that goes to Google: what is stamped, what is refused, which files clasp takes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from infra import npm
from infra.package import ROOT
from infra.sheet import CLASP, SheetFailed, build, clasp, clean_address, list_pushed, prepare, read_project

URL = "https://abc123.execute-api.eu-west-1.amazonaws.com/prod"
SCRIPT_ID = "1abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuv"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Make a small script folder, with files beside it that are none of Google's business."""
    folder = tmp_path / "apps_script"
    (folder / "notes").mkdir(parents=True)
    (folder / "appsscript.json").write_text(
        '{"timeZone": "Etc/UTC", "oauthScopes": ["a"], "urlFetchWhitelist": ["https://old/"]}'
    )
    (folder / "Deployment.js").write_text("/** Where it is. */\nconst DEPLOYED_API_URL_ = '';\n\nfunction rest() {}\n")
    (folder / "Menu.js").write_text("function onOpen() { return 'é'; }\n", encoding="utf-8")
    (folder / "Sidebar.html").write_text("<p>\n")
    for name in ("README.md", "notes/Old.js", "package.json", ".hidden.js", "key.txt"):
        (folder / name).write_text("not for Google")
    return folder


def test_the_copy_knows_one_address(source: Path, tmp_path: Path) -> None:
    """The constant and the manifest's list are stamped; the rest of the files stays as it is."""
    build(source, tmp_path / "out", URL + "/")
    made = tmp_path / "out" / "apps_script"
    assert (made / "Deployment.js").read_text() == (source / "Deployment.js").read_text().replace("''", f"'{URL}'")
    manifest = json.loads((made / "appsscript.json").read_text())
    assert manifest == {"timeZone": "Etc/UTC", "oauthScopes": ["a"], "urlFetchWhitelist": [URL + "/"]}
    assert (made / "Menu.js").read_bytes() == (source / "Menu.js").read_bytes()


def test_only_what_google_takes_is_copied(source: Path, tmp_path: Path) -> None:
    """Scripts, pages and the manifest of the folder itself; nothing that an earlier build left."""
    (tmp_path / "out" / "apps_script").mkdir(parents=True)
    (tmp_path / "out" / "apps_script" / "Gone.js").write_text("")
    made = build(source, tmp_path / "out", URL)
    assert [path.name for path in made] == ["Deployment.js", "Menu.js", "Sidebar.html", "appsscript.json"]
    assert sorted(path.name for path in (tmp_path / "out" / "apps_script").iterdir()) == [path.name for path in made]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (URL, URL),
        (URL + "/", URL),
        (f" {URL}\n", URL),
        ("https://render.example.com/api/v1/", "https://render.example.com/api/v1"),
        ("https://render.example.com", "https://render.example.com"),
    ],
)
def test_an_address_loses_its_last_slash(given: str, kept: str) -> None:
    """The script adds paths to it, and the list in the manifest gets the slash that Google asks for."""
    assert clean_address(given) == kept


@pytest.mark.parametrize(
    "address",
    [
        "http://render.example.com/api",
        "https://render.example.com:8443/api",
        "https://*.example.com/api",
        "https://localhost/api",
        "https://10.0.0.1/api",
        "https://someone@render.example.com/api",
        "https://render.example.com/api?x=1",
        "https://render.example.com/api#x",
        "https://render.example.com/a'b",
        "render.example.com/api",
        "",
    ],
)
def test_an_address_that_google_would_not_fetch_from_is_refused(address: str, source: Path, tmp_path: Path) -> None:
    """Nothing is written, and the sentence says what an address must be."""
    with pytest.raises(SheetFailed, match="https://, then a full domain name"):
        build(source, tmp_path / "out", address)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["const OTHER_ = '';\n", "const DEPLOYED_API_URL_ = '';\n" * 2])
def test_a_script_that_cannot_be_stamped_is_refused(text: str, source: Path, tmp_path: Path) -> None:
    """An address that went nowhere would be worse than no build."""
    (source / "Deployment.js").write_text(text)
    with pytest.raises(SheetFailed, match=r"must hold the line `const DEPLOYED_API_URL_ = '';` once, not [02] times"):
        build(source, tmp_path / "out", URL)


@pytest.mark.parametrize("name", ["Deployment.js", "appsscript.json"])
def test_a_missing_file_is_named(name: str, source: Path, tmp_path: Path) -> None:
    """Both files carry a stamp."""
    (source / name).unlink()
    with pytest.raises(SheetFailed, match=f"{name} is missing"):
        build(source, tmp_path / "out", URL)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "In the sheet open Extensions > Apps Script and copy the Script ID"),
        ("{", "is no JSON"),
        ('{"rootDir": "apps_script"}', "names no script"),
        ((ROOT / ".clasp.json.example").read_text(), "names no script"),
        (json.dumps({"scriptId": SCRIPT_ID, "rootDir": "."}), 'must say "rootDir": "apps_script"'),
    ],
)
def test_a_project_file_that_leads_nowhere_is_refused(text: str | None, sentence: str, tmp_path: Path) -> None:
    """Missing, broken, the example itself, another folder: each has its sentence."""
    path = tmp_path / ".clasp.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SheetFailed, match=sentence):
        read_project(path)


def test_the_example_needs_nothing_but_an_id(tmp_path: Path) -> None:
    """The example with its one value filled in is taken."""
    example = json.loads((ROOT / ".clasp.json.example").read_text())
    (tmp_path / ".clasp.json").write_text(json.dumps({**example, "scriptId": SCRIPT_ID}))
    assert read_project(tmp_path / ".clasp.json") == {"scriptId": SCRIPT_ID, "rootDir": "apps_script"}


def test_push_says_what_to_do_without_a_project(tmp_path: Path) -> None:
    """The command fails with the sentence and reaches neither AWS nor Google."""
    command = [sys.executable, "-m", "infra", "sheet", "push", "--url", URL, "--project", str(tmp_path / "none.json")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"There is no {tmp_path / 'none.json'}, so nobody knows which script to push to.")


@pytest.mark.timeout(600)
def test_clasp_takes_these_files_and_no_others(source: Path, tmp_path: Path) -> None:
    """The real clasp, reading our ignore file, lists what the build copied, even when other files lie there too."""
    target = tmp_path / "out"
    made = build(source, target, URL)
    prepare(target, {"scriptId": SCRIPT_ID, "projectId": "p"})
    assert json.loads((target / ".clasp.json").read_text())["projectId"] == "p"
    for name in ("README.md", "package.json", "notes/Old.js", "node_modules/x/index.js", ".hidden.js", "Secret.ts"):
        (target / "apps_script" / name).parent.mkdir(parents=True, exist_ok=True)
        (target / "apps_script" / name).write_text("not for Google")
    assert list_pushed(target) == [f"apps_script/{path.name}" for path in made]


@pytest.mark.timeout(600)
def test_clasp_reads_the_tree_itself_the_same_way(tmp_path: Path) -> None:
    """A plain `clasp push` in the clone, past our command, would take scripts and pages only, too."""
    shutil.copytree(ROOT / "apps_script", tmp_path / "apps_script")
    shutil.copyfile(ROOT / ".claspignore", tmp_path / ".claspignore")
    (tmp_path / ".clasp.json").write_text(json.dumps({"scriptId": SCRIPT_ID, "rootDir": "apps_script"}))
    (tmp_path / "apps_script" / "notes.md").write_text("")
    wanted = [path.name for path in (ROOT / "apps_script").iterdir() if path.suffix in (".js", ".html", ".json")]
    assert list_pushed(tmp_path) == sorted(f"apps_script/{name}" for name in wanted)


@pytest.mark.timeout(600)
def test_clasp_is_the_pinned_one(tmp_path: Path) -> None:
    """What runs is the version of the lock file."""
    pinned = json.loads((CLASP / "package.json").read_text())["dependencies"]["@google/clasp"]
    assert clasp(["--version"], tmp_path).stdout.strip() == pinned


@pytest.fixture
def nothing(tmp_path: Path) -> Path:
    """Make a package that needs no other."""
    package = {"name": "nothing", "version": "1.0.0"}
    (tmp_path / "package.json").write_text(json.dumps(package))
    lock = {**package, "lockfileVersion": 3, "packages": {"": package}}
    (tmp_path / "package-lock.json").write_text(json.dumps(lock))
    (tmp_path / "node_modules").mkdir()
    return tmp_path


def test_packages_are_installed_once(nothing: Path) -> None:
    """A lock file that has not changed is not installed again; a changed one is."""
    assert [npm.install(nothing), npm.install(nothing)] == [True, False]
    lock = nothing / "package-lock.json"
    lock.write_text(lock.read_text() + "\n")
    assert npm.install(nothing)


def test_two_that_install_at_once_do_not_disturb_each_other(nothing: Path) -> None:
    """npm ci takes node_modules away first: two of them in one folder would break each other."""
    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(npm.install, [nothing] * 4)) == [False, False, False, True]


def test_a_failed_install_is_told_in_npms_words(tmp_path: Path) -> None:
    """A lock file that does not fit leaves no stamp, so that the next run tries again."""
    (tmp_path / "package.json").write_text('{"name": "x", "version": "1.0.0", "dependencies": {"y": "1.0.0"}}')
    (tmp_path / "package-lock.json").write_text('{"lockfileVersion": 3, "packages": {}}')
    with pytest.raises(npm.NpmFailed, match="npm ci failed in"):
        npm.install(tmp_path)
    assert not (tmp_path / "node_modules").exists()
