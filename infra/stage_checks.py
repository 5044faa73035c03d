"""
Look at one thing that a stage needs, and say what was seen and what to do: the checks of `python -m infra doctor`.

None changes anything.
"""

from __future__ import annotations

import hashlib
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import Final

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.catalog_index import INDEX_KEY, read
from chalicelib.contract.errors import Rejected, Unavailable
from chalicelib.contract.manifest import ManifestError
from infra import stack
from infra.aws_words import is_denied, permission_of, sentence
from infra.deployed import OPTIONAL, Deployed, now_ms
from infra.functions import FUNCTIONS
from infra.paper import cut, some
from infra.standing import QUEUES
from infra.workflow_files import read_folder

OK: Final = "ok"
WARN: Final = "warn"
FAULT: Final = "fault"

TABLES: Final = ("JobsTable", "KeysTable", "NoncesTable", "WorkersTable", "SheetsTable", "RatesTable", "WebhooksTable")
KEPT: Final = frozenset({"JobsTable", "KeysTable", "SheetsTable", "WebhooksTable"})
"""Tables that can be restored to any second of the last 35 days."""
EXPIRING: Final = frozenset({"JobsTable", "NoncesTable", "WorkersTable", "RatesTable", "WebhooksTable"})
"""Tables whose items end by themselves."""
SKEW_MOST_S: Final = 60.0
_TEMPLATES: Final = ("template.json", "resources.json")


@dataclass(frozen=True)
class Finding:
    """Hold what one check found: `ok`, `warn` (worth a look) or `fault` (something does not work), and what to do."""

    name: str
    verdict: str
    seen: str
    remedy: str = ""


Check = Callable[[Deployed], Finding]


def look(name: str, check: Check, there: Deployed) -> Finding:
    """Make one check; what AWS refuses, and what cannot be reached, is a finding too."""
    try:
        return check(there)
    except ClientError as error:
        if is_denied(error):
            seen = f"not looked at: you lack {permission_of(error)}"
            return Finding(name, WARN, seen, "Ask for that permission, or look with another --profile.")
        return Finding(name, FAULT, sentence(error), f"Deploy again: python -m infra deploy --stage {there.stage}")
    except BotoCoreError as error:
        return Finding(name, FAULT, sentence(error), "Check the network, --region and --profile.")
    except (stack.StackFailed, Rejected, Unavailable) as error:
        return Finding(name, FAULT, str(error), f"Deploy: python -m infra deploy --stage {there.stage}")


def python_here(there: Deployed) -> Finding:
    """Name the Python that runs here and those of the functions."""
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    runtimes = sorted({each.runtime for each in there.functions.values()})
    return Finding("Python", OK, f"{here} here, {', '.join(runtimes)} in the functions")


def credentials(there: Deployed) -> Finding:
    """Say who asks, and where."""
    told = there.client("sts").get_caller_identity()
    who = str(told["Arn"]).rpartition(":")[2]
    verdict = WARN if who == "root" else OK
    remedy = "Use a user or role of your own: root may do everything." if verdict == WARN else ""
    return Finding("credentials", verdict, f"{who} of account {told['Account']}, {there.session.region_name}", remedy)


def stack_state(there: Deployed) -> Finding:
    """Want a stack that rests, with CloudFormation's word on drift when it was asked."""
    _ = there.outputs  # says in a sentence that there is no such stage
    status = there.described["StackStatus"]
    drift = there.described.get("DriftInformation", {}).get("StackDriftStatus", "NOT_CHECKED")
    name = stack.stack_name(there.stage)
    if status not in ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE"):
        return Finding(
            "stack", FAULT, f"{name}: {status}", f"Deploy again: python -m infra deploy --stage {there.stage}"
        )
    if status == "UPDATE_ROLLBACK_COMPLETE":
        remedy = "The last deployment failed and was undone: see its events, then deploy again."
        return Finding("stack", WARN, f"{name}: {status}", remedy)
    if drift == "DRIFTED":
        remedy = (
            f"Somebody changed resources by hand: aws cloudformation describe-stack-resource-drifts --stack-name {name}"
        )
        return Finding("stack", WARN, f"{name}: {status}, drifted", remedy)
    return Finding("stack", OK, f"{name}: {status}, drift {drift.lower().replace('_', ' ')}")


def template(there: Deployed, dist: Path) -> Finding:
    """Compare the deployed template with those in dist/: of everything, or of all but what Chalice deploys."""
    here = [json.loads(path.read_text()) for name in _TEMPLATES if (path := dist / name).exists()]
    if not here:
        return Finding("template", OK, f"not compared: {dist} holds none")
    told = there.client("cloudformation").get_template(
        StackName=stack.stack_name(there.stage), TemplateStage="Original"
    )["TemplateBody"]
    if (told if isinstance(told, Mapping) else json.loads(told)) in here:
        return Finding("template", OK, "as in dist/")
    return Finding("template", WARN, "not what dist/ holds", f"Deploy: python -m infra deploy --stage {there.stage}")


def functions(there: Deployed, dist: Path) -> Finding:
    """Want every function there, updated, of one package."""
    missing = sorted({each.word for each in FUNCTIONS} - set(there.functions) - OPTIONAL)
    deploy = f"Deploy: python -m infra deploy --stage {there.stage}"
    if missing:
        return Finding("functions", FAULT, f"missing: {', '.join(missing)}", deploy)
    failed = [
        f"{name}: {each.update_status} {each.update_reason}"
        for name, each in there.functions.items()
        if each.update_status != "Successful"
    ]
    if failed:
        return Finding("functions", FAULT, "; ".join(failed), deploy)
    digests = {each.digest for each in there.functions.values()}
    if len(digests) > 1:
        return Finding("functions", FAULT, "they are of different packages", deploy)
    package = dist / "deployment.zip"
    seen = f"{some(len(there.functions), 'function')}, package {min(digests)[:12]}"
    if package.exists() and hashlib.sha256(package.read_bytes()).hexdigest() not in digests:
        return Finding("functions", WARN, f"{seen}, not what dist/ holds", deploy)
    return Finding("functions", OK, seen)


def event_sources(there: Deployed) -> Finding:
    """Want each queue read by its function, failures reported one by one."""
    troubles = []
    for function in (each.word for each in FUNCTIONS if each.queue):
        facts = there.functions.get(function)
        found = (
            []
            if facts is None
            else there.client("lambda").list_event_source_mappings(FunctionName=facts.name)["EventSourceMappings"]
        )
        live = [each for each in found if each["State"] in ("Enabled", "Enabling", "Updating", "Creating")]
        if not live:
            troubles.append(f"{function} reads no queue" if not found else f"{function}'s queue is {found[0]['State']}")
        elif "ReportBatchItemFailures" not in live[0].get("FunctionResponseTypes", []):
            troubles.append(f"{function} does not report single failures")
    if troubles:
        remedy = f"Deploy again, or enable it: aws lambda update-event-source-mapping. Stage {there.stage}"
        return Finding("event sources", FAULT, "; ".join(troubles), remedy)
    return Finding("event sources", OK, "completion and delivery read their queues")


def schedule(there: Deployed) -> Finding:
    """Want the sweeper's minute."""
    events, facts = there.client("events"), there.functions.get("sweep")
    if facts is None:
        return Finding("schedule", FAULT, "there is no sweeper", "Deploy again.")
    names = events.list_rule_names_by_target(TargetArn=facts.arn)["RuleNames"]
    rules = [events.describe_rule(Name=name) for name in names]
    if not any(rule["State"] == "ENABLED" for rule in rules):
        seen = "nothing wakes the sweeper: lost messages stay lost"
        return Finding("schedule", FAULT, seen, "Enable its rule: aws events enable-rule, or deploy again.")
    return Finding("schedule", OK, f"the sweeper runs at {rules[0].get('ScheduleExpression')}")


def queue(there: Deployed, name: str) -> Finding:
    """Want a queue with its dead letters behind it, encrypted, and refusing plain HTTP."""
    source, dead = QUEUES[name]
    sqs = there.client("sqs")
    told = sqs.get_queue_attributes(QueueUrl=there.outputs[source], AttributeNames=["All"])["Attributes"]
    behind = sqs.get_queue_attributes(QueueUrl=there.outputs[dead], AttributeNames=["All"])["Attributes"]
    redrive = json.loads(told.get("RedrivePolicy", "{}"))
    troubles = []
    if redrive.get("deadLetterTargetArn") != behind["QueueArn"]:
        troubles.append("its dead letters go nowhere")
    if told["QueueArn"] not in behind.get("RedriveAllowPolicy", ""):
        troubles.append("its dead-letter queue does not take its letters")
    if told.get("SqsManagedSseEnabled") != "true" and not told.get("KmsMasterKeyId"):
        troubles.append("it is not encrypted")
    if there.parameters.get("RequireTls") != "false" and "aws:SecureTransport" not in told.get("Policy", ""):
        troubles.append("it takes plain HTTP")
    if troubles:
        return Finding(f"queue {name}", FAULT, "; ".join(troubles), f"Deploy: infra deploy --stage {there.stage}")
    letters = int(behind["ApproximateNumberOfMessages"])
    if letters:
        remedy = f"python -m infra dlq show {name} --stage {there.stage}"
        return Finding(f"queue {name}", WARN, some(letters, "dead letter"), remedy)
    waiting, tries = int(told["ApproximateNumberOfMessages"]), redrive.get("maxReceiveCount")
    return Finding(f"queue {name}", OK, f"{some(waiting, 'message')} waiting, dead after {tries} tries")


def expiry(there: Deployed) -> Finding:
    """Want TTL where items end by themselves."""
    dynamodb = there.client("dynamodb")
    off = []
    for output in sorted(EXPIRING):
        told = dynamodb.describe_time_to_live(TableName=there.outputs[output])["TimeToLiveDescription"]
        if told.get("TimeToLiveStatus") not in ("ENABLED", "ENABLING"):
            off.append(there.outputs[output])
    if off:
        remedy = (
            "aws dynamodb update-time-to-live --table-name NAME "
            "--time-to-live-specification Enabled=true,AttributeName=ttl"
        )
        return Finding("expiry", FAULT, f"off: {', '.join(off)}: items are never removed", remedy)
    return Finding("expiry", OK, f"TTL is on in {some(len(EXPIRING), 'table')}")


def backups(there: Deployed) -> Finding:
    """Want point-in-time recovery where nothing else knows what was there."""
    off = []
    for output in sorted(KEPT):
        told = there.client("dynamodb").describe_continuous_backups(TableName=there.outputs[output])
        recovery = told["ContinuousBackupsDescription"].get("PointInTimeRecoveryDescription", {})
        if recovery.get("PointInTimeRecoveryStatus") != "ENABLED":
            off.append(there.outputs[output])
    if off:
        remedy = (
            "aws dynamodb update-continuous-backups --table-name NAME "
            "--point-in-time-recovery-specification PointInTimeRecoveryEnabled=true"
        )
        return Finding("backups", FAULT, f"off: {', '.join(off)}: what is deleted is gone", remedy)
    return Finding("backups", OK, f"{some(len(KEPT), 'table')} can be restored to any second of 35 days")


def bucket(there: Deployed) -> Finding:
    """Want a bucket that the public cannot read."""
    name = there.outputs["Bucket"]
    told = there.client("s3").get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"]
    if not all(told.values()):
        seen = f"{name}: public access is not wholly blocked"
        return Finding("bucket", FAULT, seen, f"Deploy again: python -m infra deploy --stage {there.stage}")
    return Finding("bucket", OK, f"{name}: no public access")


def google(there: Deployed) -> Finding:
    """Want Google's credentials; only their type is looked at."""
    name = there.outputs["GoogleSecretId"]
    remedy = f"aws secretsmanager create-secret --name {name} --secret-string file://key.json (or put-secret-value)"
    try:
        told = there.client("secretsmanager").get_secret_value(SecretId=name)["SecretString"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        return Finding("Google", FAULT, f"there is no secret {name}: no row can be written", remedy)
    try:
        read_secret = json.loads(told)
        kind = str(read_secret.get("type", ""))
    except (ValueError, AttributeError):
        return Finding("Google", FAULT, f"the secret {name} is no JSON", remedy)
    if kind == "external_account":
        return Finding("Google", OK, "keyless: workload identity federation")
    if kind == "service_account":
        return Finding("Google", OK, f"the key of {read_secret.get('client_email', 'a service account')}")
    return Finding("Google", FAULT, f"the secret {name} is of the type {kind[:40]!r}", remedy)


def keys(there: Deployed) -> Finding:
    """Want a key of somebody's, and the secrets of sheet keys where they belong."""
    records = [each for each in there.keys.records() if each["kind"] in ("api", "sheet")]
    if not records:
        remedy = "python -m infra keys create --client NAME, or keys new-code for a spreadsheet"
        return Finding("keys", WARN, "nobody has a key", remedy)
    prefix = f"{there.outputs['SecretsPrefix']}/sheet-keys/"
    pages = there.client("ssm").get_paginator("get_parameters_by_path").paginate(Path=prefix, Recursive=True)
    secrets = {each["Name"].removeprefix(prefix): each["Type"] for page in pages for each in page["Parameters"]}
    lost = [each["key_id"] for each in records if each["kind"] == "sheet" and each["key_id"] not in secrets]
    if lost:
        seen = f"without a secret in {prefix}: {', '.join(lost)}"
        return Finding("keys", FAULT, seen, "Their sheets must be connected again: keys new-code --client NAME")
    if plain := sorted(name for name, kind in secrets.items() if kind != "SecureString"):
        return Finding("keys", FAULT, f"not encrypted: {', '.join(plain)}", "Rotate them: keys rotate KEY_ID")
    return Finding("keys", OK, some(len(records), "key"))


def workflows(there: Deployed) -> Finding:
    """Compare what is pushed with the folder."""
    pushed = {
        place: entry.hash for place, entry in read(there.blobs.get(INDEX_KEY)).items() if entry.removed_at is None
    }
    if not pushed:
        remedy = f"python -m infra workflows push --stage {there.stage}"
        return Finding("workflows", FAULT, "none is pushed: no job can be made", remedy)
    try:
        here = {each.id: each.hash for each in read_folder()}
    except ManifestError as error:
        return Finding("workflows", WARN, f"the folder is not right: {error}", "python -m infra workflows check")
    other = sorted(name for name, value in here.items() if pushed.get(name) != value)
    if other:
        remedy = f"python -m infra workflows push --stage {there.stage}"
        return Finding("workflows", WARN, f"not as in the folder: {', '.join(other)}", remedy)
    return Finding("workflows", OK, f"{some(len(pushed), 'workflow')}, the folder's are as here")


def api(there: Deployed) -> Finding:
    """Ask the API for its health, as the world does; compare its clock with ours."""
    url = f"{there.api_url}/health"
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            told, date = json.load(answer), answer.headers["Date"]
    except (OSError, urllib.error.HTTPError, ValueError) as error:
        remedy = f"Look: python -m infra tail --function api --stage {there.stage} --level WARNING"
        return Finding("API", FAULT, f"{url}: {cut(str(error), 80)}", remedy)
    skew_s = abs((parsedate_to_datetime(date) - datetime.now(UTC)).total_seconds()) if date else 0.0
    if skew_s > SKEW_MOST_S:
        remedy = "Set this machine's clock (NTP): signatures of AWS are good for minutes only."
        return Finding("API", FAULT, f"its clock is {skew_s:.0f} s off ours", remedy)
    return Finding("API", OK, f"{url}: {told.get('status')}, version {told.get('version')}")


def workers(there: Deployed) -> Finding:
    """Want a worker that takes jobs."""
    now = now_ms()
    alive = [card for card in there.crew.seen() if card.is_alive(now)]
    if not alive:
        seen = "none was heard within the last minutes: jobs wait"
        return Finding("workers", WARN, seen, "Start one: python -m worker queue (docs/worker.md)")
    if not any(card.open_servers for card in alive):
        return Finding("workers", WARN, f"{len(alive)} alive, none takes jobs", "See why: python -m infra status")
    return Finding("workers", OK, f"{len(alive)} alive")


def alarms(there: Deployed) -> Finding:
    """Want alarms that somebody hears."""
    pages = (
        there.client("cloudwatch")
        .get_paginator("describe_alarms")
        .paginate(AlarmNamePrefix=f"comfysheet-{there.stage}-")
    )
    found = [alarm for page in pages for alarm in page["MetricAlarms"]]
    if not found:
        return Finding("alarms", WARN, "there are none", f"Deploy: python -m infra deploy --stage {there.stage}")
    ringing = [alarm["AlarmName"] for alarm in found if alarm["StateValue"] == "ALARM"]
    if ringing:
        return Finding("alarms", WARN, f"ringing: {', '.join(ringing)}", "See docs/operating.md, incident pages.")
    topics = {action for alarm in found for action in alarm.get("AlarmActions", []) if ":sns:" in action}
    sns = there.client("sns")
    heard = any(sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"] for topic in sorted(topics))
    if not heard:
        remedy = f"python -m infra deploy --stage {there.stage} --set AlarmEmail=you@example.com"
        return Finding("alarms", WARN, f"{some(len(found), 'alarm')}, and nobody is told", remedy)
    return Finding("alarms", OK, f"{some(len(found), 'alarm')}, somebody is told")


def checks(dist: Path) -> Iterator[tuple[str, Check]]:
    """List the checks by name, nearest first."""
    yield "credentials", credentials
    yield "stack", stack_state
    yield "template", partial(template, dist=dist)
    yield "functions", partial(functions, dist=dist)
    yield "Python", python_here
    yield "event sources", event_sources
    yield "schedule", schedule
    for name in QUEUES:
        yield f"queue {name}", partial(queue, name=name)
    yield "expiry", expiry
    yield "backups", backups
    yield "bucket", bucket
    yield "Google", google
    yield "keys", keys
    yield "workflows", workflows
    yield "API", api
    yield "workers", workers
    yield "alarms", alarms
