"""The sections of the progress report: charts, and the sentences that `ProgressResult` makes."""

from __future__ import annotations

from IPython.display import HTML

from smartcar_ops.audit import charts
from smartcar_ops.compare.report.charts import verdicts_by_field
from smartcar_ops.display import tables
from smartcar_ops.display.picture import Picture
from smartcar_ops.progress.result import ProgressResult

NO_AUDIT = "No audit yet: run 20_audit_user_ids"


class ProgressReport:
    """The sections of the progress report; each method returns what one cell of the notebook shows."""

    def __init__(self, result: ProgressResult) -> None:
        self.result = result

    def standing(self) -> HTML:
        """Return the age of the audit behind all numbers, and remarks about the numbers."""
        return tables.together(*(tables.sentence(text) for text in (self.result.age, *self.result.remarks)))

    def migrated(self) -> Picture | HTML:
        """Return the share of users who are mapped."""
        if self.result.snapshot is None:
            return tables.sentence(NO_AUDIT)
        return charts.migrated_share(self.result.mapped, self.result.left, self.result.total)

    def by_bucket(self) -> Picture | HTML:
        """Return users by bucket, before the first backfill and now."""
        if self.result.snapshot is None:
            return tables.sentence(NO_AUDIT)
        return charts.users_by_bucket(self.result.before, self.result.now)

    def verdicts(self) -> Picture | HTML:
        """Return the verdicts of every field that counts, from the last comparison of the fleet."""
        if self.result.compared.empty:
            return tables.sentence("No comparison yet: run 10_compare_v2_v3")
        return verdicts_by_field(self.result.compared)

    def allowance(self) -> Picture | HTML:
        """Return the units still needed and the units available until the deadline."""
        if self.result.needed is None:
            return tables.sentence("The units still needed are not known for a past day")
        return charts.allowance(self.result.needed, self.result.to_come, self.result.days_left)
