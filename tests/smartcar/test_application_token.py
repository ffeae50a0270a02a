"""The application token, from a real token endpoint with a clock of the test's own."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from smartcar_ops.errors import AuthenticationError, NotSmartcarError, SmartcarError
from tests.smartcar.scripted import Answer


class Clock:
    """Seconds that pass when the test says so."""

    now = 0.0

    def __call__(self) -> float:
        """The time now."""
        return self.now


def given(number: int, **changed: object) -> Answer:
    """The token endpoint's good answer."""
    return Answer({"access_token": f"app-{number}", "token_type": "Bearer", "expires_in": 3600, **changed})


def test_the_request(server, take_token):
    """The credentials go as a form, and the token comes back."""
    assert "app-1" == take_token()()
    asked = server.asked[0]
    assert ("POST", "/oauth2/token") == (asked.method, asked.path)
    assert {
        "grant_type": "client_credentials",
        "client_id": "client_planted",
        "client_secret": "s3cr3t-plant",
    } == asked.form
    assert "application/x-www-form-urlencoded" == asked.headers["content-type"]


def test_it_is_asked_once_and_free(server, transport, take_token):
    """One request serves all calls, and costs nothing of the application's allowance."""
    token = take_token()
    assert ["app-1"] * 3 == [token() for _ in range(3)]
    assert 1 == len(server.asked)


def test_renewed_a_minute_before_its_end(server, take_token):
    """An hour's token is used for 59 minutes, then a new one is asked for."""
    server.play("/oauth2/token", given(1), given(2))
    clock = Clock()
    token = take_token(clock=clock)
    token()
    clock.now = 3539.9
    assert "app-1" == token()
    clock.now = 3540.0
    assert "app-2" == token()


def test_a_short_token_is_used_for_half_its_life(server, take_token):
    """A token of 30 seconds is used for 15, not thrown away at once."""
    server.play("/oauth2/token", given(1, expires_in=30), given(2))
    clock = Clock()
    token = take_token(clock=clock)
    token()
    clock.now = 14.9
    assert "app-1" == token()
    clock.now = 15.0
    assert "app-2" == token()


@pytest.mark.parametrize("lives", [None, "3600", [], {}])
def test_a_life_that_is_no_number_is_an_hour(server, take_token, lives):
    """Without a usable ``expires_in`` the documented hour counts."""
    server.play("/oauth2/token", given(1, expires_in=lives), given(2))
    clock = Clock()
    token = take_token(clock=clock)
    token()
    clock.now = 3539.9
    assert "app-1" == token()
    clock.now = 3540.0
    assert "app-2" == token()


def test_many_threads_one_renewal(server, take_token):
    """Sixteen threads that find the token expired at once make one request, and all get its token."""
    server.play("/oauth2/token", given(1), given(2), given(3))
    clock = Clock()
    token = take_token(clock=clock)
    token()
    clock.now = 9999.0
    gate = threading.Barrier(16, timeout=5)

    def ask(_: int) -> str:
        gate.wait()
        return token()

    with ThreadPoolExecutor(16) as executor:
        assert {"app-2"} == set(executor.map(ask, range(16)))
    assert 2 == len(server.asked)


def test_a_refused_token_is_replaced_once(server, take_token):
    """Threads whose token was refused get a newer one, from one request."""
    server.play("/oauth2/token", given(1), given(2), given(3))
    token = take_token()
    refused = token()
    assert ["app-2"] * 4 == [token(instead_of=refused) for _ in range(4)]
    assert 2 == len(server.asked)


@pytest.mark.parametrize("body", [{"error": "invalid_client"}, "<html>no</html>", "", {"access_token": "app-9"}])
def test_status_comes_first(server, take_token, body):
    """A 401 is a refused credential whatever the body looks like, even like a token; the message says what to do."""
    server.play("/oauth2/token", Answer(body, 401))
    with pytest.raises(AuthenticationError, match=r"refused the credentials.*rotated") as caught:
        take_token()()
    assert 401 == caught.value.status


def test_a_malformed_request_is_told(server, take_token):
    """A 400 carries the OAuth word."""
    server.play("/oauth2/token", Answer({"error": "invalid_request", "error_description": "x"}, 400))
    with pytest.raises(SmartcarError) as caught:
        take_token()()
    assert (400, "invalid_request") == (caught.value.status, caught.value.type)


@pytest.mark.parametrize("kind", ["text/html", "text/plain; charset=utf-8", ""])
def test_content_type_comes_second(server, take_token, kind):
    """A 200 that is not JSON by its content type is not the token endpoint, even where the body looks right."""
    server.play("/oauth2/token", Answer({"access_token": "app-9"}, kind=kind))
    with pytest.raises(NotSmartcarError, match="expected JSON"):
        take_token()()


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON", "application/vnd.api+json"])
def test_any_json_content_type_will_do(server, take_token, kind):
    """Content types are compared without case and with their parameters."""
    server.play("/oauth2/token", Answer({"access_token": "app-9"}, kind=kind))
    assert "app-9" == take_token()()


@pytest.mark.parametrize("body", [{}, {"access_token": ""}, {"access_token": None}, {"access_token": 7}, [], "token"])
def test_the_key_comes_third(server, take_token, body):
    """A 200 in JSON without a token in it is not the token endpoint."""
    server.play("/oauth2/token", Answer(body if body != "token" else '"token"'))
    with pytest.raises(NotSmartcarError, match="without an access_token"):
        take_token()()


def test_a_broken_body(server, take_token):
    """JSON that breaks off is not the token endpoint either."""
    server.play("/oauth2/token", Answer('{"access_token": "app'))
    with pytest.raises(NotSmartcarError):
        take_token()()


def test_after_a_failure_the_next_call_asks_again(server, take_token):
    """A failure is not remembered."""
    server.play("/oauth2/token", Answer({}, 401), given(2))
    token = take_token()
    with pytest.raises(AuthenticationError):
        token()
    assert "app-2" == token()


def test_a_busy_endpoint_is_asked_again(server, take_token):
    """A 503 is tried again like any other call."""
    server.play("/oauth2/token", Answer("", 503), given(2))
    assert "app-2" == take_token()()
