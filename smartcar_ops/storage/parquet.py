"""A table that may be larger than memory: it grows in a Parquet file, part by part, and is read back the same way."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 10_000
"""Rows read at a time."""


LARGEST = 4 * 1024**3
"""Bytes of a file that comes from elsewhere: some tens of millions of rows."""

LARGEST_PART = 512 * 1024**2
"""Bytes, unpacked, of the rows that stand together in such a file: these are read at once. The kit writes a few MiB."""


class TooLargeError(Exception):
    """A file, or a part of it that is read at once, is larger than any that the kit writes; its words say which."""


def refuse_huge(path: Path) -> None:
    """TooLargeError where a file is larger than is read, or unpacks to more; looks at its size and its foot alone.

    OSError or ArrowException where it can't be read.
    """
    size = path.stat().st_size
    if size > LARGEST:
        raise TooLargeError(f"has {size:,} bytes; expected at most {LARGEST:,}")
    with pq.ParquetFile(path) as file:
        parts = (file.metadata.row_group(place) for place in range(file.metadata.num_row_groups))
        largest = max((part.total_byte_size for part in parts), default=0)
    if largest > LARGEST_PART:
        raise TooLargeError(f"unpacks to {largest:,} bytes at once; expected at most {LARGEST_PART:,}")


class ParquetTable:
    """A growing table; ``close`` it before it is read. Without a path it is in a file that goes with this object.

    ``dtypes`` are the columns with their pandas types: a part in which a column is empty has the same types.
    """

    def __init__(self, dtypes: Mapping[str, str], path: Path | None = None) -> None:
        self.dtypes = dict(dtypes)
        if path is None:
            folder = tempfile.mkdtemp(prefix="smartcar-ops-")
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
            path = Path(folder) / "table.parquet"
        self.path = path
        empty = pd.DataFrame({name: pd.Series(dtype=dtype) for name, dtype in self.dtypes.items()})
        self.schema = pa.Table.from_pandas(empty, preserve_index=False).schema
        self._writer: pq.ParquetWriter | None = pq.ParquetWriter(path, self.schema)

    @classmethod
    def opened(cls, path: Path) -> ParquetTable:
        """A table that is whole already, and may come from elsewhere: what it notes for pandas is not followed."""
        table = cls.__new__(cls)
        table.path, table.schema, table._writer = path, pq.read_schema(path).remove_metadata(), None
        return table

    def append(self, part: pd.DataFrame) -> pa.Table:
        """Adds rows; returns them as they are kept."""
        assert self._writer is not None, "a closed table does not grow"
        # Column by column: a frame of the right types would be made first, in twice the time.
        columns = [pa.array(part[field.name], field.type, from_pandas=True) for field in self.schema]
        table = pa.Table.from_arrays(columns, schema=self.schema)
        self._writer.write_table(table)
        pa.default_memory_pool().release_unused()
        return table

    def append_rows(self, rows: Sequence[Sequence[Any]]) -> pa.Table:
        """Adds rows given as plain values in the columns' order, and returns them as they are kept.

        No frame is made in between: that takes twice as long.
        """
        assert self._writer is not None, "a closed table does not grow"
        columns = zip(*rows, strict=True)
        arrays = [pa.array(column, kind) for column, kind in zip(columns, self.schema.types, strict=True)]
        table = pa.Table.from_arrays(arrays, schema=self.schema)
        self._writer.write_table(table)
        pa.default_memory_pool().release_unused()
        return table

    def close(self, notes: Mapping[str, str] | None = None) -> ParquetTable:
        """Ends the table; ``notes`` are kept in the file's own metadata."""
        if self._writer is not None:
            if notes:
                self._writer.add_key_value_metadata(dict(notes))
            self._writer.close()
            self._writer = None
        return self

    def tables(self, columns: Sequence[str] | None = None, *, rows: int = ROWS) -> Iterator[pa.Table]:
        """The rows as Arrow has them, so many at a time; all columns, or those that are named."""
        with pq.ParquetFile(self.path, pre_buffer=False) as file:  # or all that was read stays in memory
            for batch in file.iter_batches(rows, columns=columns):
                yield pa.Table.from_batches([batch]).replace_schema_metadata(self.schema.metadata)

    def parts(self) -> Iterator[pd.DataFrame]:
        """The rows, so many at a time."""
        for table in self.tables():
            yield table.to_pandas()

    def frame(self) -> pd.DataFrame:
        """All rows at once."""
        return pq.read_table(self.path).replace_schema_metadata(self.schema.metadata).to_pandas()

    def __len__(self) -> int:
        return int(pq.read_metadata(self.path).num_rows)
