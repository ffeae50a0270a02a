"""The comparison as its notebook drives it: choose, show the cost, read, judge."""

from __future__ import annotations

from collections.abc import Callable

from smartcar_ops.errors import SmartcarError
from smartcar_ops.migration import comparing, pairing, recording
from smartcar_ops.migration.comparing import Comparison
from smartcar_ops.migration.sources import Cost
from smartcar_ops.session import Session, Verdict
from smartcar_ops.smartcar.fields import field_map


class Compare:
    """Reads the chosen vehicles on both versions and judges them; writes nothing.

    SettingsError for an unknown field in ``[tolerance]``, ParameterError for an unknown vehicle.
    """

    def __init__(
        self,
        session: Session,
        *,
        vehicles: int = 25,
        vehicle_id: str = "",
        seed: int = 0,
        max_calls: int = 0,
        max_minutes: float = 10,
    ) -> None:
        self.session = session
        self.fields = comparing.tolerated(field_map(), session.settings.layout)
        self.linked = pairing.pairs(session.company, session.ledger, session.now)
        self.chosen = pairing.choose(self.linked, vehicles=vehicles, vehicle_id=vehicle_id, seed=seed)
        self._max_calls, self._max_minutes = max_calls, max_minutes
        self.result = self._judge([], [])

    def cost(self) -> Cost:
        """What reading will cost at most."""
        return self.session.priced({"recording": recording.cost(self.chosen, self.session.v2, self.fields)})

    def read(self, progress: Callable[[int, int], None] | None = None) -> Comparison:
        """Reads and judges; SmartcarError where V2 answers for no vehicle at all."""
        if self.linked and not self.chosen:
            raise SmartcarError(
                f"smartcar: none of {len(self.linked):,} linked vehicles has a V2 token younger than two hours; "
                "refresh the tokens, or replay an earlier recording."
            )
        session = self.session
        with session.spending(self._max_calls, self._max_minutes), session.threads() as executor:
            recordings = recording.record_all(self.chosen, session.v2, session.v3, executor, self.fields, progress)
        recording.refuse_silence(recordings)
        read = {row.pair.local_vehicle_id for row in recordings}
        self.result = self._judge(recordings, [pair for pair in self.chosen if pair.local_vehicle_id not in read])
        return self.result

    def finish(self) -> Verdict:
        """Ends the session with the verdict; exit code 3 where no vehicle is linked."""
        if not self.linked:
            return self.session.finish(
                "No vehicle is linked to a connection yet; run 20_audit_user_ids first.",
                exit_code=3,
                vehicles=0,
                verdicts={},
                scored=0,
                judged=0,
            )
        return self.session.finish(
            self.result.verdict,
            exit_code=self.result.exit_code,
            complete=self.result.complete,
            **self.result.summary(),
        )

    def _judge(self, recordings: list[recording.Recording], unread: list[pairing.Pair]) -> Comparison:
        session = self.session
        return comparing.compare(recordings, unread, self.fields, session.settings.layout, session.now)
