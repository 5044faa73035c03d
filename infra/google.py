"""The verb `google`: say how a stage gets into Google Sheets, with a service account's key or without any key."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from boto3.session import Session

from chalicelib.cells import Unreachable
from chalicelib.contract.errors import Rejected
from chalicelib.google_key import READ_AGAIN_S, TOKEN_URL, VERIFICATION_URL, GoogleKey, is_local, read_key
from chalicelib.registry import Registry
from chalicelib.sheet import try_key
from infra import stack
from infra.release import add_stage_options, session

if TYPE_CHECKING:
    Verbs = argparse._SubParsersAction[Any]

_KINDS: Final = {"service_account": "with a service account's key", "external_account": "without a key, through AWS"}


def register(verbs: Verbs) -> None:
    """Add the verb."""
    top = verbs.add_parser("google", help="how a stage gets into Google Sheets: a key, or none")
    actions = top.add_subparsers(dest="action", required=True, metavar="<action>")
    put = actions.add_parser("set", help="keep a service account's JSON key, or a keyless configuration from gcloud")
    put.add_argument("file", type=Path, help="the JSON file; it may be deleted afterwards")
    put.add_argument("--check", action="store_true", help="first ask Google whether it accepts the key")
    put.set_defaults(run=_set)
    keyless = actions.add_parser("keyless", help="use no key: Google believes AWS (workload identity federation)")
    keyless.add_argument("--project-number", required=True, help="of the Google project that has the pool")
    keyless.add_argument("--pool", default="comfysheet", help="the workload identity pool (default: comfysheet)")
    keyless.add_argument("--provider", default="aws", help="its AWS provider (default: aws)")
    keyless.add_argument("--account", required=True, help="the service account to act as: its address")
    keyless.set_defaults(run=_keyless)
    status = actions.add_parser("status", help="say which account is used, and since when (never the key)")
    status.set_defaults(run=_status)
    for action in (put, keyless, status):
        add_stage_options(action)


class Safe:
    """Keep the secret of a stage."""

    def __init__(self, made: Session, stage: str) -> None:
        outputs = stack.read_outputs(made, stage)
        self._secrets: Any = made.client("secretsmanager")
        self._name = outputs["GoogleSecretId"]
        self.registry = Registry(made.client("dynamodb"), outputs["SheetsTable"])
        self.may_be_local = is_local(stack.parameters(made, stage).get("SheetsApiEndpoint", ""))

    def checked(self, text: str) -> GoogleKey:
        """Check a secret's text; raise `Rejected`."""
        try:
            return read_key(text, may_be_local=self.may_be_local)
        except Unreachable as trouble:
            raise Rejected("bad_google_key", trouble.reason.replace("The secret with Google's key", "This")) from None

    def text(self) -> str | None:
        """Read the secret; None: there is none."""
        try:
            return str(self._secrets.get_secret_value(SecretId=self._name).get("SecretString", ""))
        except self._secrets.exceptions.ResourceNotFoundException:
            return None

    def since(self) -> str:
        """Say when the present version was made."""
        return f"{self._secrets.get_secret_value(SecretId=self._name)['CreatedDate']:%Y-%m-%d %H:%M}"

    def put(self, text: str) -> str:
        """Keep a new version, or the first; say what became of it."""
        present = self.text()
        if present is None:
            description = "How ComfySheet's completion gets into Google Sheets."
            self._secrets.create_secret(Name=self._name, SecretString=text, Description=description)
            return "is kept"
        if present == text:
            return "was there already"
        self._secrets.put_secret_value(SecretId=self._name, SecretString=text)
        return f"is kept; it is taken up within {READ_AGAIN_S // 60} minutes, or as soon as Google refuses the former"


def configuration(project_number: str, pool: str, provider: str, account: str) -> str:
    """Write what `gcloud iam workload-identity-pools create-cred-config --aws` writes, without EC2's addresses."""
    for name, value, wanted in (
        ("project-number", project_number, r"\d+"),
        ("pool", pool, r"[a-z0-9-]{4,32}"),
        ("provider", provider, r"[a-z0-9-]{3,32}"),
    ):
        if not re.fullmatch(wanted, value):
            raise Rejected("bad_google_key", f"--{name} has a form of its own at Google ({wanted}), not {value!r}.")
    pools = f"//iam.googleapis.com/projects/{project_number}/locations/global/workloadIdentityPools"
    acting = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts"
    told = {
        "type": "external_account",
        "audience": f"{pools}/{pool}/providers/{provider}",
        "subject_token_type": "urn:ietf:params:aws:token-type:aws4_request",
        "token_url": TOKEN_URL,
        "service_account_impersonation_url": f"{acting}/{account}:generateAccessToken",
        "credential_source": {"environment_id": "aws1", "regional_cred_verification_url": VERIFICATION_URL},
    }
    return json.dumps(told, indent=2)


def _set(arguments: argparse.Namespace) -> int:
    try:
        text = arguments.file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Rejected("no_file", f"{arguments.file} cannot be read: {type(error).__name__}.") from None
    safe = Safe(session(arguments), arguments.stage)
    key = safe.checked(text)
    if arguments.check:
        if key.kind == "external_account":
            raise Rejected("no_check", "Only completion's own role can try a keyless configuration: leave out --check.")
        try:
            try_key(key)
        except Unreachable as trouble:
            raise Rejected("refused", trouble.reason) from None
        print("Google accepts the key.")
    return _keep(safe, key, text)


def _keyless(arguments: argparse.Namespace) -> int:
    text = configuration(arguments.project_number, arguments.pool, arguments.provider, arguments.account)
    safe = Safe(session(arguments), arguments.stage)
    return _keep(safe, safe.checked(text), text)


def _keep(safe: Safe, key: GoogleKey, text: str) -> int:
    print(f"The secret {safe.put(text)}.")
    print(f"Sheets are written {_KINDS[key.kind]}, as {key.email}: share them with this address as editor.")
    return 0


def _status(arguments: argparse.Namespace) -> int:
    safe = Safe(session(arguments), arguments.stage)
    text = safe.text()
    if text is None:
        print("There is no secret yet: `python -m infra google set FILE` or `… google keyless`.")
        return 1
    key = safe.checked(text)
    print(f"kind     {_KINDS[key.kind]}\naccount  {key.email}\nsince    {safe.since()}")
    used = safe.registry.account()
    print(f"in use   {'not yet' if not used else 'yes' if used == key.email else f'still {used}'}")
    return 0
