"""The sections of the progress report: charts, and the sentences that `ProgressResult` makes."""

from __future__ import annotations

from IPython.display import HTML

from smartcar_ops.audit import charts
from smartcar_ops.compare.report.charts import verdicts_by_field
from smartcar_ops.display import tables
from smartcar_ops.display.picture import Picture
from smartcar_ops.progress.charts import burn_down, groups_over_time, parity_by_make
from smartcar_ops.progress.forecast import METHOD
from smartcar_ops.progress.result import ProgressResult

NO_AUDIT = "No audit yet: run 20_audit_user_ids"
NO_COMPARISON = "No comparison yet: run 10_compare_v2_v3"
MAX_SHOWN_USERS = 20


class ProgressReport:
    """The sections of the progress report; each method returns what one cell of the notebook shows.

    Without an audit or a comparison, it is a sentence that there is none.
    """

    def __init__(self, result: ProgressResult) -> None:
        self.result = result

    def __repr__(self) -> str:
        return self.result.verdict

    def _repr_html_(self) -> str:
        picture = HTML(self.burn_down()._repr_html_())  # type: ignore[no-untyped-call]
        return str(
            tables.together(tables.sentence(self.result.verdict), self.standing(), picture, self.blockers()).data
        )

    def standing(self) -> HTML:
        """Return the age of the audit behind all numbers, and remarks about the numbers."""
        return tables.together(*(tables.sentence(text) for text in (self.result.age, *self.result.remarks)))

    def migrated(self) -> Picture | HTML:
        """Return the share of users who are mapped."""
        if self.result.snapshot is None:
            return tables.sentence(NO_AUDIT)
        return charts.migrated_share(self.result.mapped, self.result.left, self.result.total)

    def burn_down(self) -> Picture | HTML:
        """Return the users left by day, with the forecast and the deadline."""
        if not self.result.history:
            return tables.sentence(NO_AUDIT)
        return burn_down(self.result.history, self.result.forecast, self.result.deadline)

    def forecast(self) -> HTML:
        """Return the forecast, how it is made, and the pace so far beside the pace that the deadline needs."""
        if not self.result.history:
            return tables.together()
        method = [METHOD] if self.result.forecast.median and self.result.left else []
        outlook = self.result.outlook or (self.result.forecast.why if self.result.left else "Nobody is left to do")
        said = [outlook, str(self.result.pace), *method]
        return tables.together(*(tables.sentence(text) for text in said))

    def since(self) -> HTML:
        """Return what changed since the last report, and who fell back."""
        since = self.result.since
        who = tables.first(since.fell_back, MAX_SHOWN_USERS) if since.back else None
        return tables.together(tables.sentence(since), who)

    def by_bucket(self) -> Picture | HTML:
        """Return users by bucket, before the first backfill and now."""
        if self.result.snapshot is None:
            return tables.sentence(NO_AUDIT)
        return charts.users_by_bucket(self.result.before, self.result.now)

    def over_time(self) -> Picture | HTML:
        """Return users by who acts next, day by day."""
        if len(self.result.history) < 2:
            return tables.sentence("A picture over time needs audits on two days or more")
        return groups_over_time(self.result.history)

    def parity(self) -> Picture | HTML:
        """Return the share of fields that V3 loses, by make and powertrain."""
        if not self.result.strata:
            return tables.sentence(NO_COMPARISON)
        return parity_by_make(self.result.strata, self.result.makes)

    def verdicts(self) -> Picture | HTML:
        """Return the verdicts of every field that counts, from the last comparison of the fleet."""
        if self.result.compared.empty:
            return tables.sentence(NO_COMPARISON)
        return verdicts_by_field(self.result.compared)

    def allowance(self) -> Picture | HTML:
        """Return the units still needed and the units available until the deadline."""
        if self.result.needed is None:
            return tables.sentence("The units still needed are not known for a past day")
        return charts.allowance(self.result.needed, self.result.to_come, self.result.days_left)

    def blockers(self) -> HTML:
        """Return what is in the way, with the commands that remove it."""
        found = self.result.blockers()
        return tables.whole(found) if len(found) else tables.sentence("Nothing is in the way")
