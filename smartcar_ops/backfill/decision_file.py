"""Reads the decisions that people filled in: the audit's sheet, as CSV or as a workbook."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from smartcar_ops.audit.choices import NONE
from smartcar_ops.audit.decision_sheet import COLUMNS, NAME
from smartcar_ops.backfill.decisions import MAX_CHARACTERS, problem_with_id
from smartcar_ops.errors import ParameterError
from smartcar_ops.smartcar.ids import smartcar_id
from smartcar_ops.storage.cells import unprotected_id
from smartcar_ops.storage.run_folder import latest
from smartcar_ops.storage.sheet_file import SheetRow, problem, read_sheet

AUDIT, LATEST = "20_audit_user_ids", "latest"


@dataclass(frozen=True)
class SheetDecision:
    """A row with a choice: where it stands, whom it is about, the Smartcar id (None: none), and what was known."""

    line: int
    user_id: str
    smartcar_user_id: str | None
    reason: str
    evidence_key: str


@dataclass(frozen=True)
class DecisionFile:
    """The decisions in a file, and the number of its rows without a choice."""

    path: Path
    decisions: tuple[SheetDecision, ...]
    undecided: int

    def refusal(self, decision: SheetDecision, words: str, column: str = "user_id") -> ParameterError:
        """Return the error for a decision that can't be recorded."""
        return problem(self.path, words, decision.line, column)


def find(given: str, reports: Path) -> Path:
    """Return the path of a sheet, given that path or ``latest``: the sheet of the latest audit.

    Of its two files, that is the one that was changed last. ParameterError if no audit has left one.
    """
    if given != LATEST:
        return Path(given).expanduser()
    folder = latest(reports, AUDIT)
    sheets = sorted(folder.glob(f"{NAME}.*"), key=lambda path: path.stat().st_mtime) if folder else []
    if not sheets:
        raise ParameterError(f"decide: {reports} has no sheet of an audit; run {AUDIT} first, or name a file.")
    return sheets[-1]


def read(path: Path) -> DecisionFile:
    """Read a file of decisions. ParameterError, with line and column, for the first thing in it that is wrong."""
    rows = read_sheet(path, NAME)
    header = next(rows, None)
    if header is None:
        raise problem(path, f"is empty; expected the columns {', '.join(COLUMNS)}")
    places = _places(path, header)
    found, undecided, lines = list[SheetDecision](), 0, dict[str, int]()
    for row in rows:
        cells = _cells(path, row, places)
        user_id = cells["user_id"]
        if user_id.strip():
            if user_id in lines:
                words = f"is the same user as in line {lines[user_id]}; expected one row per user"
                raise problem(path, words, row.line, "user_id")
            lines[user_id] = row.line
        if cells["choice"].strip():
            found.append(_decision(path, row.line, cells))
        else:
            undecided += 1
    return DecisionFile(path, tuple(found), undecided)


def _places(path: Path, header: SheetRow) -> Mapping[str, int]:
    """Return the place of each column; ParameterError if one is missing, unknown or there twice."""
    names = [cell.strip().lower() for cell in header.cells]
    while names and not names[-1]:
        names.pop()
    expected = f"expected the columns {', '.join(COLUMNS)}"
    for name in names:
        if name not in COLUMNS or names.count(name) > 1:
            words = "is there twice" if name in COLUMNS else "is unknown"
            raise problem(path, f"{words}; {expected}", header.line, repr(name[:40]))
    for name in COLUMNS:
        if name not in names:
            raise problem(path, f"is missing; {expected}", header.line, name)
    return {name: place for place, name in enumerate(names)}


def _cells(path: Path, row: SheetRow, places: Mapping[str, int]) -> dict[str, str]:
    """Return the cells of a row by column; ParameterError if it has more cells than the header."""
    if any(cell.strip() for cell in row.cells[len(places) :]):
        raise problem(path, f"has more cells than the header; expected {len(places)}", row.line)
    cells = {name: row.cells[place] if place < len(row.cells) else "" for name, place in places.items()}
    return {**cells, "user_id": unprotected_id(cells["user_id"])}


def _decision(path: Path, line: int, cells: Mapping[str, str]) -> SheetDecision:
    """Return a row's decision; ParameterError, with line and column, if something in it is wrong."""
    choice, reason, key = (cells[name].strip() for name in ("choice", "reason", "evidence_key"))
    chosen = smartcar_id(choice)
    if chosen is None and choice.lower() != NONE:
        raise problem(path, f"{problem_with_id(choice)}; expected a UUID, or none", line, "choice")
    if not 1 <= len(reason) <= MAX_CHARACTERS["reason"]:
        words = f"has {len(reason):,} characters; expected 1 to {MAX_CHARACTERS['reason']:,}"
        raise problem(path, f"{words}: each decision is stored with its reason", line, "reason")
    for name, given in (("user_id", cells["user_id"].strip()), ("evidence_key", key)):
        if not given:
            raise problem(path, "is empty; expected what the audit wrote there", line, name)
    return SheetDecision(line, cells["user_id"], chosen, reason, key)
