"""What `python -m infra google` and `worker-key` make and refuse before anything is kept."""

from __future__ import annotations

import json

import pytest

from chalicelib.contract.errors import Rejected
from chalicelib.google_key import read_key
from infra.__main__ import parser
from infra.google import configuration
from tests.google_federation import AUDIENCE

EMAIL = "comfysheet@a-project.iam.gserviceaccount.com"


def test_a_keyless_configuration_is_one_that_completion_takes() -> None:
    """What is written names the pool, the account and AWS, and nothing else."""
    key = read_key(configuration("123456789", "comfysheet", "aws", EMAIL))
    assert (key.kind, key.email, key.info["audience"]) == ("external_account", EMAIL, AUDIENCE)
    assert "169.254" not in json.dumps(dict(key.info))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("my-project", "comfysheet", "aws"), "--project-number"),
        (("1", "Pool!", "aws"), "--pool"),
        (("1", "comfysheet", "../x"), "--provider"),
    ],
)
def test_names_that_google_would_not_take_are_said(words: tuple[str, str, str], said: str) -> None:
    """A project's name instead of its number is the usual slip."""
    with pytest.raises(Rejected, match=said):
        configuration(*words, EMAIL)


def test_the_verbs_ask_for_what_they_need(capsys: pytest.CaptureFixture[str]) -> None:
    """The keyless way needs a project and an account; a key is ended by its id."""
    for line in (["google", "keyless", "--account", EMAIL], ["worker-key", "end"], ["google", "set"]):
        with pytest.raises(SystemExit) as ended:
            parser().parse_args(line)
        assert ended.value.code == 2
    assert "--project-number" in capsys.readouterr().err
