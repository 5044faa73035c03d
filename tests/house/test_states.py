"""Keep the drawing of the states and the table that the code obeys the same."""

from __future__ import annotations

from pathlib import Path

from chalicelib.contract.states import OPEN, TERMINAL, TRANSITIONS, State, Verb, diagram, legend

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "states.md"


def test_the_drawing_is_the_table() -> None:
    """docs/states.md shows exactly the table's moves and guards."""
    page = PAGE.read_text()
    assert page[page.index("```mermaid") :] == f"```mermaid\n{diagram()}```\n\n{legend()}"


def test_no_move_leaves_an_end() -> None:
    """Only notes of what its row shows touch an ended job, and they change no state."""
    for move in TRANSITIONS.values():
        if move.sources & TERMINAL:
            assert move.verb in (Verb.SYNCED, Verb.SHOW_AGAIN) and move.target is None


def test_every_state_is_reached_and_every_open_state_can_end() -> None:
    """No state is an island, and no open state is a trap."""
    reached = {move.target for move in TRANSITIONS.values()} - {None}
    assert reached == set(State)
    for state in OPEN:
        ends = {move.target for move in TRANSITIONS.values() if state in move.sources}
        assert ends & TERMINAL


if __name__ == "__main__":
    text = PAGE.read_text()
    head = text[: text.index("```mermaid")]
    PAGE.write_text(f"{head}```mermaid\n{diagram()}```\n\n{legend()}")
