"""Load an Arrow table into a database table: COPY on PostgreSQL, one prepared INSERT elsewhere."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pyarrow as pa
import sqlalchemy as sa
from pyarrow import csv

if TYPE_CHECKING:
    import psycopg


def load(connection: sa.Connection, table: sa.TableClause, rows: pa.Table) -> None:
    """Insert rows whose columns are named as the table's and in its order."""
    if not rows.num_rows:
        return
    if connection.dialect.driver == "psycopg":
        _copy(connection, table, rows)
    elif connection.dialect.paramstyle == "qmark":
        marks = ", ".join("?" for _ in table.columns)  # twice as fast as with one dictionary per row
        values = list(zip(*(column.to_pylist() for column in rows.columns), strict=True))
        connection.exec_driver_sql(f"INSERT INTO {table.name} VALUES ({marks})", values)  # noqa: S608 (the kit's own name)
    else:
        connection.execute(sa.insert(table), rows.to_pylist())


def _copy(connection: sa.Connection, table: sa.TableClause, rows: pa.Table) -> None:
    """Load rows by PostgreSQL's COPY; an empty field is null, a quoted empty field is empty text."""
    raw: psycopg.Connection | None = connection.connection.driver_connection
    assert raw is not None, "only a closed connection has none"
    lines = io.BytesIO()
    csv.write_csv(rows, lines, csv.WriteOptions(include_header=False, quoting_style="needed"))
    with raw.cursor() as cursor, cursor.copy(f"COPY {table.name} FROM STDIN (FORMAT csv)") as copy:
        copy.write(lines.getbuffer())
