"""The progress report's pictures and sentences; each says so where there is no audit, or a past day has no such number.

Each function gives what a notebook's cell shows.
"""

from __future__ import annotations

from IPython.display import HTML

from smartcar_ops.migration.progress import Progress
from smartcar_ops.reporting import charts, showing
from smartcar_ops.reporting.drawing import Picture

NO_AUDIT = "No audit yet: run 20_audit_user_ids"


def standing(report: Progress) -> HTML:
    """How old the audit is that all rests on, and what is to be known of the numbers."""
    return showing.together(*(showing.sentence(words) for words in (report.age, *report.remarks)))


def migrated(report: Progress) -> Picture | HTML:
    """The share of users who are mapped."""
    if report.snapshot is None:
        return showing.sentence(NO_AUDIT)
    return charts.migrated_share(report.mapped, report.left, report.total)


def by_bucket(report: Progress) -> Picture | HTML:
    """Users by bucket before the first backfill, and now."""
    if report.snapshot is None:
        return showing.sentence(NO_AUDIT)
    return charts.users_by_bucket(report.before, report.now)


def verdicts(report: Progress) -> Picture | HTML:
    """What became of every field that counts, by the last comparison of the fleet."""
    if report.compared.empty:
        return showing.sentence("No comparison yet: run 10_compare_v2_v3")
    return charts.verdicts_by_field(report.compared)


def allowance(report: Progress) -> Picture | HTML:
    """What is still needed beside what comes until the deadline."""
    if report.needed is None:
        return showing.sentence("What was still needed on that day is not kept")
    return charts.allowance(report.needed, report.to_come, report.days_left)
