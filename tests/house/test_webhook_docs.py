"""Keep docs/webhooks.md and the code the same: moves, schedule, limits."""

from __future__ import annotations

from pathlib import Path

from chalicelib.contract.deliveries import (
    ENDPOINTS_MOST,
    MOVES,
    OFF_AFTER_MS,
    SCHEDULE_S,
    DeliveryState,
    Move,
    delivery_diagram,
)
from chalicelib.operations.webhooks import WEBHOOKS
from chalicelib.poster import TOTAL_S
from chalicelib.webhook_payload import LIMIT_BYTES

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "webhooks.md"


def test_the_drawing_is_the_table_of_moves() -> None:
    """docs/webhooks.md shows exactly the moves that the book allows."""
    assert delivery_diagram() in PAGE.read_text()


def test_every_state_is_reached_and_an_end_is_left_by_asking_alone() -> None:
    """Nothing but a redelivery brings an ended delivery back."""
    assert {move.target for move in MOVES.values()} == set(DeliveryState)
    leaving = {move.move for move in MOVES.values() if move.sources - {DeliveryState.WAITING}}
    assert leaving == {Move.REDELIVER}


def test_the_page_tells_the_figures_of_the_code() -> None:
    """The schedule, the limits and the routes."""
    page = PAGE.read_text()
    assert SCHEDULE_S == (0, 5, 300, 1_800, 7_200, 18_000, 36_000, 36_000)
    assert "5 s, 5 min, 30 min, 2 h, 5 h, 10 h and 10 h" in page
    assert (OFF_AFTER_MS, TOTAL_S, LIMIT_BYTES, ENDPOINTS_MOST) == (5 * 86_400_000, 15, 20_000, 10)
    for words in ("**five days**", "within 15 seconds", "At most 20 KB", "ten at most"):
        assert words in page
    for operation in WEBHOOKS:
        assert operation.method in page and operation.path.rsplit("/", 1)[1].strip("{}") in page.replace(
            "{id}", "webhook_id"
        )
