"""The verb `worker-key`: AWS keys for workers outside AWS (rented GPUs, a PC). Two may live at once, for rotation."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, Final

from boto3.session import Session

from chalicelib.contract.errors import Rejected
from infra import stack
from infra.release import add_stage_options, session

if TYPE_CHECKING:
    Verbs = argparse._SubParsersAction[Any]

KEYS_MOST: Final = 2
"""IAM allows a user no more."""


def register(verbs: Verbs) -> None:
    """Add the verb."""
    top = verbs.add_parser("worker-key", help="AWS keys for workers outside AWS")
    actions = top.add_subparsers(dest="action", required=True, metavar="<action>")
    new = actions.add_parser("new", help="make a key and print it once, as lines of a worker's .env")
    new.set_defaults(run=_new)
    listing = actions.add_parser("list", help="list the keys: made, last used (never their secrets)")
    listing.set_defaults(run=_list)
    end = actions.add_parser("end", help="end a key; workers that still use it stop at once")
    end.add_argument("key_id", help="as `list` shows it: AKIA…")
    end.add_argument("--last", action="store_true", help="also when it is the only one")
    end.set_defaults(run=_end)
    for action in (new, listing, end):
        add_stage_options(action)


class WorkerKeys:
    """Keep the keys of the workers' user."""

    def __init__(self, made: Session, user: str) -> None:
        self._iam: Any = made.client("iam")
        self._user = user

    def all(self) -> dict[str, str]:
        """List the keys, the oldest first: id, and when it was made."""
        found = self._iam.list_access_keys(UserName=self._user)["AccessKeyMetadata"]
        return {key["AccessKeyId"]: f"{key['CreateDate']:%Y-%m-%d}" for key in sorted(found, key=_made_at)}

    def new(self) -> dict[str, str]:
        """Make a key: the variables that a worker needs. Raise `Rejected` when there are two."""
        there = self.all()
        if len(there) >= KEYS_MOST:
            raise Rejected("two_keys", f"There are two keys already ({', '.join(there)}). End one first.")
        key = self._iam.create_access_key(UserName=self._user)["AccessKey"]
        return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}

    def used(self, key_id: str) -> str:
        """Say when a key was last used, and for what."""
        last = self._iam.get_access_key_last_used(AccessKeyId=key_id)["AccessKeyLastUsed"]
        when = last.get("LastUsedDate")
        return f"{when:%Y-%m-%d %H:%M} ({last.get('ServiceName', '?')})" if when else "never"

    def end(self, key_id: str, *, even_the_last: bool = False) -> None:
        """End a key. Raise `Rejected` when there is none of this id, or no other."""
        there = self.all()
        if key_id not in there:
            raise Rejected("no_key", f"There is no key {key_id} of {self._user}.")
        if len(there) == 1 and not even_the_last:
            raise Rejected("last_key", "It is the only key: workers would stop. Make another first, or say --last.")
        self._iam.delete_access_key(UserName=self._user, AccessKeyId=key_id)


def _made_at(key: dict[str, Any]) -> Any:
    return key["CreateDate"]


def _keys(arguments: argparse.Namespace) -> tuple[WorkerKeys, dict[str, str], Session]:
    made = session(arguments)
    outputs = stack.read_outputs(made, arguments.stage)
    return WorkerKeys(made, outputs["WorkerUser"]), outputs, made


def _new(arguments: argparse.Namespace) -> int:
    keys, outputs, made = _keys(arguments)
    told = {**keys.new(), **stack.worker_environment(outputs, str(made.region_name))}
    print("\n".join(f"{name}={told[name]}" for name in told))
    print("# Put these into the worker's .env and restart it. The secret is not shown again.")
    if others := [each for each in keys.all() if each != told["AWS_ACCESS_KEY_ID"]]:
        print(f"# When all workers have it: python -m infra worker-key end {others[0]} --stage {arguments.stage}")
    return 0


def _list(arguments: argparse.Namespace) -> int:
    keys, _, _ = _keys(arguments)
    for key_id, made_on in keys.all().items():
        print(f"{key_id:22} made {made_on}   last used {keys.used(key_id)}")
    return 0


def _end(arguments: argparse.Namespace) -> int:
    keys, _, _ = _keys(arguments)
    keys.end(arguments.key_id, even_the_last=arguments.last)
    print(f"Key {arguments.key_id} is ended. A worker that still uses it stops; its jobs go on elsewhere.")
    return 0
