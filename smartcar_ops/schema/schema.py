"""The schema phases as their notebook drives them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cached_property

import pandas as pd

from smartcar_ops.database import schema
from smartcar_ops.database.ledger.locks import WRITER, lock
from smartcar_ops.errors import ParameterError
from smartcar_ops.session import Outcome, Session
from smartcar_ops.smartcar.http.rate_limit import Cost
from smartcar_ops.text import nearest, thousands

log = logging.getLogger("smartcar_ops.schema")

PHASES = ("expand",)
LATER = ("contract", "restore")
"""Phases that this version can't carry out yet."""


def check_phase(phase: str) -> None:
    """ParameterError if the phase is unknown, or not supported yet."""
    if phase in LATER:
        raise ParameterError(f"parameters: phase {phase!r} is not supported by this version; expected expand.")
    if phase not in PHASES:
        known = (*PHASES, *LATER)
        near = nearest(phase, known)
        raise ParameterError(f"parameters: phase is {phase!r}{near}; expected one of {', '.join(known)}.")


class Schema:
    """Shows the steps of a phase and, with ``apply``, runs the open ones; ParameterError for an unknown phase."""

    def __init__(self, session: Session, *, phase: str = "expand", apply: bool = False) -> None:
        check_phase(phase)
        self.session, self.phase, self.apply = session, phase, apply
        self.done = False

    @cached_property
    def found(self) -> Sequence[schema.SchemaStep]:
        """The steps as they were when first read."""
        found = schema.expand_steps(self.session.company)
        log.info("%s: %d of %d steps are to do", self.phase, sum(not step.done for step in found), len(found))
        return found

    def cost(self) -> Cost:
        """Return nothing: no call is made."""
        return self.session.priced({})

    def steps(self) -> pd.DataFrame:
        """Return one row per step: what it does, and whether it is already done."""
        rows = [(step.name, step.does, "already there" if step.done else "to do") for step in self.found]
        return pd.DataFrame(rows, columns=["step", "does", "state"])

    def sql(self) -> dict[str, tuple[str, ...]]:
        """Return the SQL of each open step, by its name, as `execute` would run it now."""
        return schema.open_sql(self.session.company)

    @property
    def open(self) -> int:
        """Steps that are not done yet."""
        return sum(not step.done for step in self.found)

    def execute(self) -> pd.DataFrame:
        """Run the open steps if ``apply`` is set, holding the writer lock; return the steps as they are now."""
        session = self.session
        if self.apply and self.open:
            with lock(session.ledger, WRITER, session.run_id):
                schema.expand(session.company, session.ledger)
            session.reopen_ledger()
            self.done = True
        now = {step.name: step.done for step in schema.expand_steps(session.company)}
        rows = [(step.name, "there" if now[step.name] else "not there") for step in self.found]
        return pd.DataFrame(rows, columns=["step", "now"])

    def finish(self) -> Outcome:
        """End the session with exit code 0, or 3 if everything was there already."""
        if not self.open:
            return self.session.finish("Everything that expand adds is already there.", exit_code=3)
        steps = f"{self.open} of {thousands(len(self.found), 'steps')}"
        if self.done:
            return self.session.finish(f"Expanded: {steps} done.")
        return self.session.finish(f"Preview only, nothing changed: {steps} to do.")
