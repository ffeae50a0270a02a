"""Reads a paged list, newest first, without missing rows although rows are added and removed meanwhile.

An added row moves the others to later pages, so that some are read twice. A removed row moves later rows to pages
that were already read, so that they would be missed. The list's length shows this: between two pages, no more rows
can have been missed than the list became shorter. Exactly then the previous page is read again, with one call.

One case can't be detected with numbered pages: the same number of rows is added and removed further on, both during
the call that rereads a page. The next listing finds a row that is missed in this way.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from urllib.parse import urljoin, urlsplit

from smartcar_ops.errors import NotSmartcarError, SmartcarError
from smartcar_ops.smartcar.error_responses import mapping
from smartcar_ops.smartcar.http.retries import may_pass

KeyT = TypeVar("KeyT", bound=Hashable)
RowT = TypeVar("RowT")

PASSES = 3
"""Maximum number of times the whole list is read if its rows don't match its length."""

MOST = 4
"""Maximum average number of reads per page; above it, reading the list fails."""

SHORT = 10
"""A list of at most this many pages is read again if rows were removed from it."""

FEW = 50
"""If at most 1 in 50 of a page's rows moved, the length changes beyond the page can be computed from the move."""

FRONT_PAGES = 10
"""Maximum pages read at the end of a pass to find added rows."""


@dataclass
class Paged(Generic[RowT]):
    """All rows, each once, in the order received; ``complete`` is False if rows may be missing."""

    rows: list[RowT] = field(default_factory=list)
    complete: bool = True


class Pager(Generic[KeyT, RowT]):
    """Reads one list.

    ``ask`` returns the page at a URL (None: the first), ``read`` parses a row, ``key`` returns a row's identity.
    """

    def __init__(
        self,
        ask: Callable[[str | None], Page],
        read: Callable[[object], RowT],
        key: Callable[[RowT], KeyT],
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self._page, self._read, self._key = ask, read, key
        self._progress = progress or (lambda done, of: None)
        self._rows: dict[KeyT, RowT] = {}
        self._total: int | None = None

    def all(self) -> Paged[RowT]:
        """Return the whole list; read it up to three times if rows are missing.

        If there are too many rows, some were removed after they were read: a short list is read again to find out
        which; for a long list they are kept, and the next listing removes them.
        """
        seen: dict[KeyT, RowT] = {}
        for _ in range(PASSES):
            self._rows = {}
            pages = self._pass()
            excess = 0 if self._total is None else len(self._rows) - self._total
            if excess == 0 or (excess > 0 and pages > SHORT):
                return Paged(list(self._rows.values()), complete=True)
            seen |= self._rows
        return Paged(list(seen.values()), complete=False)

    def _ask(self, address: str | None) -> Page:
        """Return a page; retry once on a server error, because otherwise one page would fail the whole list."""
        try:
            return self._page(address)
        except SmartcarError as error:
            if (error.status or 0) < 500 or not may_pass(error):
                raise
            return self._page(address)

    def _pass(self) -> int:
        """Read the list from its first page to its last, and return the number of pages."""
        cursor = _PageCursor()
        positions: dict[KeyT, tuple[int, int]] = {}
        while not cursor.ended:
            page = self._ask(cursor.address)
            known = len(self._rows)
            keys = self._take(page)
            cursor.step(page, len(self._rows) - known, self._removed_beyond(page, keys, cursor.first, positions))
            if cursor.steps > MOST * (cursor.furthest + 1) + FRONT_PAGES:
                raise NotSmartcarError("smartcar: a V3 list changes faster than it can be read; run again later.")
        if cursor.moved:
            self._read_front()
        return cursor.furthest + 1

    def _removed_beyond(self, page: Page, keys: list[KeyT], first: int, positions: dict[KeyT, tuple[int, int]]) -> int:
        """Return how many rows beyond this page were removed since it was last read.

        That is how much further its last known row moved back than the list grew. ``positions`` is updated with the
        rows' positions and the list's length. 0 (unknown) if more than one in fifty rows moved off the page, because
        one of those may be the removed row.
        """
        if page.total is None:
            return 0
        beyond = 0
        for place, key in enumerate(keys, start=first):
            if key in positions:
                before, length = positions[key]
                moved = place - before
                beyond = moved - (page.total - length) if moved <= len(keys) // FEW else 0
            positions[key] = place, page.total
        return max(0, beyond)

    def _read_front(self) -> None:
        """Read from the first page until a page has a row that is already known."""
        address: str | None = None
        for _ in range(FRONT_PAGES):
            page = self._ask(address)
            known = len(self._rows)
            self._take(page)
            if len(self._rows) - known < len(page.rows) or page.next is None:
                return
            address = page.next

    def _take(self, page: Page) -> list[KeyT]:
        """Add a page's rows, and return their keys."""
        rows = [self._read(row) for row in page.rows]
        keys = [self._key(row) for row in rows]
        self._rows.update(zip(keys, rows, strict=True))
        self._total = page.total
        self._progress(len(self._rows), page.total if page.total is not None else len(self._rows))
        return keys


class _PageCursor:
    """Decides which page is read next: the following one or, if the list became shorter, an earlier one."""

    def __init__(self) -> None:
        self.ended = self.moved = False
        self.steps = 0
        self._addresses: list[str | None] = [None]
        self._place, self._size = 0, 1
        self._total: int | None = None
        self._gap: _Gap | None = None
        self._never_grew, self._recovered, self._beyond = True, 0, 0
        """Since going back: whether the list never grew, how many new rows were read, and how many rows are known to
        have been removed further on, which moved no row past the reader."""

    @property
    def address(self) -> str | None:
        """The next page's URL; None for the first page."""
        return self._addresses[self._place]

    @property
    def furthest(self) -> int:
        """The index of the last known page, from 0."""
        return len(self._addresses) - 1

    @property
    def first(self) -> int:
        """The index of the page's first row in the list, from 0."""
        return self._place * self._size

    def step(self, page: Page, new: int, beyond: int) -> None:
        """Choose the next page after ``page`` was read.

        ``new`` is the number of its rows that were not known, ``beyond`` the number of rows that are known to have
        been removed further on since it was last read.
        """
        self.steps += 1
        self._recovered += new
        self._size = max(self._size, len(page.rows))
        shrunk = 0 if self._total is None or page.total is None else self._total - page.total
        self.moved = self.moved or shrunk != 0
        self._total = page.total
        if page.next and self._place == self.furthest:
            if page.next in self._addresses:
                raise NotSmartcarError("smartcar: the pages of a V3 list form a loop; check the origin.")
            self._addresses.append(page.next)
        self._never_grew = self._never_grew and shrunk >= 0
        if shrunk > 0 and self._place and page.total is not None and not self._gap:
            self._gap = _Gap(self._place, page.total + shrunk, shrunk)
            self._never_grew, self._recovered, self._beyond = True, 0, 0
        elif self._gap:
            # The number is about the gap only on the page just before it, and if no more rows were removed.
            self._beyond = beyond if shrunk <= 0 and self._place == self._gap.place - 1 else 0
        if self._gap and page.total is not None and shrunk > 0 and self._place > self._page_of_gap(page.total):
            self._place = self._page_of_gap(page.total)
        else:
            self._advance(page)

    def _page_of_gap(self, total: int) -> int:
        """Return the page that now has the first row that may have been missed."""
        assert self._gap is not None
        return max(0, self._gap.place - -(-(self._gap.before - total) // self._size))

    def _advance(self, page: Page) -> None:
        """Go to the next page; skip the page read before going back if no more rows can have been missed."""
        self._place += 1
        if self._gap and self._place >= self._gap.place:
            gap, self._gap = self._gap, None
            # A page that moved by half its size may show rows from beyond the gap's page, which prove nothing.
            few = page.total is not None and gap.before - page.total <= self._size // 2
            recovered = few and self._recovered + self._beyond >= gap.missed
            if self._place == gap.place and (self._never_grew or recovered):
                self._total = max(self._total or 0, gap.before - gap.missed)
                self._place += 1
        self.ended = self._place > self.furthest


@dataclass(frozen=True)
class _Gap:
    """The page at which the list was found to be shorter.

    ``place`` is the page's index, ``before`` the list's length at the previous page, ``missed`` the maximum number of
    rows missed between the two.
    """

    place: int
    before: int
    missed: int


@dataclass(frozen=True)
class Page:
    """One page of a list: its rows, the list's length if known, and the next page's URL if there is one."""

    rows: tuple[object, ...]
    total: int | None
    next: str | None


def read_page(body: object, url: str, what: str) -> Page:
    """Parse a page; NotSmartcarError if it is not a list, or links to another origin than ``url``."""
    found = mapping(body)
    rows = found.get("data")
    if not isinstance(rows, list):
        raise NotSmartcarError(f"smartcar: V3 {what} answered 200 without a list `data`; check the origin.")
    return Page(tuple(rows), total_of(found), follow(url, mapping(found.get("links")).get("next")))


def total_of(body: Mapping[str, object]) -> int | None:
    """Return a list's ``totalCount``; None if it is missing or implausible."""
    total = mapping(body.get("meta")).get("totalCount")
    if isinstance(total, int) and not isinstance(total, bool) and 0 <= total < 10**9:
        return total
    return None


def read_single(body: object) -> Mapping[str, object]:
    """Return a single resource: under `data` or, in the older format, the object itself."""
    found = mapping(body)
    return mapping(found.get("data")) or found


def follow(url: str, link: object) -> str | None:
    """Return a link's URL, resolved against the request's; None if there is none.

    NotSmartcarError if it leads to another origin, where the token must not be sent.
    """
    if not link or not isinstance(link, str):
        return None
    try:
        resolved = urljoin(url, link)
        there = urlsplit(resolved)
        _ = there.port
    except ValueError:
        raise NotSmartcarError("smartcar: links.next is not a URL; nothing was sent there.") from None
    if there[:2] != urlsplit(url)[:2]:
        raise NotSmartcarError(
            f"smartcar: links.next points to another host ({there.hostname}); nothing was sent there. "
            "Check SMARTCAR_VEHICLE_API_V3_ORIGIN and SMARTCAR_MANAGEMENT_API_V3_ORIGIN."
        )
    return resolved
