"""The verb `doctor`: look at everything a stage needs, one by one, and say what to do about what is wrong."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from infra.deployed import Deployed
from infra.package import ROOT
from infra.paper import BAD, CARE, GOOD, plain, show, show_json, some
from infra.release import add_stage_options, session
from infra.stack import StackFailed
from infra.stage_checks import FAULT, OK, WARN, Finding, checks, look

if TYPE_CHECKING:
    Verbs = argparse._SubParsersAction[Any]

_MARKS: Final = {OK: ("✓", GOOD), WARN: ("–", CARE), FAULT: ("✗", BAD)}
_ASKS_FIRST: Final = frozenset({"credentials", "stack"})
"""Without these nothing else can be looked at."""


def register(verbs: Verbs) -> None:
    """Add the verb."""
    verb = verbs.add_parser(
        "doctor",
        help="look at everything a stage needs, and say what to do about what is wrong",
        epilog="Nothing is changed. Exit codes: 0 all is well (there may be warnings), 1 something does not work.",
    )
    add_stage_options(verb)
    verb.add_argument("--json", action="store_true", help="findings as JSON, for scripts")
    verb.add_argument("--dist", type=Path, default=ROOT / "dist", help="folder to compare with what is deployed")
    verb.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    findings: list[Finding] = []

    def note(finding: Finding) -> None:
        findings.append(finding)
        if not arguments.json:
            show(*lines(finding))

    try:
        there = Deployed(session(arguments), arguments.stage)
    except StackFailed as refusal:
        note(Finding("credentials", FAULT, str(refusal), "Log in, or name a profile with --profile."))
    else:
        for name, check in checks(arguments.dist):
            note(look(name, check, there))
            if findings[-1].verdict == FAULT and name in _ASKS_FIRST:
                break
    if arguments.json:
        show_json({"stage": arguments.stage, "findings": [plain(finding) for finding in findings]})
    else:
        show(summary(findings))
    return 1 if any(finding.verdict == FAULT for finding in findings) else 0


def lines(finding: Finding) -> list[Text]:
    """Write a finding, and below it what to do."""
    mark, style = _MARKS[finding.verdict]
    written = [Text.assemble((mark, style), " ", (f"{finding.name:18}", "bold"), finding.seen)]
    return [*written, Text(f"{'':20}→ {finding.remedy}")] if finding.remedy else written


def summary(findings: Sequence[Finding]) -> str:
    """Say in a sentence how it went."""
    faults = sum(finding.verdict == FAULT for finding in findings)
    warnings = sum(finding.verdict == WARN for finding in findings)
    told = "All is well." if not faults else f"{some(faults, 'thing')} of {len(findings)} must be put right."
    return f"{told} {some(warnings, 'thing')} worth a look." if warnings else told
