"""The steps that make a deployed stage usable: workflows, first key, first code; and what to paste where."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from chalicelib import catalog_index
from chalicelib.catalog_index import INDEX_KEY, Index
from chalicelib.contract.manifest import Workflow
from chalicelib.keymaker import KeyMaker
from chalicelib.publish import Publisher
from infra.deploy.kept import found
from infra.deploy.stage import Stage, written_resources
from infra.deploy.steps import Change, Say
from infra.stack import address_of
from infra.workflow_files import read_base, read_folder
from infra.workflows import open_blobs


class Workflows:
    """Publish the versions of the folder that the stage has never had."""

    name = "workflows"

    def __init__(self, stage: Stage, folder: Path) -> None:
        self._stage = stage
        self._folder = folder

    def look(self) -> list[Change]:
        """Say which workflows are new."""
        workflows = read_folder(self._folder)
        index: Index = {}
        if bucket := self._stage.outputs().get("Bucket") or left_behind(self._stage).get("Bucket"):
            index = catalog_index.read(open_blobs(self._stage.session, bucket).get(INDEX_KEY))
        return [Change(f"push {workflow.id}") for workflow in unknown_to(index, workflows)]

    def act(self, _say: Say) -> None:
        """Push them, and the definitions that they share."""
        store = open_blobs(self._stage.session, self._stage.outputs()["Bucket"])
        publisher = Publisher(store, lambda: time.time_ns() // 1_000_000)
        publisher.keep_base(read_base(self._folder))
        wanted = unknown_to(catalog_index.read(store.get(INDEX_KEY)), read_folder(self._folder))
        publisher.push(wanted, by=self._stage.who())


def unknown_to(index: Index, workflows: Sequence[Workflow]) -> list[Workflow]:
    """
    Return those of *workflows* that a deployment pushes: versions that the stage has never had.

    What was changed or removed in the stage since stays so; `workflows push` is for pushing whatever is there.
    """
    return [
        workflow
        for workflow in workflows
        if (entry := index.get(workflow.id)) is None
        or (entry.removed_at is None and workflow.hash not in {version.hash for version in entry.versions})
    ]


class FirstKeys:
    """Make a program's key and a sheet's code for the first client of a stage that has none."""

    name = "keys"

    def __init__(self, stage: Stage, client: str) -> None:
        self._stage = stage
        self._client = client

    def look(self) -> list[Change]:
        """Say what the stage lacks."""
        has_keys = self._stage.outputs() or "KeysTable" in left_behind(self._stage)
        records = self._maker().records() if has_keys else []
        return [Change(f"make {what} for {self._client}, shown once") for what in lacking(records)]

    def act(self, say: Say) -> None:
        """Make and show them; they are not kept anywhere readable."""
        maker = self._maker()
        for what in lacking(maker.records()):
            secret = maker.new_api(self._client) if what == "the first key" else maker.new_code(self._client)
            say(f"{'':12} {what}: {secret}")

    def _maker(self) -> KeyMaker:
        outputs, session = self._stage.outputs(), self._stage.session
        table = outputs.get("KeysTable") or left_behind(self._stage)["KeysTable"]
        prefix = outputs.get("SecretsPrefix", "")  # a plan of a stage without a stack reads, and makes nothing
        return KeyMaker(session.client("dynamodb"), session.client("ssm"), table, prefix)


def left_behind(stage: Stage) -> dict[str, str]:
    """Return the names of the tables and the bucket that an earlier stack left, as the next one's outputs call them."""
    return {one.logical: one.name for one in found(stage.session, written_resources(), stage.name)}


def lacking(records: Sequence[Mapping[str, str]]) -> list[str]:
    """Say what a stage with these keys lacks: a program's key; a code or a sheet's key, made in its place."""
    kinds = {record.get("kind") for record in records}
    return [
        *([] if "api" in kinds else ["the first key"]),
        *([] if kinds & {"code", "sheet"} else ["a one-time code that connects a spreadsheet"]),
    ]


def handover(stage: Stage) -> list[str]:
    """Say what is to be done by hand now: the secret of Google, the sheet's script, sharing."""
    outputs, secrets = stage.outputs(), stage.session.client("secretsmanager")
    lines = [
        f"API          {address_of(stage.stack() or {})}",
        f"sheet        make sheet-push STAGE={stage.name}, then paste the code: ComfySheet > Settings",
    ]
    try:
        secret = secrets.get_secret_value(SecretId=outputs["GoogleSecretId"])["SecretString"]
    except secrets.exceptions.ResourceNotFoundException:
        put = f"aws secretsmanager create-secret --name {outputs['GoogleSecretId']} --secret-string file://key.json"
        return [*lines, f"Google       no service account yet: {put}"]
    return [*lines, f"Google       share each spreadsheet as Editor with {account_in(secret)}"]


def account_in(secret: str) -> str:
    """Return the service account's address in Google's JSON, of a key or of a keyless configuration."""
    try:
        document = json.loads(secret)
    except ValueError:
        return "the service account (its secret is no JSON)"
    keyless = re.search(r"serviceAccounts/([^:]+):", str(document.get("service_account_impersonation_url", "")))
    return str(document.get("client_email") or (keyless[1] if keyless else "the service account"))
