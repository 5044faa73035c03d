"""A spreadsheet is connected by a code, by somebody who may edit it, and stays theirs."""

from __future__ import annotations

from collections.abc import Callable

from chalicelib.contract.events import Errand
from chalicelib.keys import Code
from chalicelib.pairing import PROOF_MS, Asked, Pairing
from chalicelib.registry import Bound
from tests.jobs import NOW
from tests.sheet_fakes import Locksmith, MemoryRegistry, Post, refused


class Desk:
    """Hold two clients' codes."""

    def __init__(self) -> None:
        self.now = NOW
        self.registry, self.post = MemoryRegistry(), Post()
        self.locksmith = Locksmith(a=Code("aaa", "studio-a", ""), b=Code("bbb", "studio-b", ""))
        self.pairing = Pairing(self.locksmith, self.locksmith, self.registry, self.post, lambda: self.now)
        self.registry.note_account("robot@google")

    def ask(self, code: str = "a", spreadsheet: str = "s") -> dict[str, str]:
        return self.pairing.connect(Asked(code, spreadsheet, "My film"))

    def see(self, spreadsheet: str = "s") -> None:
        """Do what completion does when it finds the proof."""
        proof = self.registry.get(spreadsheet).proof
        assert proof is not None
        self.registry.note_proof(spreadsheet, proof.model_copy(update={"is_seen": True, "trouble": ""}))

    def connect(self, code: str = "a", spreadsheet: str = "s") -> dict[str, str]:
        self.ask(code, spreadsheet)
        self.see(spreadsheet)
        return self.ask(code, spreadsheet)


def test_the_way_to_a_key() -> None:
    """Prove, wait until it is seen, connected: the key is the spreadsheet's alone."""
    desk = Desk()
    first = desk.ask()
    assert first["state"] == "prove" and len(first["proof"]) >= 32 and first["service_account"] == "robot@google"
    second = desk.ask()
    assert (second["state"], second["proof"]) == ("waiting", first["proof"])
    [errand] = desk.post.errands
    assert isinstance(errand, Errand) and (errand.errand, errand.spreadsheet_id) == ("prove", "s")
    desk.see()
    third = desk.ask()
    assert third["state"] == "connected" and third["key"].startswith("ck_") and third["client"] == "studio-a"
    there = desk.registry.get("s")
    assert (there.client_id, there.key_id, there.title, there.proof) == ("studio-a", "0" * 12, "My film", None)


def test_without_proof_there_is_no_key() -> None:
    """However often it is asked; and what troubles Google is told."""
    desk = Desk()
    desk.ask()
    proof = desk.registry.get("s").proof
    assert proof is not None
    desk.registry.note_proof("s", proof.model_copy(update={"trouble": "Share it with robot@google."}))
    answers = [desk.ask() for _ in range(5)]
    assert {answer["state"] for answer in answers} == {"waiting"}
    assert answers[0]["trouble"] == "Share it with robot@google." and desk.locksmith.made == []


def test_an_old_proof_and_anothers_proof_count_for_nothing() -> None:
    """The text is for one code and ten minutes."""
    desk = Desk()
    desk.ask("a")
    desk.see()
    assert desk.ask("b")["state"] == "prove"
    desk.see()
    desk.now += PROOF_MS
    assert desk.ask("b")["state"] == "prove"


def test_a_code_connects_one_spreadsheet() -> None:
    """A second spreadsheet needs a code of its own; the same one may lose the answer and ask again."""
    desk = Desk()
    desk.connect()
    assert refused(lambda: desk.ask("a", "other")).code == "code_used"
    again = desk.connect()
    assert again["state"] == "connected" and desk.locksmith.revoked == ["0" * 12]


def test_somebody_elses_spreadsheet_stays_theirs() -> None:
    """Even an editor with a valid code of another client is refused, before and after the proof."""
    desk = Desk()
    desk.ask("b")
    desk.see()
    proof = desk.registry.get("s").proof
    desk.connect("a")
    assert refused(lambda: desk.ask("b")).code == "bound"
    assert proof is not None and desk.registry.get("s").client_id == "studio-a"


def test_an_unknown_code_is_a_sentence() -> None:
    """Mistyped or too old: what to do is said."""
    assert "new one" in refused(lambda: Desk().ask("nope")).message


class Crossed(MemoryRegistry):
    """Have another person's pressing of Connect done right before the binding."""

    def __init__(self) -> None:
        super().__init__()
        self.before: list[Callable[[], object]] = []

    def bind(self, spreadsheet_id: str, client_id: str, key_id: str, title: str) -> Bound | None:
        if self.before:
            self.before.pop()()
        return super().bind(spreadsheet_id, client_id, key_id, title)


def test_two_who_connect_at_once_leave_one_key() -> None:
    """A second key would be known to nobody, and outlive the spreadsheet's release."""
    desk = Desk()
    crossed = Crossed()
    desk.registry = crossed
    desk.pairing = Pairing(desk.locksmith, desk.locksmith, crossed, desk.post, lambda: desk.now)
    desk.ask()
    desk.see()
    crossed.before.append(lambda: desk.ask())
    last = desk.ask()
    assert last["state"] == "connected"
    kept = desk.registry.get("s").key_id
    assert kept is not None and last["key"].startswith(f"ck_{kept}_")
    assert set(desk.locksmith.made) - set(desk.locksmith.revoked) == {kept}
