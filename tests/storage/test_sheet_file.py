"""Sheets that people filled in, as their programs save them; and files that pretend to be one."""

from __future__ import annotations

import io
import zipfile
from datetime import datetime
from pathlib import Path

import openpyxl
import pytest

from smartcar_ops.errors import ParameterError
from smartcar_ops.storage import sheet_file
from smartcar_ops.storage.sheet_file import read_sheet

ROWS = [["user_id", "choice", "reason"], ["00123", "none", 'Käufer; sagte, "nein"'], ["=7", "", "two\nlines"]]
QUOTED = 'user_id{0}choice{0}reason\r\n00123{0}none{0}"Käufer; sagte, ""nein"""\r\n"\'=7"{0}{0}"two\nlines"\r\n'


def read(path: Path) -> list[list[str]]:
    """The cells of all rows."""
    return [list(row.cells) for row in read_sheet(path, "decisions")]


def workbook(path: Path, rows: list[list[object]], *, sheet: str = "decisions") -> Path:
    """A workbook with a sheet of another name before the one with these rows."""
    book = openpyxl.Workbook()
    book.active.title = "notes"  # type: ignore[union-attr]
    filled = book.create_sheet(sheet)
    for row in rows:
        filled.append(row)
    book.save(path)
    return path


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("above", ["", "sep={0}\r\n", '"sep={0}"\n'])
def test_csv_is_read_as_any_program_saves_it(tmp_path: Path, separator: str, encoding: str, above: str) -> None:
    """Separators, byte order marks, Excel's UTF-16 and its line above the header; lines are those of an editor."""
    path = tmp_path / "f.csv"
    path.write_bytes((above + QUOTED).format(separator).encode(encoding))
    assert ROWS == read(path)
    first = 2 if above else 1
    assert [first, first + 1, first + 2] == [row.line for row in read_sheet(path, "decisions")]


def test_a_workbook_is_read_by_its_values(tmp_path: Path) -> None:
    """Numbers, times and empty cells as text; the sheet of that name, or else the first; empty rows are passed over."""
    rows: list[list[object]] = [
        ["user_id", "at"],
        [4711, datetime(2026, 11, 28)],
        [None, None],
        [12.0, True],
        ["x", 1.5],
    ]
    expected = [["user_id", "at"], ["4711", "2026-11-28T00:00:00"], ["12", "True"], ["x", "1.5"]]
    for name in ("decisions", "Sheet1"):
        path = workbook(tmp_path / f"{name}.xlsx", rows, sheet=name)
        found = list(read_sheet(path, "decisions"))
        assert (expected if name == "decisions" else []) == [list(row.cells)[:2] for row in found]
        assert name == "Sheet1" or [1, 2, 4, 5] == [row.line for row in found]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'a,b\n1,"2\n3,4\n', r"f: line 2 can't be read as CSV \(unexpected end of data\); expected a table"),
        ("a,b\nK\u00e4ufer,1\n".encode("cp1252"), 'f: line 2 is not in UTF-8; save it as "CSV UTF-8"'),
        (b"SQLite format 3\0\1\2", "f is not text; expected a CSV file or an Excel workbook"),
        (b"\xd0\xcf\x11\xe0rest", "f is an old or password-protected workbook; save it as .xlsx"),
        (b"PK\3\4rest", r"f can't be read as an Excel workbook \(BadZipFile\); save it again, or as CSV"),
    ],
)
def test_what_is_no_table_is_one_sentence(tmp_path: Path, content: bytes, words: str) -> None:
    """Exit 5 with the line, if there is one, and what was expected."""
    (tmp_path / "f").write_bytes(content)
    with pytest.raises(ParameterError, match=f"^decide: {words}") as raised:
        read(tmp_path / "f")
    assert 5 == raised.value.exit_code


def test_a_file_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    """Nor is a folder a file."""
    for path, why in ((tmp_path / "gone", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(ParameterError, match=f"can't be read .{why}"):
            read(path)


def test_huge_files_are_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the size of a file, by what a workbook says that it unpacks to, by its parts, and by its rows."""
    with (tmp_path / "large.csv").open("wb") as file:
        file.truncate(5 << 30)
    parts = {"bomb.xlsx": {"xl/sheet": 300 << 20}, "parts.xlsx": {f"x{number}": 0 for number in range(1_001)}}
    for name, sizes in parts.items():
        with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
            for part, size in sizes.items():
                with archive.open(part, "w") as entry:
                    for _ in range(size >> 20):
                        entry.write(bytes(1 << 20))
    monkeypatch.setattr(sheet_file, "MAX_ROWS", 3)
    (tmp_path / "rows.csv").write_text("a\n1\n2\n3\n")
    workbook(tmp_path / "rows.xlsx", [["a"], [1], [2], [3]])
    for name, words in (
        ("large.csv", "has 5,368,709,120 bytes; expected at most 67,108,864"),
        ("bomb.xlsx", "unpacks to 314,572,800 bytes in 1 parts; expected at most 268,435,456"),
        ("parts.xlsx", "unpacks to 0 bytes in 1,001 parts; expected at most"),
        ("rows.csv", "has more than 3 rows"),
        ("rows.xlsx", "has more than 3 rows"),
    ):
        with pytest.raises(ParameterError, match=words):
            read(tmp_path / name)


def test_entities_of_a_workbook_are_not_expanded(tmp_path: Path) -> None:
    """A workbook whose XML defines entities in terms of each other is refused, in no time."""
    path = workbook(tmp_path / "f.xlsx", [["a"], [1]])
    bomb = ['<!DOCTYPE x [<!ENTITY a0 "aaaaaaaaaa">']
    bomb += [f'<!ENTITY a{number} "{f"&a{number - 1};" * 10}">' for number in range(1, 10)]
    changed = io.BytesIO()
    with zipfile.ZipFile(path) as before, zipfile.ZipFile(changed, "w") as after:
        for part in before.namelist():
            text = before.read(part).decode()
            if "sheet2" in part:
                text = (
                    "".join(bomb)
                    + "]>"
                    + text.replace("<sheetData>", "<sheetData><row><c t='inlineStr'><is><t>&a9;</t></is></c></row>")
                )
            after.writestr(part, text)
    path.write_bytes(changed.getvalue())
    with pytest.raises(ParameterError, match="can't be read as an Excel workbook"):
        read(path)


def test_a_cell_far_to_the_right_costs_nothing(tmp_path: Path) -> None:
    """Only the first 100 columns of a workbook are looked at."""
    book = openpyxl.Workbook()
    for number in range(1, 200):
        book.active.cell(number, 16_384, "x")  # type: ignore[union-attr]
    book.save(tmp_path / "f.xlsx")
    assert [] == read(tmp_path / "f.xlsx")
