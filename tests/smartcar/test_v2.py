"""V2 over real HTTP: whose a token is, what it opens, and batches."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from smartcar_ops.errors import AuthenticationError, NotSmartcarError, SmartcarError, V2StoppedError
from smartcar_ops.smartcar.v2 import V2, read_batch
from tests.smartcar.scripted import Answer, uid


def vehicles(*ids: object, count: int | None, offset: int = 0) -> Answer:
    """A page of V2's vehicles."""
    paging = {} if count is None else {"paging": {"count": count, "offset": offset}}
    return Answer({"vehicles": list(ids), **paging})


def test_whose_a_token_is(server, v2):
    """``/user`` gives the Smartcar user id in lower case, asked with the token it acts with."""
    server.play("/v2.0/user", Answer({"id": f" {uid('Jo').upper()} "}))
    assert uid("Jo") == v2.user("t-1")
    assert ("Bearer t-1", "metric") == tuple(
        server.asked[0].headers[name] for name in ("authorization", "sc-unit-system")
    )


NIL = "00000000-0000-0000-0000-000000000000"
NO_IDS = ("undefined", "null", NIL, "ab-1", f"{uid('u')}0", 7, {})


@pytest.mark.parametrize(
    "body", [{}, {"id": None}, {"id": ""}, [], {"status": "sign in to the wifi"}, *({"id": id} for id in NO_IDS)]
)
def test_a_user_without_an_id(server, v2, body):
    """A 200 without an id that is one names nobody."""
    server.play("*", Answer(body))
    with pytest.raises(NotSmartcarError, match="without a valid id"):
        v2.user("t-1")


def test_all_pages_of_vehicles(server, v2):
    """Vehicles are read 50 at a time until the count is reached."""
    ids = [uid(f"v{number}") for number in range(120)]
    server.play(
        "/v2.0/vehicles",
        lambda asked: vehicles(
            *ids[int(asked.query["offset"]) :][: int(asked.query["limit"])], count=len(ids), offset=0
        ),
    )
    assert tuple(ids) == v2.vehicles("t-1")
    assert ["0", "50", "100"] == [asked.query["offset"] for asked in server.asked]


@pytest.mark.parametrize("id", NO_IDS)
def test_a_vehicle_that_is_none_is_counted(server, transport, v2, id):
    """A list with what is no id is not used: of the other vehicle nobody could say that it is the only one."""
    server.play("*", vehicles(uid("v1"), id, count=2))
    with pytest.raises(NotSmartcarError, match="an invalid id"):
        v2.vehicles("t-1")
    assert {"V2 vehicle: no id of Smartcar": 1} == transport.oddities.counts


def test_a_user_that_is_none_is_counted(server, transport, v2):
    """Text in the id's place is an oddity; it is not repeated."""
    server.play("*", Answer({"id": "undefined"}))
    with pytest.raises(NotSmartcarError) as caught:
        v2.user("t-1")
    assert {"V2 user: no id of Smartcar": 1} == transport.oddities.counts
    assert "undefined" not in str(caught.value)


def test_a_token_without_vehicles(server, v2):
    """A token may open no vehicle."""
    server.play("*", vehicles(count=0))
    assert () == v2.vehicles("t-1")


def test_vehicles_in_lower_case_and_once(server, v2):
    """Ids are lower case and each given once."""
    server.play("*", vehicles(uid("Jo").upper(), uid("b"), f"{uid('Jo')} ", count=3))
    assert (uid("Jo"), uid("b")) == v2.vehicles("t-1")


def test_a_short_server_page_is_no_end(server, v2):
    """A server that gives fewer than asked for is read on from where it ended."""
    ids = [uid(f"v{number}") for number in range(5)]
    server.play("*", lambda asked: vehicles(*ids[int(asked.query["offset"]) :][:2], count=5))
    assert tuple(ids) == v2.vehicles("t-1")


@pytest.mark.parametrize("sizes", [[3], [50, 3], [50, 0], [50, 50, 1]])
def test_vehicles_without_a_count(server, v2, sizes):
    """Without a count a page that is not full is the last."""
    numbers = iter(range(1000))
    server.play("*", *(vehicles(*(uid(f"v{next(numbers)}") for _ in range(size)), count=None) for size in sizes))
    assert sum(sizes) == len(v2.vehicles("t-1"))
    assert len(sizes) == len(server.asked)


def test_a_server_that_ignores_the_offset(server, v2):
    """The same page again ends the reading instead of going on for ever."""
    same = [uid(f"v{number}") for number in range(50)]
    server.play("*", vehicles(*same, count=None))
    assert tuple(same) == v2.vehicles("t-1")
    assert 2 == len(server.asked)


@pytest.mark.parametrize("body", [{}, {"vehicles": None}, {"vehicles": {}}, "[]"])
def test_vehicles_that_are_no_list(server, v2, body):
    """A 200 without a list is not Smartcar's."""
    server.play("*", Answer(body))
    with pytest.raises(NotSmartcarError, match="without a list"):
        v2.vehicles("t-1")


def test_the_request_of_a_batch(server, transport, v2):
    """A batch posts its paths in one request; each path is a unit, and the record has no id."""
    server.play("/v2.0/vehicles/v1/batch", Answer({"responses": []}))
    v2.batch("t-1", "v1", ["/battery", "/odometer"])
    asked = server.asked[0]
    assert "POST" == asked.method
    assert {"requests": [{"path": "/battery"}, {"path": "/odometer"}]} == json.loads(asked.body)
    assert [("/vehicles/{id}/batch", 2)] == [(call.template, call.units) for call in transport.calls]


def test_an_answer_about_another_car_is_not_used(server, v2):
    """The attributes of another car than the one asked for make the whole batch nobody's."""
    own = {"path": "/", "code": 200, "body": {"id": uid("v2").upper(), "make": "KIA"}}
    server.play("*", Answer({"responses": [{"path": "/vin", "code": 200, "body": {"vin": "X"}}, own]}))
    assert {"/vin", "/"} == set(v2.batch("t-1", uid("v2"), ["/vin", "/"]).items)
    with pytest.raises(NotSmartcarError, match="another vehicle"):
        v2.batch("t-1", uid("v1"), ["/vin", "/"])
    server.play("*", Answer(own["body"]))
    with pytest.raises(NotSmartcarError, match="another vehicle"):
        v2.read("t-1", uid("v1"))


def test_a_batch_may_count_as_one(server, transport):
    """Where the contract says so, a batch is one unit whatever it asks."""
    server.play("*", Answer({"responses": []}))
    v2 = V2(transport, server.url, batch_counts="one")
    v2.batch("t-1", "v1", ["/battery", "/odometer"])
    assert {"v2": 1} == transport.spent


def test_items_good_and_bad():
    """Each item has its own code, times and unit system; header names count without case."""
    item = {
        "path": "/odometer",
        "code": 200,
        "body": {"distance": 7},
        "headers": {
            "SC-Data-Age": "2026-01-02T03:04:05.000Z",
            "sc-fetched-at": "2026-01-02T03:05:00Z",
            "Sc-Unit-System": "imperial",
        },
    }
    refused = {
        "path": "/fuel",
        "code": 403,
        "body": {"type": "PERMISSION", "code": None, "resolution": {"type": "REAUTHENTICATE"}},
    }
    items = read_batch({"responses": [item, refused]}).items
    good, bad = items["/odometer"], items["/fuel"]
    assert (200, {"distance": 7}, "imperial") == (good.code, good.body, good.unit_system)
    assert (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), datetime(2026, 1, 2, 3, 5, tzinfo=UTC)) == (
        good.data_age,
        good.fetched_at,
    )
    assert (None, None) == (good.error_type, good.resolution)
    assert (403, "PERMISSION", None, "REAUTHENTICATE") == (bad.code, bad.error_type, bad.error_code, bad.resolution)
    assert (None, None, "metric") == (bad.data_age, bad.fetched_at, bad.unit_system)


@pytest.mark.parametrize("resolution", [None, "RETRY_LATER", {"type": "RETRY_LATER"}, {"type": None}, {}])
def test_resolutions_in_every_form(resolution):
    """The resolution is text, an object or null."""
    body = {"type": "UPSTREAM", "code": "RATE_LIMIT", "resolution": resolution}
    item = read_batch({"responses": [{"path": "/fuel", "code": 502, "body": body}]}).items["/fuel"]
    assert ("RETRY_LATER" if "RETRY" in str(resolution) else None) == item.resolution


def test_an_item_in_the_oldest_error_shape():
    """The V1 shape keeps its word and code."""
    body = {"error": "vehicle_state_error", "message": "…", "code": "VS_007"}
    item = read_batch({"responses": [{"path": "/fuel", "code": 409, "body": body}]}).items["/fuel"]
    assert (409, "vehicle_state_error", "VS_007") == (item.code, item.error_type, item.error_code)


def test_the_members_of_a_good_body_are_no_error():
    """A good body that happens to have a member ``type`` or ``code`` is not an error."""
    item = read_batch({"responses": [{"path": "/x", "code": 200, "body": {"type": "BEV", "code": "A"}}]}).items["/x"]
    assert (None, None) == (item.error_type, item.error_code)


@pytest.mark.parametrize("row", [None, "x", {}, {"path": None, "code": 200}, {"code": 200, "body": {}}])
def test_an_item_without_a_path_is_left_out(row):
    """A row that names no path can't be an answer to one; the others are kept."""
    kept = {"path": "/fuel", "code": 200, "body": None, "headers": None}
    assert ["/fuel"] == list(read_batch({"responses": [row, kept]}).items)


@pytest.mark.parametrize("body", [{"status": "sign in to the wifi"}, {}, [], None, "x", {"responses": {}}])
def test_a_200_that_is_no_batch(server, v2, body):
    """A captive portal's JSON is not taken for a batch."""
    server.play("*", Answer(json.dumps(body)))
    with pytest.raises(NotSmartcarError, match="without `responses`"):
        v2.batch("t-1", "v1", ["/fuel"])


@pytest.mark.parametrize("token", ["", "t 1", "t-1\n", "t\x00", "t-é", "пароль"])
def test_a_token_no_header_can_hold(server, v2, token):
    """A stored token that can't be sent is a refused token, said in words without it, and nothing is sent."""
    with pytest.raises(AuthenticationError, match="can't be sent") as caught:
        v2.user(token)
    assert [] == server.asked
    assert not token or token not in str(caught.value)


def test_an_odd_vehicle_id_stays_one_path_segment(server, v2):
    """An id with a slash can't reach another path."""
    server.play("*", Answer({"responses": []}))
    v2.batch("t-1", "../user", ["/fuel"])
    assert "/v2.0/vehicles/..%2Fuser/batch" == server.asked[0].path


GONE = Answer({"type": "RESOURCE_NOT_FOUND", "code": "VERSION"}, status=410)


def test_after_its_first_410_nothing_is_asked_of_v2(server, v2):
    """410 means that V2 has stopped, whatever was asked; no later call is sent."""
    server.play("*", GONE)
    with pytest.raises(V2StoppedError, match="V2 has stopped") as raised:
        v2.vehicles("t-1")
    assert (410, "VERSION") == (raised.value.status, raised.value.code)
    for ask in (lambda: v2.user("t-2"), lambda: v2.read("t-2", "v1"), lambda: v2.batch("t-2", "v1", ["/vin"])):
        with pytest.raises(V2StoppedError):
            ask()
    assert 1 == len(server.asked)


def test_a_batch_of_which_every_answer_is_410(server, v2):
    """A batch answers 200 as a whole: V2 has stopped where each of its answers says so, and not where one does."""
    items = [{"path": path, "code": 410, "body": {}} for path in ("/vin", "/odometer")]
    server.play("*", Answer({"responses": [*items, {"path": "/fuel", "code": 501, "body": {}}]}))
    assert 3 == len(v2.batch("t-1", "v1", ["/vin", "/odometer", "/fuel"]).items)
    server.play("*", Answer({"responses": items}))
    with pytest.raises(V2StoppedError):
        v2.batch("t-1", "v1", ["/vin", "/odometer"])


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 430, 500, 501])
def test_no_other_status_means_that_v2_has_stopped(server, v2, status):
    """A refusal or a failure is one call's; the next is asked."""
    server.play("*", Answer({"type": "AUTHENTICATION"}, status=status))
    for token in ("t-1", "t-2"):
        with pytest.raises(SmartcarError) as raised:
            v2.user(token)
        assert not isinstance(raised.value, V2StoppedError)
    assert 2 == len(server.asked) or 429 == status
