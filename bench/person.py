"""Be the person at the sheet who lets the script do what it asks to do."""

from __future__ import annotations

from sandbox.live import PageUi


class Yes(PageUi):
    """Answer every question of the script with yes."""

    def alert(self, title: str, text: str, buttons: str) -> str:
        """Say yes."""
        return "YES" if "YES" in buttons else "OK"
