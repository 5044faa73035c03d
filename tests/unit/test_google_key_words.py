"""Which secrets are accepted as Google's key: Google's addresses and AWS as the source, nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chalicelib.cells import Unreachable
from chalicelib.google_key import read_key
from sandbox.google_auth import make_service_account
from tests.google_federation import AUDIENCE

ACCOUNT = make_service_account("https://oauth2.googleapis.com/token")
EMAIL = ACCOUNT["client_email"]
METADATA = "http://169.254.169.254/latest"
KEYLESS: dict[str, Any] = {
    "universe_domain": "googleapis.com",
    "type": "external_account",
    "audience": AUDIENCE,
    "subject_token_type": "urn:ietf:params:aws:token-type:aws4_request",
    "token_url": "https://sts.googleapis.com/v1/token",
    "service_account_impersonation_url": f"https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{EMAIL}:generateAccessToken",
    "credential_source": {
        "environment_id": "aws1",
        "region_url": f"{METADATA}/meta-data/placement/availability-zone",
        "url": f"{METADATA}/meta-data/iam/security-credentials",
        "regional_cred_verification_url": "https://sts.{region}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15",
    },
}
SOURCE = KEYLESS["credential_source"]


def test_both_kinds_name_their_account() -> None:
    """The address to share sheets with is the key's own, or the one that is acted as."""
    assert read_key(json.dumps(ACCOUNT)).email == read_key(json.dumps(KEYLESS)).email == EMAIL


def test_nothing_of_a_configuration_leads_to_a_metadata_service() -> None:
    """What gcloud writes for EC2 is left out: a Lambda has its credentials in the environment."""
    key = read_key(json.dumps({**KEYLESS, "token_info_url": "https://elsewhere.example/", "client_secret": "x"}))
    assert set(key.info["credential_source"]) == {"environment_id", "regional_cred_verification_url"}
    assert "elsewhere" not in json.dumps(dict(key.info)) and "client_secret" not in key.info


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"token_url": "https://sts.googleapis.com.example/v1/token"}, "another place than Google for token_url"),
        ({"token_url": "http://sts.googleapis.com/v1/token"}, "another place than Google for token_url"),
        ({"token_url": "https://user@sts.googleapis.com/v1/token"}, "another place than Google for token_url"),
        ({"token_url": "http://127.0.0.1:1/v1/token"}, "another place than Google for token_url"),
        ({"token_url": None}, "another place than Google for token_url"),
        ({"service_account_impersonation_url": None}, "names no service account"),
        ({"service_account_impersonation_url": "https://x.example/v1/projects/-/serviceAccounts/"
          f"{EMAIL}:generateAccessToken"}, "another place than Google for service_account"),
        ({"credential_source": {"file": "/proc/self/environ"}}, "AWS as its only"),
        ({"credential_source": {"executable": {"command": "sh"}}}, "AWS as its only"),
        ({"credential_source": {**SOURCE, "executable": {"command": "sh"}}}, "AWS as its only"),
        ({"credential_source": {**SOURCE, "url": "http://10.0.0.1/steal"}}, "another place than EC2's own for url"),
        ({"credential_source": {**SOURCE, "regional_cred_verification_url": "https://x.example"}}, "AWS's own address"),
        ({"subject_token_type": "urn:ietf:params:oauth:token-type:jwt"}, "subject_token_type of AWS"),
        ({"audience": "//iam.googleapis.com/locations/global/workforcePools/p/providers/x"}, "no provider"),
    ],
)  # fmt: skip
def test_a_configuration_that_leads_elsewhere_is_refused(change: dict[str, Any], said: str) -> None:
    """Google's library would ask whatever address stands there."""
    with pytest.raises(Unreachable, match=said):
        read_key(json.dumps({**KEYLESS, **change}))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"token_uri": "https://evil.example/token"}, "another place than Google for token_uri"),
        ({"private_key": "x"}, "private_key that is no key"),
        ({"private_key": None}, "has no private_key"),
        ({"client_email": "somebody@example.com"}, "no service account's address"),
        ({"type": ["a"]}, "of the type unknown"),
    ],
)
def test_a_broken_account_file_is_refused(change: dict[str, Any], said: str) -> None:
    """Each fault is a sentence that names what to do and holds nothing of the key."""
    with pytest.raises(Unreachable, match=said) as caught:
        read_key(json.dumps({**ACCOUNT, **change}))
    assert "python -m infra google" in caught.value.reason and "PRIVATE KEY" not in caught.value.reason


def test_only_a_local_stage_may_ask_this_machine() -> None:
    """The sandbox's token endpoint is on 127.0.0.1; a stage that speaks to Google itself refuses such a file."""
    local = json.dumps({**ACCOUNT, "token_uri": "http://127.0.0.1:8000/token"})
    assert read_key(local, may_be_local=True).email == EMAIL
    with pytest.raises(Unreachable):
        read_key(local)
