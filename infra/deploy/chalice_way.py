"""
Deploy functions and API by Chalice's own deployer, beside a stack of the resources alone.

Chalice 1.34 reads its stage's section of `.chalice/config.json`, literal policies, `vendor/`, and what it noted of its
last run (`.chalice/deployed/STAGE.json`; without it, it would make a second API, so a copy lies in the artefact
bucket). It notes nothing when it is cut short: its queue mappings are then taken away before the next run, which makes
them anew; an API that it had made by then stays behind.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chalice.deploy.packager import DependencyBuilder, LambdaDeploymentPackager
from chalice.utils import UI, OSUtils

from infra import package, stack
from infra.deploy.chalice_record import Record
from infra.deploy.chalice_settings import Settings
from infra.deploy.config_step import Config, Section, write_section
from infra.deploy.preflight import CHALICE
from infra.deploy.stage import Stage
from infra.deploy.steps import Change, Say, Step, Stopped
from infra.functions import API, FUNCTIONS
from infra.resources_only import rendered, variables_of

if TYPE_CHECKING:
    from boto3.session import Session

_BUILD: str = "comfysheet-build"
"""The tag that says of which sources a function was made."""


def steps(stage: Stage) -> list[Step]:
    """Return the steps from a stack of resources to functions that answer."""
    return [ChaliceConfig(stage), Functions(stage), Address(stage), ChaliceConfig(stage), Settings(stage)]


def section_of(stage: Stage, outputs: Mapping[str, str]) -> Section:
    """Return the stage's section for Chalice, from the stack's outputs."""
    functions: dict[str, Any] = {}
    for function in FUNCTIONS:
        own: dict[str, Any] = {"iam_policy_file": f"stages/{stage.name}/policy-{function.word}.json"}
        reserved = int(outputs[f"Reserved{function.title}"])
        if reserved >= 0:
            own["reserved_concurrency"] = reserved
        if function == API:
            own["environment_variables"] = {"PUBLIC_URL": outputs["EnvApiPublicUrl"]}
        functions[function.chalice] = own
    return {
        "deployed_by": CHALICE,
        "region": stage.session.region_name,
        "api_gateway_stage": stage.name,
        "environment_variables": variables_of(outputs),
        "tags": {"app": "comfysheet", "stage": stage.name, _BUILD: built_of(stage.dist)},
        "lambda_functions": functions,
    }


def built_of(dist: Path) -> str:
    """Say of which sources the package in *dist* was made."""
    return str(json.loads((dist / "built.json").read_text())["inputs"])[:32]


class ChaliceConfig(Config):
    """Write the stage's section, and its policies with the names of what is deployed."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage, lambda: section_of(stage, stage.outputs()))

    def look(self) -> list[Change]:
        """Say what differs from what is deployed."""
        changes = super().look()
        if self._stage.outputs():
            stale = [path for path, text in self._policies().items() if not path.exists() or path.read_text() != text]
            changes += [Change(f"write {path}") for path in stale]
        return changes

    def act(self, say: Say) -> None:
        """Write them."""
        for path, text in self._policies().items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        super().act(say)

    def _policies(self) -> dict[Path, str]:
        folder = self._stage.project / ".chalice" / "stages" / self._stage.name
        return {folder / f"policy-{word}.json": text for word, text in policies_of(self._stage).items()}


def policies_of(stage: Stage) -> dict[str, str]:
    """Return the functions' policies by their words, with the names of what is deployed."""
    outputs, session = stage.outputs(), stage.session
    _, partition, *_, account, _ = session.client("sts").get_caller_identity()["Arn"].split(":", 5)
    pseudo = {
        "Stage": stage.name,
        "AWS::Partition": partition,
        "AWS::Region": str(session.region_name),
        "AWS::AccountId": account,
    }
    return {
        word: json.dumps(rendered(policy, outputs, pseudo), indent=1) + "\n"
        for word, policy in package.read_policies(stage.project).items()
    }


class Functions:
    """
    Run `chalice deploy` unless its last run came to its end with these sources and policies.

    The functions alone do not tell: Chalice makes them before the API, so it may have been cut short after them.
    """

    name = "functions"

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._record = Record(stage.session, stage.name, stage.project)

    def look(self) -> list[Change]:
        """Say which functions are missing or of other sources or policies."""
        client = self._stage.session.client("lambda")
        there = functions_there(client, self._stage.name)
        names = [function.name(self._stage.name) for function in FUNCTIONS]
        missing = [Change(f"create {name}") for name in names if name not in there]
        if missing or self._record.finished() != self._mark():
            return [*missing, *(Change(f"update {name}") for name in there)]
        return [] if self._record.find() else [Change("find out again what Chalice made")]

    def act(self, say: Say) -> None:
        """Let Chalice deploy. Raises Stopped with its own words."""
        package.write_vendor(self._stage.project / "vendor")
        self._lend_package()
        if not self._record.fetch():
            self._forget_mappings()
        self._record.begin()
        run_chalice(self._stage.session, self._stage.project, "deploy", self._stage.name, say)
        self._record.keep()
        self._record.finish(self._mark())

    def _mark(self) -> str:
        """Say of what a run is made. Variables and reserves are left out: `Settings` compares those themselves."""
        policies = json.dumps(policies_of(self._stage), sort_keys=True) if self._stage.outputs() else ""
        return f"{built_of(self._stage.dist)} {hashlib.sha256(policies.encode()).hexdigest()}"

    def _lend_package(self) -> None:
        """Put our zip where Chalice looks for one of the same sources and vendor/: both ways deploy the same bytes."""
        osutils = OSUtils()
        packager = LambdaDeploymentPackager(osutils, DependencyBuilder(osutils), UI())
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        place = Path(packager.deployment_package_filename(str(self._stage.project), version))
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self._stage.dist / "deployment.zip", place)

    def _forget_mappings(self) -> None:
        client = self._stage.session.client("lambda")
        for function in FUNCTIONS:
            if function.queue:
                found = client.list_event_source_mappings(FunctionName=function.name(self._stage.name))
                for mapping in found["EventSourceMappings"]:
                    client.delete_event_source_mapping(UUID=mapping["UUID"])


class Address:
    """Tell the stack the API that Chalice made, so that its outputs name the address."""

    name = "address"

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._record = Record(stage.session, stage.name, stage.project)

    def look(self) -> list[Change]:
        """Say whether the stack knows it."""
        made = self._record.api_id()
        if made and made == self._stage.outputs().get("ApiId"):
            return []
        return [Change("tell the stack the API's id")]

    def act(self, _say: Say) -> None:
        """Tell it. Raises Stopped when Chalice made none."""
        made = self._record.api_id()
        if not made:
            raise Stopped("Chalice has noted no API; run the same command again.")
        stack.deploy(
            self._stage.dist,
            stage=self._stage.name,
            session=self._stage.session,
            parameters={"ApiId": made},
            template=self._stage.template,
        )


def functions_there(client: Any, stage: str) -> list[str]:
    """Name the stage's functions that exist; *client* is Lambda's."""
    names = []
    for function in FUNCTIONS:
        try:
            client.get_function_configuration(FunctionName=function.name(stage))
        except client.exceptions.ResourceNotFoundException:
            continue
        names.append(function.name(stage))
    return names


def delete(session: Session, stage: str, project: Path, say: Say) -> None:
    """Let Chalice delete what it made, and forget it. Raises Stopped when what it noted is lost."""
    record = Record(session, stage, project)
    if record.fetch():
        run_chalice(session, project, "delete", stage, say)
        record.drop()
    elif there := functions_there(session.client("lambda"), stage):
        raise Stopped(
            f"What Chalice noted of stage {stage} is lost, so it could not delete {', '.join(there)}. First: python -m "
            f"infra deploy --stage {stage} --via-chalice, which finds the functions again (the present API stays "
            "behind); then the same command again. Nothing was done."
        )
    shutil.rmtree(project / ".chalice" / "stages" / stage, ignore_errors=True)
    write_section(project / ".chalice" / "config.json", stage, None)


def run_chalice(session: Session, project: Path, verb: str, stage: str, say: Say) -> None:
    """Run Chalice's command line in *project*; *say* gets its lines. Raises Stopped with the last of them."""
    # The locked hashes hold for what Chalice fetches by name, too (infra/package.py). No .pyc of its own: they count
    # among the sources by which Chalice finds the zip that it was lent.
    environment = {
        **os.environ,
        "AWS_DEFAULT_REGION": str(session.region_name),
        "PIP_CONSTRAINT": "requirements.txt",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
    }
    if session.profile_name != "default":
        environment["AWS_PROFILE"] = session.profile_name
    command = [sys.executable, "-c", "import chalice.cli; raise SystemExit(chalice.cli.main())", verb, "--stage", stage]
    lines: list[str] = []
    with subprocess.Popen(
        command, cwd=project, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as chalice:
        for line in chalice.stdout or ():
            lines.append(line.rstrip())
            say(f"{'':12} {line.rstrip()}")
    if chalice.returncode:
        told = "\n".join(lines[-15:])
        raise Stopped(f"`chalice {verb}` failed; run the same command again when it is mended:\n{told}")
