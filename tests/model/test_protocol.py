"""
No interleaving of the protocol breaks a promise, and the model can tell: without any of its mechanisms it finds how.

Larger budgets by hand: `python -m tests.model --help`.
"""

from __future__ import annotations

import pytest

from chalicelib.contract.states import TRANSITIONS, Guard, State, Verb
from tests.model.protocol import Protocol
from tests.model.search import Found, explore
from tests.model.world import Budgets, Rules, without

NO_FAULTS = Budgets(crashes=0, duplicates=0, expiries=0, lost=0, releases=0, cancels=False, held=False, fails=False)


def search(rules: Rules | None = None, **budgets: object) -> Found:
    return explore(Protocol(rules, Budgets(**{**vars(NO_FAULTS), **budgets})))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "faults",
    [
        {"crashes": 1, "held": True},
        {"crashes": 1, "fails": True, "attempts": 1},
        {"expiries": 1},
        {"cancels": True, "expiries": 1, "attempts": 1},
        {"duplicates": 1, "attempts": 1},
        {"releases": 1, "cancels": True, "attempts": 1},
        {"lost": 1, "cancels": True, "attempts": 1},
        {"deadline": True, "expiries": 1, "attempts": 1},
    ],
    ids=lambda faults: " ".join(faults),
)
def test_no_interleaving_breaks_a_promise(faults: dict[str, object]) -> None:
    """
    From every state that these faults lead to there is a way to "the row shows the truth, nothing is left to do".

    And no step breaks P6, P7, P8, P19 or the bound of attempts.
    """
    found = search(**faults)
    assert found.is_whole and not found.wrong, found.told()


def weak(verb: Verb, *, guards: tuple[Guard, ...] | None = None, sources: frozenset[State] | None = None) -> Rules:
    """Give rules whose table lacks something of a move."""
    move = TRANSITIONS[verb]
    changed = {"guards": move.guards if guards is None else guards, "sources": sources or move.sources}
    return Rules(table=without(dict(TRANSITIONS), verb, **changed))


WORKERS_ALONE = {"crashes": 1, "api_crashes": False, "attempts": 1}


@pytest.mark.parametrize(
    ("rules", "faults", "why", "steps"),
    [
        pytest.param(Rules(sweeps=False), {"crashes": 1}, "P1", 2, id="no sweeper"),
        pytest.param(Rules(sweeps=False, acks_last=False), WORKERS_ALONE, "P1", 4, id="deleted when taken"),
        pytest.param(Rules(sweeps=False, tells_before_ack=False), WORKERS_ALONE, "P1", 8, id="deleted, then told"),
        pytest.param(Rules(sweeps=False, tells_again=False), WORKERS_ALONE, "P1", 8, id="not told again"),
        pytest.param(
            Rules(sweeps=False, gives_back=False), {**WORKERS_ALONE, "duplicates": 1}, "P1", 8, id="not given back"
        ),
        pytest.param(
            weak(Verb.COMMIT, guards=()), {"expiries": 1, "duplicates": 1}, "P6", 9, id="commit without the attempt"
        ),
        pytest.param(
            weak(Verb.FAIL, guards=()), {"expiries": 1, "duplicates": 1, "fails": True}, "P6", 9, id="fail without it"
        ),
        pytest.param(
            weak(Verb.COMMIT, sources=frozenset(State)), {"cancels": True}, "P7", 6, id="commit without the state"
        ),
        pytest.param(
            weak(Verb.CLAIM, sources=frozenset(State)), {"cancels": True}, "P7", 5, id="claim without the state"
        ),
        pytest.param(weak(Verb.CANCEL, sources=frozenset(State)), {"cancels": True}, "P7", 6, id="cancel what ended"),
        pytest.param(
            weak(Verb.CLAIM, guards=(Guard.SEQ, Guard.IN_TIME, Guard.CLAIMABLE)),
            {"crashes": 1, "attempts": 1},
            "attempt",
            9,
            id="claim without budget",
        ),
        pytest.param(weak(Verb.SYNCED, guards=()), {}, "P1", 9, id="shown, whichever version"),
        pytest.param(
            Rules(looks_twice=False, one_writer=False), {"attempts": 1}, "P1", 12, id="two writers, no second look"
        ),
        pytest.param(
            Rules(reads_anew=False, looks_twice=False),
            {"crashes": 1, "attempts": 1},
            "P1",
            14,
            id="the hint's own word",
        ),
    ],
)
def test_each_mechanism_is_needed(rules: Rules, faults: dict[str, object], why: str, steps: int) -> None:
    """Without it a breach is found, in so many steps at most."""
    found = search(rules, **faults)
    assert why in found.wrong, found.told()
    assert len(found.way) <= steps, found.told()


def test_what_two_mechanisms_see_to_one_of_them_may_lack() -> None:
    """With the sweeper at work, a worker that deletes first, or tells last, loses nothing; that is what it is for."""
    for rules in (Rules(tells_before_ack=False), Rules(tells_again=False), Rules(one_writer=False)):
        found = search(rules, crashes=1, attempts=1)
        assert found.is_whole and not found.wrong, found.told()
