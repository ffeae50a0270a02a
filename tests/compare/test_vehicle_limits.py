"""What the kit asks of one vehicle: counted, capped by make, and a comparison that is split over days."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from smartcar_ops.compare import recording
from smartcar_ops.compare.reading.selection import SelectionSpec
from smartcar_ops.compare.vehicles import LinkedVehicle
from smartcar_ops.database.ledger.recordings import Recordings
from smartcar_ops.database.ledger.vehicle_units import VehicleUnits
from smartcar_ops.errors import SettingsError, VehicleLimitError
from smartcar_ops.fields.field_map import field_map
from smartcar_ops.settings.layout import Limits
from tests.support.house import House
from tests.support.recorded import begin, judged, owners, pairs, readable, record

MAKE = "HYUNDAI"


class Clock:
    """A clock that a test sets forward."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        """The moment it is set to."""
        return self.now


def metered(house: House, clock: Clock, **limits: object) -> VehicleUnits:
    """The house's calls, counted under these limits."""
    house.transport.meter = meter = VehicleUnits(house.ledger, Limits.model_validate(limits), clock=clock)
    return meter


def asked_of(house: House, pair: LinkedVehicle) -> int:
    """The units that were sent about a vehicle, a path of a batch each, by what the sandbox saw of its batches."""
    return sum(f"/vehicles/{pair.vehicle_id}/" in path for _, _, path in house.sandbox.arrivals)


@pytest.fixture
def hyundai(make_house: Callable[..., House]) -> tuple[House, LinkedVehicle]:
    """A house with everything linked, and one of its cars of a make with a limit."""
    house = make_house(users=40).expand().play_callbacks()
    house.ask()
    return house, next(pair for pair in readable(house) if pair.make == MAKE)


# --- counting ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sqlite", "postgresql", "mariadb"])
def test_what_is_asked_of_a_vehicle_is_counted_and_capped(make_house: Callable[..., House], kind: str) -> None:
    """Nothing above the cap in any 24 hours, whichever process asks; what was not sent is given back."""
    house = make_house(kind, users=40).expand()
    house.ask(["connections"])
    makes = {row["make"]: row["vehicle_id"] for row in house.ledger.connections()}
    vehicle, free = makes[MAKE], makes["FORD"]
    clock = Clock()
    first, second = metered(house, clock), metered(house, clock)
    first.take(vehicle, 4)
    second.take(vehicle, 3)
    assert (3, None, {"x": None}) == (first.left(vehicle), first.left(free), {"x": first.left("x")})
    with pytest.raises(VehicleLimitError, match=rf"4 units needed for one {MAKE} vehicle, 3 left") as raised:
        second.take(vehicle, 4)
    assert vehicle not in str(raised.value)
    second.take(vehicle, 3)
    second.give_back(vehicle, 2)
    assert (2, set()) == (first.left(vehicle), first.used_up())
    first.take(vehicle, 2)
    assert {vehicle} == first.used_up()
    clock.now += timedelta(hours=23)
    assert 0 == first.left(vehicle)
    clock.now += timedelta(hours=2)
    assert 10 == first.left(vehicle)


def test_a_month_binds_every_make(make_house: Callable[..., House]) -> None:
    """`per_vehicle_month` counts 31 days; the smaller of both limits holds; what nobody looks back to is dropped."""
    house = make_house(users=40).expand()
    house.ask(["connections"])
    makes = {row["make"]: row["vehicle_id"] for row in house.ledger.connections()}
    clock = Clock()
    meter = metered(house, clock, per_vehicle_month=14)
    for make in (MAKE, "FORD"):
        meter.take(makes[make], 8)
    assert [2, 6] == [meter.left(makes[make]) for make in (MAKE, "FORD")]
    assert [10, 14] == [meter.cap(make) for make in (MAKE, "FORD")]
    clock.now += timedelta(days=2)
    assert [6, 6] == [meter.left(makes[make]) for make in (MAKE, "FORD")]
    clock.now += timedelta(days=31)
    again = metered(house, clock, per_vehicle_month=14)
    again.take(makes["FORD"], 1)
    assert 1 == len(house.rows("smartcar_ops_vehicle_units"))


def test_the_file_names_limits() -> None:
    """The makers' own stay unless the file says otherwise, makes in any spelling; one unit is too few, 0 is none."""
    told = Limits.model_validate({"per_vehicle_day": {"kia": 4, "Toyota": 6}})
    assert (10, 4, 6, 0) == tuple(told.day(make) for make in ("Hyundai", "KIA", "toyota", "FORD"))
    assert (0, False) == (Limits.none().day("KIA"), Limits.none().by_make)
    for wrong in ({"per_vehicle_day": {"KIA": 1}}, {"per_vehicle_month": 1}, {"per_vehicle_day": {"KIA": -1}}):
        with pytest.raises(ValueError, match=r"expected|greater"):
            Limits.model_validate(wrong)


def test_a_wrong_limit_is_known_early(make_house: Callable[..., House]) -> None:
    """Exit 5, naming the key."""
    house = make_house(users=20)
    (house.root / "smartcar_ops.toml").write_text("[limits.per_vehicle_day]\nKIA = 1\n")
    with pytest.raises(SettingsError, match=r"limits\.per_vehicle_day: expected 0 \(no limit\), or 2 or more"):
        house.read_settings()


# --- a comparison over days ----------------------------------------------------------------------------------


def test_a_batch_longer_than_the_limit_is_split_over_days(hyundai: tuple[House, LinkedVehicle]) -> None:
    """Each part has a V3 reading of its own; in no 24 hours more than the limit is asked; the end is the same."""
    house, pair = hyundai
    paths, _ = field_map().paths_for(pair.make, pair.powertrain, pair.permissions)
    whole: list[recording.Recording] = []
    record(house, [pair], whole, "whole")
    house.execute("DELETE FROM smartcar_ops_recordings")
    clock, kept = Clock(), Recordings(house.ledger)
    meter = metered(house, clock)
    runs: list[list[recording.Recording]] = []
    while not runs or runs[-1][0].open_paths:
        assert len(runs) < 5
        if runs:
            assert pair.key in begin(house, SelectionSpec(0)).unfinished
        runs.append([])
        before = house.transport.spent
        record(house, [pair], runs[-1], f"run{len(runs)}")
        spent = {api: units - before.get(api, 0) for api, units in house.transport.spent.items()}
        assert spent["v2"] + spent["v3"] <= 10 and spent["v3"]
        clock.now += timedelta(hours=25)
    parts = (*runs[-1][0].earlier, runs[-1][0])
    assert len(runs) == len(parts) == -(-len(paths) // 8) > 1
    assert list(paths) == [path for part in parts for path in part.asked]
    assert ({pair.key: (f"run{len(runs)}", True)}, set()) == (kept.index(), kept.unfinished())
    (stored,) = kept.stream([pair.key])
    told = judged(house, [recording.read_recording(stored.document)])
    once = judged(house, [whole[0].redacted()])
    columns = ["field", "scored", "v2_value"]
    assert once.fields[columns].to_dict("records") == told.fields[columns].to_dict("records")
    assert "failed" not in told.verdicts and (True, 0) == (told.complete, told.in_part)
    assert meter.left(pair.vehicle_id) == 10


def test_what_was_read_in_part_is_judged_in_part(hyundai: tuple[House, LinkedVehicle]) -> None:
    """After the first day the rest is told as not asked yet, nothing of it counts as lost, and it is not complete."""
    house, pair = hyundai
    metered(house, Clock())
    found: list[recording.Recording] = []
    record(house, [pair], found)
    told = judged(house, found)
    waiting = told.fields[told.fields["reason"].str.startswith("not requested yet")]
    assert len(waiting) and {"failed"} == set(waiting["verdict"])
    assert not waiting["lost"].any() and not waiting["scored"].any()
    assert (False, 1) == (told.complete, told.in_part)
    assert "1 vehicle was read in part" in told.verdict


def test_a_vehicle_whose_limit_is_used_up_is_left_alone(hyundai: tuple[House, LinkedVehicle]) -> None:
    """No call is sent about it, nothing kept of it is lost, and others are chosen meanwhile."""
    house, pair = hyundai
    meter = metered(house, Clock())
    record(house, [pair], [])
    before, kept = asked_of(house, pair), Recordings(house.ledger).index()
    meter.take(pair.vehicle_id, meter.left(pair.vehicle_id))
    reached = record(house, [pair], [])
    assert (set(), {pair.key}) == (reached.keys, reached.limited)
    assert (before, kept) == (asked_of(house, pair), Recordings(house.ledger).index())
    slice_ = begin(house, SelectionSpec(0))
    assert pair.key in {one.key for one in slice_.choose(pairs(house))}
    assert pair.key not in {one.key for one in slice_.choose(pairs(house), (), meter.used_up())}


def test_what_was_begun_is_finished_first(hyundai: tuple[House, LinkedVehicle]) -> None:
    """Of the next day's vehicles, those that were read in part come before those never tried."""
    house, pair = hyundai
    metered(house, Clock())
    record(house, [pair], [])
    (first,) = begin(house, SelectionSpec(1)).choose(pairs(house))
    assert pair.key == first.key


def test_the_cost_says_it(hyundai: tuple[House, LinkedVehicle]) -> None:
    """Today's units are at most the limit, and the days that the whole takes are told by make."""
    house, pair = hyundai
    owner = owners(house)
    assert {} == recording.days([pair], house.v2, field_map())
    metered(house, Clock())
    units = recording.cost([pair], house.v2, owner, field_map())
    assert (8, 2) == (units["v2"], units["v3"])
    paths, _ = field_map().paths_for(pair.make, pair.powertrain, pair.permissions)
    assert {MAKE: -(-len(paths) // 8)} == recording.days([pair], house.v2, field_map())


def test_an_audit_reads_no_vin_above_the_limit(make_house: Callable[..., House]) -> None:
    """A VIN is a reading of a vehicle like any other: counted, and left for another day where nothing is left."""
    house = make_house(users=40).expand()
    house.ask(["connections"])
    meter = metered(house, Clock())
    cars = {row["vehicle_id"] for row in house.ledger.connections() if row["make"] == MAKE}
    for vehicle_id in cars:
        meter.take(vehicle_id, 10)
    asked = house.ask(["vins"])
    assert len(cars) >= asked.failed["vins"] > 0
    assert not [path for _, _, path in house.sandbox.arrivals if any(f"/{car}/" in path for car in cars)]
