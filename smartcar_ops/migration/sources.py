"""The sources that can say who is who: their names, what asking them costs, and what an asking came to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from smartcar_ops.errors import ParameterError

SOURCES = ("connections", "external_id", "management", "tokens", "vins", "webhooks", "redirects")
"""Every source, in the order they are asked."""

AUTO = ("connections", "external_id", "tokens", "vins")
"""What ``auto`` asks; judging always takes in all that the ledger knows, ``webhooks`` and ``redirects`` too.

``management`` needs a credential of its own and is asked only where it is named.
"""

Progress = Callable[[str, int, int], None]
"""(what, done, of)."""


@dataclass(frozen=True)
class Cost:
    """What an act would cost, in units, by source; an upper bound where the number is not known yet.

    ``seconds`` is how long the allowance makes that last: 0 where the bucket holds it all, or nothing binds.
    """

    units: dict[str, int]
    seconds: float = 0.0

    @property
    def total(self) -> int:
        """All sources together."""
        return sum(self.units.values())

    def __str__(self) -> str:
        parts = ", ".join(f"{source} {units:,}" for source, units in self.units.items())
        lasting = f"; the allowance makes that last {_duration(self.seconds)}" if self.seconds else ""
        return f"at most {self.total:,} units ({parts or 'nothing to ask'}){lasting}"


def _duration(seconds: float) -> str:
    """A time in the largest unit that leaves at least two of it, rounded up."""
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{-(-seconds // size):,.0f} {unit}"
    return f"{-(-seconds // 1):.0f} seconds"


@dataclass
class Asked:
    """What one asking came to: how many answers by source, what was not reached, how many failed.

    ``told`` says more of a source than a count can, in words.
    """

    answers: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    not_read: dict[str, int] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    told: dict[str, str] = field(default_factory=dict)
    suspect: dict[str, str] = field(default_factory=dict)
    """Lists that are in doubt and were not taken in: source -> why."""

    @property
    def complete(self) -> bool:
        """False if a question has no answer: the allowance ended, asking failed, or a list is in doubt."""
        return not self.unanswered

    @property
    def unanswered(self) -> int:
        """Questions without an answer."""
        return sum(self.not_read.values()) + sum(self.failed.values()) + len(self.suspect)

    def __str__(self) -> str:
        words = {source: f"{count:,} answers" for source, count in self.answers.items()} | self.told
        parts = [f"{source}: {said}" for source, said in words.items()]
        parts += [f"{source}: {why}" for source, why in self.suspect.items()]
        parts += [f"{source}: {count:,} failed, asked again next time" for source, count in self.failed.items()]
        parts += [f"{source}: {count:,} not read, the allowance ended" for source, count in self.not_read.items()]
        return "; ".join(parts) or "nothing was asked"


def parse_sources(text: str) -> tuple[str, ...]:
    """The sources that a parameter names, in the order they are asked; ParameterError for an unknown one."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if names in ([], ["auto"]):
        return AUTO
    for name in names:
        if name not in SOURCES:
            raise ParameterError(
                f"parameters: sources names {name!r}; expected auto, or some of {', '.join(SOURCES)}, "
                "separated by commas."
            )
    return tuple(name for name in SOURCES if name in names)
