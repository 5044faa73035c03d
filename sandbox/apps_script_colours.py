"""Read colours as Apps Script takes them: #rrggbb, #rgb, or a CSS name."""

import re
from typing import Final

from sandbox.apps_script_host import ScriptFault

_LONG: Final = re.compile(r"#[0-9a-fA-F]{6}")
_SHORT: Final = re.compile(r"#[0-9a-fA-F]{3}")
#: The sixteen names of HTML 4 and a few more.
_NAMES: Final = {
    "white": "#ffffff", "black": "#000000", "red": "#ff0000", "yellow": "#ffff00", "lime": "#00ff00",
    "green": "#008000", "blue": "#0000ff", "gray": "#808080", "grey": "#808080", "silver": "#c0c0c0",
    "maroon": "#800000", "olive": "#808000", "teal": "#008080", "aqua": "#00ffff", "navy": "#000080",
    "purple": "#800080", "fuchsia": "#ff00ff", "orange": "#ffa500",
}  # fmt: skip


def read_colour(color: str) -> str:
    """Give #rrggbb; ScriptFault for what is no colour."""
    found = _NAMES.get(color.lower(), color)
    if _SHORT.fullmatch(found):
        found = "#" + "".join(2 * digit for digit in found[1:])
    if not _LONG.fullmatch(found):
        raise ScriptFault(f"The colour {color} is not emulated")
    return found.lower()
