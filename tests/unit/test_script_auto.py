"""Auto mode: the lease that keeps menu and service out of each other's rows."""

from __future__ import annotations

from typing import Any

from tests.script_world import ScriptWorld, refusal


def auto_world(count: int) -> ScriptWorld:
    world = ScriptWorld()
    world.document["AUTO"] = "on"
    world.fill(count)
    return world


def paths(world: ScriptWorld) -> list[str]:
    return [path.removeprefix("/v1/sheets/") for path, _ in world.api.requests]


def test_while_it_is_off_nobody_asks_for_the_lease() -> None:
    """One request for one start."""
    world = auto_world(3)
    world.document["AUTO"] = ""
    world.run("generateSelectedRows", (2, 4))
    assert paths(world) == ["jobs"]


def test_the_lease_is_held_from_reading_to_the_last_answer() -> None:
    """Taken before Status is read, given back with the same token."""
    world = auto_world(150)

    def claimed(body: dict[str, Any]) -> Any:
        if body["hold"] and not world.api.holder:
            world.put(2, Status="done")  # what the service did before it let go
        return world.api._claim(body)

    def held(path: str, body: dict[str, Any]) -> None:
        assert path != "/v1/sheets/jobs" or world.api.holder

    world.api.answers["/v1/sheets/claims"] = claimed
    world.api.before = held
    world.run("generateAllPending", (1, 1))
    assert paths(world) == ["claims", "claims", "claims", "jobs", "jobs", "claims"]  # let go during the question
    claims = world.api.sent("/v1/sheets/claims")
    assert [body["hold"] for body in claims] == [True, False, True, False]
    assert len({body["token"] for body in claims}) == 1 and len(world.api.rows()) == 149
    assert world.api.holder is None


def test_nobody_holds_the_lease_while_a_question_stands() -> None:
    """A person may think as long as they like."""
    world = auto_world(1)
    world.put(2, Status="done")
    holders: list[str | None] = []

    def think(text: str) -> str:
        holders.append(world.api.holder)
        return "NO"

    world.person.answer = think
    world.run("generateSelectedRows", (2, 2))
    assert holders == [None] and world.api.holder is None and world.api.rows() == []


def test_a_lease_that_is_held_is_waited_for() -> None:
    """As long as the service says."""
    world = auto_world(2)
    world.api.holder = "the service"

    def free(path: str, body: dict[str, Any]) -> None:
        if len(world.api.requests) == 3:
            world.api.holder = None

    world.api.before = free
    world.run("generateSelectedRows", (2, 3))
    assert world.clock.slept == [5.0, 5.0] and len(world.api.rows()) == 2


def test_after_twenty_seconds_the_person_is_told() -> None:
    """Nothing is marked, nothing sent."""
    world = auto_world(2)
    world.api.holder = "the service"
    before = world.cells()
    world.run("generateSelectedRows", (2, 3))
    assert sum(world.clock.slept) == 20 and world.cells() == before and world.api.rows() == []
    assert world.person.insisted[0].startswith("Auto mode is starting rows of this spreadsheet just now")
    assert [name for name in world.document if name.startswith("RUN_")] == []


def test_a_lease_that_cannot_be_asked_for_stops_the_start() -> None:
    """Before anything is marked."""
    world = auto_world(2)
    world.api.before = lambda path, body: refusal(503)
    before = world.cells()
    world.run("generateSelectedRows", (2, 3))
    assert world.cells() == before and world.person.insisted[0].startswith("The API has a fault")


def test_a_lease_that_is_lost_ends_the_run(tmp_path: Any) -> None:
    """The rest stays pending, for the service starts rows now; here the lease is asked for before every request."""
    for file in ScriptWorld().script.iterdir():
        text = file.read_text()
        (tmp_path / file.name).write_text(text.replace("LEASE_FRESH_MS_ = 20000", "LEASE_FRESH_MS_ = -1"))
    world = ScriptWorld(script=tmp_path)
    world.document["AUTO"] = "on"
    world.fill(250)

    def lose(path: str, body: dict[str, Any]) -> None:
        if len(world.api.sent()) == 2:
            world.api.holder = "the service"

    world.api.before = lose
    world.run("generateSelectedRows", (2, 251))
    assert len(world.api.rows()) == 200 and world.statuses(202, 251) == ["pending", "pending"]
    assert "50 rows are still pending (Auto mode is starting rows of this spreadsheet)" in world.person.told[-1]


def test_a_lease_that_is_not_given_back_is_no_trouble() -> None:
    """It ends by itself; the person sees what became of the rows."""
    world = auto_world(1)
    world.api.before = lambda path, body: refusal(503) if body.get("hold") is False else None
    world.run("generateSelectedRows", (2, 2))
    assert world.person.told == ["1 row queued"]
