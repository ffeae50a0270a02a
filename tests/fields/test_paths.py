"""The small path language into a body."""

from __future__ import annotations

import pytest

from smartcar_ops.fields.paths import getter

BODY = {
    "value": 7,
    "capacity": {"nominal": 82},
    "values": [{"row": 0, "column": 1, "isOpen": False}, {"row": 1, "column": 1, "isOpen": True}, "odd"],
    "limits": [{"type": "LOCATION", "limit": 60}, {"type": "GLOBAL", "limit": 80}],
}


@pytest.mark.parametrize(
    ("found", "path"),
    [
        (7, "value"),
        (82, "capacity.nominal"),
        (True, "values[row=1,column=1].isOpen"),
        (80, "limits[type=GLOBAL].limit"),
        (60, "limits[0].limit"),
        (None, "limits[type=CONNECTOR].limit"),
        (None, "limits[9].limit"),
        (None, "value.deeper"),
        (None, "values.isOpen"),
        (None, "capacity[0]"),
        (BODY, ""),
    ],
)
def test_what_stands_at_a_path(found, path):
    """A path leads through objects and lists; what is not there is None."""
    assert found == getter(path)(BODY)


@pytest.mark.parametrize("path", ["a..b", "a[", "a[b]", "[=1]", "a b"])
def test_what_is_no_path(path):
    """A path that can't be read is said so when the map is read, not when a body is."""
    with pytest.raises(ValueError, match="is not a path into a body"):
        getter(path)


@pytest.mark.parametrize("body", [None, [], "text", 7, True])
def test_any_body_may_come(body):
    """A body of another kind has nothing at any path."""
    assert [None, None, None] == [getter(path)(body) for path in ("value", "a.b", "a[0].b")]
