"""Tables that may be larger than memory: written to and read from a Parquet file in batches."""

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
"""Rows per batch when reading."""


LARGEST = 4 * 1024**3
"""Most bytes of a file that was made elsewhere: some tens of millions of rows."""

LARGEST_PART = 512 * 1024**2
"""Most unpacked bytes of a row group in such a file; it is read at once. The kit itself writes a few MiB."""


class TooLargeError(Exception):
    """A file or one of its row groups is larger than any that the kit writes; the message says which."""


def refuse_huge(path: Path) -> None:
    """Raise TooLargeError if a file, or a row group of it unpacked, is too large; reads only its size and its footer.

    OSError or ArrowException if it can't be read.
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
    """A table in a Parquet file that grows by appending; ``close`` it before reading.

    Without a path it is a temporary file that is deleted with this object. ``dtypes`` gives the pandas type of each
    column, so that parts with empty columns have the same types.
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
        """Open a complete table. It may be made elsewhere, so the pandas metadata in it is ignored."""
        table = cls.__new__(cls)
        table.path, table.schema, table._writer = path, pq.read_schema(path).remove_metadata(), None
        return table

    def append(self, part: pd.DataFrame) -> pa.Table:
        """Append rows and return them as stored."""
        assert self._writer is not None, "a closed table does not grow"
        # Column by column: converting the frame to the right types first would take twice as long.
        columns = [pa.array(part[field.name], field.type, from_pandas=True) for field in self.schema]
        table = pa.Table.from_arrays(columns, schema=self.schema)
        self._writer.write_table(table)
        pa.default_memory_pool().release_unused()
        return table

    def append_rows(self, rows: Sequence[Sequence[Any]]) -> pa.Table:
        """Append rows of plain values in the order of the columns, and return them as stored.

        Twice as fast as through a DataFrame.
        """
        assert self._writer is not None, "a closed table does not grow"
        columns = zip(*rows, strict=True)
        arrays = [pa.array(column, kind) for column, kind in zip(columns, self.schema.types, strict=True)]
        table = pa.Table.from_arrays(arrays, schema=self.schema)
        self._writer.write_table(table)
        pa.default_memory_pool().release_unused()
        return table

    def close(self, notes: Mapping[str, str] | None = None) -> ParquetTable:
        """Complete the table; ``notes`` go into the file's metadata."""
        if self._writer is not None:
            if notes:
                self._writer.add_key_value_metadata(dict(notes))
            self._writer.close()
            self._writer = None
        return self

    def tables(self, columns: Sequence[str] | None = None, *, rows: int = ROWS) -> Iterator[pa.Table]:
        """Yield the rows as Arrow tables in batches of ``rows``, with all columns or only those given."""
        with pq.ParquetFile(self.path, pre_buffer=False) as file:  # otherwise everything that was read stays in memory
            for batch in file.iter_batches(rows, columns=columns):
                yield pa.Table.from_batches([batch]).replace_schema_metadata(self.schema.metadata)

    def parts(self) -> Iterator[pd.DataFrame]:
        """Yield the rows as DataFrames, in batches."""
        for table in self.tables():
            yield table.to_pandas()

    def frame(self) -> pd.DataFrame:
        """Return all rows as one DataFrame."""
        return pq.read_table(self.path).replace_schema_metadata(self.schema.metadata).to_pandas()

    def __len__(self) -> int:
        return int(pq.read_metadata(self.path).num_rows)
