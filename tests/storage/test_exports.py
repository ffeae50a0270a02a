"""The tables of a run for analysts: Excel read back by openpyxl, CSV read back by its own rules, and what they mean."""

from __future__ import annotations

import csv
import json
import math
import resource
import signal
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartcar_ops import notebook_runs
from smartcar_ops.storage import cells, exports, workbook
from smartcar_ops.storage.workbook import MAX_CHARACTERS
from tests.support.house import House
from tests.support.memory import peak_of

SPREADSHEET_TEXTS = (
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\tx",
    "\rx",
    "'=1+1",
    " =1+1",
    '=HYPERLINK("http://example.com","x")',
    "http://example.com",
    "mailto:ada@example.com",
    "00123",
    "1e5",
    "12345678901234567890",
    "<r><t>x</t></r>x",
    "#N/A",
    "TRUE",
    "{=1}",
)
AT = datetime(2026, 11, 28, 7, 30, 15, tzinfo=UTC)


def save(folder: Path, **tables: Any) -> Path:
    """A run's folder with these tables."""
    for name, columns in tables.items():
        pq.write_table(pa.table(columns), folder / f"{name}.parquet")
    return folder


def read_sheets(folder: Path) -> dict[str, list[list[Any]]]:
    """Every sheet of a folder's workbook, cell by cell."""
    book = openpyxl.load_workbook(folder / "tables.xlsx")
    return {sheet.title: [[cell.value for cell in row] for row in sheet.iter_rows()] for sheet in book}


def read_csv(path: Path) -> list[list[str]]:
    """Every row of a CSV file, its texts as they were."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        return [[cells.unprotected(cell) for cell in row] for row in csv.reader(file)]


# --- Excel ------------------------------------------------------------------------------------------------------


def test_cells_have_the_types_of_their_columns(tmp_path: Path) -> None:
    """Texts, numbers, booleans, times and days are such in Excel, and what is missing is empty."""
    save(
        tmp_path,
        calls={
            "at": pa.array([AT, None], pa.timestamp("us", "UTC")),
            "api": ["v3", None],
            "status": [200.0, None],
            "units": pa.array([3, None], pa.int64()),
            "seconds": [0.25, float("nan")],
            "code": [None, "x"],
        },
        history={"as_of": ["2026-11-28"], "complete": [True]},
        odd={"large": [12345678901234567], "small": [123456789012345], "endless": [float("inf")]},
    )
    exports.export(tmp_path, ("parquet", "xlsx"))
    sheets = read_sheets(tmp_path)
    naive = AT.replace(tzinfo=None)
    assert [naive, "v3", 200, 3, 0.25, None] == sheets["calls"][1]
    assert [*[None] * 5, "x"] == sheets["calls"][2]
    assert [datetime(2026, 11, 28), True] == sheets["history"][1]
    assert ["12345678901234567", 123456789012345, "inf"] == sheets["odd"][1]
    sheet = openpyxl.load_workbook(tmp_path / "tables.xlsx")["calls"]
    assert ["d", "s", "n", "n", "n"] == [cell.data_type for cell in sheet[2][:5]]
    assert ("yyyy-mm-dd hh:mm:ss", "A2", "A1:F3") == (
        sheet["A2"].number_format,
        sheet.freeze_panes,
        sheet.auto_filter.ref,
    )
    assert 10 <= min(sheet.column_dimensions[name].width for name in "ABCDE")


def test_a_text_stays_a_text_in_excel(tmp_path: Path) -> None:
    """No formula, no link, no number: what looks like one is a text, also in a column's name."""
    texts = [*SPREADSHEET_TEXTS, "<r><t>x</t></r>"]
    save(tmp_path, users={"user_id": texts, "=1+1": texts})
    exports.export(tmp_path, ("xlsx",))
    sheet = openpyxl.load_workbook(tmp_path / "tables.xlsx")["users"]
    found = [cell for row in sheet.iter_rows() for cell in row]
    assert {"s"} == {cell.data_type for cell in found}
    assert [] == [cell.value for cell in found if cell.hyperlink]
    assert [*SPREADSHEET_TEXTS, "<r><t>x</t></r> "] == [_unescaped(row[0].value) for row in sheet.iter_rows(min_row=2)]
    assert "<f>" not in _xml(tmp_path, "xl/worksheets/sheet1.xml")


def test_what_a_cell_can_not_hold_is_cut_and_said(tmp_path: Path) -> None:
    """A text of more than 32,767 characters ends with its length, and the dictionary counts them, by UTF-16."""
    save(tmp_path, recordings={"document": ["x" * MAX_CHARACTERS, "y" * 40_000, "😀" * 20_000], "answered": [True] * 3})
    exports.export(tmp_path, ("xlsx",))
    sheets = read_sheets(tmp_path)
    whole, cut, wide = (row[0] for row in sheets["recordings"][1:])
    assert "x" * MAX_CHARACTERS == whole
    assert (MAX_CHARACTERS, True) == (len(cut), cut.endswith("y … (cut: 40,000 characters)"))
    assert MAX_CHARACTERS >= len(wide.encode("utf-16-le")) // 2 and wide.endswith("😀 … (cut: 20,000 characters)")
    remarks = {(row[0], row[1]): row[4] for row in sheets["dictionary"]}
    said = "2 texts cut: a cell has at most 32,767 characters; recordings.parquet has everything."
    assert (said, None) == (remarks["recordings", "document"], remarks["recordings", "answered"])


def test_a_long_table_continues_on_another_sheet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No row is lost, each sheet has the header, a full sheet is followed by none, and the dictionary says so."""
    monkeypatch.setattr(workbook, "MAX_ROWS", 4)
    empty = pa.array([], pa.string())
    save(tmp_path, users={"user_id": list("abcdefgh")}, orphans={"mode": list("abc")}, plan={"table": empty})
    exports.export(tmp_path, ("xlsx",))
    sheets = read_sheets(tmp_path)
    head, long = [["user_id"]], {name: rows for name, rows in sheets.items() if name.startswith("users")}
    parts = [[["a"], ["b"], ["c"]], [["d"], ["e"], ["f"]], [["g"], ["h"]]]
    assert {"users": head + parts[0], "users 2": head + parts[1], "users 3": head + parts[2]} == long
    assert (4, 1) == (len(sheets["orphans"]), len(sheets["plan"]))
    assert "orphans 2" not in sheets
    remarks = {row[0]: row[4] for row in _all_sheets(sheets, "dictionary") if row[1] is None}
    assert "8 rows. A sheet has at most 4 rows, so they are on 3 sheets: users, users 2, users 3." == remarks["users"]
    assert ("3 rows.", "0 rows.") == (remarks["orphans"], remarks["plan"])


def test_the_dictionary_names_every_column(tmp_path: Path) -> None:
    """The sheet and columns.json have the same types and sentences; a time's row says that it is UTC."""
    save(tmp_path, calls={"at": [AT], "units": [1]}, orphans={"mode": ["live"], "unknown to the kit": [1.5]})
    exports.export(tmp_path, ("xlsx",))
    header, *rows = read_sheets(tmp_path)["dictionary"]
    assert ["table", "column", "type", "means", "remarks"] == header
    meanings = json.loads((tmp_path / "columns.json").read_text(encoding="utf-8"))
    assert meanings == {
        table: {row[1]: {"type": row[2], "means": row[3] or ""} for row in rows if row[0] == table and row[1]}
        for table in ("calls", "orphans")
    }
    assert {"type": "time", "means": "When the request was sent."} == meanings["calls"]["at"]
    assert {"type": "number", "means": ""} == meanings["orphans"]["unknown to the kit"]
    assert "UTC; Excel has no time zones." == next(row[4] for row in rows if row[1] == "at")


def test_a_million_rows_take_no_more_memory(tmp_path: Path) -> None:
    """Twenty times the rows take less than twice the memory."""
    peaks = []
    for rows in (2_000, 40_000):
        save(tmp_path, users={"user_id": [str(number) for number in range(rows)], "vehicles": list(range(rows))})
        peaks.append(peak_of(lambda: exports.export(tmp_path, ("xlsx", "csv")))[1])
    assert peaks[1] < 2 * peaks[0]


# --- CSV --------------------------------------------------------------------------------------------------------


def test_csv_is_for_spreadsheets(tmp_path: Path) -> None:
    """UTF-8 with a byte order mark, commas, ISO times in UTC, and a quote before what would be a formula."""
    save(
        tmp_path,
        calls={
            "at": pa.array([AT, AT.replace(microsecond=5)], pa.timestamp("us", "UTC")),
            "api": ["=1+1", None],
            "units": [-3, 4],
            "ok": [True, False],
            "seconds": [-0.5, None],
            "code": ["Ü,x", 'a "b"\nc'],
        },
    )
    exports.export(tmp_path, ("csv",))
    assert b"\xef\xbb\xbfat,api,units,ok,seconds,code\r\n" == (tmp_path / "calls.csv").read_bytes().splitlines(True)[0]
    text = (tmp_path / "calls.csv").read_bytes().decode("utf-8-sig")
    first = '2026-11-28T07:30:15Z,\'=1+1,-3,true,-0.5,"Ü,x"\r\n'
    second = '2026-11-28T07:30:15.000005Z,,4,false,,"a ""b""\nc"\r\n'
    assert first + second == text.partition("\r\n")[2]
    assert not (tmp_path / "tables.xlsx").exists()


@given(st.text(st.sampled_from("'=+-@\t\r\n x1＝")) | st.text())
def test_a_protected_text_is_no_formula_and_can_be_read_back(text: str) -> None:
    """Whatever a text begins with, its protected form begins with nothing that a spreadsheet runs."""
    assert text == cells.unprotected(cells.protected(text))
    assert not cells.protected(text).lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r"))


# --- a run's folder ---------------------------------------------------------------------------------------------


def test_every_file_has_its_name_only_when_all_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full in the middle of a workbook leaves the folder as it was, and the error is the system's."""
    save(tmp_path, users={"user_id": [f"{number * 7919 % 10**9}" for number in range(20_000)]})
    before = sorted(path.name for path in tmp_path.iterdir())
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    unraisable: list[Any] = []
    monkeypatch.setattr("sys.unraisablehook", unraisable.append)
    for size in (100, 20_000, 60_000, 100_000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
        try:
            with pytest.raises(OSError, match="File too large"):
                exports.export(tmp_path, ("xlsx", "csv"))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert before == sorted(path.name for path in tmp_path.iterdir())
    assert [] == unraisable


def test_what_a_killed_run_left_is_no_hindrance(tmp_path: Path) -> None:
    """A table without its end is left out, and files that were being written are removed."""
    save(tmp_path, users={"user_id": ["1"]})
    (tmp_path / "fields.parquet").write_bytes(b"PAR1 and no end")
    (tmp_path / exports.TEMPORARY).mkdir()
    (tmp_path / exports.TEMPORARY / "users.csv").touch()
    exports.export(tmp_path, ("csv",))
    assert ["users"] == list(json.loads((tmp_path / "columns.json").read_text()))
    left = {path.name for path in tmp_path.iterdir()}
    assert {"users.parquet", "fields.parquet", "users.csv", "columns.json"} == left


def test_a_folder_without_tables_has_no_workbook(tmp_path: Path) -> None:
    """Its columns.json is there, and empty."""
    exports.export(tmp_path, ("xlsx", "csv"))
    assert ["columns.json"] == [path.name for path in tmp_path.iterdir()]
    assert {} == json.loads((tmp_path / "columns.json").read_text())


def _unescaped(text: str) -> str:
    """A text as Excel shows it: openpyxl leaves control characters escaped."""
    return text.replace("_x000D_", "\r").replace("_x0009_", "\t")


def _all_sheets(sheets: dict[str, list[list[Any]]], name: str) -> Iterator[list[Any]]:
    """The rows of a table on all its sheets."""
    for title, rows in sheets.items():
        if title == name or title.startswith(f"{name} "):
            yield from rows[1:]


def _xml(folder: Path, part: str) -> str:
    with zipfile.ZipFile(folder / "tables.xlsx") as archive:
        return archive.read(part).decode()


@pytest.mark.usefixtures("without_kernel")
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_every_run_has_what_was_chosen(
    make_house: Callable[..., House], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Each Parquet file of an audit and a comparison is a sheet and a CSV with the same rows, and private."""
    house = make_house(kind, users=30).expand().play_callbacks()
    monkeypatch.chdir(house.root)
    for name, value in {**house.environment, "SMARTCAR_OPS_TABLES": "xlsx, CSV"}.items():
        monkeypatch.setenv(name, value)
    for notebook in ("20", "10"):
        folder = notebook_runs.run(notebook).folder
        assert folder
        assert {0o600} == {path.stat().st_mode & 0o777 for path in folder.iterdir()}
        sheets, meanings = read_sheets(folder), json.loads((folder / "columns.json").read_text())
        tables = {path.stem: pq.read_table(path) for path in folder.glob("*.parquet")}
        assert set(tables) | {"dictionary"} == set(sheets)
        assert set(tables) == meanings.keys() - {"decisions"}  # a sheet to fill in
        for name, table in tables.items():
            assert table.num_rows == len(sheets[name]) - 1 == len(read_csv(folder / f"{name}.csv")) - 1
            assert table.column_names == sheets[name][0] == read_csv(folder / f"{name}.csv")[0] == list(meanings[name])
            assert [] == [column for column, of in meanings[name].items() if not of["means"]]
            assert [] == _misfits(table, sheets[name][1:])


def _misfits(table: pa.Table, rows: list[list[Any]]) -> list[tuple[str, Any, Any]]:
    """Cells of a sheet that differ from the table's: (column, value, cell)."""
    found = []
    for place, name in enumerate(table.column_names):
        for value, row in zip(table[name].to_pylist(), rows, strict=True):
            cell = row[place]
            if isinstance(value, datetime):
                value = value.replace(tzinfo=None)
                same = cell is not None and abs((cell - value).total_seconds()) < 0.001
            elif isinstance(value, float):
                same = value != value if cell is None else math.isclose(value, cell, rel_tol=1e-15)
            elif isinstance(value, str) and len(value) > MAX_CHARACTERS:
                same = str(cell).startswith(value[:1000])
            else:
                same = cell == value or (value == "" and cell is None)
            if not same:
                found.append((name, value, cell))
    return found
