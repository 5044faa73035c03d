"""Visit every state that can be reached, and say whether each keeps the promises and can still come to a good end."""

from __future__ import annotations

from array import array
from collections import deque
from dataclasses import dataclass
from typing import Final

from tests.model.protocol import Protocol
from tests.model.world import World

MOST: Final = 5_000_000


@dataclass(frozen=True)
class Found:
    """Say what a search found: how many states and steps, and the shortest way to a breach, if there is one."""

    states: int
    steps: int
    wrong: str = ""
    way: tuple[str, ...] = ()
    is_whole: bool = True
    """False: it was cut off at its limit, and proves nothing."""

    def told(self) -> str:
        """Tell it in a few lines."""
        size = f"{self.states:,} states, {self.steps:,} steps"
        if not self.wrong:
            return f"{size}: no promise is broken" if self.is_whole else f"{size}: cut off, which proves nothing"
        return "\n".join([f"{self.wrong} ({len(self.way)} steps; {size})", *(f"  {line}" for line in self.way)])


def explore(protocol: Protocol, most: int = MOST) -> Found:
    """
    Search breadth first: a breach that is found is one of the shortest.

    First each single step is judged. Then, from every state, there must be a way without any further fault to an end
    in which the row shows the truth and nothing is left to do.
    """
    first = protocol.first()
    places: dict[World, int] = {first: 0}
    came_from, by, steps = array("q", [-1]), [""], 0
    forward_from, forward_to, done = array("q"), array("q"), array("q")
    waiting = deque([(0, first)])
    while waiting:
        at, world = waiting.popleft()
        if protocol.is_done(world):
            done.append(at)
        for step in protocol.steps(world):
            steps += 1
            if step.wrong:
                way = (*_way(at, came_from, by), step.label)
                return Found(len(places), steps, "; ".join(step.wrong), way)
            to = places.get(step.world)
            if to is None:
                to = places[step.world] = len(places)
                came_from.append(at)
                by.append(step.label)
                waiting.append((to, step.world))
                if len(places) > most:
                    return Found(len(places), steps, is_whole=False)
            if not step.is_fault:
                forward_from.append(at)
                forward_to.append(to)
    lost = _first_lost(len(places), forward_from, forward_to, done)
    if lost is None:
        return Found(len(places), steps)
    return Found(len(places), steps, "P1: there is no way to a good end any more", _way(lost, came_from, by))


def _way(at: int, came_from: array[int], by: list[str]) -> tuple[str, ...]:
    way = []
    while at > 0:
        way.append(by[at])
        at = came_from[at]
    return tuple(reversed(way))


def _first_lost(many: int, forward_from: array[int], forward_to: array[int], done: array[int]) -> int | None:
    """Give the first state that no way without faults leads from to a good end."""
    starts = array("q", [0]) * (many + 1)
    for to in forward_to:
        starts[to + 1] += 1
    for place in range(many):
        starts[place + 1] += starts[place]
    before, fill = array("q", [0]) * len(forward_from), array("q", starts)
    for here, to in zip(forward_from, forward_to, strict=True):
        before[fill[to]] = here
        fill[to] += 1
    good = bytearray(many)
    waiting = deque(done)
    for place in done:
        good[place] = 1
    while waiting:
        to = waiting.popleft()
        for index in range(starts[to], starts[to + 1]):
            here = before[index]
            if not good[here]:
                good[here] = 1
                waiting.append(here)
    lost = good.find(0)
    return None if lost < 0 else lost
