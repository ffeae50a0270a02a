"""The result of a capture: one row per line of the files, with counts and descriptions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pandas as pd

from smartcar_ops.text import thousands

COLUMNS = ["kind", "line", "outcome", "reason", "user_id", "smartcar_user_id", "vehicle_id"]
OUTCOMES = {
    "kept": "evidence in the ledger, used by audit and backfill",
    "unroutable": "is about none of your users, or has no Smartcar id",
    "invalid": "can't be read, contradicts itself, or is not signed by Smartcar",
    "other_mode": "belongs to another mode than this run",
    "declined": "Connect ended with an error: the user gave no consent",
    "verify": "Smartcar's VERIFY request for a webhook, which is about no vehicle",
}
"""The outcomes of a line, and what they mean."""

FOR_PEOPLE = ("unroutable", "invalid")
"""Outcomes that a person must look at."""

SHOWN = 1000
"""The most `kept` rows of each kind in the table; of all other outcomes it has every row."""

NONE_FITS = (
    "no signature matches its body. SMARTCAR_MANAGEMENT_TOKEN may belong to another application or be an old one (it "
    "can hold several, separated by commas); the bodies may not be stored exactly as received; or it is a fault of "
    "Smartcar's, known since applications moved to V3, in which every data webhook fails and VERIFY passes: ask "
    "Smartcar's support"
)

NONE_CHECKED = (
    "no signature can be checked: every body was stored parsed, and a database may change the order of its members, so "
    "that the text is not the one that was signed (if the text is unchanged, SMARTCAR_MANAGEMENT_TOKEN may belong to "
    "another application or be an old one). Store the raw text of what you receive; to use these anyway, set "
    '[webhooks] wrong_signature = "believe"'
)


class CapturedRow(NamedTuple):
    """The outcome of a line; never its address, code, state or signature."""

    kind: str
    line: int
    outcome: str
    reason: str
    user_id: str | None = None
    smartcar_user_id: str | None = None
    vehicle_id: str | None = None


@dataclass(frozen=True)
class Captured:
    """The outcome of all lines as counts, and of some as ``rows``; ``new`` is how many pieces of evidence were added.

    ``kept``: how many kept webhooks are ``unsigned``, ``unchecked``, of ``wrong_signature`` or ``without_mode``.
    ``believed``: the rules of ``[webhooks]`` set to ``believe``. ``misfits``: webhooks whose signature matches no
    token; ``reordered``: those of them whose body was stored parsed; ``no_signature_fits``: there are some, and no
    signature matches.
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
        """Return how many lines of both kinds have this outcome."""
        return sum(lines for (_, name), lines in self.counts.items() if name == outcome)

    @property
    def total(self) -> int:
        """How many lines were not blank."""
        return sum(self.counts.values())

    @property
    def exit_code(self) -> int:
        """0; 1 if some line is unroutable or invalid; 3 if there was nothing to read."""
        return 3 if self.total == 0 else int(any(self.count(outcome) for outcome in FOR_PEOPLE))

    @property
    def verdict(self) -> str:
        """The capture in one sentence."""
        if not self.files:
            return "No file given: set the parameter redirects or webhooks to a file's path."
        if not self.total:
            return "Nothing to read: the files are empty."
        others = ", ".join(f"{lines:,} {name}" for name in OUTCOMES if name != "kept" and (lines := self.count(name)))
        rest = f"; not kept: {others}" if others else ""
        kept = f"{self.count('kept'):,} of {thousands(self.total, 'lines')} kept as evidence ({self.new:,} new){rest}."
        if not self.no_signature_fits:
            return kept
        finding = "can be checked" if self.reordered == self.misfits else "matches its body"
        return f"No signature {finding} ({thousands(self.misfits, 'webhooks')}): see the possible reasons. {kept}"

    @property
    def remarks(self) -> str:
        """What else you should know: what was accepted without proof, and what the table leaves out."""
        if not self.total:
            return "nothing was read"
        left = self.total - len(self.rows)
        words = {
            "webhooks kept without a signature": self.kept.get("unsigned", 0),
            "signatures not checked, because SMARTCAR_MANAGEMENT_TOKEN is not set": self.kept.get("unchecked", 0),
            "webhooks kept with a wrong signature": self.kept.get("wrong_signature", 0),
            "webhooks kept that have no mode": self.kept.get("without_mode", 0),
            f"the table has the first {SHOWN:,} kept lines of each kind, and leaves out": left,
        }
        counted = [f"{what}: {lines:,}" for what, lines in words.items() if lines]
        rules = [f'[webhooks] {name} = "believe" is set' for name in self.believed]
        why = NONE_CHECKED if self.reordered == self.misfits else NONE_FITS
        fits = [why] if self.no_signature_fits else []
        return "; ".join([*rules, *fits, *counted]) or "the table has every line"

    def table(self) -> pd.DataFrame:
        """Return one row per kind and outcome: the number of lines, and what the outcome means."""
        rows = [(kind, name, lines, OUTCOMES[name]) for (kind, name), lines in sorted(self.counts.items())]
        return pd.DataFrame(rows, columns=["kind", "outcome", "lines", "means"])

    def people(self) -> pd.DataFrame:
        """Return what a person must look at: one row per reason, with its first line and the number of lines."""
        by = ["kind", "outcome", "reason"]
        wanted = self.rows[self.rows["outcome"].isin(FOR_PEOPLE)]
        reasons = wanted.groupby(by, sort=False, as_index=False).agg(line=("line", "first"), lines=("line", "size"))
        return reasons[["kind", "line", "lines", "outcome", "reason"]]

    def summary(self) -> dict[str, Any]:
        """Return the keys for summary.json.

        These are lines by outcome, new pieces of evidence, kept webhooks without proof or without a mode, the rules of
        ``[webhooks]`` set to ``believe``, and how many signatures match no token, kept or not.
        """
        details = {"new": self.new, **self.kept, "believed": list(self.believed), "misfits": self.misfits}
        return {name: self.count(name) for name in OUTCOMES} | details
