"""The verb `dlq`: dead letters, what they are about, and what becomes of them."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import RenderableType
from rich.text import Text

from chalicelib.contract.errors import Rejected
from chalicelib.contract.job import Job
from chalicelib.contract.states import TERMINAL
from infra.asking import agreed
from infra.dead_letters import DeadLetters, Letter, Meaning, Moved, meaning_of, read_ids
from infra.deployed import Deployed, deployed, now_ms
from infra.paper import Column, cut, moment, pairs, show, show_json, some, span, table
from infra.release import add_stage_options
from infra.standing import QUEUES

if TYPE_CHECKING:
    Verbs = argparse._SubParsersAction[Any]

_FIRST: Final = 3
"""Letters whose beginning a list shows."""
_READER: Final = {"jobs": "the workers", "completions": "completion", "deliveries": "delivery"}


def register(verbs: Verbs) -> None:
    """Add the verb."""
    top = verbs.add_parser("dlq", help="dead letters: list, show, redrive, drop")
    actions = top.add_subparsers(dest="action", required=True, metavar="<action>")
    listing = actions.add_parser("list", help="count the dead letters of each queue and show how they begin")
    showing = actions.add_parser("show", help="tell what letters are about and why they are there; they stay there")
    redrive = actions.add_parser("redrive", help="send letters back to their queue, once what failed is mended")
    drop = actions.add_parser("drop", help="delete letters; they are written to a file first")
    for action, run in ((listing, _list), (showing, _show), (redrive, _redrive), (drop, _drop)):
        if action is not listing:
            action.add_argument("queue", choices=sorted(QUEUES), help="whose dead letters")
        add_stage_options(action)
        action.add_argument("--json", action="store_true", help="as JSON, for scripts")
        action.set_defaults(run=run)
    showing.add_argument("--limit", type=int, default=10, help="letters to look at (default: 10)")
    for action in (redrive, drop):
        # Sending back does no harm and is of all, unless told; of what is deleted it must be said.
        which = action.add_mutually_exclusive_group(required=action is drop)
        which.add_argument("--id", action="append", default=[], help="one letter, by the start of its id; repeatable")
        which.add_argument("--all", action="store_true", help="every letter of the queue")
    redrive.add_argument("--dry-run", action="store_true", help="only say what would be sent back")
    drop.add_argument("--yes", action="store_true", help="do not ask")
    drop.add_argument("--to", type=Path, help="file to write them to (default: dropped-STAGE-QUEUE-TIME.jsonl here)")


def letters_of(there: Deployed, queue: str) -> DeadLetters:
    """Reach a queue's dead letters."""
    source, dead = QUEUES[queue]
    return DeadLetters(there.client("sqs"), queue, there.outputs[source], there.outputs[dead])


# -- looking ----------------------------------------------------------------------------------------------------------


def _list(arguments: argparse.Namespace) -> int:
    there = deployed(arguments)
    found = []
    for queue in QUEUES:
        letters = letters_of(there, queue)
        depth = letters.depth()
        found.append((queue, depth, letters.peek(10) if depth else []))
    if arguments.json:
        show_json({"queues": [_stand(queue, depth, first) for queue, depth, first in found]})
    else:
        show(*listed(found, now_ms()))
    return 0


def _stand(queue: str, depth: int, first: Sequence[Letter]) -> dict[str, Any]:
    return {
        "queue": queue,
        "dead": depth,
        "oldest_at": moment(min((letter.sent_at for letter in first), default=None)),
        "first": [letter.body for letter in first[:_FIRST]],
    }


def listed(found: Sequence[tuple[str, int, Sequence[Letter]]], now: int) -> list[RenderableType]:
    """Lay out what each queue holds."""
    rows = []
    for queue, depth, first in found:
        oldest = min((letter.sent_at for letter in first), default=None)
        begins = "\n".join(cut(letter.body, 44) for letter in first[:_FIRST])
        rows.append((queue, f"{depth:,}", "" if oldest is None else span(now - oldest), begins))
    columns = [Column("Queue"), Column("Letters", is_number=True), Column("Oldest", is_number=True)]
    parts: list[RenderableType] = [table([*columns, Column("They begin with", may_fold=True)], rows)]
    if not any(depth for _, depth, _ in found):
        parts.append("There are no dead letters.")
    return parts


def _show(arguments: argparse.Namespace) -> int:
    if not 1 <= arguments.limit <= 100:
        raise Rejected("bad_limit", "--limit is 1 to 100.")
    there = deployed(arguments)
    letters = letters_of(there, arguments.queue).peek(arguments.limit)
    jobs = _jobs(there, arguments.queue, letters)
    if arguments.json:
        show_json({"queue": arguments.queue, "letters": [_told(arguments.queue, each, jobs) for each in letters]})
        return 0
    now = now_ms()
    for letter in letters:
        show(_page(arguments.queue, letter, jobs, now), "")
    if not letters:
        show(f"There are no dead letters of {arguments.queue}.")
    else:
        show(f"They were put back; each has been received once more. Then: dlq redrive {arguments.queue} --id ID|--all")
    return 0


def _jobs(there: Deployed, queue: str, letters: Sequence[Letter]) -> Mapping[str, Job]:
    ids = [job_id for letter in letters for job_id in meaning_of(queue, letter.body).job_ids[:3]]
    return {job.job_id: job for job in there.ledger.get_many(ids)}


def _told(queue: str, letter: Letter, jobs: Mapping[str, Job]) -> dict[str, Any]:
    meaning = meaning_of(queue, letter.body)
    states = {each: jobs[each].state.value if each in jobs else None for each in meaning.job_ids[:3]}
    return {
        "id": letter.id,
        "sent_at": moment(letter.sent_at),
        "receives": letter.receives,
        "group": letter.group or None,
        "reason": letter.reason or None,
        "about": meaning.what,
        "is_ours": meaning.is_ours,
        "jobs": states,
        "body": letter.body,
    }


def _page(queue: str, letter: Letter, jobs: Mapping[str, Job], now: int) -> Text:
    meaning = meaning_of(queue, letter.body)
    lines = [("letter", letter.id), ("sent", f"{span(now - letter.sent_at)} ago; received {letter.receives} times")]
    lines += [("about", meaning.what)]
    lines += [("job", f"{each}  {_standing(each, jobs, meaning)}") for each in meaning.job_ids[:3]]
    lines += [("why here", why(queue, letter, meaning)), ("body", cut(letter.body, 300))]
    return pairs(lines)


def why(queue: str, letter: Letter, meaning: Meaning) -> str:
    """Say why a letter is where it is, as far as it shows."""
    if letter.reason:
        return f"a worker put it there: {letter.reason}"
    if not meaning.is_ours:
        return "nobody can read it: redriving is no use, look where it came from and drop it"
    where = "the workers' logs" if queue == "jobs" else f"tail --function {_READER[queue]} --since 1d --level WARNING"
    return f"it came again and again and was never done by {_READER[queue]}: see {where}"


def _standing(job_id: str, jobs: Mapping[str, Job], meaning: Meaning) -> str:
    job = jobs.get(job_id)
    if job is None:
        return "is not in the table any more"
    told = f"{job.state.value}, of {job.client_id}"
    if meaning.seq is not None and job.state in TERMINAL:
        return f"{told}: it has ended, so redriving does nothing"
    if meaning.seq is not None and meaning.seq != job.seq:
        return f"{told}: message {job.seq} is newer, so redriving does nothing"
    return told


# -- doing ------------------------------------------------------------------------------------------------------------


def _redrive(arguments: argparse.Namespace) -> int:
    there = deployed(arguments)
    letters, ids = letters_of(there, arguments.queue), read_ids(arguments.id) or None
    if arguments.dry_run:
        return _would(arguments, letters, ids)

    def group_of(meaning: Meaning) -> str:
        job = there.ledger.get(meaning.job_ids[0]) if meaning.job_ids else None
        return job.client_id if job else ""

    quiet = arguments.json
    done = None if ids else letters.move_all(time.sleep, lambda count: None if quiet else _count(count))
    if done is None:
        done = letters.redrive(ids, group_of, lambda letter: None if quiet else show(f"sent back {letter.id}"))
    return _redriven(arguments, done, len(ids or []), is_fifo=letters.is_fifo)


def _would(arguments: argparse.Namespace, letters: DeadLetters, ids: Sequence[str] | None) -> int:
    seen = letters.peek(100)
    wanted = [each for each in seen if ids is None or any(each.id.startswith(word) for word in ids)]
    if arguments.json:
        show_json({"queue": arguments.queue, "would_move": [letter.id for letter in wanted], "moved": 0})
        return 0
    for letter in wanted:
        show(f"would send back {letter.id}  {meaning_of(arguments.queue, letter.body).what}")
    show(f"{some(len(wanted), 'letter')} of the first {len(seen)}; nothing was sent.")
    return 0


def _count(count: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{count:,} letters moved ", end="", file=sys.stderr, flush=True)


def _redriven(arguments: argparse.Namespace, done: Moved, asked: int, *, is_fifo: bool) -> int:
    missing = max(0, asked - done.moved)
    if arguments.json:
        told = {"moved": done.moved, "unreadable": done.unreadable, "unseen": done.unseen, "not_found": missing}
        show_json({"queue": arguments.queue, **told, "by": "sqs" if done.by_task else "hand"})
        return 1 if missing else 0
    show(f"Back in {arguments.queue}: {some(done.moved, 'letter')}.")
    if done.unreadable:
        show(f"Left: {some(done.unreadable, 'letter')} that nobody can read. Look with dlq show, and drop them.")
    if done.unseen:
        show(f"Left unseen: about {some(done.unseen, 'letter')} behind these. Drop these, then redrive again.")
    if missing:
        show(not_found(arguments.queue, missing, is_fifo=is_fifo))
    return 1 if missing else 0


def not_found(queue: str, count: int, *, is_fifo: bool) -> str:
    """Say that letters were not found, and where they may be."""
    told = f"Not found: {some(count, 'id')}; see dlq show {queue} --limit 100."
    behind = " Of each sheet or receiver only the first ten letters can be reached: redrive or drop those before it."
    return told + (behind if is_fifo else "")


def _drop(arguments: argparse.Namespace) -> int:
    there = deployed(arguments)
    letters, ids = letters_of(there, arguments.queue), read_ids(arguments.id) or None
    count = len(ids) if ids else letters.depth()
    if not agreed(f"Delete {some(count, 'dead letter')} of {arguments.queue} for good?", yes=arguments.yes):
        raise Rejected("not_sure", "Nothing was deleted.")
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    path: Path = arguments.to or Path(f"dropped-{there.stage}-{arguments.queue}-{stamp}.jsonl")
    try:
        with path.open("x", encoding="utf-8") as file:

            def keep(batch: Sequence[Letter]) -> None:
                for letter in batch:
                    file.write(json.dumps(_told(arguments.queue, letter, {}), ensure_ascii=False) + "\n")
                file.flush()
                os.fsync(file.fileno())

            dropped = letters.drop(ids, keep)
    except OSError as error:
        raise Rejected("no_file", f"{path} cannot be written ({error.strerror}); what was not, stays.") from error
    if not dropped:
        path.unlink()
    if arguments.json:
        show_json({"queue": arguments.queue, "dropped": dropped, "file": str(path) if dropped else None})
    else:
        show(f"Deleted: {some(dropped, 'letter')}." + (f" What they said is in {path}." if dropped else ""))
        if ids and dropped < len(ids):
            show(not_found(arguments.queue, len(ids) - dropped, is_fifo=letters.is_fifo))
    return 0 if dropped or not ids else 1
