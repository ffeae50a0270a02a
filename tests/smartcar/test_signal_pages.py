"""A list of signals in pages: followed to its end, and never taken for the whole where it is not."""

from __future__ import annotations

from typing import Any

import pytest

from smartcar_ops.errors import NotSmartcarError
from smartcar_ops.fields.field_map import field_map
from smartcar_ops.fields.readers import read_v2, read_v3
from smartcar_ops.smartcar.http.transport import Transport
from smartcar_ops.smartcar.signals import read_signals
from smartcar_ops.smartcar.v2 import read_batch
from smartcar_ops.smartcar.v3 import V3
from tests.smartcar.scripted import Answer, Asked, Scripted, signal

PATH = "/v3/vehicles/v1/signals"
FIELDS = {row.id: row for row in field_map().fields}
CODES = ("odometer-traveleddistance", "internalcombustionengine-fuellevel", "tractionbattery-stateofcharge")


def page(codes: tuple[str, ...], total: int | None, onward: str | None = None) -> dict[str, Any]:
    """A page of signals."""
    rows = [signal(code, {"value": 10.0, "unit": "km"}) for code in codes]
    return {"data": rows, "meta": {"totalCount": total}, "links": {"next": onward}}


def test_every_page_is_read(server: Scripted, transport: Transport, v3: V3) -> None:
    """Three pages are one document with the rows of all, at a unit each, and its list is whole."""
    onward = [f"{PATH}?page%5Bnumber%5D=2", f"{server.url}{PATH}?page%5Bnumber%5D=3", None]
    pages = [Answer(page((code,), 3, link)) for code, link in zip(CODES, onward, strict=True)]
    server.play(PATH, *pages)
    found = v3.signals_document("v1", "u1")
    told = read_signals(found.body)
    assert (list(CODES), 0, 3, 3) == (list(told.signals), told.not_received, found.pages, transport.spent["v3"])
    assert ["", "2", "3"] == [asked.query.get("page[number]", "") for asked in server.asked if asked.path == PATH]
    assert all(asked.headers["sc-user-id"] == "u1" for asked in server.asked if asked.path == PATH)


def test_pages_of_signals_in_circles(server: Scripted, v3: V3) -> None:
    """A link back to a page that was read is an error, and so is a list without an end."""
    server.play(PATH, Answer(page(CODES[:1], 9, f"{PATH}?page%5Bnumber%5D=1")))
    with pytest.raises(NotSmartcarError, match="form a loop"):
        v3.signals("v1", "u1")
    number = iter(range(10**6))

    def endless(_: Asked) -> Answer:
        return Answer(page(CODES[:1], 10**6, f"{PATH}?page%5Bnumber%5D={next(number) + 2}"))

    server.play(PATH, endless)
    with pytest.raises(NotSmartcarError, match="form a loop"):
        v3.signals("v1", "u1")
    assert next(number) <= 51


@pytest.mark.parametrize(
    ("field", "told", "missing"),
    [
        ("odometer", "value", "failed"),
        ("fuel-percent", "no_value", "failed"),
        ("system-status", "no_value", "failed"),
        ("vehicle-make", "no_value", "no_value"),
    ],
)
def test_nothing_is_missing_in_a_list_that_is_not_whole(field: str, told: str, missing: str) -> None:
    """A signal that is not among fewer rows than totalCount is not told, which is no answer; what is told counts."""
    row = FIELDS[field]
    for codes, total, state in (
        ((CODES[0],), 1, told),
        ((CODES[0],), None, told),
        ((CODES[0],), 2, told if field == "odometer" else missing),
        (("charge-voltage",), 2, missing),
    ):
        assert state == read_v3(row, read_signals(page(codes, total))).state


def test_a_v2_list_of_one_page_is_not_the_whole() -> None:
    """The first 25 of 40 permissions can't be held against V3's."""
    permissions = [f"read_{number}" for number in range(25)]
    for count, state in ((40, "failed"), (25, "value"), (None, "value")):
        body = {"permissions": permissions, "paging": {"count": count, "offset": 0}}
        batch = read_batch({"responses": [{"path": "/permissions", "code": 200, "body": body}]})
        assert state == read_v2(FIELDS["permissions"], batch).state
