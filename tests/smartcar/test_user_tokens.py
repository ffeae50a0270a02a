"""Refreshing a user's V2 tokens, at a real token endpoint."""

from __future__ import annotations

import base64
import traceback

import pytest

from smartcar_ops.errors import AuthenticationError, NotSmartcarError, RateLimitError, SmartcarError
from smartcar_ops.settings.credentials import Allowance, Credentials
from smartcar_ops.smartcar.auth import TIMEOUT, ReconnectError, TokenPair, UserTokens
from smartcar_ops.smartcar.http.rate_limit import Budget, TokenBucket
from smartcar_ops.smartcar.http.transport import Transport
from tests.smartcar.scripted import Answer, Scripted

APPLICATION = "a4c81b2c-0000-4000-8000-000000000001"
OLD, SECRET = "refresh-OLD-PLANT", "v2-s3cr3t-PLANT"
GOOD = {"access_token": "acc-PLANT", "refresh_token": "ref-PLANT", "token_type": "Bearer", "expires_in": 7200}
PLANTED = (OLD, SECRET, "acc-PLANT", "ref-PLANT", base64.b64encode(f"{APPLICATION}:{SECRET}".encode()).decode())
LOST = Answer("", headers={"content-length": "10"})
"""An answer that breaks off."""


@pytest.fixture
def tokens(server: Scripted, transport: Transport) -> UserTokens:
    """A client of the server's token endpoint."""
    known = Credentials(
        client_id="client_planted", client_secret="x", application_id=APPLICATION, v2_client_secret=SECRET
    )
    return UserTokens(transport, f"{server.url}/oauth/token", known)


def refused(server, tokens, *answers: Answer) -> SmartcarError:
    """The error that a refresh answered so ends with; nothing planted is in it."""
    server.play("/oauth/token", *answers)
    with pytest.raises(SmartcarError) as caught:
        tokens.refresh(OLD)
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert [] == [planted for planted in PLANTED if planted in told]
    return caught.value


def test_a_pair_for_a_refresh_token(server, tokens):
    """The old token goes as a form, the application's pair as HTTP Basic, and a new pair comes back."""
    server.play("/oauth/token", Answer(GOOD))
    assert TokenPair("acc-PLANT", "ref-PLANT", 7200.0) == tokens.refresh(OLD)
    asked = server.asked[0]
    assert ("POST", "/oauth/token") == (asked.method, asked.path)
    assert {"grant_type": "refresh_token", "refresh_token": OLD} == asked.form
    assert f"Basic {PLANTED[-1]}" == asked.headers["authorization"]
    assert "application/x-www-form-urlencoded" == asked.headers["content-type"]


def test_nothing_is_in_a_repr_or_a_record(server, transport, tokens):
    """Neither the pair nor the client nor the record of calls shows a token or the secret."""
    server.play("/oauth/token", Answer(GOOD))
    shown = f"{tokens.refresh(OLD)!r} {tokens!r} {vars(tokens)!r} {transport.calls!r}"
    assert [] == [planted for planted in PLANTED if planted in shown]


@pytest.mark.parametrize("lives", [None, "7200", [], {}])
def test_a_life_that_is_no_number_is_two_hours(server, tokens, lives):
    """Without a usable ``expires_in`` the documented two hours count."""
    server.play("/oauth/token", Answer({**GOOD, "expires_in": lives}))
    assert 7200.0 == tokens.refresh(OLD).expires_in


@pytest.mark.parametrize("status", [400, 401])
def test_a_dead_refresh_token_is_the_users_turn(server, tokens, status):
    """``invalid_grant`` says that this user must go through Connect again, and is asked once."""
    error = refused(server, tokens, Answer({"error": "invalid_grant", "error_description": OLD}, status))
    assert isinstance(error, ReconnectError)
    assert "this user must go through Connect again" in str(error)
    assert (1, status, "invalid_grant") == (len(server.asked), error.status, error.type)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"error": "invalid_client", "error_description": SECRET}, 401),
        ({"error": "invalid_client"}, 400),
        ({"error": "authentication_error", "message": f"no {SECRET}", "code": None}, 401),
        ("<html>401</html>", 401),
        (GOOD, 401),
    ],
)
def test_a_refused_application_names_its_settings(server, tokens, body, status):
    """A refused pair of the application is no user's fault: the message names the two settings."""
    error = refused(server, tokens, Answer(body, status))
    assert (AuthenticationError, status) == (type(error), error.status)
    assert "SMARTCAR_APPLICATION_ID and SMARTCAR_V2_CLIENT_SECRET" in str(error)


@pytest.mark.parametrize(
    ("answer", "kind", "word"),
    [
        (Answer({"error": "unauthorized_client", "error_description": "x"}, 403), SmartcarError, "unauthorized_client"),
        (Answer({"error": "invalid_request"}, 400), SmartcarError, "invalid_request"),
        (Answer({"error": "vehicle_state_error", "message": OLD, "code": "VS_000"}, 409), SmartcarError, "VS_000"),
        (Answer(f"<html>{OLD}</html>", 404, kind="text/html"), SmartcarError, "404"),
        (Answer("", 429, {"retry-after": "3600"}), RateLimitError, "429"),
        (Answer(GOOD, kind="text/html"), NotSmartcarError, "expected JSON"),
        (Answer(GOOD, kind=""), NotSmartcarError, "expected JSON"),
        (Answer('{"access_token": "acc-PLANT", "refr'), NotSmartcarError, "a proxy"),
        (Answer([GOOD]), NotSmartcarError, "without a usable access_token"),
        (Answer({**GOOD, "access_token": ""}), NotSmartcarError, "without a usable access_token"),
        (Answer({**GOOD, "access_token": "a b"}), NotSmartcarError, "without a usable access_token"),
        (Answer({**GOOD, "refresh_token": None}), NotSmartcarError, "without a usable refresh_token"),
        (Answer({**GOOD, "refresh_token": 7}), NotSmartcarError, "without a usable refresh_token"),
    ],
)
def test_other_answers_are_errors_of_the_tree(server, tokens, answer, kind, word):
    """Status, content type and keys are checked in that order, whatever the body looks like."""
    error = refused(server, tokens, answer)
    assert isinstance(error, kind)
    assert word in f"{error} {error.code}"


def test_a_pair_without_a_refresh_token_is_no_pair(server, tokens):
    """An answer with an access token alone would leave the user without a way on."""
    error = refused(server, tokens, Answer({"access_token": "acc-PLANT", "expires_in": 7200}))
    assert "without a usable refresh_token" in str(error)


def test_a_lost_answer_is_asked_for_again(server, transport, tokens):
    """An answer that breaks off is asked for again at once, with the same refresh token; the allowance pays nothing."""
    server.play("/oauth/token", LOST, LOST, Answer(GOOD))
    with transport.spending(Budget(TokenBucket(Allowance()), max_calls=1)):
        assert "acc-PLANT" == tokens.refresh(OLD).access_token
    assert [OLD] * 3 == [asked.form["refresh_token"] for asked in server.asked]
    assert {"auth"} == {call.api for call in transport.calls}


def test_three_attempts_end_within_the_grace():
    """Three attempts that are slow to connect and to answer, with their waits, take less than the 60 s grace."""
    assert 60 > 3 * 2 * TIMEOUT + 5 * 2
