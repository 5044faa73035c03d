"""The routes of the sheets' scripts. They are signed (`chalicelib.sheet_api` checks it), and not published."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from chalicelib.api_parts import Answer, Call
from chalicelib.operation import Operation
from chalicelib.sheet_api import SheetApi
from chalicelib.wiring import World


def _of_script(
    method: str, path: str, name: str, summary: str, answer: Callable[[SheetApi, Call], Answer]
) -> Operation:
    def asked(world: World, call: Call) -> Answer:
        return answer(world.sheet_api, call)

    return Operation(method, f"/v1/sheets/{path}", name, summary, asked)


SHEETS: Final = (
    _of_script("POST", "jobs", "submitRows", "Accept rows of a sheet.", SheetApi.submit_rows),
    _of_script("GET", "workflows", "sheetWorkflows", "List what a row may ask for.", SheetApi.workflows),
    _of_script("POST", "workflows", "addWorkflow", "Add a workflow of a client's own.", SheetApi.add_workflow),
    _of_script("POST", "workflows/infer", "sheetInferWorkflow", "Propose a manifest.", SheetApi.infer_workflow),
    _of_script("POST", "connect", "connectSheet", "Connect a spreadsheet by a code.", SheetApi.connect),
    _of_script("POST", "connection", "sheetConnection", "Say how a spreadsheet is connected.", SheetApi.connection),
    _of_script("POST", "progress", "rowsProgress", "Say how far rows are.", SheetApi.progress),
    _of_script("POST", "cancel", "cancelRows", "Cancel rows.", SheetApi.cancel),
    _of_script("POST", "fetch", "fetchRows", "Have results written once more.", SheetApi.fetch),
    _of_script("POST", "auto", "switchAuto", "Switch auto mode.", SheetApi.auto),
    _of_script("POST", "claims", "claimRows", "Be the only one who starts rows.", SheetApi.claims),
    _of_script("POST", "errands", "sendErrand", "Ask for what only our service account can do.", SheetApi.errands),
    _of_script("POST", "errands/look", "lookAtErrand", "Say what became of an errand.", SheetApi.look_at_errand),
)
