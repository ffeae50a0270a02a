"""Reads vehicles on both versions, side by side, at the fewest calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from smartcar_ops.errors import AllowanceSpentError, AuthenticationError, ServiceIllError, SmartcarError
from smartcar_ops.migration.fanning import fan_out
from smartcar_ops.migration.pairing import Pair
from smartcar_ops.migration.verdicts import wants_another_read
from smartcar_ops.smartcar.fields import FieldMap
from smartcar_ops.smartcar.readings import read_v2, read_v3
from smartcar_ops.smartcar.signals import Signals
from smartcar_ops.smartcar.v2 import V2, Batch
from smartcar_ops.smartcar.v3 import V3


@dataclass(frozen=True)
class Recording:
    """What both versions answered about one vehicle, V3 perhaps twice."""

    pair: Pair
    v2: Batch | SmartcarError
    v3: Signals | SmartcarError
    again: Signals | SmartcarError | None = None

    @property
    def v2_silent(self) -> bool:
        """True where V2 as a whole gave no answer."""
        return isinstance(self.v2, SmartcarError)


def cost(chosen: Sequence[Pair], v2: V2, fields: FieldMap) -> int:
    """Units that reading these vehicles costs at most: V3 twice, one V2 batch."""
    paths = len(fields.v2_paths)
    return len(chosen) * (2 + v2.batch_units(paths))


def record(pair: Pair, v2: V2, v3: V3, fields: FieldMap) -> Recording:
    """Reads one vehicle: V3, then one V2 batch, then V3 again only where a volatile field differs at the same time.

    A side that fails is kept as its error; AllowanceSpentError, ServiceIllError and a refused application token are
    raised.
    """
    first = _v3(pair, v3)
    try:
        batch: Batch | SmartcarError = v2.batch(pair.token or "", pair.vehicle_id, fields.v2_paths)
    except (AllowanceSpentError, ServiceIllError):
        raise
    except SmartcarError as error:
        batch = error
    moving = (wants_another_read(row, read_v2(row, batch), read_v3(row, first)) for row in fields.fields if row.scored)
    again = _v3(pair, v3) if any(moving) else None
    return Recording(pair, batch, first, again)


def _v3(pair: Pair, v3: V3) -> Signals | SmartcarError:
    try:
        return v3.signals(pair.vehicle_id, pair.smartcar_user_id)
    except (AllowanceSpentError, AuthenticationError, ServiceIllError):
        raise
    except SmartcarError as error:
        return error


def record_all(
    chosen: Sequence[Pair],
    v2: V2,
    v3: V3,
    executor: Executor,
    fields: FieldMap,
    progress: Callable[[int, int], None] | None = None,
) -> list[Recording]:
    """Reads the vehicles side by side until the budget ends; those not reached are missing."""
    recordings: list[Recording] = []
    for outcome in fan_out(executor, lambda pair: record(pair, v2, v3, fields), chosen, stop_on=AllowanceSpentError):
        if isinstance(outcome, Recording):
            recordings.append(outcome)
        if progress:
            progress(len(recordings), len(chosen))
    order = {pair.local_vehicle_id: place for place, pair in enumerate(chosen)}
    return sorted(recordings, key=lambda recording: order[recording.pair.local_vehicle_id])


def refuse_silence(recordings: Sequence[Recording]) -> None:
    """SmartcarError where vehicles were read and V2 answered for none of them."""
    silent = [recording.v2 for recording in recordings if isinstance(recording.v2, SmartcarError)]
    if recordings and len(silent) == len(recordings):
        raise SmartcarError(
            f"smartcar: V2 answered for none of {len(recordings)} vehicles (the first: {silent[0]}) "
            "Nothing can be compared now; replay an earlier recording.",
            status=silent[0].status,
        )
