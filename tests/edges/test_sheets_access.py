"""Who may call the endpoint, how often, and what happens when Google is unwell."""

import http.client
import time
from collections.abc import Iterator

import pytest
import requests
from google.auth.exceptions import RefreshError
from googleapiclient.errors import HttpError

from sandbox.google_auth import GRANT_TYPE, GoogleAuth, make_service_account
from sandbox.sheets_faults import Quota
from tests.edges.sheets_world import BOOK, SCOPE, World, cells, text


@pytest.fixture
def world() -> Iterator[World]:
    with World() as one:
        yield one


def test_a_service_account_reaches_a_shared_workbook_only(world: World) -> None:
    """Not shared: 403 with Google's sentence; shared: it works; no such workbook: 404."""
    email = world.account["client_email"]
    world.book.shared_with.discard(email)
    assert world.refused(world.api.get(spreadsheetId=BOOK)) == (403, "The caller does not have permission")
    world.book.shared_with.add(email)
    assert world.api.get(spreadsheetId=BOOK).execute()["properties"]["title"] == "Renders of today"
    assert world.refused(world.api.get(spreadsheetId="gone")) == (404, "Requested entity was not found.")


def test_a_call_without_a_good_token_is_401(world: World) -> None:
    """No token and a wrong token are both UNAUTHENTICATED, in Google's error shape."""
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        answer = requests.get(f"{world.served.url}/v4/spreadsheets/{BOOK}", headers=headers, timeout=5)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["status"]) == (401, 401, "UNAUTHENTICATED")


def test_the_client_fetches_a_new_token_when_the_old_one_is_revoked(world: World) -> None:
    """A 401 makes google-auth refresh and repeat; the caller sees nothing of it."""
    world.api.get(spreadsheetId=BOOK).execute()
    world.auth.revoke_all()
    world.api.get(spreadsheetId=BOOK).execute()
    assert [call.status for call in world.log.calls] == [200, 401, 200]


def test_a_read_only_scope_cannot_write(world: World) -> None:
    """The token carries its scopes: reading works, writing is 403."""
    api = world.client(scopes=(f"{SCOPE}.readonly",)).spreadsheets()
    api.get(spreadsheetId=BOOK).execute()
    body = {"requests": [cells(0, 0, text("x"))]}
    refused = world.refused(api.batchUpdate(spreadsheetId=BOOK, body=body))
    assert refused == (403, "Request had insufficient authentication scopes.")
    assert world.sheet.cell(0, 0).user_entered is None


def test_only_a_registered_key_gets_a_token(world: World) -> None:
    """An unknown account and a known account's name with a foreign key are refused with invalid_grant."""
    stranger = make_service_account(world.account["token_uri"], email="stranger@x.iam.gserviceaccount.com")
    forged = {
        **stranger,
        "client_email": world.account["client_email"],
        "private_key_id": world.account["private_key_id"],
    }
    for account, reason in ((stranger, "account not found"), (forged, "Invalid JWT Signature.")):
        with pytest.raises(RefreshError, match=reason):
            world.client(account=account).spreadsheets().get(spreadsheetId=BOOK).execute()


def test_the_token_endpoint_refuses_what_is_no_assertion(world: World) -> None:
    """Another grant type and a text that is no JWT are 400 with an OAuth error body."""
    for form, error in (
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": GRANT_TYPE, "assertion": "no.jwt"}, "invalid_grant"),
        ({"grant_type": GRANT_TYPE, "assertion": "é.b.c"}, "invalid_grant"),
    ):
        answer = requests.post(world.account["token_uri"], data=form, timeout=5)
        assert (answer.status_code, answer.json()["error"]) == (400, error)


def test_a_token_ends_after_an_hour() -> None:
    """grant_of forgets a token when its life is over."""
    clock = [time.time()]
    auth = GoogleAuth(now=lambda: clock[0])
    account = make_service_account("http://127.0.0.1:1/token")
    auth.register(account)
    token = auth.issue(GRANT_TYPE, _assertion(account))["access_token"]
    grant = auth.grant_of(token)
    assert grant is not None
    assert (grant.email, grant.scopes) == (account["client_email"], frozenset({SCOPE}))
    clock[0] += 3600
    assert auth.grant_of(token) is None


def _assertion(account: dict[str, str]) -> str:
    from google.oauth2 import service_account

    credentials = service_account.Credentials.from_service_account_info(account, scopes=[SCOPE])
    return str(credentials._make_authorization_grant_assertion().decode("ascii"))


def test_the_quota_counts_calls_per_user_and_refills() -> None:
    """The 61st write within a minute is 429 with Google's sentence, reads count apart, a minute later it works."""
    clock = [0.0]
    with World(quota=Quota(per_minute=3, now=lambda: clock[0])) as world:
        for _ in range(3):
            world.batch(cells(0, 0, text("x")))
        body = {"requests": [cells(0, 0, text("x"))]}
        status, sentence = world.refused(world.api.batchUpdate(spreadsheetId=BOOK, body=body))
        assert status == 429
        assert sentence.startswith(
            "Quota exceeded for quota metric 'Write requests' and limit 'Write requests per minute"
        )
        world.api.get(spreadsheetId=BOOK).execute()
        clock[0] += 61
        world.batch(cells(0, 0, text("y")))
        assert (world.log.writes, world.log.reads) == (5, 1)


def test_a_batch_counts_as_one_call(world: World) -> None:
    """100 rows in one batchUpdate are one write in the log."""
    world.batch(*[cells(row % 50, 0, text("x")) for row in range(100)])
    assert (world.log.writes, world.log.reads) == (1, 0)
    call = world.log.calls[-1]
    assert (call.method, call.user, call.status) == ("spreadsheets.batchUpdate", world.account["client_email"], 200)


def test_an_ordered_answer_comes_without_doing_the_call(world: World) -> None:
    """faults.answer(503, 2): two calls fail and write nothing; the client's retries see it through."""
    world.faults.answer(503, times=2, kind="write")
    body = {"requests": [cells(0, 0, text("x"))]}
    refused = world.refused(world.api.batchUpdate(spreadsheetId=BOOK, body=body))
    assert refused == (503, "The service is currently unavailable.")
    assert world.sheet.cell(0, 0).user_entered is None
    world.api.get(spreadsheetId=BOOK).execute()
    world.api.batchUpdate(spreadsheetId=BOOK, body=body).execute(num_retries=2)
    assert (world.sheet.cell(0, 0).formatted, world.faults.left) == ("x", 0)


def test_a_write_may_be_done_although_its_answer_failed(world: World) -> None:
    """apply_then_fail: the caller sees an error, the cells are written."""
    world.faults.apply_then_fail(500)
    with pytest.raises(HttpError):
        world.batch(cells(0, 0, text("x")))
    assert world.sheet.cell(0, 0).formatted == "x"


def test_a_dropped_connection_makes_the_client_write_twice(world: World) -> None:
    """apply_then_drop: httplib2 sends a dropped write again by itself, so only two drops are seen by the caller."""
    world.api.get(spreadsheetId=BOOK).execute()
    world.faults.apply_then_drop()
    world.batch(cells(0, 0, text("x")))
    assert [call.status for call in world.log.calls] == [200, 0, 200]
    world.faults.apply_then_drop(times=2)
    with pytest.raises((http.client.HTTPException, OSError)):
        world.batch(cells(0, 0, text("y")))
    assert world.sheet.cell(0, 0).formatted == "y"


def test_a_delayed_call_is_done_after_the_delay(world: World) -> None:
    """faults.delay holds the call and then answers it."""
    world.faults.delay(0.2, kind="read")
    began = time.monotonic()
    world.api.get(spreadsheetId=BOOK).execute()
    assert time.monotonic() - began >= 0.2
    assert world.log.calls[-1].status == 200
