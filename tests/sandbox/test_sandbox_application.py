"""The pretend company's database: the schema before the move, and its own Connect callback."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from smartcar_ops.sandbox.company import create_database, play_connect_callbacks


@pytest.fixture
def url(world, tmp_path):
    """A database as it is before the move."""
    made = f"sqlite:///{tmp_path}/company.sqlite"
    create_database(made, world)
    return made


def rows(url, sql):
    """Run one statement; the rows it returns."""
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        result = connection.execute(sa.text(sql))
        found = result.mappings().all() if result.returns_rows else []
    engine.dispose()
    return found


def test_before_schema(url):
    """The tables have the guide's columns and no Smartcar id."""
    inspector = sa.inspect(sa.create_engine(url))
    users = [column["name"] for column in inspector.get_columns("users")]
    vehicles = [column["name"] for column in inspector.get_columns("vehicles")]
    assert ["id", "email", "name", "created_at"] == users
    assert ["id", "user_id", "vin", "vehicle_access_token", "token_created_at"] == vehicles


def test_a_company_that_keeps_refresh_tokens(world, tmp_path):
    """On request `vehicles` has a column with each row's refresh token, and vehicles that share a token share it."""
    made = f"sqlite:///{tmp_path}/refreshing.sqlite"
    create_database(made, world, refresh_tokens=True)
    found = rows(made, "SELECT id, vehicle_access_token, vehicle_refresh_token FROM vehicles")
    expected = {v.id: world.tokens[v.token].refresh_token for v in world.vehicles}
    assert expected == {row["id"]: row["vehicle_refresh_token"] for row in found}
    pairs = {(row["vehicle_access_token"], row["vehicle_refresh_token"]) for row in found}
    assert len(pairs) == len({access for access, _ in pairs}) == len({refresh for _, refresh in pairs})


def test_rows_are_the_worlds(url, world):
    """Every user and vehicle is a row; token times are naive UTC."""
    assert len(world.users) == len(rows(url, "SELECT id FROM users"))
    found = {row["id"]: row for row in rows(url, "SELECT * FROM vehicles")}
    for vehicle in world.vehicles:
        row = found[vehicle.id]
        created = vehicle.token_created_at.replace(tzinfo=None).isoformat(" ")
        assert (vehicle.user_id, vehicle.vin, vehicle.token) == (
            row["user_id"],
            row["vin"],
            row["vehicle_access_token"],
        )
        assert created == row["token_created_at"].removesuffix(".000000")


def test_personas_have_the_rows_they_are_told_by(world):
    """VINs, shared tokens and token ages are those of each persona."""
    by_persona = {}
    for user in world.users:
        by_persona.setdefault(user.persona, []).append(user)
    young = timedelta(hours=2)
    ages = {v.id: world.now - v.token_created_at for v in world.vehicles}
    assert all(v.vin is None for u in by_persona["external_id"] + by_persona["silent_token"] for v in u.vehicles)
    assert all(1 == len({v.token for v in u.vehicles}) < len(u.vehicles) for u in by_persona["one_token"])
    for persona in ("token_alive", "two_ids_token", "previous_owner", "revoked_token", "silent_token"):
        assert all(ages[v.id] < young for u in by_persona[persona] for v in u.vehicles), persona
    for persona in ("vin_only", "blank", "couple", "two_ids_vin", "family_car", "lapsed", "gone"):
        assert all(ages[v.id] > young for u in by_persona[persona] for v in u.vehicles), persona
    assert not [v for u in by_persona["no_vehicles"] + by_persona["walk_in"] for v in u.vehicles]


def test_callbacks_store_what_each_persona_stores(url, world):
    """Exactly the users whose callback stores something are written, upper case, blanks and rubbish included."""
    rows(url, "ALTER TABLE users ADD COLUMN smartcar_user_id VARCHAR(255)")
    stored = {user.id: user.stores for user in world.users if user.stores is not None}
    assert len(stored) == play_connect_callbacks(url, world)
    found = rows(url, "SELECT id, smartcar_user_id FROM users WHERE smartcar_user_id IS NOT NULL")
    assert stored == {row["id"]: row["smartcar_user_id"] for row in found}
    assert {"", "undefined"} <= set(stored.values())
    assert any(text != text.strip() for text in stored.values())
    assert any(text != text.lower() for text in stored.values())


def test_callbacks_need_the_column(url, world):
    """Before expand there is nowhere to store the id."""
    with pytest.raises(LookupError, match="no column smartcar_user_id"):
        play_connect_callbacks(url, world)


def test_a_second_database_is_refused(url, world):
    """The database must be empty: nothing is overwritten."""
    with pytest.raises(sa.exc.SQLAlchemyError):
        create_database(url, world)
