"""
Describe a spreadsheet that is connected: whose it is, whether rows start by themselves, and why it may be out of reach.

Times are milliseconds since the epoch.
"""

from __future__ import annotations

from typing import Final, Literal

from chalicelib.contract.job import Frozen

PROOF_KEY: Final = "comfysheet-proof"
"""Name of the developer metadata in which a connecting script shows that its person may edit the spreadsheet."""

HOLD_MS: Final = 60_000
"""How long whoever starts rows of a spreadsheet in auto mode is the only one, unless he says so again."""


class Proof(Frozen):
    """Hold a connection in the making."""

    text: str
    """What the script has to write into the spreadsheet."""
    code_id: str
    until: int
    is_seen: bool = False
    trouble: str = ""
    """Why it could not be looked for; empty: not yet, or it was not there."""


class Parked(Frozen):
    """Say why rows of a spreadsheet are not written now."""

    reason: str
    since: int
    until: int
    """When the next try is due."""


class ErrandNote(Frozen):
    """Say what became of the last errand."""

    id: str
    state: Literal["waiting", "done", "failed"]
    message: str = ""


class Registration(Frozen):
    """Hold what is known of one spreadsheet."""

    spreadsheet_id: str
    client_id: str | None = None
    """Whose it is; None: nobody's yet."""
    key_id: str | None = None
    title: str = ""
    auto_tabs: tuple[int, ...] = ()
    """Ids of the tabs in which rows start by themselves."""
    auto_at: int = 0
    """When these tabs were looked at last."""
    parked: Parked | None = None
    proof: Proof | None = None
    errand: ErrandNote | None = None
