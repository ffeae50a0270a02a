"""The users whom a person must decide on, as a sheet to fill in with a spreadsheet program."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smartcar_ops.audit import buckets
from smartcar_ops.audit.result import disputed, judged_parts
from smartcar_ops.database.evidence.user_facts import UserFacts
from smartcar_ops.database.evidence.workspace import open_workspace
from smartcar_ops.database.ledger.ledger import Ledger
from smartcar_ops.database.tables import Company
from smartcar_ops.storage import cells

if TYPE_CHECKING:
    import pandas as pd

    from smartcar_ops.audit.result import AuditResult

NAME = "decisions"
CSV, XLSX = f"{NAME}.csv", f"{NAME}.xlsx"
COLUMNS = ("user_id", "bucket", "stored", "evidence", "reason_found", "choice", "reason", "evidence_key")
KEY_DIGITS = 20


@dataclass(frozen=True)
class StandingEvidence:
    """What is known about a user now: the bucket, the stored id as it may be shown, and the evidence in words.

    ``chosen`` is the Smartcar id that a person chose, or ``none``; empty if nobody decided.
    """

    user_id: str
    bucket: str
    stored: str
    evidence: str
    reason: str
    chosen: str

    @property
    def key(self) -> str:
        """A digest of what is known, which is another one as soon as any of it changes; never looks like a number."""
        known = json.dumps([self.user_id, self.bucket, self.stored, self.evidence, self.chosen])
        return f"k-{hashlib.sha256(known.encode()).hexdigest()[:KEY_DIGITS]}"

    @property
    def for_people(self) -> bool:
        """Whether a person must decide."""
        return self.bucket in buckets.FOR_PEOPLE


def evidence_of(row: Any) -> StandingEvidence:
    """Return what is known about a user, from a row of `judged_parts` with the columns of `result.JUDGED_COLUMNS`."""
    text = {name: value if isinstance(value, str) else "" for name, value in row._asdict().items()}
    chosen = (text["named"] or "none") if row.chosen else ""
    return StandingEvidence(row.user_id, row.bucket, text["shown"], text["evidence"], text["reason"], chosen)


def standing(company: Company, ledger: Ledger, user_ids: Collection[str], now: datetime) -> dict[str, StandingEvidence]:
    """Return what is known about these users now; makes no API call. A user who is gone is missing."""
    found: dict[str, StandingEvidence] = {}
    with open_workspace(company, ledger, now) as workspace:
        facts = UserFacts(workspace)
        for part in judged_parts(workspace, facts, disputed(workspace, facts)):
            for row in part[part["user_id"].isin(user_ids)].itertuples(index=False):
                found[row.user_id] = evidence_of(row)
    return found


def rows(result: AuditResult) -> Iterator[Mapping[str, str | None]]:
    """Yield the rows of the sheet; ``choice`` and ``reason`` are for the person to fill in."""
    for user in map(evidence_of, result.for_decision.itertuples(index=False)):
        yield {
            "user_id": user.user_id,
            "bucket": user.bucket,
            "stored": user.stored,
            "evidence": user.evidence,
            "reason_found": user.reason,
            "choice": None,
            "reason": None,
            "evidence_key": user.key,
        }


def frame(result: AuditResult) -> pd.DataFrame:
    """Return the sheet as a table."""
    import pandas as pd

    return pd.DataFrame(list(rows(result)), columns=list(COLUMNS), dtype="str")


def write(result: AuditResult, folder: Path, formats: Collection[str] = ("csv",)) -> list[Path]:
    """Write the sheet to a folder as ``csv``, ``xlsx`` or both, and return its files, each of them complete.

    OSError if a file can't be written.
    """
    written = []
    for format, name, write_one in (("csv", CSV, _write_csv), ("xlsx", XLSX, _write_xlsx)):
        if format in formats:
            temporary, path = folder / f".{name}.partial", folder / name
            try:
                write_one(result, temporary)
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
            written.append(path)
    return written


def _write_csv(result: AuditResult, path: Path) -> None:
    from smartcar_ops.storage.csv_file import write_csv

    ids = ({**row, "user_id": cells.protected_id(str(row["user_id"]))} for row in rows(result))
    write_csv(path, COLUMNS, (tuple(row.values()) for row in ids))


def _write_xlsx(result: AuditResult, path: Path) -> None:
    from smartcar_ops.storage import columns, exports
    from smartcar_ops.storage.workbook import DICTIONARY, open_workbook

    with open_workbook(path) as book:
        notes = book.add(NAME, COLUMNS, (tuple(row.values()) for row in rows(result)))
        book.add(DICTIONARY, exports.HEADER, exports.dictionary(NAME, columns.tables()[NAME], notes))
