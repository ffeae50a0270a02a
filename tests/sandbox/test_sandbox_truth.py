"""The world and its truth: they add up, repeat themselves, and are what HTTP and SQL really show."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from smartcar_ops.sandbox.company import create_database, play_connect_callbacks
from smartcar_ops.sandbox.differences.fields import COMPARED, fields_told
from smartcar_ops.sandbox.differences.plant import HARMLESS_KINDS, TRUE_KINDS
from smartcar_ops.sandbox.fleet.catalogue import MODELS, check_digit
from smartcar_ops.sandbox.fleet.personas import PERSONAS
from smartcar_ops.sandbox.truth import tell_truth
from smartcar_ops.sandbox.world import build_world
from tests.sandbox.sandbox_auditor import Auditor
from tests.sandbox.sandbox_comparer import compare

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
HARMLESS = {"equal", "converted", "within_tolerance", "not_capable"}
LOST = {"mismatch", "v2_only", "not_permitted"}
LEFT = HARMLESS | {"stale", "moved", "cached_error", "unavailable", "v3_only", "not_permitted"}
ADD_COLUMN = "ALTER TABLE users ADD COLUMN smartcar_user_id VARCHAR(255)"


def run_sql(url, sql, rows=None):
    """Run one statement for every row."""
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text(sql), rows)
    engine.dispose()


def test_same_arguments_same_truth():
    """The same users, seed and moment give the same truth and the same tokens."""
    one, two = build_world(60, 3, NOW), build_world(60, 3, NOW)
    assert tell_truth(one) == tell_truth(two)
    assert one.tokens == two.tokens


def test_other_seed_other_truth():
    """Another seed gives other people and cars."""
    assert tell_truth(build_world(60, 3, NOW)) != tell_truth(build_world(60, 4, NOW))


@pytest.mark.parametrize("users", [40, 300, pytest.param(1000, marks=pytest.mark.slow)])
def test_truth_adds_up(users):
    """Every user is in one bucket of each state, every bucket and persona occurs, ids are unique."""
    told = tell_truth(build_world(users, 1, NOW))
    assert users == len({user["user_id"] for user in told["users"]})
    for state in ("before", "after", "uncalled"):
        assert users == sum(told["buckets"][state].values())
    assert all(told["buckets"]["before"].values())
    assert {persona.name for persona in PERSONAS} == {user["persona"] for user in told["users"]}
    ids = [vehicle["local_vehicle_id"] for vehicle in told["vehicles"]]
    assert len(ids) == len(set(ids))


def test_shares_are_about_those_asked_for():
    """At 1,000 users each persona has its share within one instance, and a user has about 1.4 cars."""
    world = build_world(1000, 1, NOW)
    counts = Counter(user.persona for user in world.users)
    whole = sum(persona.share for persona in PERSONAS)
    for persona in PERSONAS:
        assert 1000 * persona.share / whole == pytest.approx(counts[persona.name], abs=2)
    assert 1.4 == pytest.approx(len(world.vehicles) / 1000, abs=0.1)


def comparable(world):
    """The cars a correct backfill links and V2 answers for."""
    linked = {v["local_vehicle_id"] for v in tell_truth(world)["vehicles"] if v["expected_smartcar_vehicle_id"]}
    return [v.car for v in world.vehicles if v.token_alive and str(v.id) in linked]


@pytest.mark.parametrize("users", [150, 300, pytest.param(1000, marks=pytest.mark.slow)])
def test_known_share_of_differences(users):
    """About 3% of the pairs differ truly and 10% harmlessly, each kind at least once, every field among them."""
    world = build_world(users, 1, NOW)
    pairs = sum(len(fields_told(car)) for car in comparable(world))
    counts = Counter(difference.planted for difference in world.differences)
    assert 0.03 == pytest.approx(counts[True] / pairs, abs=0.005)
    assert 0.1 == pytest.approx(counts[False] / pairs, abs=0.02)
    kinds = {difference.kind for difference in world.differences}
    assert {kind.name for kind in (*TRUE_KINDS, *HARMLESS_KINDS)} == kinds
    assert set(COMPARED) == {difference.field for difference in world.differences}


def test_differences_are_spread():
    """True and harmless ones strike every make; one car in six or so is left as it is."""
    world = build_world(300, 1, NOW)
    for planted in (True, False):
        struck = {d.vehicle.car.v3["vehicle-make"].value.upper() for d in world.differences if d.planted is planted}
        assert {model.make for model in MODELS} == struck
    cars = {car.id for car in comparable(world)}
    calm = cars - {d.vehicle.car.id for d in world.differences}
    assert 1 / 6 == pytest.approx(len(calm) / len(cars), abs=0.07)


def test_a_pair_is_struck_once():
    """No (car, field) has two verdicts, and all have one the contract knows."""
    world = build_world(1000, 1, NOW)
    pairs = Counter((d.vehicle.id, d.field) for d in world.differences)
    assert {1} == set(pairs.values())
    assert {True: LOST, False: LEFT} == {
        planted: {d.expected for d in world.differences if d.planted is planted} for planted in (True, False)
    }


def test_nothing_differs_but_what_was_planted():
    """Of every car and field both versions tell the same value, unless a difference was planted there."""
    world = build_world(200, 1, NOW)
    planted = {(d.vehicle.car.id, part) for d in world.differences for part in COMPARED[d.field].parts}
    for car in world.cars.values():
        assert car.v2.keys() == car.v3.keys()
        for name in car.v2.keys() - {part for owner, part in planted if owner == car.id}:
            v2, v3 = car.v2[name], car.v3[name]
            assert (v2.value, v2.status, v2.members) == (v3.value, v3.status, v3.members), name


def test_the_equipment_is_the_cars_own():
    """The same car has the same tires and place whoever was built before it."""
    one, two = build_world(60, 3, NOW), build_world(60, 3, NOW)
    for car_id, car in one.cars.items():
        assert (car.v2, car.v3) == (two.cars[car_id].v2, two.cars[car_id].v3)


def test_vins_are_plausible():
    """17 characters without I, O and Q, and a right check digit."""
    for car in build_world(100, 0, NOW).cars.values():
        assert 17 == len(car.vin)
        assert not set(car.vin) & set("IOQ")
        assert car.vin[8] == check_digit(car.vin)


def test_naive_now_and_no_users_are_refused():
    """A moment without a zone and a world without users are ValueErrors naming the value."""
    with pytest.raises(ValueError, match="without a time zone"):
        build_world(40, 0, datetime(2026, 1, 1))
    with pytest.raises(ValueError, match="users is 0"):
        build_world(0)


def test_an_independent_audit_finds_the_truth(client, app, world, tmp_path):
    """Asked over HTTP and SQL alone, every user lands in its bucket: uncalled, before and after a backfill."""
    url = f"sqlite:///{tmp_path}/company.sqlite"
    create_database(url, world)
    told = {user["user_id"]: user for user in tell_truth(world)["users"]}
    auditor = Auditor(client, app, url)

    uncalled = auditor.buckets()
    assert {key: user["bucket_uncalled"] for key, user in told.items()} == names(uncalled)

    run_sql(url, ADD_COLUMN)
    play_connect_callbacks(url, world)
    before = auditor.buckets()
    assert {key: user["bucket"] for key, user in told.items()} == names(before)

    ready = {key: held for key, (bucket, held) in before.items() if bucket == "ready"}
    assert {key: told[key]["smartcar_user_id"] for key in ready} == ready
    change = "UPDATE users SET smartcar_user_id = :held WHERE id = :key"
    run_sql(url, change, [{"key": int(key), "held": held} for key, held in ready.items()])
    assert {key: user["bucket_after"] for key, user in told.items()} == names(auditor.buckets())
    auditor.engine.dispose()


def names(found):
    """User id -> bucket."""
    return {key: bucket for key, (bucket, _) in found.items()}


def test_ties_are_the_expected_vehicle_ids(client, app, world, tmp_path):
    """Each vehicle that a backfill may link is tied to just the id the truth expects."""
    url = f"sqlite:///{tmp_path}/company.sqlite"
    create_database(url, world)
    auditor = Auditor(client, app, url)
    auditor.engine.dispose()
    for vehicle in tell_truth(world)["vehicles"]:
        if vehicle["expected_smartcar_vehicle_id"]:
            assert vehicle["expected_smartcar_vehicle_id"] == auditor.ties[int(vehicle["local_vehicle_id"])]


def test_an_independent_comparison_finds_the_differences(client, app, world):
    """Every (car, field) pair gets the verdict the truth expects, and all others are alike or have no value."""
    told = tell_truth(world)
    differences = [d for d in told["differences"] if d["kind"] != "previous-owner"]  # of cars that are not linked
    expected = {(d["local_vehicle_id"], d["field"]): (d["kind"], d["expected"]) for d in differences}
    owners = {user.id: user for user in world.users}
    seen = {}
    for vehicle in told["vehicles"]:
        if not (vehicle["token_alive"] and vehicle["expected_smartcar_vehicle_id"]):
            continue
        row = next(v for v in world.vehicles if str(v.id) == vehicle["local_vehicle_id"])
        user = owners[row.user_id].smartcar_user_id
        for name, verdict in compare(client, app, row.car.id, user, row.token).items():
            seen[vehicle["local_vehicle_id"], name] = verdict
    assert expected == {key: (kind, seen.get(key)) for key, (kind, _) in expected.items()}
    assert {} == {key: verdict for key, verdict in seen.items() if key not in expected and verdict not in HARMLESS}
