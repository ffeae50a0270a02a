"""What a capture came to: a row a line of the files, counted and in words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pandas as pd

COLUMNS = ["kind", "line", "outcome", "reason", "user_id", "smartcar_user_id", "vehicle_id"]
OUTCOMES = {
    "kept": "evidence in the ledger, which audit and backfill take in",
    "unroutable": "names nobody of the company, or no id of Smartcar",
    "invalid": "can't be read, contradicts itself, or is not signed by Smartcar",
    "other_mode": "of another mode than this run's",
    "declined": "Connect ended with an error: no consent was given",
    "verify": "a webhook's VERIFY, which is about no car",
}
"""What becomes of a line, and what that means."""

FOR_PEOPLE = ("unroutable", "invalid")
"""Outcomes that somebody must look at."""

SHOWN = 1000
"""Kept rows of a kind that the table holds; of all others it holds every one."""

NONE_FITS = (
    "no signature fits its body: SMARTCAR_MANAGEMENT_TOKEN may be another application's or an older one (it may hold "
    "several, separated by commas); the bodies may not be stored as they came; or it is a fault of Smartcar's own, "
    "known since applications moved to V3, where every data webhook fails and VERIFY passes: ask Smartcar's support"
)

NONE_CHECKED = (
    "no signature can be checked: every body was stored parsed, and what a database re-ordered is not what was signed "
    "(if they stand as they came, SMARTCAR_MANAGEMENT_TOKEN may be another application's or an older one). Keep the "
    'raw text of what arrives; to believe these all the same, set [webhooks] wrong_signature = "believe"'
)


class CapturedRow(NamedTuple):
    """What became of a line; never its address, code, state or signature."""

    kind: str
    line: int
    outcome: str
    reason: str
    user_id: str | None = None
    smartcar_user_id: str | None = None
    vehicle_id: str | None = None


@dataclass(frozen=True)
class Captured:
    """What became of the lines of the files: counted all, listed in part; ``new`` pieces of evidence were added.

    ``kept``: how many kept webhooks came ``unsigned``, ``unchecked``, with a ``wrong_signature``, ``without_mode``.
    ``believed``: what ``[webhooks]`` says to believe. ``misfits``: webhooks whose signature fits no token,
    ``reordered``: those of them whose body was stored parsed; ``no_signature_fits``: there are such, and none fits.
    """

    files: int
    counts: dict[tuple[str, str], int]
    rows: pd.DataFrame
    new: int = 0
    kept: dict[str, int] = field(default_factory=dict)
    believed: tuple[str, ...] = ()
    no_signature_fits: bool = False
    misfits: int = 0
    reordered: int = 0

    def __repr__(self) -> str:
        return f"<Captured: {self.verdict}>"

    def count(self, outcome: str) -> int:
        """Lines of an outcome, of both kinds."""
        return sum(lines for (_, name), lines in self.counts.items() if name == outcome)

    @property
    def total(self) -> int:
        """All lines that were not blank."""
        return sum(self.counts.values())

    @property
    def exit_code(self) -> int:
        """0; 1 where some line is unroutable or invalid; 3 where there was nothing to read."""
        return 3 if self.total == 0 else int(any(self.count(outcome) for outcome in FOR_PEOPLE))

    @property
    def verdict(self) -> str:
        """The capture in one sentence."""
        if not self.files:
            return "No file given: name one with the parameter redirects or webhooks."
        if not self.total:
            return "Nothing arrived: the files are empty."
        others = ", ".join(f"{lines:,} {name}" for name in OUTCOMES if name != "kept" and (lines := self.count(name)))
        rest = f"; the others: {others}" if others else ""
        kept = f"{self.count('kept'):,} of {self.total:,} lines are kept as evidence (new pieces: {self.new:,}){rest}."
        if not self.no_signature_fits:
            return kept
        finding = "can be checked" if self.reordered == self.misfits else "fits its body"
        return f"None of {self.misfits:,} signatures {finding}: see the reasons there may be. {kept}"

    @property
    def remarks(self) -> str:
        """What else a person should know: what was believed unproved, and what the table leaves out."""
        if not self.total:
            return "nothing was read"
        left = self.total - len(self.rows)
        words = {
            "webhooks kept without a signature": self.kept.get("unsigned", 0),
            "signatures not checked, for SMARTCAR_MANAGEMENT_TOKEN is not set": self.kept.get("unchecked", 0),
            "webhooks kept with a wrong signature": self.kept.get("wrong_signature", 0),
            "webhooks kept that tell no mode": self.kept.get("without_mode", 0),
            f"the table has the first {SHOWN:,} kept lines of a kind, and leaves out": left,
        }
        counted = [f"{what}: {lines:,}" for what, lines in words.items() if lines]
        rules = [f'[webhooks] {name} = "believe" is set' for name in self.believed]
        why = NONE_CHECKED if self.reordered == self.misfits else NONE_FITS
        fits = [why] if self.no_signature_fits else []
        return "; ".join([*rules, *fits, *counted]) or "the table has every line"

    def table(self) -> pd.DataFrame:
        """Kind, outcome, lines, what it means: for people."""
        rows = [(kind, name, lines, OUTCOMES[name]) for (kind, name), lines in sorted(self.counts.items())]
        return pd.DataFrame(rows, columns=["kind", "outcome", "lines", "means"])

    def people(self) -> pd.DataFrame:
        """What somebody must look at: a row a reason, with the first line that has it, and how many do."""
        by = ["kind", "outcome", "reason"]
        odd = self.rows[self.rows["outcome"].isin(FOR_PEOPLE)]
        found = odd.groupby(by, sort=False, as_index=False).agg(line=("line", "first"), lines=("line", "size"))
        return found[["kind", "line", "lines", "outcome", "reason"]]

    def summary(self) -> dict[str, Any]:
        """summary.json: lines by outcome, new pieces of evidence, kept webhooks that nobody proved or that tell no
        mode, what ``[webhooks]`` says to believe, and how many signatures fit no token, kept or not."""
        told = {"new": self.new, **self.kept, "believed": list(self.believed), "misfits": self.misfits}
        return {name: self.count(name) for name in OUTCOMES} | told
