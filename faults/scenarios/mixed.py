"""Mix all faults for half a minute (F18); the long run is `python -m faults soak`."""

from __future__ import annotations

from faults.farm import Farm
from faults.report import Outcome
from faults.scenario import Scenario, Size
from faults.soak.plan import BREAKS, Blow, draw
from faults.soak.run import LEASE_S, Wishes, soak

SEED = 2351
"""Of those whose twenty seconds hold nearly every fault."""
TOLD: tuple[str, ...] = (
    "jobs by attempts",
    "rows compared with their manifest (P4)",
    "links followed, to files and to pictures (P16)",
    "commit to cell s: p50, p95, p99, max (n)",
    "runs that came to nothing, and times that something was broken",
    "malformed messages, buried (P10)",
    "events heard (P19)",
)


def mixed(farm: Farm, size: Size) -> Outcome:
    """Twenty jobs in twenty seconds, or four hundred in five minutes."""
    rows, length_s, workers = (20, 20.0, 3) if size is Size.CI else (400, 300.0, 4)
    call_most_s, patience_s = (25, 120) if size is Size.CI else (120, 300)
    plan = draw(SEED, rows, length_s, LEASE_S)
    result = soak(farm, Wishes(rows, length_s, workers, patience_s=patience_s, call_most_s=call_most_s), plan)
    done = result.record.done
    figures = {"faults": sum(done[blow] for blow in BREAKS), "kills": done[Blow.KILL]}
    told = {name: figure for name, figure in result.found.figures.items() if name in TOLD}
    wrong = tuple(f"{promise}: {sentence}" for promise, sentence in result.found.wrong)
    return Outcome(result.found.tally, {**figures, **told}, wrong)


SCENARIOS = (
    Scenario(
        "F18",
        "everything at once: sheets, programs, kills, losses, a storm",
        ("P1", "P2", "P4", "P7", "P8", "P10", "P11", "P15", "P16", "P19", "P20"),
        mixed,
    ),
)
