"""V3 over real HTTP: paging through connections, signals, the VIN, and the application token beneath."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from smartcar_ops.errors import AuthenticationError, NotFoundError, NotSmartcarError
from smartcar_ops.smartcar.connections import read_connection
from smartcar_ops.smartcar.signals import Signal, read_signal
from tests.smartcar.scripted import Answer, Scripted, connection, named, page, signal, uid

LIST = "/v3/connections"


def keys(listing) -> list[tuple[str, str]]:
    """(user, vehicle) of every connection, in order, by name."""
    return [(named(row.user_id), named(row.vehicle_id)) for row in listing.connections]


def test_one_page(server, v3):
    """One page with the right count is complete; the request names the mode, a large page and the token."""
    server.play(LIST, page(connection("u1", "v1"), total=1))
    listing = v3.connections("live")
    assert ([("u1", "v1")], True) == (keys(listing), listing.complete)
    asked = server.asked[-1]
    assert {"page[size]": "100", "page[number]": "1", "filter[vehicle.mode]": "live"} == asked.query
    assert "Bearer app-1" == asked.headers["authorization"]
    assert "sc-user-id" not in asked.headers


def test_an_empty_list(server, v3):
    """No connection at all is a complete answer."""
    server.play(LIST, Answer({"data": [], "meta": {"totalCount": 0, "pageSize": 0}, "links": {"self": "/x"}}))
    listing = v3.connections("live")
    assert ((), True) == (listing.connections, listing.complete)


@pytest.mark.parametrize("absolute", [True, False])
def test_the_next_page_is_followed_as_given(server, v3, absolute):
    """``links.next`` is followed to the end, absolute or relative, with its own query alone."""
    link = "/v3/connections?cursor=a%5Bb%5D"
    second = page(connection("u2", "v2"), total=2)
    first = page(connection("u1", "v1"), total=2, next=(server.url + link) if absolute else link)
    server.play(LIST, first, second)
    listing = v3.connections("live")
    assert ([("u1", "v1"), ("u2", "v2")], True) == (keys(listing), listing.complete)
    assert {"cursor": "a[b]"} == server.asked[-1].query
    assert "Bearer app-1" == server.asked[-1].headers["authorization"]


@pytest.mark.parametrize(
    "link", ["{other}/v3/connections?p=2", "//{host}/v3/connections", "https://{own}/v3/connections"]
)
def test_a_link_elsewhere_is_refused(server, v3, link):
    """A link to another host, port or scheme is an error that names the host, and nothing is sent there."""
    other = Scripted()
    try:
        bare = {
            "other": other.url,
            "host": other.url.removeprefix("http://"),
            "own": server.url.removeprefix("http://"),
        }
        server.play(LIST, page(connection("u1", "v1"), total=2, next=link.format(**bare)))
        with pytest.raises(NotSmartcarError, match=r"another host \(127\.0\.0\.1\); nothing was sent there"):
            v3.connections("live")
        assert [] == other.asked
        assert ["/oauth2/token", LIST] == server.paths()
    finally:
        other.close()


def test_a_link_with_the_origin_as_user_name_is_refused(server, v3):
    """An origin in front of an ``@`` is a user name, not the origin."""
    server.play(LIST, page(connection("u1", "v1"), total=2, next=f"{server.url}@localhost/v3/connections"))
    with pytest.raises(NotSmartcarError, match=r"another host \(localhost\)"):
        v3.connections("live")


def test_a_link_that_is_no_address(server, v3):
    """A broken link is an error of the tree."""
    server.play(LIST, page(connection("u1", "v1"), total=2, next="http://[broken"))
    with pytest.raises(NotSmartcarError, match="not a URL"):
        v3.connections("live")


def test_pages_that_go_in_circles(server, v3):
    """A link back to a page already read ends with an error instead of never."""
    server.play(LIST, page(connection("u1", "v1"), total=9, next="/v3/connections?p=1"))
    with pytest.raises(NotSmartcarError, match="form a loop"):
        v3.connections("live")
    assert 3 == len(server.asked)


def test_rows_are_each_given_once(server, v3):
    """A row that moved to the next page while the list was read is one connection, and the list is read again."""
    first = page(connection("u1", "v1"), connection("u2", "v2"), total=3, next="/v3/connections?p=2")
    server.play(
        LIST,
        first,
        page(connection("u2", "v2"), total=3),
        first,
        page(connection("u3", "v3"), total=3),
    )
    listing = v3.connections("live")
    assert ([("u1", "v1"), ("u2", "v2"), ("u3", "v3")], True) == (keys(listing), listing.complete)
    assert 5 == len(server.asked)


def test_a_connection_that_left_is_not_kept(server, v3):
    """What an earlier pass saw and the last complete one did not is gone."""
    server.play(
        LIST,
        page(connection("u1", "v1"), connection("u2", "v2"), total=3),
        page(connection("u2", "v2"), total=1),
    )
    listing = v3.connections("live")
    assert ([("u2", "v2")], True) == (keys(listing), listing.complete)


def test_a_count_that_never_agrees(server, v3):
    """After three passes that disagree with ``totalCount``, all that was seen is given and called incomplete."""
    server.play(LIST, page(connection("u1", "v1"), total=2), page(connection("u2", "v2"), total=2))
    listing = v3.connections("live")
    assert ([("u1", "v1"), ("u2", "v2")], False) == (keys(listing), listing.complete)
    assert 1 + 3 == len(server.asked)


def test_two_consents_for_one_car(server, v3):
    """Two connections of the same user and vehicle are one row here and agree with a count of two."""
    server.play(LIST, page(connection("u1", "v1", identity="new"), connection("u1", "v1", identity="old"), total=2))
    listing = v3.connections("live")
    assert ([("u1", "v1")], True) == (keys(listing), listing.complete)
    assert 2 == len(server.asked)


def test_without_a_count_the_pages_are_the_list(server, v3):
    """Where ``totalCount`` is missing, following the links to the end is complete, in one pass."""
    server.play(
        LIST,
        page(connection("u1", "v1"), connection("u2", "v2"), total=None, next="/v3/connections?p=2"),
        page(connection("u3", "v3"), total=None),
    )
    listing = v3.connections("live")
    assert (3, True) == (len(listing.connections), listing.complete)
    assert 3 == len(server.asked)


@pytest.mark.parametrize("other", ["simulated", "test", " Simulated "])
def test_the_mode_is_checked_on_each_row(server, v3, other):
    """A row of another mode is left out although the filter was sent, and still counts as seen; it is not dropped."""
    nobodys = connection("u3", "v3", mode=other)
    nobodys["relationships"]["vehicle"]["data"]["id"] = "undefined"
    server.play(LIST, page(connection("u1", "v1", mode="LIVE"), connection("u2", "v2", mode=other), nobodys, total=3))
    listing = v3.connections("live")
    assert ([("u1", "v1")], True, 0) == (keys(listing), listing.complete, listing.dropped)


NOBODYS = ("undefined", "null", "[object Object]", "00000000-0000-0000-0000-000000000000", uid("u")[:35], 7, {}, [], "")
"""What may stand where an id should be."""


def _of_nobody():
    """A row whose user stands nowhere."""
    row = connection("u2", "v2")
    del row["attributes"]["user"], row["relationships"]["user"]
    return row


def _with(value, *places):
    """A row with a value in some places."""
    row = connection("u2", "v2")
    for place in places:
        *inner, last = place.split(".")
        there = row
        for name in inner:
            there = there[name]
        there[last] = value
    return row


@pytest.mark.parametrize(
    "row",
    [
        *(_with(value, "relationships.user.data.id", "attributes.user.id") for value in NOBODYS),
        *(_with(value, "relationships.vehicle.data.id") for value in NOBODYS),
        _with(uid("v9"), "attributes.vehicle.id"),
        _with("", "attributes.vehicle.mode"),
        _with(None, "attributes.vehicle.mode"),
        _of_nobody(),
        {},
        None,
        "x",
    ],
)
def test_a_row_that_cannot_be_taken_in_is_counted(server, transport, v3, row):
    """No readable user or vehicle, two vehicles, or no mode: nobody's evidence, and neither silence nor the end."""
    server.play(LIST, page(connection("u1", "v1"), row, total=2))
    listing = v3.connections("live")
    assert ([("u1", "v1")], True, 1) == (keys(listing), listing.complete, listing.dropped)
    told = " ".join(transport.oddities.counts)
    assert "connection: n" in told or "no id of Smartcar" in told
    assert "undefined" not in told


def test_a_list_of_rows_without_a_mode_is_not_empty_in_silence(server, v3):
    """A service that forgets the mode on every row gives no connection, and as many dropped ones."""
    rows = [connection(f"u{number}", f"v{number}", mode="") for number in range(3)]
    server.play(LIST, page(*rows, total=3))
    listing = v3.connections("live")
    assert ((), True, 3) == (listing.connections, listing.complete, listing.dropped)


def test_both_users_of_a_row_that_names_two_are_there(server, transport, v3):
    """``attributes.user`` beside another ``relationships.user``: a connection for each, with the external id."""
    row = _with(uid("u3"), "attributes.user.id")
    row["attributes"]["user"]["externalId"] = "7"
    server.play(LIST, page(row, total=1))
    listing = v3.connections("live")
    assert ([("u2", "v2"), ("u3", "v2")], True, 0) == (keys(listing), listing.complete, listing.dropped)
    assert ["7", "7"] == [one.external_id for one in listing.connections]
    assert {"connection: attributes.user and relationships.user differ": 1} == transport.oddities.counts


@pytest.mark.parametrize("identity", ["", "one-id"])
def test_two_external_ids_for_one_car_are_both_there(server, v3, identity):
    """Two rows for one user and vehicle, of two connection ids or of one, keep both external ids."""
    rows = [connection("u1", "v1", identity=identity or own, externalId=own) for own in ("7", "8")]
    server.play(LIST, page(*rows, total=2))
    listing = v3.connections("live")
    assert (["7", "8"], True) == ([one.external_id for one in listing.connections], listing.complete)
    assert 2 == len(server.asked)


def test_two_cars_under_one_connection_id_are_both_there(server, v3):
    """The key is user and vehicle, whatever the connection's own id says."""
    server.play(LIST, page(*(connection("u1", car, identity="c") for car in ("v1", "v2")), total=2))
    assert [("u1", "v1"), ("u1", "v2")] == keys(v3.connections("live"))


@pytest.mark.parametrize("own", ["x" * 192, "a\nb", "a\0b", " ", [], {}])
def test_an_external_id_that_can_be_none_is_counted(server, transport, v3, own):
    """Longer than 191 characters, blank or not printable: the connection stays, without it."""
    server.play(LIST, page(connection("u1", "v1", externalId=own), total=1))
    listing = v3.connections("live")
    assert ([("u1", "v1")], [None]) == (keys(listing), [one.external_id for one in listing.connections])
    assert ["connection user externalId: no id of a company"] == list(transport.oddities.counts)


def test_progress_is_told_page_by_page(server, v3):
    """(read, total) after every page."""
    told: list[tuple[int, int]] = []
    server.play(
        LIST, page(connection("u1", "v1"), total=2, next="/v3/connections?p=2"), page(connection("u2", "v2"), total=2)
    )
    v3.connections("live", lambda read, total: told.append((read, total)))
    assert [(1, 2), (2, 2)] == told


def test_the_number_of_connections_alone(server, v3):
    """Counting asks for a page of one."""
    server.play(LIST, page(connection("u1", "v1"), total=4321, next="/v3/connections?p=2"))
    assert 4321 == v3.connections_page("simulated")
    assert {"1", "simulated"} == {server.asked[-1].query[name] for name in ("page[size]", "filter[vehicle.mode]")}
    assert 2 == len(server.asked)


@pytest.mark.parametrize("body", [{}, {"data": {}}, {"data": None}, [], {"status": "sign in to the guest wifi"}])
def test_a_200_that_is_no_list(server, v3, body):
    """A 200 without a list is not Smartcar's, for connections and signals alike."""
    server.play("*", Answer(body))
    with pytest.raises(NotSmartcarError, match="without a list `data`"):
        v3.connections("live")
    with pytest.raises(NotSmartcarError, match="without a list `data`"):
        v3.signals("v1", "u1")


def test_every_member_of_a_connection():
    """Ids are trimmed and lower case, the maker upper case, times UTC."""
    row = connection("Jo", "Jv", identity="C1", externalId="own-7")
    for place in (row["relationships"]["user"]["data"], row["attributes"]["user"]):
        place["id"] = f" {uid('Jo').upper()} "
    read = read_connection(row)
    assert ("c1", uid("Jo"), uid("Jv"), "live", "KIA", "EV9", 2024, "BEV", ("read_odometer",), "own-7") == (
        read.id,
        read.user_id,
        read.vehicle_id,
        read.mode,
        read.make,
        read.model,
        read.year,
        read.powertrain,
        read.permissions,
        read.external_id,
    )
    assert datetime(2026, 1, 2, 3, 4, 5, 678000, UTC) == read.created_at


@pytest.mark.parametrize("place", ["attributes", "relationships"])
def test_the_user_is_read_from_either_place(place):
    """One of the two places of the user's id is enough."""
    row = connection("u1", "v1")
    del row[{"attributes": "relationships", "relationships": "attributes"}[place]]["user"]
    assert uid("u1") == read_connection(row).user_id


def test_a_single_connection_of_two_users_is_refused():
    """Asked for by its id, a connection that names two users is an error: whose it is can't be told."""
    with pytest.raises(NotSmartcarError, match="has two users"):
        read_connection(_with(uid("u3"), "attributes.user.id"))


@pytest.mark.parametrize(
    "other", [_with(uid("u3"), "attributes.user.id"), _with("undefined", "relationships.vehicle.data.id")]
)
def test_a_filtered_answer_that_names_anybody_else_is_not_used(server, v3, other):
    """Asked for one user, a row that names two, or one that can't be read, is an error."""
    server.play(LIST, page(other, total=1))
    with pytest.raises(NotSmartcarError, match="another user's connection"):
        v3.connections_of("live", user_id=uid("u2"))


def test_the_ids_of_whose_connections_are_wanted_go_by_keyword(server, v3):
    """An id in the place of another would ask for somebody else; nothing is sent."""
    with pytest.raises(TypeError):
        v3.connections_of("live", uid("u2"))
    assert [] == server.paths()


def test_what_a_connection_may_lack():
    """Without powertrain, year, model, permissions and times a connection is still one."""
    row = connection("u1", "v1")
    row["attributes"] = {"vehicle": {"mode": "live", "year": 10**20, "powertrainType": None}, "permissions": None}
    del row["meta"]
    read = read_connection(row)
    assert ("", "", None, "", (), None, None) == (
        read.make,
        read.model,
        read.year,
        read.powertrain,
        read.permissions,
        read.external_id,
        read.created_at,
    )


@pytest.mark.parametrize(
    "row", [{}, None, "x", {"relationships": []}, {"relationships": {"user": {"data": {"id": "u"}}}}]
)
def test_a_connection_of_nobody_is_an_error(row):
    """A row without a user or a vehicle is no connection."""
    with pytest.raises(NotSmartcarError, match="has no user or no vehicle"):
        read_connection(row)


def test_all_signals_of_a_vehicle(server, v3):
    """One call gives every signal by its code, and the vehicle's attributes; it names the user."""
    server.play(
        "/v3/vehicles/v1/signals",
        Answer(
            {
                "data": [
                    signal(
                        "odometer-traveleddistance", {"value": 10.5, "unit": "km"}, oemUpdatedAt="2026-01-02T00:00:00Z"
                    ),
                    signal("closure-sunroof", {"isOpen": None}, status="ERROR", error={"type": "COMPATIBILITY"}),
                    {"no": "signal"},
                ],
                "included": {"vehicle": {"id": "v1", "type": "vehicle", "attributes": {"make": "KIA", "year": 2024}}},
            }
        ),
    )
    found = v3.signals("v1", "u1")
    assert {"odometer-traveleddistance", "closure-sunroof"} == set(found.signals)
    assert {"id": "v1", "make": "KIA", "year": 2024} == found.vehicle
    odometer = found.signals["odometer-traveleddistance"]
    assert ("SUCCESS", {"value": 10.5, "unit": "km"}) == (odometer.status, odometer.body)
    assert (datetime(2026, 1, 2, tzinfo=UTC), None) == (odometer.oem_updated_at, odometer.retrieved_at)
    assert ("ERROR", "COMPATIBILITY", None) == (
        found.signals["closure-sunroof"].status,
        found.signals["closure-sunroof"].error_type,
        found.signals["closure-sunroof"].error_code,
    )
    assert "u1" == server.asked[-1].headers["sc-user-id"]


def test_an_answer_about_another_car_is_not_used(server, v3):
    """Nobody is shown another car than the one asked for: the answer's own id is compared with it."""
    told = {"id": uid("v2").upper(), "type": "vehicle", "attributes": {"make": "KIA"}}
    server.play("*", Answer({"data": [], "included": {"vehicle": told}}))
    assert uid("v2").upper() == v3.signals(uid("v2"), uid("u1")).vehicle["id"]
    with pytest.raises(NotSmartcarError, match="another vehicle"):
        v3.signals(uid("v1"), uid("u1"))
    server.play("*", Answer({"data": told}))
    with pytest.raises(NotSmartcarError, match="another vehicle"):
        v3.vehicle(uid("v1"), uid("u1"))


def test_an_empty_store_is_an_answer(server, v3):
    """A vehicle the store knows nothing of has no signals; that is no failure."""
    server.play("*", Answer({"data": [], "meta": {"totalCount": 0}}))
    found = v3.signals("v1", "u1")
    assert ({}, {}) == (found.signals, found.vehicle)


@pytest.mark.parametrize("wrapped", [True, False])
def test_one_signal_in_both_envelopes(server, v3, wrapped):
    """A single signal is read under ``data`` and, as older answers have it, without."""
    row = signal("vehicleidentification-vin", {"value": " abc123 "})
    server.play("*", Answer({"data": row} if wrapped else row))
    assert "ABC123" == v3.vin("v1", "u1")
    assert "/v3/vehicles/v1/signals/vehicleidentification-vin" == server.asked[-1].path


@pytest.mark.parametrize(
    "row",
    [
        signal("vehicleidentification-vin", {"value": None}),
        signal("vehicleidentification-vin", {"value": "  "}),
        signal("vehicleidentification-vin", {"value": 7}),
        signal("vehicleidentification-vin"),
        signal("vehicleidentification-vin", {"value": "X"}, status="ERROR", error={"type": "PERMISSION"}),
    ],
)
def test_a_vin_that_cannot_be_told(server, v3, row):
    """A VIN that is null, blank, no text, missing or not permitted is none."""
    server.play("*", Answer({"data": row}))
    assert v3.vin("v1", "u1") is None


def test_a_vin_does_not_age(server, v3):
    """An error that still carries the VIN of an earlier reading tells it."""
    row = signal("vehicleidentification-vin", {"value": "old1"}, status="ERROR", error={"type": "VEHICLE_STATE"})
    server.play("*", Answer({"data": row}))
    assert "OLD1" == v3.vin("v1", "u1")


def test_a_signal_the_store_does_not_have(server, v3):
    """404 on one signal is NotFoundError with its code."""
    server.play("*", Answer({"errors": [{"status": "404", "type": "RESOURCE_NOT_FOUND", "code": "X"}]}, 404))
    with pytest.raises(NotFoundError) as caught:
        v3.vin("v1", "u1")
    assert ("RESOURCE_NOT_FOUND", "X") == (caught.value.type, caught.value.code)


def test_a_flat_signal_is_read_like_a_nested_one():
    """The flat shape of webhooks, with times in epoch milliseconds and perhaps no status, is the same signal."""
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    flat = {"code": "x-y", "body": {"value": 1}, "meta": {"oemUpdatedAt": moment.timestamp() * 1000, "retrievedAt": 0}}
    assert Signal("x-y", None, None, None, {"value": 1}, moment, None) == read_signal(flat)


@pytest.mark.parametrize("row", [None, [], "x", 3, {"attributes": None}, {"attributes": {"status": "odd", "body": []}}])
def test_what_is_no_signal_has_no_code(row):
    """An odd row is read as a signal without a code, never a traceback."""
    assert "" == read_signal(row).code


def test_an_expired_token_is_renewed_in_mid_run(server, v3):
    """A 401 in mid-run takes a new token and sends the call once more."""
    server.play("/oauth2/token", Answer({"access_token": "app-1"}), Answer({"access_token": "app-2"}))
    server.play(LIST, Answer("", 401), page(connection("u1", "v1"), total=1))
    assert [("u1", "v1")] == keys(v3.connections("live"))
    assert ["Bearer app-1", "Bearer app-2"] == [
        asked.headers["authorization"] for asked in server.asked if asked.path == LIST
    ]


def test_a_token_refused_twice_is_an_error(server, v3):
    """Where the new token is refused too, that is the answer: two calls, not an endless row of them."""
    server.play(LIST, Answer({"errors": [{"type": "AUTHENTICATION", "code": "UNAUTHORIZED"}]}, 401))
    with pytest.raises(AuthenticationError):
        v3.connections("live")
    assert [LIST] * 2 == [path for path in server.paths() if path == LIST]


def test_an_odd_vehicle_id_stays_one_path_segment(server, v3):
    """An id with a slash or a question mark can't reach another path."""
    server.play("*", Answer({"data": []}))
    v3.signals("../users/u?x", "u1")
    assert "/v3/vehicles/..%2Fusers%2Fu%3Fx/signals" == server.asked[-1].path


def test_what_calls_are_recorded_as(server, transport, v3):
    """The record has templates and one unit a call; the token is counted apart."""
    server.play(LIST, page(connection("u1", "v1"), total=1))
    server.play("/v3/vehicles/v1/signals", Answer({"data": []}))
    v3.connections("live")
    v3.signals("v1", "u1")
    assert ["/oauth2/token", "/connections", "/vehicles/{id}/signals"] == [call.template for call in transport.calls]
    assert {"iam": 1, "v3": 2} == transport.spent
