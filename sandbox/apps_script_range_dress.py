"""Be the part of Range that is about looks: colours, weight, alignment, wrapping."""

from typing import Any, Final, Self

from sandbox.apps_script_colours import read_colour
from sandbox.apps_script_host import Choice, ScriptFault
from sandbox.apps_script_range_values import Grid, RangeValues
from sandbox.apps_script_values import merged
from sandbox.workbook import Cell, colour_of

_VERTICAL: Final = {"top": "TOP", "middle": "MIDDLE", "bottom": "BOTTOM"}
_HORIZONTAL: Final = {"left": "LEFT", "center": "CENTER", "right": "RIGHT"}
#: WrapStrategy -> the API's word.
_WRAPPING: Final = {"WRAP": "WRAP", "OVERFLOW": "OVERFLOW_CELL", "CLIP": "CLIP"}


class RangeDress(RangeValues):
    """Be a rectangle of cells and what they look like."""

    def getBackground(self) -> str:
        """Read the first cell's background."""
        return str(self.getBackgrounds()[0][0])

    def getBackgrounds(self) -> Grid:
        """Read the backgrounds as #rrggbb."""
        return self._read(lambda cell: cell.background or "#ffffff")

    def setBackground(self, color: str | None) -> Self:
        """Set the background: #rrggbb or a name; null is the default."""
        return self._dress(backgroundColor=colour_of(read_colour(color or "white")))

    def setBackgrounds(self, color: list) -> Self:  # type: ignore[type-arg]
        """Set the backgrounds by a grid."""
        return self._each(color, lambda one: {"backgroundColor": colour_of(read_colour(one or "white"))})

    def setFontColor(self, color: str | None) -> Self:
        """Set the text's colour; null is the default."""
        return self._dress(textFormat={"foregroundColor": colour_of(read_colour(color or "black"))})

    def setFontWeight(self, fontWeight: str | None) -> Self:
        """Set bold or normal."""
        return self._text("bold", fontWeight, {"bold": True, "normal": False})

    def getFontWeight(self) -> str:
        """Read whether the first cell's text is bold or normal."""
        return "bold" if self._read(lambda cell: bool(_text_of(cell).get("bold")))[0][0] else "normal"

    def setFontStyle(self, fontStyle: str | None) -> Self:
        """Set italic or normal."""
        return self._text("italic", fontStyle, {"italic": True, "normal": False})

    def setFontLine(self, fontLine: str | None) -> Self:
        """Set line-through or none; underlining is not emulated."""
        return self._text("strikethrough", fontLine, {"line-through": True, "none": False})

    def setFontSize(self, size: int) -> Self:
        """Set the size in points."""
        return self._dress(textFormat={"fontSize": size})

    def setWrap(self, isWrapEnabled: bool) -> Self:
        """Set whether long text is broken into lines."""
        return self._dress(wrapStrategy="WRAP" if isWrapEnabled else "OVERFLOW_CELL")

    def setWrapStrategy(self, strategy: Choice) -> Self:
        """Set what happens to long text."""
        if strategy.kind != "WrapStrategy":
            raise ScriptFault(
                f"The parameters ({strategy.kind}) don't match the method signature for Range.setWrapStrategy."
            )
        return self._dress(wrapStrategy=_WRAPPING[strategy.name])

    def getWrapStrategy(self) -> Choice:
        """Read what happens to long text in the first cell."""
        word = self._read(lambda cell: str((cell.format or {}).get("wrapStrategy") or "OVERFLOW_CELL"))[0][0]
        return Choice("WrapStrategy", next(name for name, own in _WRAPPING.items() if own == word))

    def setVerticalAlignment(self, alignment: str | None) -> Self:
        """Set top, middle or bottom."""
        if alignment is not None and alignment not in _VERTICAL:
            raise ScriptFault(f"Invalid argument: {alignment}")
        return self._dress(verticalAlignment=_VERTICAL[alignment or "bottom"])

    def setHorizontalAlignment(self, alignment: str | None) -> Self:
        """Set left, center, right, or normal: what suits the value."""
        if alignment in (None, "normal"):
            return self._dress(horizontalAlignment=None)
        if alignment not in _HORIZONTAL:
            raise ScriptFault(f"Invalid argument: {alignment}")
        return self._dress(horizontalAlignment=_HORIZONTAL[str(alignment)])

    def getHorizontalAlignment(self) -> str:
        """Read the first cell's alignment; general is what suits the value."""
        words = self._read(lambda cell: str((cell.format or {}).get("horizontalAlignment", "GENERAL")).lower())
        return str(words[0][0])

    def clearFormat(self) -> Self:
        """Take every format away; conditional ones stay."""
        with self._editing():
            for row, col in self._area.cells():
                self._cells_of.set_cell(row, col, format=None)
        return self

    def _text(self, name: str, given: str | None, words: dict[str, bool]) -> Self:
        if given is not None and given not in words:
            raise ScriptFault(f"Invalid argument: {given}")
        return self._dress(textFormat={name: bool(given and words[given])})

    def _each(self, grid: list[Any], parts_of: Any) -> Self:
        def put(row: int, col: int, given: Any) -> None:
            cell = self._cells_of.cell(row, col)
            self._cells_of.set_cell(row, col, format=merged(cell, **parts_of(given)))

        return self._write(grid, put)


def _text_of(cell: Cell) -> dict[str, Any]:
    found: dict[str, Any] = (cell.format or {}).get("textFormat") or {}
    return found
