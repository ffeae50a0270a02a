"""How staged rows are cut into batches: larger, and several at once, while the database answers quickly."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from smartcar_ops.database.compare_and_set import ChangeBatch, RowWriter
from smartcar_ops.database.staging import RowRange

FIRST_BATCH = 1000
"""Rows of the first batch; the next ones are larger while the database answers quickly."""

FAST_BATCH_SECONDS, SLOW_BATCH_SECONDS = 0.5, 2.0
"""After a batch faster than the first, the next one is twice as large; after one slower than the second, half."""

SMALLEST_BATCH = 50


class BatchSizer:
    """The staged rows of one table, written one batch after the other; ``most`` is the most rows per batch."""

    def __init__(self, sections: Sequence[RowRange], most: int) -> None:
        self._left, self._most = list(sections), most
        self._size, self._after = min(most, FIRST_BATCH), sections[0].first - 1
        self.is_busy = False
        self.is_fast = False
        """True if the last batch was full-sized and fast, so that another table may be written in parallel."""

    def next_batch(self, writer: RowWriter, number: int) -> tuple[RowRange, ChangeBatch] | None:
        """Return the next batch, with this number, and mark this table as busy; None at the end."""
        while self._left:
            after = max(self._after, self._left[0].first - 1)
            batch = writer.next_batch(self._left[0], after, self._size, number)
            if batch is not None:
                self._after, self.is_busy = batch.last, True
                return self._left[0], batch
            del self._left[0]
        return None

    def record(self, seconds: float) -> None:
        """Record how long the batch took, which sets the size of the next one."""
        is_fast = seconds < FAST_BATCH_SECONDS
        self.is_busy, self.is_fast = False, is_fast and self._size >= FIRST_BATCH
        if is_fast:
            self._size = min(self._size * 2, self._most)
        elif seconds > SLOW_BATCH_SECONDS:
            self._size = max(self._size // 2, min(SMALLEST_BATCH, self._most))


class BatchQueue:
    """The batches of all tables: one sizer per table if the database takes parallel writers, otherwise one for all."""

    def __init__(self, writer: RowWriter, sections: Sequence[RowRange], most: int) -> None:
        tables = groupby(sections, lambda section: section.table if writer.takes_several else "")
        self._writer, self._sizers = writer, [BatchSizer(list(group), most) for _, group in tables]

    def next_batch(self, number: int) -> tuple[BatchSizer, RowRange, ChangeBatch] | None:
        """Return the next batch to write; None if nothing may be written now.

        The first table is written alone, and the others next to it only while the busy ones are fast. None while no
        table is busy means the end.
        """
        for sizer in [sizer for sizer in self._sizers if not sizer.is_busy]:
            if not all(other.is_fast for other in self._sizers if other.is_busy):
                return None
            batch = sizer.next_batch(self._writer, number)
            if batch is not None:
                return sizer, *batch
            self._sizers.remove(sizer)
        return None
