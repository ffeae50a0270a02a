"""Every shape of an error body, over real HTTP, as the one tree of errors."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from smartcar_ops import errors
from smartcar_ops.smartcar.error_responses import mapping, resolution, retry_after, text, word
from smartcar_ops.smartcar.http.transport import Request
from tests.smartcar.scripted import Answer

CLASSES = {
    400: errors.SmartcarError,
    401: errors.AuthenticationError,
    403: errors.NotPermittedError,
    404: errors.NotFoundError,
    409: errors.SmartcarError,
    429: errors.RateLimitError,
    430: errors.BillingError,
    500: errors.SmartcarError,
    501: errors.SmartcarError,
    502: errors.SmartcarError,
}


@pytest.fixture
def fail(server, transport):
    """Gives the error that an answer becomes."""

    def caught(answer: Answer) -> errors.SmartcarError:
        server.play("*", answer)
        with pytest.raises(errors.SmartcarError) as found:
            transport.json(Request("v3", "GET", f"{server.url}/x", "/x"))
        return found.value

    return caught


@pytest.mark.parametrize("status", CLASSES)
def test_the_status_decides_the_class(fail, status):
    """Each status is its own class, and the message names the call, the status and Smartcar's words."""
    error = fail(Answer({"type": "SOME_TYPE", "code": "SOME_CODE"}, status))
    assert CLASSES[status] is type(error)
    assert f"smartcar: GET /x answered {status} (SOME_TYPE SOME_CODE); " in str(error)
    assert (status, "SOME_TYPE", "SOME_CODE", 2) == (error.status, error.type, error.code, error.exit_code)


SHAPES = {
    "v3": (
        {
            "errors": [
                {
                    "status": "409",
                    "type": "VEHICLE_STATE",
                    "code": "ASLEEP",
                    "resolution": {"type": "RETRY_LATER"},
                    "meta": {"debug": {"requestId": "r-1"}},
                }
            ]
        },
        ("VEHICLE_STATE", "ASLEEP", "RETRY_LATER", "r-1"),
    ),
    "v3, the first of two": (
        {"errors": [{"type": "VEHICLE_STATE", "code": "ASLEEP"}, {"type": "OTHER"}]},
        ("VEHICLE_STATE", "ASLEEP", None, None),
    ),
    "v2": (
        {"type": "VEHICLE_STATE", "code": "ASLEEP", "resolution": {"type": None}, "requestId": "r-1"},
        ("VEHICLE_STATE", "ASLEEP", None, "r-1"),
    ),
    "v2, code null": (
        {"type": "PERMISSION", "code": None, "resolution": {"type": "REAUTHENTICATE", "url": "https://x"}},
        ("PERMISSION", None, "REAUTHENTICATE", None),
    ),
    "v2, resolution as text": (
        {"type": "PERMISSION", "code": None, "resolution": "REAUTHENTICATE"},
        ("PERMISSION", None, "REAUTHENTICATE", None),
    ),
    "v1": (
        {"error": "vehicle_state_error", "message": "…", "code": "VS_007", "requestId": "r-1"},
        ("vehicle_state_error", "VS_007", None, "r-1"),
    ),
    "oauth": (
        {"error": "invalid_grant", "error_description": "…"},
        ("invalid_grant", None, None, None),
    ),
    "nested": (
        {"error": {"type": "VEHICLE_STATE", "code": "ASLEEP", "requestId": "r-1"}},
        ("VEHICLE_STATE", "ASLEEP", None, "r-1"),
    ),
    "errors empty": ({"errors": [], "type": "VEHICLE_STATE"}, ("VEHICLE_STATE", None, None, None)),
    "errors of text": ({"errors": ["odd"]}, (None, None, None, None)),
    "errors as an object": ({"errors": {"type": "X"}, "type": "VEHICLE_STATE"}, ("VEHICLE_STATE", None, None, None)),
    "error null": ({"error": None, "type": "VEHICLE_STATE"}, ("VEHICLE_STATE", None, None, None)),
    "code a number": ({"type": "VEHICLE_STATE", "code": 7}, ("VEHICLE_STATE", "7", None, None)),
    "members of odd kinds": (
        {"type": ["X"], "code": {"a": 1}, "resolution": [1], "requestId": {}},
        (None, None, None, None),
    ),
}


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_is_read(fail, name):
    """Type, code, resolution and request id are found wherever this shape puts them."""
    body, expected = SHAPES[name]
    error = fail(Answer(body, 409))
    assert expected == (error.type, error.code, error.resolution, error.request_id)


@pytest.mark.parametrize("content", ["<html>Bad Gateway</html>", "", "null", "[]", '"odd"', "17", '{"cut', b"\xff\xfe"])
@pytest.mark.parametrize("status", [302, 400, 500, 502])
def test_an_error_that_is_not_smartcars(fail, content, status):
    """A page, nothing, or JSON that is no object is not an answer of Smartcar."""
    error = fail(Answer(content, status, kind="text/html"))
    assert (errors.NotSmartcarError, status, None) == (type(error), error.status, error.type)


@pytest.mark.parametrize("status", [401, 403, 404, 429, 430])
def test_a_telling_status_counts_without_a_body(fail, status):
    """An empty 401 is a refused credential, and so on: the status alone says enough."""
    error = fail(Answer("", status, kind=""))
    assert (CLASSES[status], None) == (type(error), error.type)
    assert "no Smartcar error in the body" in str(error)


@pytest.mark.parametrize("content", ["<html>Welcome</html>", "", "{", "[" * 100_000])
def test_a_good_status_with_a_body_that_is_no_json(fail, content):
    """A 200 with a page instead of JSON names the host, the status and the content type."""
    error = fail(Answer(content, 200, kind="text/html; charset=utf-8"))
    assert errors.NotSmartcarError is type(error)
    assert "127.0.0.1 answered 200 with text/html instead of JSON" in str(error)


def test_the_request_id_of_the_header_wins(fail):
    """The header's request id is the one to tell Smartcar's support."""
    error = fail(Answer({"type": "X", "requestId": "body"}, 500, {"sc-request-id": "header"}))
    assert "header" == error.request_id


def test_sentences_are_not_taken_for_words(fail):
    """A sentence where a word is expected, which may name a car or a person, is not repeated."""
    error = fail(Answer({"error": "no car WVWPLANTED here", "code": "call 555 1234"}, 500))
    assert (None, None) == (error.type, error.code)
    assert "PLANTED" not in str(error)


def test_retry_after_as_a_date():
    """An HTTP date is turned into the seconds until then; one in the past into none to wait."""
    later = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    assert 3500 < retry_after(later) <= 3600
    assert 0 == retry_after("Thu, 01 Jan 1970 00:00:00 GMT")


@pytest.mark.parametrize(
    ("header", "expected"),
    [("7", 7), ("0", 0), ("1.5", 1.5), ("-3", 0), ("", None), (None, None), ("soon", None), ("1e999", 3600)],
)
def test_retry_after_in_seconds(header, expected):
    """Seconds are seconds, less than none is none; what can't be read is as if it were missing."""
    assert expected == retry_after(header)


def test_small_readers():
    """Objects, scalars and words are told from everything else."""
    assert ({"a": 1}, {}, {}) == (mapping({"a": 1}), mapping([1]), mapping(None))
    assert ("a b", "0", None, None, None) == (text("a b"), text(0), text(""), text(None), text({}))
    assert ("VS_007", "a-b.c:d", None, None) == (word("VS_007"), word("a-b.c:d"), word("a b"), word("x" * 65))
    assert ("A", "A", None, None) == (resolution("A"), resolution({"type": "A"}), resolution({}), resolution([]))
