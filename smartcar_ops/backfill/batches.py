"""In which batches staged rows are written: as large, and so many at once, as the database answers quickly."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from smartcar_ops.database.changes import ChangeBatch, Changes
from smartcar_ops.database.staging import RowRange

FIRST_BATCH = 1000
"""Rows of the first batch; the next ones are larger while the database answers quickly."""

QUICK, SLOW = 0.5, 2.0
"""Seconds: below, the next batch is twice as large; above, half as large."""

LEAST_BATCH = 50


class BatchSizer:
    """The staged rows of one table, written one batch after the other."""

    def __init__(self, sections: Sequence[RowRange], most: int) -> None:
        self._left, self._most = list(sections), most
        self._size, self._after = min(most, FIRST_BATCH), sections[0].first - 1
        self.is_busy = False
        self.is_brisk = False
        """Whether the last batch was no small one and quick: then another table may be written meanwhile."""

    def next_batch(self, changes: Changes, number: int) -> tuple[RowRange, ChangeBatch] | None:
        """What is to be written next, under this number, and from now on is; None at the end."""
        while self._left:
            after = max(self._after, self._left[0].first - 1)
            batch = changes.next_batch(self._left[0], after, self._size, number)
            if batch is not None:
                self._after, self.is_busy = batch.last, True
                return self._left[0], batch
            del self._left[0]
        return None

    def took(self, seconds: float) -> None:
        """Ends a batch; how large the next one is goes by how long this one took."""
        self.is_busy, self.is_brisk = False, seconds < QUICK and self._size >= FIRST_BATCH
        if seconds < QUICK:
            self._size = min(self._size * 2, self._most)
        elif seconds > SLOW:
            self._size = max(self._size // 2, min(LEAST_BATCH, self._most))


class BatchQueue:
    """A lane a table, where the database takes several writers at once; else all tables in one, in their order."""

    def __init__(self, changes: Changes, sections: Sequence[RowRange], most: int) -> None:
        tables = groupby(sections, lambda section: section.table if changes.takes_several else "")
        self._changes, self._lanes = changes, [BatchSizer(list(group), most) for _, group in tables]

    def next_batch(self, number: int) -> tuple[BatchSizer, RowRange, ChangeBatch] | None:
        """What is to be written now: the first table alone, others beside it while it is brisk; None for nothing yet.

        Where no lane is busy, None is the end.
        """
        for lane in [lane for lane in self._lanes if not lane.is_busy]:
            if not all(other.is_brisk for other in self._lanes if other.is_busy):
                return None
            found = lane.next_batch(self._changes, number)
            if found is not None:
                return lane, *found
            self._lanes.remove(lane)
        return None
