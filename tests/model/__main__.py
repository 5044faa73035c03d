"""Run the model by hand: `python -m tests.model --crashes 2 --duplicates 1 --expiries 2`."""

from __future__ import annotations

import argparse
import sys
import time

from tests.model.protocol import Protocol
from tests.model.search import MOST, explore
from tests.model.world import Budgets


def main(arguments: list[str]) -> int:
    """Search, and print what was found; 1: a promise is broken, or the search was cut off."""
    parser = argparse.ArgumentParser(prog="python -m tests.model", description=__doc__)
    plain = Budgets()
    for name in ("crashes", "duplicates", "expiries", "lost", "releases", "attempts"):
        parser.add_argument(f"--{name}", type=int, default=getattr(plain, name), help="default: %(default)s")
    parser.add_argument("--deadline", action="store_true", help="the deadline may pass at any moment")
    parser.add_argument("--no-cancel", action="store_true", help="nobody cancels")
    parser.add_argument("--no-held", action="store_true", help="the job is never held back")
    parser.add_argument("--most", type=int, default=MOST, help="states to visit at most (default: %(default)s)")
    asked = parser.parse_args(arguments)
    budgets = Budgets(
        crashes=asked.crashes,
        duplicates=asked.duplicates,
        expiries=asked.expiries,
        lost=asked.lost,
        releases=asked.releases,
        attempts=asked.attempts,
        cancels=not asked.no_cancel,
        deadline=asked.deadline,
        held=not asked.no_held,
    )
    began = time.process_time()
    found = explore(Protocol(budgets=budgets), asked.most)
    print(found.told())  # noqa: T201
    print(f"{time.process_time() - began:.0f} s")  # noqa: T201
    return int(bool(found.wrong) or not found.is_whole)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
