"""Reading ahead: the same parts in the same order, an error where it belongs, and no thread that stays."""

from __future__ import annotations

import threading
from collections.abc import Generator

import pytest

from smartcar_ops.concurrency import MAX_PREFETCHED, prefetch


class Numbers:
    """Numbers as they are asked for: how many were made, in which thread, and whether the making was ended."""

    def __init__(self, last: int, *, fails: bool = False) -> None:
        self.last, self.fails = last, fails
        self.made, self.ended, self.enough = 0, False, threading.Event()
        self.thread: threading.Thread | None = None

    def __iter__(self) -> Generator[int]:
        self.thread = threading.current_thread()
        try:
            for number in range(self.last):
                self.made += 1
                if self.made > MAX_PREFETCHED:
                    self.enough.set()
                yield number
            if self.fails:
                raise ValueError("the last one")
        finally:
            self.ended = True


def test_the_parts_come_as_they_were_made() -> None:
    """In their order, all of them, made in another thread."""
    numbers = Numbers(100)
    with prefetch(iter(numbers)) as parts:
        assert list(range(100)) == list(parts)
    assert numbers.ended
    assert threading.current_thread() is not numbers.thread


def test_few_are_made_before_they_are_read() -> None:
    """However many there are, as many wait as there is room for, and one is in the maker's hands."""
    numbers = Numbers(100)
    with prefetch(iter(numbers)) as parts:
        assert numbers.enough.wait(10)
        assert MAX_PREFETCHED + 1 == numbers.made
        assert 0 == next(parts)


def test_what_fails_is_raised_where_the_next_part_is_read() -> None:
    """After every part that was made before."""
    found = []
    with pytest.raises(ValueError, match="the last one"), prefetch(iter(Numbers(3, fails=True))) as parts:
        for number in parts:
            found.append(number)
    assert [0, 1, 2] == found


def test_a_block_left_early_ends_the_making() -> None:
    """The maker is closed, as if its own loop had been left, and its thread is gone."""
    numbers = Numbers(1_000_000)
    with pytest.raises(KeyError), prefetch(iter(numbers)) as parts:
        assert 0 == next(parts)
        raise KeyError("enough")
    assert numbers.ended and numbers.made < 1_000
    assert numbers.thread is not None and not numbers.thread.is_alive()
