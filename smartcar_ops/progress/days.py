"""The days that a report is given: its deadline, and the day that it shows."""

from __future__ import annotations

from datetime import UTC, date, datetime, time

from smartcar_ops.errors import ParameterError


def start_of(day: date) -> datetime:
    """Return the moment when a UTC day begins."""
    return datetime.combine(day, time.min, UTC)


def day_to_look_back_to(as_of: str, now: datetime) -> date | None:
    """Return the day of a report; None for the current time. ParameterError for a day in the future."""
    if not as_of.strip():
        return None
    day, today = parse_day("as_of", as_of), now.astimezone(UTC).date()
    if day > today:
        raise ParameterError(
            f"parameters: as_of is {as_of!r}, which is in the future; expected {today} (today, UTC) or an earlier day."
        )
    return day


def parse_day(name: str, text: str) -> date:
    """Return the day of a parameter such as 2026-12-01; ParameterError for anything else."""
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise ParameterError(f"parameters: {name} is {text!r}; expected a day such as 2026-12-01.") from None
