"""Lists that change while they are paged: nothing is missed, nothing comes twice, and few calls more are spent."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from smartcar_ops.errors import NotSmartcarError
from smartcar_ops.smartcar.pagination import Page, Paged, Pager, follow

SIZE = 10


class Shifting:
    """A list of numbers, newest first; ``change`` is called before every page with the number of the request."""

    def __init__(self, length: int, change: Callable[[Shifting, int], None] = lambda rows, asked: None) -> None:
        self.rows = list(range(length, 0, -1))
        self.always = set(self.rows)
        self.arrived: set[int] = set()
        self.asked = 0
        self._change = change

    def arrive(self) -> None:
        """A new row at the front."""
        self.rows.insert(0, max([*self.always, *self.arrived], default=0) + 1)
        self.arrived.add(self.rows[0])

    def leave(self, place: int) -> None:
        """The row at a place vanishes."""
        if place < len(self.rows):
            self.always.discard(self.rows.pop(place))

    def page(self, address: str | None) -> Page:
        """A page by its number."""
        self.asked += 1
        self._change(self, self.asked)
        number = int(address or 1)
        more = number * SIZE < len(self.rows)
        rows = self.rows[(number - 1) * SIZE : number * SIZE]
        return Page(tuple(rows), len(self.rows), str(number + 1) if more else None)

    def read(self) -> Paged[int]:
        """The list as the pager reads it."""
        return Pager(self.page, lambda row: int(row), lambda row: row).all()  # type: ignore[call-overload]


def test_a_list_that_stands_still_costs_its_pages() -> None:
    """400 rows are 40 calls, each row once, in order."""
    still = Shifting(400)
    assert Paged(list(range(400, 0, -1)), True) == still.read()
    assert 40 == still.asked


@pytest.mark.parametrize("seed", range(40))
def test_nothing_is_missed_whatever_arrives_and_leaves(seed: int) -> None:
    """Whoever was there from the first call to the last is found, each once, wherever rows come and go."""
    rng = random.Random(seed)

    def change(rows: Shifting, asked: int) -> None:
        kind = rng.choice(("arrive", "leave", "rest", "rest"))
        for _ in range(rng.choice((1, 3)) if kind == "arrive" else 0):
            rows.arrive()
        for _ in range(35 if asked == 25 else rng.choice((1, 4)) if kind == "leave" else 0):
            rows.leave(rng.randrange(len(rows.rows)) if rows.rows else 0)

    shifting = Shifting(600, change)
    found = shifting.read()
    assert set() == shifting.always - set(found.rows)
    assert len(found.rows) == len(set(found.rows))
    assert found.complete
    assert shifting.asked < 4 * 60


@pytest.mark.parametrize("left", [1, 5, 30])
def test_rows_that_leave_cost_one_call_each_time(left: int) -> None:
    """Rows of pages already read that leave at once cost one page read again, and the front once."""

    def change(rows: Shifting, asked: int) -> None:
        if asked == 20:
            for place in range(left):
                rows.leave(place)

    shifting = Shifting(600, change)
    found = shifting.read()
    assert set() == shifting.always - set(found.rows)
    assert shifting.asked <= 60 + 2 + left // SIZE


def test_newcomers_are_found_at_the_front() -> None:
    """Rows that arrive at the front while later pages are read are found by one call more."""
    shifting = Shifting(600, lambda rows, asked: rows.arrive() if asked in (10, 30) else None)
    found = shifting.read()
    assert shifting.arrived <= set(found.rows)
    assert shifting.asked <= 61 + 1


@pytest.mark.parametrize("link", ["http://[::1", "http://h:port/x"])
def test_a_link_that_is_no_address_is_an_error_of_the_tree(link: str) -> None:
    """A malformed link is refused in a sentence, and nothing is sent."""
    with pytest.raises(NotSmartcarError, match=r"not a URL|another host"):
        follow("http://h/v3/connections", link)
