"""What Google's failures are called: try later, or a person has to do something."""

from __future__ import annotations

import http.client
import json
from typing import Any

import pytest
from google.auth.exceptions import OAuthError, RefreshError, TransportError
from googleapiclient.errors import HttpError
from httplib2 import Response, ServerNotFoundError

from chalicelib.cells import Unreachable, serial_day
from chalicelib.contract.errors import Unavailable
from chalicelib.sheet import Sheets


class Google:
    """Be a client whose every call fails; count what is asked for."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.repeats: list[int] = []

    def __getattr__(self, _name: str) -> Any:
        return lambda **_: self

    def execute(self, num_retries: int = 0) -> None:
        self.repeats.append(num_retries)
        raise self.error


def http_error(status: int, details: str = "") -> HttpError:
    body = json.dumps({"error": {"message": "x", "details": details}}).encode()
    return HttpError(Response({"status": status}), body)


def failed(error: Exception) -> Exception:
    google = Google(error)
    with pytest.raises((Unavailable, Unreachable)) as caught:
        Sheets(lambda: google).tabs("s")
    assert google.repeats == [0], "a call that is counted once is made once"
    return caught.value


@pytest.mark.parametrize(
    "error",
    [
        http_error(429),
        http_error(503),
        http_error(403, "RATE_LIMIT_EXCEEDED"),
        TransportError("no route"),
        ServerNotFoundError("dns"),
        TimeoutError("20 s"),
        http.client.IncompleteRead(b"{"),
        http.client.BadStatusLine(""),
        json.JSONDecodeError("cut off", "{", 1),
        RefreshError("token endpoint: 503", retryable=True),
        OAuthError("Error code 503", '{"error": {"code": 503}}'),
        OAuthError("Bad gateway", "<html>"),
    ],
    ids=repr,
)
def test_what_time_heals_comes_again(error: Exception) -> None:
    """Nothing is parked for it, and nothing rises as a fault of ours."""
    assert isinstance(failed(error), Unavailable)


@pytest.mark.parametrize(
    ("error", "may_heal", "of_tab"),
    [
        (RefreshError("invalid_grant"), True, False),
        (http_error(403), True, False),
        (http_error(404), False, False),
        (http_error(400), False, True),
    ],
)
def test_what_a_person_has_to_heal_is_told(error: Exception, may_heal: bool, of_tab: bool) -> None:
    """Sharing, a deleted spreadsheet, a tab that is gone."""
    trouble = failed(error)
    assert isinstance(trouble, Unreachable) and (trouble.may_heal, trouble.of_tab) == (may_heal, of_tab)


def test_time_zones_that_google_does_not_know_have_an_offset() -> None:
    """GMT-07:00 is seven hours behind; what is no zone at all counts as UTC."""
    noon = serial_day(1_800_014_400_000, "UTC")
    assert serial_day(1_800_014_400_000, "GMT-07:00") == pytest.approx(noon - 7 / 24)
    assert serial_day(1_800_014_400_000, "GMT+5:30") == pytest.approx(noon + 5.5 / 24)
    assert serial_day(1_800_014_400_000, "Etc/GMT+7") == pytest.approx(noon - 7 / 24)
    for odd in ("", "America", "../x", "GMT+99:00", "x" * 300, "a\0b"):
        assert serial_day(1_800_014_400_000, odd) == noon
