"""
Keep what is known of the connected spreadsheets in a DynamoDB table (key: spreadsheet_id).

Every part is one attribute of its own, so that those who write different parts never overwrite each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import BaseModel

from chalicelib.contract.errors import Unavailable
from chalicelib.contract.sheets import ErrandNote, Parked, Proof, Registration

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_EVERYBODY: Final = "*"
"""The item that is about no spreadsheet: it names our service account."""
_DOCUMENTS: Final[dict[str, type[BaseModel]]] = {"parked": Parked, "proof": Proof, "errand": ErrandNote}


@dataclass(frozen=True)
class Bound:
    """Hold what a binding has replaced."""

    former: str | None
    """The key that the spreadsheet had until this very moment; None: none."""


class Registry:
    """Read and write registrations. Raise `Unavailable` when the table cannot be reached."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def get(self, spreadsheet_id: str) -> Registration:
        """Read a registration, strongly consistent; an empty one when there is none."""
        item = self._item(spreadsheet_id)
        return _registration(item) if item else Registration(spreadsheet_id=spreadsheet_id)

    def bind(self, spreadsheet_id: str, client_id: str, key_id: str, title: str) -> Bound | None:
        """Make the spreadsheet *client_id*'s, end its connecting; None when it belongs to somebody else."""
        before = self._change(
            spreadsheet_id,
            "SET client_id = :client, key_id = :key, title = :title REMOVE proof, parked",
            {":client": {"S": client_id}, ":key": {"S": key_id}, ":title": {"S": title}},
            condition="attribute_not_exists(client_id) OR client_id = :client",
        )
        return None if before is None else Bound(before.get("key_id", {}).get("S"))

    def disconnect(self, spreadsheet_id: str, key_id: str) -> bool:
        """End what the key of *key_id* was for: no row starts by itself. False when it is not the spreadsheet's key."""
        return self._update(
            spreadsheet_id, "REMOVE key_id, auto_tabs", {":key": {"S": key_id}}, condition="key_id = :key"
        )

    def release(self, spreadsheet_id: str) -> bool:
        """Forget the spreadsheet; False when it was not known."""
        answer = self._call("delete_item", Key=_key(spreadsheet_id), ReturnValues="ALL_OLD")
        return "Attributes" in answer

    # -- connecting ---------------------------------------------------------------------------------------------

    def start_proof(self, spreadsheet_id: str, proof: Proof) -> None:
        """Note what the script is to write."""
        self._set(spreadsheet_id, proof=proof)

    def note_proof(self, spreadsheet_id: str, proof: Proof) -> None:
        """Note what was seen of it."""
        self._set(spreadsheet_id, proof=proof)

    # -- out of reach -------------------------------------------------------------------------------------------

    def park(self, spreadsheet_id: str, parked: Parked) -> None:
        """Note why rows are not written."""
        self._set(spreadsheet_id, parked=parked)

    def unpark(self, spreadsheet_id: str) -> None:
        """Note that they are."""
        self._update(spreadsheet_id, "REMOVE parked", {}, condition="attribute_exists(spreadsheet_id)")

    def parked(self) -> list[Registration]:
        """List those that refuse us, or did when they were last written to."""
        return self._scanned(FilterExpression="attribute_exists(parked)")

    # -- errands ------------------------------------------------------------------------------------------------

    def note_errand(self, spreadsheet_id: str, note: ErrandNote) -> None:
        """Note what becomes of an errand."""
        self._set(spreadsheet_id, errand=note)

    # -- rows that start by themselves --------------------------------------------------------------------------

    def set_auto(self, spreadsheet_id: str, sheet_id: int, *, on: bool) -> None:
        """Switch a tab's auto mode."""
        self._update(spreadsheet_id, f"{'ADD' if on else 'DELETE'} auto_tabs :tabs", {":tabs": {"NS": [str(sheet_id)]}})

    def autos(self) -> list[Registration]:
        """List the spreadsheets with such tabs."""
        return self._scanned(FilterExpression="attribute_exists(auto_tabs)")

    def note_auto(self, spreadsheet_id: str, now: int) -> None:
        """Note that they are looked at."""
        self._update(spreadsheet_id, "SET auto_at = :now", {":now": {"N": str(now)}})

    def hold(self, spreadsheet_id: str, token: str, *, now: int, until: int) -> bool:
        """Let *token* alone start rows until *until*; False while another one does."""
        return self._update(
            spreadsheet_id,
            "SET holder = :token, held_until = :until",
            {":token": {"S": token}, ":until": {"N": str(until)}, ":now": {"N": str(now)}},
            condition="attribute_not_exists(holder) OR holder = :token OR held_until < :now",
        )

    def let_go(self, spreadsheet_id: str, token: str) -> None:
        """End what `hold` began."""
        self._update(spreadsheet_id, "REMOVE holder, held_until", {":token": {"S": token}}, condition="holder = :token")

    # -- our own name -------------------------------------------------------------------------------------------

    def note_account(self, email: str) -> None:
        """Note which service account writes the rows."""
        self._update(_EVERYBODY, "SET account = :email", {":email": {"S": email}})

    def account(self) -> str:
        """Name it; empty until it was first used."""
        return str(self._item(_EVERYBODY).get("account", {}).get("S", ""))

    # -- looking at all of them ---------------------------------------------------------------------------------

    def every(self) -> list[Registration]:
        """List all spreadsheets that are known, for an operator: the functions' roles do not need it."""
        return [each for each in self._scanned() if each.spreadsheet_id != _EVERYBODY]

    def _scanned(self, **only: str) -> list[Registration]:
        found: list[Registration] = []
        start: dict[str, Any] = {}
        while True:
            page = self._call("scan", **only, **start)
            found += [_registration(item) for item in page["Items"]]
            if not page.get("LastEvaluatedKey"):
                return found
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    # -- the one way to write -----------------------------------------------------------------------------------

    def _item(self, spreadsheet_id: str) -> dict[str, Any]:
        answer = self._call("get_item", Key=_key(spreadsheet_id), ConsistentRead=True)
        return dict(answer.get("Item", {}))

    def _set(self, spreadsheet_id: str, **documents: BaseModel) -> None:
        update = "SET " + ", ".join(f"{name} = :{name}" for name in documents)
        values = {f":{name}": {"S": document.model_dump_json()} for name, document in documents.items()}
        self._update(spreadsheet_id, update, values)

    def _update(
        self, spreadsheet_id: str, update: str, values: Mapping[str, Any], *, condition: str | None = None
    ) -> bool:
        """Update one item; False when the condition does not hold."""
        return self._change(spreadsheet_id, update, values, condition=condition) is not None

    def _change(
        self, spreadsheet_id: str, update: str, values: Mapping[str, Any], *, condition: str | None = None
    ) -> dict[str, Any] | None:
        """Update one item; what it held before, or None when the condition does not hold."""
        call: dict[str, Any] = {"Key": _key(spreadsheet_id), "UpdateExpression": update, "ReturnValues": "ALL_OLD"}
        if values:
            call["ExpressionAttributeValues"] = dict(values)
        if condition:
            call["ConditionExpression"] = condition
        try:
            return dict(self._call("update_item", **call).get("Attributes", {}))
        except ClientError as error:
            if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
                return None
            raise

    def _call(self, operation: str, **call: Any) -> Any:
        try:
            return getattr(self._client, operation)(TableName=self._table, **call)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in ("ProvisionedThroughputExceededException", "ThrottlingException", "InternalServerError"):
                raise Unavailable("The table of spreadsheets is busy. Try again in a moment.") from error
            raise
        except BotoCoreError as error:
            raise Unavailable("The table of spreadsheets cannot be reached. Try again in a moment.") from error


def _key(spreadsheet_id: str) -> dict[str, Any]:
    return {"spreadsheet_id": {"S": spreadsheet_id}}


def _registration(item: Mapping[str, Any]) -> Registration:
    fields: dict[str, Any] = {}
    for name in Registration.model_fields:
        if name not in item:
            continue
        kind, value = next(iter(item[name].items()))
        if name in _DOCUMENTS:
            fields[name] = _DOCUMENTS[name].model_validate_json(value)
        elif kind == "NS":
            fields[name] = tuple(sorted(int(each) for each in value))
        else:
            fields[name] = int(value) if kind == "N" else value
    return Registration(**fields)
