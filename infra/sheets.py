"""The verb `sheets`: the connected spreadsheets, and the end of a parking."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType

from chalicelib.contract.errors import Rejected
from chalicelib.contract.sheets import Registration
from infra.deployed import Deployed, deployed, now_ms
from infra.key_terms import spreadsheet_id_of
from infra.paper import Column, cut, moment, money, pairs, show, show_json, some, span, table, when
from infra.release import add_stage_options, keep_what_was_said

if TYPE_CHECKING:
    Verbs = argparse._SubParsersAction[Any]


@dataclass(frozen=True)
class Sheet:
    """Hold a spreadsheet, and what it used today (UTC)."""

    known: Registration
    images: int
    gpu_s: float
    cost_usd: float | None


def register(verbs: Verbs) -> None:
    """Add the verb."""
    top = verbs.add_parser("sheets", help="connected spreadsheets: list, show, unpark")
    # `sheets` alone lists all.
    top.set_defaults(run=_list, parked=False)
    actions = top.add_subparsers(dest="action", metavar="<action>")
    listing = actions.add_parser("list", help="list them: client, title, auto mode, parked or not, today's use")
    showing = actions.add_parser("show", help="tell everything about one")
    unpark = actions.add_parser("unpark", help="end its parking, as Test in its Settings does: rows are tried again")
    for action, run in ((listing, _list), (showing, _show), (unpark, _unpark)):
        if action is not listing:
            action.add_argument("id", help="the spreadsheet's id or its whole address")
        add_stage_options(action)
        action.add_argument("--json", action="store_true", help="as JSON, for scripts")
        action.set_defaults(run=run)
    listing.add_argument("--parked", action="store_true", help="only those whose rows are not written")
    add_stage_options(top)
    top.add_argument("--json", action="store_true", help="as JSON, for scripts")
    for action in (listing, showing, unpark):
        keep_what_was_said(action, "stage", "region", "profile", "json")


def _list(arguments: argparse.Namespace) -> int:
    there = deployed(arguments)
    known = [each for each in there.registry.every() if not arguments.parked or each.parked is not None]
    sheets = [_sheet(there, each) for each in sorted(known, key=lambda each: (each.client_id or "", each.title))]
    if arguments.json:
        show_json({"sheets": [document(sheet) for sheet in sheets]})
    else:
        show(*listed(sheets, now_ms()))
    return 0


def _sheet(there: Deployed, known: Registration) -> Sheet:
    used, price = there.usage.today(known.spreadsheet_id, now_ms()), there.gpu_hour_price
    gpu_s = used.gpu_ms / 1000
    return Sheet(known, used.images, gpu_s, None if price is None else gpu_s / 3600 * price)


def document(sheet: Sheet) -> dict[str, Any]:
    """Give a spreadsheet to scripts."""
    known = sheet.known
    parked = known.parked
    return {
        "spreadsheet_id": known.spreadsheet_id,
        "client": known.client_id,
        "key_id": known.key_id,
        "title": known.title,
        "auto_tabs": list(known.auto_tabs),
        "auto_at": moment(known.auto_at or None),
        "parked": parked and {"reason": parked.reason, "since": moment(parked.since), "until": moment(parked.until)},
        "errand": known.errand and known.errand.model_dump(mode="json"),
        "today": {"images": sheet.images, "gpu_s": sheet.gpu_s, "cost_usd": sheet.cost_usd},
    }


def listed(sheets: Sequence[Sheet], now: int) -> list[RenderableType]:
    """Lay out a list; below it stands why some are parked."""
    if not sheets:
        return ["There is no such spreadsheet. Connect one: keys new-code --client NAME."]
    rows = [
        (
            cut(sheet.known.title or sheet.known.spreadsheet_id, 26),
            sheet.known.client_id or "nobody",
            sheet.known.key_id or "none",
            str(len(sheet.known.auto_tabs) or ""),
            "" if sheet.known.parked is None else span(now - sheet.known.parked.since),
            f"{sheet.images:,}",
        )
        for sheet in sheets
    ]
    columns = [Column("Sheet", may_fold=True), Column("Client", may_fold=True), Column("Key")]
    columns += [Column(title, is_number=True) for title in ("Auto", "Parked", "Images today")]
    parts: list[RenderableType] = [table(columns, rows)]
    for sheet in sheets:
        if (parked := sheet.known.parked) is not None:
            parts.append(
                f"\n{sheet.known.title or 'untitled'} ({sheet.known.spreadsheet_id}) is parked: {parked.reason}"
            )
    return parts


def _known(there: Deployed, words: str) -> Registration:
    spreadsheet_id = spreadsheet_id_of(words)
    known = next((each for each in there.registry.every() if each.spreadsheet_id == spreadsheet_id), None)
    if known is None:
        raise Rejected("not_found", f"Spreadsheet {spreadsheet_id[:80]} is not known here; see `sheets list`.")
    return known


def _show(arguments: argparse.Namespace) -> int:
    there = deployed(arguments)
    sheet = _sheet(there, _known(there, arguments.id))
    lagging = len(there.ledger.unshown(sheet.known.spreadsheet_id))
    gone = len(there.ledger.gone(sheet.known.spreadsheet_id))
    if arguments.json:
        show_json({**document(sheet), "rows_behind": lagging, "results_without_row": gone})
    else:
        show(page(sheet, lagging, gone, now_ms()))
    return 0


def page(sheet: Sheet, lagging: int, gone: int, now: int) -> RenderableType:
    """Lay out everything about one spreadsheet."""
    known, parked = sheet.known, sheet.known.parked
    cost = "" if sheet.cost_usd is None else f", {money(sheet.cost_usd)}"
    lines = [
        ("spreadsheet", f"https://docs.google.com/spreadsheets/d/{known.spreadsheet_id}/edit"),
        ("title", known.title),
        ("client", known.client_id or "nobody yet"),
        ("key", known.key_id or "none: it must be connected again"),
        ("auto mode", ", ".join(f"tab {tab}" for tab in known.auto_tabs) or "off"),
        ("today", f"{some(sheet.images, 'image')}, {sheet.gpu_s:,.1f} GPU seconds{cost}"),
        ("rows behind", str(lagging)),
        ("results without a row", str(gone)),
    ]
    if parked is not None:
        again = f"in {span(parked.until - now)}" if parked.until > now else "with its next news"
        lines += [("parked", f"since {when(parked.since)}; tried again {again}"), ("why", parked.reason)]
    if known.errand is not None:
        lines.append(("last errand", f"{known.errand.state} {known.errand.message}".strip()))
    return pairs(lines)


def _unpark(arguments: argparse.Namespace) -> int:
    there = deployed(arguments)
    known = _known(there, arguments.id)
    there.registry.unpark(known.spreadsheet_id)
    # One hint is enough: whoever shows a row shows all that lag in its spreadsheet.
    lagging = there.ledger.unshown(known.spreadsheet_id)
    for job in there.ledger.get_many(lagging[:1]):
        there.completions.hint_again(job)
    if arguments.json:
        show_json(
            {"spreadsheet_id": known.spreadsheet_id, "was_parked": known.parked is not None, "rows": len(lagging)}
        )
        return 0
    if known.parked is None:
        show("It was not parked.")
    else:
        show(f"It is not parked any more. It was: {known.parked.reason}")
    if lagging:
        show(f"{some(len(lagging), 'row')} behind: completion tries now. If Google still refuses, it is parked again.")
    return 0
