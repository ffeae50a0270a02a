"""Reads a list whose rows arrive and leave while it is paged, newest first, and misses none.

Rows that arrive push the others to later pages: those come twice. Rows that leave pull the others to pages that
were read already: those would be missed. The list's length tells: between two pages, no more rows can have slipped
past than the list grew shorter, so the page before is read again exactly then, at one call each time.

One thing no reader of numbered pages can see: as many rows that arrive as rows that leave further on, both within
the one call that reads a page again. What slips past then is found by the next listing.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import urljoin, urlsplit

from smartcar_ops.errors import NotSmartcarError, SmartcarError
from smartcar_ops.smartcar.error_responses import mapping
from smartcar_ops.smartcar.http.retries import may_pass

KeyT = TypeVar("KeyT", bound=Hashable)
RowT = TypeVar("RowT")

PASSES = 3
"""How often a list is read as a whole where its length and its rows don't agree."""

MOST = 4
"""How often a page is read on average, at most, before the list is given up."""

SHORT = 10
"""A list of so many pages is read again where rows left it."""

FEW = 50
"""One in so many rows of a page is too few to ask a page again for."""

FRONT_PAGES = 10
"""How many pages of newcomers are followed at the end of a pass."""


@dataclass
class Paged(Generic[RowT]):
    """All rows, each once, in the order they came; ``complete`` is False where rows may be missing."""

    rows: list[RowT] = field(default_factory=list)
    complete: bool = True


class Pager(Generic[KeyT, RowT]):
    """Reads one list: ``ask`` gets a page by its address (None: the first), ``read`` a row, ``key`` what it is."""

    def __init__(
        self,
        ask: Callable[[str | None], Page],
        read: Callable[[object], RowT],
        key: Callable[[RowT], KeyT],
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self._page, self._read, self._key = ask, read, key
        self._progress = progress or (lambda done, of: None)
        self._found: dict[KeyT, RowT] = {}
        self._total: int | None = None

    def all(self) -> Paged[RowT]:
        """The whole list; read again, at most three times, where it is longer than what was found.

        Where it is shorter, rows left after they were read: a short list is read again to tell which, of a long
        one they are kept, for the next listing to take out.
        """
        seen: dict[KeyT, RowT] = {}
        for _ in range(PASSES):
            self._found = {}
            pages = self._pass()
            excess = 0 if self._total is None else len(self._found) - self._total
            if excess == 0 or (excess > 0 and pages > SHORT):
                return Paged(list(self._found.values()), complete=True)
            seen |= self._found
        return Paged(list(seen.values()), complete=False)

    def _ask(self, address: str | None) -> Page:
        """A page, asked once more where it had no answer: one page would else cost the whole list."""
        try:
            return self._page(address)
        except SmartcarError as error:
            if (error.status or 0) < 500 or not may_pass(error):
                raise
            return self._page(address)

    def _pass(self) -> int:
        """Reads the list from its first page to its last; returns how many pages it has."""
        way = _PageCursor()
        stood: dict[KeyT, tuple[int, int]] = {}
        while not way.ended:
            page = self._ask(way.address)
            known = len(self._found)
            keys = self._take(page)
            way.step(page, len(self._found) - known, self._left_beyond(page, keys, way.first, stood))
            if way.steps > MOST * (way.furthest + 1) + FRONT_PAGES:
                raise NotSmartcarError("smartcar: a V3 list changes faster than it can be read; run again later.")
        if way.moved:
            self._look_at_the_front()
        return way.furthest + 1

    def _left_beyond(self, page: Page, keys: list[KeyT], first: int, stood: dict[KeyT, tuple[int, int]]) -> int:
        """How many rows beyond this page have left since it was last read: as many as its last known row moved to
        the back more than the list grew. Remembers in ``stood`` where its rows stand now, and the list's length.

        0, as if nothing were known, where more rows were pushed off the page than one in fifty: one of these may
        be what left.
        """
        if page.total is None:
            return 0
        beyond = 0
        for place, key in enumerate(keys, start=first):
            if key in stood:
                before, length = stood[key]
                moved = place - before
                beyond = moved - (page.total - length) if moved <= len(keys) // FEW else 0
            stood[key] = place, page.total
        return max(0, beyond)

    def _look_at_the_front(self) -> None:
        """Reads from the front until a page brings nothing but newcomers no more."""
        address: str | None = None
        for _ in range(FRONT_PAGES):
            page = self._ask(address)
            known = len(self._found)
            self._take(page)
            if len(self._found) - known < len(page.rows) or page.next is None:
                return
            address = page.next

    def _take(self, page: Page) -> list[KeyT]:
        """Keeps a page's rows; returns what each of them is."""
        rows = [self._read(row) for row in page.rows]
        keys = [self._key(row) for row in rows]
        self._found.update(zip(keys, rows, strict=True))
        self._total = page.total
        self._progress(len(self._found), page.total if page.total is not None else len(self._found))
        return keys


class _PageCursor:
    """Which page is read next: the one after, or, where the list grew shorter, one before."""

    def __init__(self) -> None:
        self.ended = self.moved = False
        self.steps = 0
        self._addresses: list[str | None] = [None]
        self._place, self._size = 0, 1
        self._total: int | None = None
        self._ahead: _Gap | None = None
        self._still, self._caught, self._beyond = True, 0, 0
        """Since going back: whether the list never grew, how many rows were caught, and how many are known to have
        left further on, where they pulled none past the reader."""

    @property
    def address(self) -> str | None:
        """The next page's address; None: the first."""
        return self._addresses[self._place]

    @property
    def furthest(self) -> int:
        """The last page known, from 0."""
        return len(self._addresses) - 1

    @property
    def first(self) -> int:
        """Where the page's first row stands in the list, from 0."""
        return self._place * self._size

    def step(self, page: Page, new: int, beyond: int) -> None:
        """Chooses the next page after this one was read and brought so many new rows; ``beyond`` are the rows that
        are known to have left further on since it was last read."""
        self.steps += 1
        self._caught += new
        self._size = max(self._size, len(page.rows))
        shrunk = 0 if self._total is None or page.total is None else self._total - page.total
        self.moved = self.moved or shrunk != 0
        self._total = page.total
        if page.next and self._place == self.furthest:
            if page.next in self._addresses:
                raise NotSmartcarError("smartcar: the pages of a V3 list go in circles; check the origin.")
            self._addresses.append(page.next)
        self._still = self._still and shrunk >= 0
        if shrunk > 0 and self._place and page.total is not None and not self._ahead:
            self._ahead = _Gap(self._place, page.total + shrunk, shrunk)
            self._still, self._caught, self._beyond = True, 0, 0
        elif self._ahead:
            # Only what the page next to the gap tells, and before more rows left, is about the gap.
            self._beyond = beyond if shrunk <= 0 and self._place == self._ahead.place - 1 else 0
        if self._ahead and page.total is not None and shrunk > 0 and self._place > self._behind(page.total):
            self._place = self._behind(page.total)
        else:
            self._go_on(page)

    def _behind(self, total: int) -> int:
        """The page in which the first row is now that may have slipped past."""
        assert self._ahead is not None
        return max(0, self._ahead.place - -(-(self._ahead.before - total) // self._size))

    def _go_on(self, page: Page) -> None:
        """To the next page; past the one that was read before going back, if nothing more can have slipped past."""
        self._place += 1
        if self._ahead and self._place >= self._ahead.place:
            ahead, self._ahead = self._ahead, None
            # A page that slid by half its size may show rows from beyond the page ahead, which prove nothing.
            few = page.total is not None and ahead.before - page.total <= self._size // 2
            if self._place == ahead.place and (self._still or (few and self._caught + self._beyond >= ahead.slipped)):
                self._total = max(self._total or 0, ahead.before - ahead.slipped)
                self._place += 1
        self.ended = self._place > self.furthest


@dataclass(frozen=True)
class _Gap:
    """The page at which the list was seen to be shorter: its place, the length at the page before it, and how many
    rows can have slipped past between the two."""

    place: int
    before: int
    slipped: int


@dataclass(frozen=True)
class Page:
    """One page of a list: its rows, the list's length where it is told, the next page's address or None."""

    rows: tuple[Any, ...]
    total: int | None
    next: str | None


def read_page(body: Any, url: str, what: str) -> Page:
    """A page from its JSON; NotSmartcarError where it is no list, or points to another origin than ``url``."""
    found = mapping(body)
    rows = found.get("data")
    if not isinstance(rows, list):
        raise NotSmartcarError(f"smartcar: V3 {what} answered 200 without a list `data`; check the origin.")
    return Page(tuple(rows), total_of(found), follow(url, mapping(found.get("links")).get("next")))


def total_of(body: Mapping[str, Any]) -> int | None:
    """The length that a list tells of itself; None where it tells none that can be."""
    total = mapping(body.get("meta")).get("totalCount")
    counted = isinstance(total, int) and not isinstance(total, bool) and 0 <= total < 10**9
    return total if counted else None


def read_single(body: Any) -> Mapping[str, Any]:
    """A single resource: under `data`, or, in the older form, the object itself."""
    found = mapping(body)
    return mapping(found.get("data")) or found


def follow(url: str, link: Any) -> str | None:
    """A link's address, resolved against the request's; a link to another origin is an error, for a token must
    not follow it."""
    if not link or not isinstance(link, str):
        return None
    try:
        resolved = urljoin(url, link)
        there = urlsplit(resolved)
        _ = there.port
    except ValueError:
        raise NotSmartcarError("smartcar: links.next is no address; nothing was sent there.") from None
    if there[:2] != urlsplit(url)[:2]:
        raise NotSmartcarError(
            f"smartcar: links.next points to another host ({there.hostname}); nothing was sent there. "
            "Check SMARTCAR_VEHICLE_API_V3_ORIGIN and SMARTCAR_MANAGEMENT_API_V3_ORIGIN."
        )
    return resolved
