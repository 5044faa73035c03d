"""
The verb `sheet`: check apps_script/, build the copy that goes to Google, push it with clasp.

The copy knows one API address and may fetch from nowhere else: `urlFetchWhitelist` in the manifest and
DEPLOYED_API_URL_ in Deployment.js are stamped. clasp replaces the whole script project with it.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from infra import npm, stack
from infra.package import ROOT
from infra.release import add_stage_options, session
from infra.sheet_check import TOOLS, check

if TYPE_CHECKING:
    Verbs = argparse._SubParsersAction[Any]

SOURCE: Final = ROOT / "apps_script"
TARGET: Final = ROOT / ".build" / "sheet"
CLASP: Final = TOOLS / "clasp"
#: What Google takes: the same as .claspignore lets through.
PUSHED: Final = ("appsscript.json", "*.js", "*.html")
_STAMP: Final = re.compile(r"^const DEPLOYED_API_URL_ = '[^'\n]*';", re.MULTILINE)
_ADDRESS: Final = re.compile(r"https://(?P<host>[a-z0-9-]+(?:\.[a-z0-9-]+)+)(?P<path>(?:/[A-Za-z0-9._~-]+)*)/*")
_SCRIPT_ID: Final = re.compile(r"[A-Za-z0-9_-]{20,}")
_NO_PROJECT: Final = (
    "There is no {path}, so nobody knows which script to push to. In the sheet open Extensions > Apps Script and copy "
    "the Script ID from Project Settings. Then `cp .clasp.json.example .clasp.json`, and put the ID into it. "
    "docs/sheet.md has the steps."
)


class SheetFailed(Exception):
    """Say why the script could not be built or pushed, and what to do."""


def register(verbs: Verbs) -> None:
    """Add the verb."""
    top = verbs.add_parser("sheet", help="the script of the sheet: check, build, push")
    actions = top.add_subparsers(dest="action", required=True, metavar="<action>")
    judge = actions.add_parser("check", help="find what Google would refuse; touches no cloud")
    judge.add_argument("--folder", type=Path, default=SOURCE, help="default: apps_script/")
    judge.set_defaults(run=_check)

    build_ = actions.add_parser("build", help="write the copy that would be pushed to .build/sheet")
    push_ = actions.add_parser("push", help="build, and replace the script project that .clasp.json names")
    for action in (build_, push_):
        add_stage_options(action)
        action.add_argument("--url", help="address of the API, (default: the stage's own, or its PublicUrl)")
    push_.add_argument("--project", type=Path, default=ROOT / ".clasp.json", help="which script (default: .clasp.json)")
    push_.add_argument("--dry-run", action="store_true", help="show what clasp would push, and push nothing")
    build_.set_defaults(run=_build)
    push_.set_defaults(run=_push)

    run = actions.add_parser("clasp", help="run the pinned clasp itself, such as: sheet clasp login")
    run.add_argument("arguments", nargs=argparse.REMAINDER)
    run.set_defaults(run=_run_clasp)


def build(source: Path, target: Path, api_url: str) -> list[Path]:
    """
    Copy what goes to Google from *source* to *target*/apps_script, stamped with *api_url*; return the copies.

    Raises SheetFailed before anything is written.
    """
    address = clean_address(api_url)
    files = sorted({path for pattern in PUSHED for path in source.glob(pattern) if path.name[0] != "."})
    texts = {path.name: path.read_text(encoding="utf-8") for path in files}
    for needed in ("appsscript.json", "Deployment.js"):
        if needed not in texts:
            raise SheetFailed(f"{source / needed} is missing; the API's address is stamped into it.")
    texts["appsscript.json"] = _stamp_manifest(texts["appsscript.json"], address)
    texts["Deployment.js"], count = _STAMP.subn(f"const DEPLOYED_API_URL_ = '{address}';", texts["Deployment.js"])
    if count != 1:
        raise SheetFailed(
            f"{source / 'Deployment.js'} must hold the line `const DEPLOYED_API_URL_ = '';` once, not {count} times: "
            "the API's address is stamped into it."
        )
    folder = target / "apps_script"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
    return sorted(folder.iterdir())


def clean_address(text: str) -> str:
    """
    Return the API's address without a slash at its end.

    Raises SheetFailed for what urlFetchWhitelist cannot hold: https only, a full domain, no port, no query
    (developers.google.com/apps-script/manifest/allowlist-url).
    """
    match = _ADDRESS.fullmatch(text.strip())
    if match is None or re.fullmatch(r"[\d.]+", match["host"]):
        raise SheetFailed(
            f"{text} is no address that Google lets a script fetch from: https://, then a full domain name in lower "
            "case, then a path; no port, no query."
        )
    return f"https://{match['host']}{match['path']}"


def read_project(path: Path) -> dict[str, Any]:
    """Read a .clasp.json. Raises SheetFailed when it is not there or does not name a script and apps_script."""
    try:
        project = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SheetFailed(_NO_PROJECT.format(path=path)) from error
    except ValueError as error:
        raise SheetFailed(f"{path} is no JSON: {error}") from error
    if not isinstance(project, dict) or not _SCRIPT_ID.fullmatch(str(project.get("scriptId", ""))):
        raise SheetFailed(
            f"{path} names no script: scriptId is the Script ID that Extensions > Apps Script > Project Settings shows."
        )
    if project.get("rootDir", "apps_script") not in ("apps_script", "apps_script/", "./apps_script"):
        raise SheetFailed(
            f'{path} must say "rootDir": "apps_script"; the copy that is pushed lies in a folder of that name.'
        )
    return project


def prepare(target: Path, project: dict[str, Any]) -> None:
    """Put clasp's own two files beside the built copy."""
    settings = {**project, "rootDir": "apps_script"}
    (target / ".clasp.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    shutil.copyfile(ROOT / ".claspignore", target / ".claspignore")


def clasp(
    arguments: Sequence[str], cwd: Path, more: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the pinned clasp, installed on first use, with *more* in its environment. Raises NpmFailed."""
    npm.install(CLASP, print)
    return npm.run_node([str(_entry()), *arguments], cwd, 300, more)


def _entry() -> Path:
    package = CLASP / "node_modules" / "@google" / "clasp"
    return package / str(json.loads((package / "package.json").read_text())["bin"]["clasp"])


def list_pushed(target: Path) -> list[str]:
    """Ask clasp which files below *target* it would push; needs no login."""
    done = clasp(["show-file-status", "--json"], target)
    if done.returncode:
        raise SheetFailed(f"clasp could not list the files:\n{_said(done)}")
    return sorted(json.loads(done.stdout)["filesToPush"])


def push(target: Path, more: Mapping[str, str] | None = None) -> str:
    """Replace the script project with what `build` and `prepare` made; return clasp's words. Raises SheetFailed."""
    # Without -f a changed manifest is left out, silently where nobody can be asked (clasp 3.4, commands/push.js).
    done = clasp(["push", "-f"], target, more)
    if done.returncode:
        raise SheetFailed(f"clasp did not push:\n{_said(done)}{_remedy(_said(done))}")
    return done.stdout.strip()


def _stamp_manifest(text: str, address: str) -> str:
    manifest = json.loads(text)
    manifest["urlFetchWhitelist"] = [f"{address}/"]
    return json.dumps(manifest, indent=2) + "\n"


def _check(arguments: argparse.Namespace) -> int:
    found = check(arguments.folder, print)
    for finding in found:
        print(f"{arguments.folder.name}/{finding}")
    if not found:
        print(f"{arguments.folder.name}: nothing that Google would refuse")
    return 1 if found else 0


def _address(arguments: argparse.Namespace) -> str:
    if arguments.url:
        return str(arguments.url)
    return stack.address_of(stack.described(session(arguments), arguments.stage))


def _build(arguments: argparse.Namespace) -> int:
    address = _address(arguments)
    for path in build(SOURCE, TARGET, address):
        print(path.relative_to(ROOT))
    print(f"stamped with {clean_address(address)}")
    return 0


def _push(arguments: argparse.Namespace) -> int:
    project = read_project(arguments.project)
    address = _address(arguments)
    found = check(SOURCE, print)
    if found:
        raise SheetFailed("\n".join([*(f"apps_script/{one}" for one in found), "Nothing was pushed."]))
    build(SOURCE, TARGET, address)
    prepare(TARGET, project)
    print(f"script {project['scriptId']}, API {clean_address(address)}")
    if arguments.dry_run:
        print("would replace the whole script project with:")
        print("\n".join(f"  {name}" for name in list_pushed(TARGET)))
        return 0
    print(push(TARGET))
    print("Reload the sheet: its menu comes from the new script.")
    return 0


def _remedy(said: str) -> str:
    if "credentials" in said.lower() or "invalid_grant" in said:
        return "\nLog in first: python -m infra sheet clasp login"
    if "usersettings" in said:
        return "\nSwitch the Apps Script API on at https://script.google.com/home/usersettings and try again."
    return ""


def _said(done: subprocess.CompletedProcess[str]) -> str:
    return (done.stderr.strip() or done.stdout.strip())[-2000:]


def _run_clasp(arguments: argparse.Namespace) -> int:
    """Run clasp at the terminal, in .build/sheet: what create-script or pull write stays out of the tree."""
    npm.install(CLASP, print)
    TARGET.mkdir(parents=True, exist_ok=True)
    command = [str(npm.find("node")), str(_entry()), *arguments.arguments]
    return subprocess.run(command, cwd=TARGET, env=npm.environment(), check=False).returncode
