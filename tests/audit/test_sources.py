"""What asking costs, in words: units by source, and how long the allowance makes them last."""

from __future__ import annotations

import pytest

from smartcar_ops.smartcar.http.rate_limit import Cost


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, ""),
        (1.2, "; at your allowance this takes 2 seconds"),
        (119, "; at your allowance this takes 119 seconds"),
        (600, "; at your allowance this takes 10 minutes"),
        (7201, "; at your allowance this takes 3 hours"),
        (3 * 86400, "; at your allowance this takes 3 days"),
    ],
)
def test_a_cost_says_how_long_it_lasts(seconds: float, words: str) -> None:
    """Nothing is said where the bucket holds it all; else the time, rounded up."""
    assert f"at most 1,203 units (connections 3, vins 1,200){words}" == str(
        Cost({"connections": 3, "vins": 1200}, seconds)
    )
