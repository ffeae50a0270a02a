"""The progress report's pictures and sentences; each says so where there is no audit, or a past day has no such number.

Each function gives what a notebook's cell shows.
"""

from __future__ import annotations

from IPython.display import HTML

from smartcar_ops.audit import charts
from smartcar_ops.compare.report.charts import verdicts_by_field
from smartcar_ops.display import tables
from smartcar_ops.display.picture import Picture
from smartcar_ops.progress.progress import ProgressReport

NO_AUDIT = "No audit yet: run 20_audit_user_ids"


def standing(report: ProgressReport) -> HTML:
    """How old the audit is that all rests on, and what is to be known of the numbers."""
    return tables.together(*(tables.sentence(words) for words in (report.age, *report.remarks)))


def migrated(report: ProgressReport) -> Picture | HTML:
    """The share of users who are mapped."""
    if report.snapshot is None:
        return tables.sentence(NO_AUDIT)
    return charts.migrated_share(report.mapped, report.left, report.total)


def by_bucket(report: ProgressReport) -> Picture | HTML:
    """Users by bucket before the first backfill, and now."""
    if report.snapshot is None:
        return tables.sentence(NO_AUDIT)
    return charts.users_by_bucket(report.before, report.now)


def verdicts(report: ProgressReport) -> Picture | HTML:
    """What became of every field that counts, by the last comparison of the fleet."""
    if report.compared.empty:
        return tables.sentence("No comparison yet: run 10_compare_v2_v3")
    return verdicts_by_field(report.compared)


def allowance(report: ProgressReport) -> Picture | HTML:
    """What is still needed beside what comes until the deadline."""
    if report.needed is None:
        return tables.sentence("What was still needed on that day is not kept")
    return charts.allowance(report.needed, report.to_come, report.days_left)
