"""The company's names: the sections of `smartcar_ops.toml` and their defaults."""

from __future__ import annotations

import tomllib
from datetime import date

import pytest
from pydantic import ValidationError

from smartcar_ops.settings.layout import Layout, Vault

EVERYTHING = """
[users]
table = "people"
schema = "crm"
id = "person"
email = "mail"
name = "full_name"
smartcar_user_id = "sc_user"
where = "deleted_at IS NULL"

[vehicles]
table = "cars"
schema = "fleet"
id = "car"
user_id = "person"
vin = "chassis"
access_token = "token"
token_created_at = "made"
refresh_token = "refresh"
smartcar_vehicle_id = "sc_car"
smartcar_user_id = "sc_person"
from = "SELECT 1"
where = "sold IS NULL"
open_token = "module:function"
seal_token = "module:way_back"
refresh = true

[health]
query = "SELECT 1"
failed_share = 0.1

[gate]
lost_share = 0.02
min_judged = 0.7

[tolerance]
battery-percent = { absolute = 2 }
odometer = { absolute = 1, relative = 0.01 }

[[waiver]]
field = "oil-life"
make = "FORD"
reason = "known"
owner = "Ann"
expires = 2026-12-31
"""


def read(text: str) -> Layout:
    """The layout from TOML."""
    return Layout.model_validate(tomllib.loads(text))


def test_an_empty_file_gives_the_guides_names():
    """Every key is optional, and the defaults are the guide's names and the contract's gate."""
    layout = read("")
    users, vehicles = layout.users, layout.vehicles
    assert Layout() == layout
    assert ("users", "", "id", "email", "name", "smartcar_user_id", "") == (
        users.table,
        users.schema_,
        users.id,
        users.email,
        users.name,
        users.smartcar_user_id,
        users.where,
    )
    assert ("vehicles", "id", "user_id", "vin", "vehicle_access_token", "token_created_at", "smartcar_vehicle_id") == (
        vehicles.table,
        vehicles.id,
        vehicles.user_id,
        vehicles.vin,
        vehicles.access_token,
        vehicles.token_created_at,
        vehicles.smartcar_vehicle_id,
    )
    assert ("", "", "", "", "", "", "", False) == (
        vehicles.schema_,
        vehicles.smartcar_user_id,
        vehicles.refresh_token,
        vehicles.from_,
        vehicles.where,
        vehicles.open_token,
        vehicles.seal_token,
        vehicles.refresh,
    )
    assert ("", 0.05) == (layout.health.query, layout.health.failed_share)
    assert (0.0, 0.5, {}, ()) == (layout.gate.lost_share, layout.gate.min_judged, layout.tolerance, layout.waiver)


def test_every_key_can_be_set():
    """A file that sets everything is read as it is written, by the file's own names."""
    layout = read(EVERYTHING)
    given = tomllib.loads(EVERYTHING)
    assert given["users"] == layout.users.model_dump(by_alias=True)
    assert given["vehicles"] == layout.vehicles.model_dump(by_alias=True)
    assert given["gate"] == layout.gate.model_dump()
    assert given["health"] == layout.health.model_dump()
    assert {"battery-percent": (2, None), "odometer": (1, 0.01)} == {
        name: (one.absolute, one.relative) for name, one in layout.tolerance.items()
    }
    assert given["waiver"] == [waiver.model_dump() for waiver in layout.waiver]
    assert date(2026, 12, 31) == layout.waiver[0].expires


@pytest.mark.parametrize(
    "text",
    [
        "[user]\n",
        '[users]\nsmartcar_user = "x"\n',
        '[vehicles]\ntoken = "x"\n',
        "[gate]\nlost_share = 1.1\n",
        "[health]\nfailed_share = 2\n",
        "[gate]\nmin_judged = -0.1\n",
        "[gate]\nlost = 0\n",
        "[tolerance]\nodometer = 2\n",
        "[tolerance]\nodometer = { absolute = -1 }\n",
        "[tolerance]\nodometer = { absolut = 1 }\n",
        "[[waiver]]\nfield = 'x'\nreason = 'y'\nexpires = 2026-12-31\n",
        "[[waiver]]\nfield = 'x'\nowner = 'y'\nexpires = 2026-12-31\n",
        "[[waiver]]\nfield = 'x'\nowner = 'y'\nreason = 'z'\n",
        "[[waiver]]\nfield = 'x'\nowner = 'y'\nreason = 'z'\nexpires = 'soon'\n",
        "[vehicles]\nrefresh = 'perhaps'\n",
        "users = 'x'\n",
    ],
)
def test_what_is_misspelt_or_out_of_bounds_is_refused(text):
    """A key nothing reads, a share beyond 0 to 1, a waiver without reason, owner or end: refused, not ignored."""
    with pytest.raises(ValidationError):
        read(text)


def test_a_layout_does_not_change():
    """Nobody changes a name once it is read."""
    with pytest.raises(ValidationError, match="frozen"):
        Layout().users.table = "other"  # type: ignore[misc]


def fails(token: object) -> str:
    """A company's function that fails, and talks."""
    raise ValueError(f"can't read {token}")


@pytest.mark.parametrize("function", [fails, lambda _: None, lambda _: b"bytes", lambda _: " ", lambda _: 7])
def test_what_can_not_be_opened_is_no_token(function):
    """A function that fails or gives no text leaves no usable token, and nothing is raised."""
    assert Vault(function).opened("stored") is None


@pytest.mark.parametrize("function", [fails, lambda _: None, lambda _: "", lambda _: b"", lambda _: 7])
def test_what_can_not_be_sealed_is_not_stored(function):
    """A function that fails or gives neither text nor bytes leaves nothing to store."""
    assert Vault(str, function).sealed("usable") is None


def test_a_vault_opens_and_seals():
    """Text and bytes are opened to text and sealed to either; without functions a token stays as it is."""
    vault = Vault(lambda stored: bytes(stored).decode()[::-1], lambda token: token[::-1].encode())
    assert ("usable", b"elbasu") == (vault.opened(b"elbasu"), vault.sealed("usable"))
    assert ("usable", "usable", None) == (Vault().opened("usable"), Vault().sealed("usable"), Vault().opened(b"x"))


def test_a_vault_shows_nothing():
    """The functions, which may hold keys, are in no repr."""
    assert "Vault()" == repr(Vault(fails, fails))
