"""
Apply the requests of spreadsheets.batchUpdate that are not about cells or structure: protections, developer metadata,
conditional formats, the basic filter and filter views.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final

from sandbox.sheets_cells import conditional_format, filter_view, protected_range
from sandbox.sheets_errors import GoogleError
from sandbox.sheets_fields import Mask, merged, read_mask
from sandbox.sheets_metadata import Placed, create, find, replace_entry
from sandbox.sheets_ranges import read_grid_range, sheet_of
from sandbox.workbook import ConditionalFormat, FilterView, Protected, Sheet, Workbook

Request = Mapping[str, Any]
Reply = dict[str, Any]


def mask_of(request: Request) -> Mask:
    """Read the request's `fields`; GoogleError 400 when there are none."""
    if not request.get("fields"):
        raise GoogleError(400, "At least one field must be listed in 'fields'. (Use '*' to indicate all fields.)")
    return read_mask(request["fields"])


# -- protections ---------------------------------------------------------------------------------------------------


def _protected_of(book: Workbook, given: Request) -> tuple[Sheet, Protected]:
    """Read a ProtectedRange; without a warning whoever asks becomes an editor, as the owner always is."""
    sheet, area = read_grid_range(book, given.get("range") or {})
    users = (given.get("editors") or {}).get("users") or []
    warning = bool(given.get("warningOnly"))
    editors = () if warning else tuple(sorted({*users, book.user}))
    id_ = given.get("protectedRangeId") or book.new_id()
    return sheet, Protected(id_, area, given.get("description") or "", warning, editors)


def _add_protected_range(book: Workbook, request: Request) -> Reply:
    sheet, one = _protected_of(book, request.get("protectedRange") or {})
    sheet.change(partial(sheet.protected.append, one))
    return {"addProtectedRange": {"protectedRange": protected_range(book, sheet, one)}}


def _find_protected(book: Workbook, id_: Any) -> tuple[Sheet, Protected]:
    for sheet in book.sheets:
        for one in sheet.protected:
            if one.id == id_:
                if not book.may_edit(one):
                    raise GoogleError(400, "You do not have permission to edit the protected range.")
                return sheet, one
    raise GoogleError(400, f"No protected range with id: {id_}")


def _update_protected_range(book: Workbook, request: Request) -> Reply:
    given = request.get("protectedRange") or {}
    sheet, old = _find_protected(book, given.get("protectedRangeId"))
    wanted = merged(protected_range(book, sheet, old), given, mask_of(request)) or {}
    place, new = _protected_of(book, {**wanted, "protectedRangeId": old.id})
    if place is not sheet:
        raise GoogleError(400, "A protected range cannot move to another sheet.")
    kept = [new if one is old else one for one in sheet.protected]
    sheet.change(partial(setattr, sheet, "protected", kept))
    return {}


def _delete_protected_range(book: Workbook, request: Request) -> Reply:
    sheet, old = _find_protected(book, request.get("protectedRangeId"))
    sheet.change(partial(setattr, sheet, "protected", [one for one in sheet.protected if one is not old]))
    return {}


# -- developer metadata --------------------------------------------------------------------------------------------


def _create_metadata(book: Workbook, request: Request) -> Reply:
    placed = create(book, request.get("developerMetadata") or {})
    return {"createDeveloperMetadata": {"developerMetadata": placed.to_json()}}


def _looked_up(book: Workbook, data_filters: list[Request]) -> list[Placed]:
    lookups = [one.get("developerMetadataLookup") for one in data_filters]
    if not lookups or None in lookups:
        raise GoogleError(501, "Choosing metadata by range is not emulated.")
    return [placed for lookup in lookups for placed in find(book, lookup or {})]


def _update_metadata(book: Workbook, request: Request) -> Reply:
    names = {"metadataKey": "key", "metadataValue": "value", "visibility": "visibility"}
    given, mask = request.get("developerMetadata") or {}, mask_of(request) or {name: {} for name in names}
    for name in mask:
        if name not in names:
            raise GoogleError(501, f"Writing DeveloperMetadata.{name} is not emulated.")
    parts: dict[str, Any] = {names[name]: given.get(name) for name in mask}
    shown = []
    for placed in _looked_up(book, request.get("dataFilters") or []):
        changed = replace(placed, entry=replace(placed.entry, **parts))
        replace_entry(book, placed, changed.entry)
        shown.append(changed.to_json())
    return {"updateDeveloperMetadata": {"developerMetadata": shown} if shown else {}}


def _delete_metadata(book: Workbook, request: Request) -> Reply:
    deleted = _looked_up(book, [request.get("dataFilter") or {}])
    for placed in deleted:
        replace_entry(book, placed, None)
    shown = [placed.to_json() for placed in deleted]
    return {"deleteDeveloperMetadata": {"deletedDeveloperMetadata": shown} if shown else {}}


# -- conditional formats -------------------------------------------------------------------------------------------


def _conditional_of(book: Workbook, given: Request | None) -> tuple[Sheet, ConditionalFormat]:
    rule = dict(given or {})
    places = [read_grid_range(book, one) for one in rule.pop("ranges", None) or []]
    if not places or len({sheet.gid for sheet, _ in places}) != 1:
        raise GoogleError(400, "A conditional format rule needs ranges, all on one sheet.")
    if len([name for name in ("booleanRule", "gradientRule") if rule.get(name)]) != 1:
        raise GoogleError(400, "A conditional format rule needs a booleanRule or a gradientRule.")
    return places[0][0], ConditionalFormat(tuple(area for _, area in places), rule)


def _add_conditional(book: Workbook, request: Request) -> Reply:
    sheet, one = _conditional_of(book, request.get("rule"))
    sheet.change(partial(sheet.conditional_formats.insert, request.get("index", 0), one))
    return {}


def _conditional_at(sheet: Sheet, index: int) -> ConditionalFormat:
    if not 0 <= index < len(sheet.conditional_formats):
        raise GoogleError(400, f"No conditional format on sheet: {sheet.gid} at index: {index}")
    return sheet.conditional_formats[index]


def _update_conditional(book: Workbook, request: Request) -> Reply:
    """Replace the rule at an index, or move it to another one."""
    index = request.get("index", 0)
    if request.get("rule") is not None:
        sheet, new = _conditional_of(book, request["rule"])
        place = index
    else:
        sheet = sheet_of(book, request.get("sheetId"))
        new, place = _conditional_at(sheet, index), request.get("newIndex", 0)
        _conditional_at(sheet, place)
    old = _conditional_at(sheet, index)
    others = [one for one in sheet.conditional_formats if one is not old]
    sheet.change(partial(setattr, sheet, "conditional_formats", [*others[:place], new, *others[place:]]))
    shown = {"newRule": conditional_format(sheet, new), "newIndex": place}
    if request.get("rule") is not None:
        shown["oldRule"] = conditional_format(sheet, old)
    else:
        shown["oldIndex"] = index
    return {"updateConditionalFormatRule": shown}


def _delete_conditional(book: Workbook, request: Request) -> Reply:
    sheet = sheet_of(book, request.get("sheetId"))
    old = _conditional_at(sheet, request.get("index", 0))
    kept = [one for one in sheet.conditional_formats if one is not old]
    sheet.change(partial(setattr, sheet, "conditional_formats", kept))
    return {"deleteConditionalFormatRule": {"rule": conditional_format(sheet, old)}}


# -- filters -------------------------------------------------------------------------------------------------------

_CRITERIA: Final = frozenset({"hiddenValues", "condition"})


def _criteria_of(given: Request) -> dict[int, Mapping[str, Any]]:
    """Read filterSpecs, or the older `criteria` (by column as text)."""
    specs = given.get("filterSpecs")
    if specs is not None:
        criteria = {one.get("columnIndex", 0): one.get("filterCriteria") or {} for one in specs}
    else:
        criteria = {int(col): one for col, one in (given.get("criteria") or {}).items()}
    for one in criteria.values():
        beyond = sorted(one.keys() - _CRITERIA)
        if beyond:
            raise GoogleError(501, f"FilterCriteria.{beyond[0]} is not emulated.")
    return criteria


def _sorting_of(given: Request) -> tuple[tuple[int, bool], ...]:
    specs = given.get("sortSpecs") or []
    return tuple((one.get("dimensionIndex", 0), one.get("sortOrder") != "DESCENDING") for one in specs)


def _set_basic_filter(book: Workbook, request: Request) -> Reply:
    given = request.get("filter") or {}
    sheet, area = read_grid_range(book, given.get("range") or {})
    sheet.set_filter(area, _criteria_of(given))
    for col, ascending in reversed(_sorting_of(given)):  # sorting is stable: the first key comes last
        sheet.sort_filter(col, ascending)
    return {}


def _clear_basic_filter(book: Workbook, request: Request) -> Reply:
    sheet = sheet_of(book, request.get("sheetId"))
    sheet.hide_rows(0, sheet.rows, by="filter", hidden=False)
    sheet.clear_filter()
    return {}


def _view_of(book: Workbook, given: Request) -> tuple[Sheet, FilterView]:
    sheet, area = read_grid_range(book, given.get("range") or {})
    id_ = given.get("filterViewId") or book.new_id()
    title = given.get("title") or f"Filter {1 + sum(len(one.filter_views) for one in book.sheets)}"
    return sheet, FilterView(id_, title, area, _criteria_of(given), _sorting_of(given))


def _add_filter_view(book: Workbook, request: Request) -> Reply:
    sheet, view = _view_of(book, request.get("filter") or {})
    if any(one.id == view.id for other in book.sheets for one in other.filter_views):
        raise GoogleError(400, f"Duplicate filter view id: {view.id}")
    sheet.change(partial(sheet.filter_views.append, view))
    return {"addFilterView": {"filter": filter_view(sheet, view)}}


def _find_view(book: Workbook, id_: Any) -> tuple[Sheet, FilterView]:
    for sheet in book.sheets:
        for view in sheet.filter_views:
            if view.id == id_:
                return sheet, view
    raise GoogleError(400, f"No filter view with id: {id_}")


def _update_filter_view(book: Workbook, request: Request) -> Reply:
    given, mask = request.get("filter") or {}, mask_of(request)
    sheet, old = _find_view(book, given.get("filterViewId"))
    before = filter_view(sheet, old)
    if not mask or {"criteria", "filterSpecs"} & mask.keys():  # both say the same: what is given counts
        before = {name: part for name, part in before.items() if name not in ("criteria", "filterSpecs")}
    place, new = _view_of(book, {**(merged(before, given, mask) or {}), "filterViewId": old.id})
    if place is not sheet:
        raise GoogleError(400, "A filter view cannot move to another sheet.")
    kept = [new if one is old else one for one in sheet.filter_views]
    sheet.change(partial(setattr, sheet, "filter_views", kept))
    return {}


def _delete_filter_view(book: Workbook, request: Request) -> Reply:
    sheet, old = _find_view(book, request.get("filterId"))
    sheet.change(partial(setattr, sheet, "filter_views", [one for one in sheet.filter_views if one is not old]))
    return {}


KINDS: Final[Mapping[str, Callable[[Workbook, Request], Reply]]] = {
    "addProtectedRange": _add_protected_range,
    "updateProtectedRange": _update_protected_range,
    "deleteProtectedRange": _delete_protected_range,
    "createDeveloperMetadata": _create_metadata,
    "updateDeveloperMetadata": _update_metadata,
    "deleteDeveloperMetadata": _delete_metadata,
    "addConditionalFormatRule": _add_conditional,
    "updateConditionalFormatRule": _update_conditional,
    "deleteConditionalFormatRule": _delete_conditional,
    "setBasicFilter": _set_basic_filter,
    "clearBasicFilter": _clear_basic_filter,
    "addFilterView": _add_filter_view,
    "updateFilterView": _update_filter_view,
    "deleteFilterView": _delete_filter_view,
}
#: The schema that a request's `fields` speaks of.
MASKED: Final = {
    "updateProtectedRange": "ProtectedRange",
    "updateDeveloperMetadata": "DeveloperMetadata",
    "updateFilterView": "FilterView",
}
