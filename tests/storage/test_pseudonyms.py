"""Tables with pseudonyms: the same id is the same word everywhere, and no id can be found in them."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import smartcar_ops
from smartcar_ops import notebook_runs
from smartcar_ops.errors import SettingsError, SmartcarOpsError
from smartcar_ops.storage import columns, pseudonyms
from smartcar_ops.text import UUID
from tests.support.house import House

USER, CAR = "cust-4711", "car-0815"
PERSON, VEHICLE = "f3a1e8a4-0000-4000-8000-00000000000a", "36ab27d0-fd9d-4455-823a-ce30af709ffc"
IDS = st.sampled_from([USER, CAR, PERSON, VEHICLE, PERSON.upper(), f" {VEHICLE} "])


def write(reports: Path, name: str, **tables: dict[str, list[Any]]) -> Path:
    """A run's folder with these tables."""
    folder = reports / name
    folder.mkdir(parents=True)
    run = {"notebook": "x", "parameters": {"vehicle_id": VEHICLE, "undo": f"run:1:{USER}", "max_calls": 3}}
    (folder / "run.json").write_text(json.dumps(run))
    (folder / "summary.json").write_text(json.dumps({"verdict": f"About {PERSON}.", "names": {VEHICLE: [PERSON, 1]}}))
    for table, content in tables.items():
        pd.DataFrame(content).to_parquet(folder / f"{table}.parquet", index=False)
    return folder


def everything(bundle: Any) -> str:
    """All that a bundle shows, as one text."""
    tables = "\n".join(bundle[name].to_csv() for name in bundle)
    return json.dumps([bundle.summary, bundle.run]) + tables


def test_an_id_has_the_same_pseudonym_in_every_table_and_run(tmp_path: Path) -> None:
    """Whatever the column, its case and blanks; a user and a vehicle with the same id of yours are told apart."""
    write(
        tmp_path,
        "one",
        users={"user_id": [USER, "7"], "smartcar_user_id": [PERSON, None], "bucket": ["mapped", "ready"]},
        plan={
            "table": ["users", "vehicles"],
            "row_id": [USER, USER],
            "user_id": [USER, USER],
            "current": [f" {PERSON.upper()}", VEHICLE],
            "evidence": [f"{PERSON} (tokens, vins)", ""],
            "reason": ["Ada chose: cust-4711 called", "x"],
        },
    )
    write(
        tmp_path,
        "two",
        unanswered={"source": ["tokens", "vins", "connections"], "subject": [CAR, VEHICLE, "*"]},
        fields={"local_vehicle_id": [CAR], "vehicle_id": [VEHICLE], "v2_value": [f'["{VEHICLE}"]']},
    )
    one, two = (smartcar_ops.load(tmp_path / name, pseudonyms=True) for name in ("one", "two"))
    user, person = one["users"].loc[0, ["user_id", "smartcar_user_id"]]
    assert re.fullmatch("user-[0-9a-f]{20}", user) and re.fullmatch("smartcar-[0-9a-f]{20}", person)
    assert [user, person, "mapped"] == one["users"].loc[0].tolist()
    first, second = one["plan"].to_dict("records")
    assert {"table": "users", "row_id": user, "user_id": user, "current": person} == {
        name: first[name] for name in ("table", "row_id", "user_id", "current")
    }
    assert (f"{person} (tokens, vins)", True) == (first["evidence"], pd.isna(first["reason"]))
    assert second["row_id"].startswith("vehicle-") and second["row_id"][8:] != user[5:]
    car, vehicle = two["fields"].loc[0, ["local_vehicle_id", "vehicle_id"]]
    assert [car, vehicle, "*"] == two["unanswered"]["subject"].tolist()
    assert (f'["{vehicle}"]', second["current"]) == (two["fields"].at[0, "v2_value"], vehicle)
    assert f"About {person}." == one.summary["verdict"] and [person, 1] == one.summary["names"][vehicle]
    assert {"vehicle_id": None, "undo": None, "max_calls": 3} == one.run["parameters"]


@given(st.data())
@settings(deadline=None)
def test_no_id_is_left_anywhere(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Whichever ids the columns of all tables hold where ids or texts may stand, none occurs in the result."""
    reports, tables = tmp_path_factory.mktemp("reports"), dict[str, dict[str, list[Any]]]()
    for name, table in columns.tables().items():
        tables[name] = {}
        for column, meaning in table.columns.items():
            if meaning.owner:
                tables[name][column] = [data.draw(IDS)]
            elif meaning.free_text:
                tables[name][column] = [f"a {data.draw(IDS)}, b"]
            elif meaning.type == "text":
                tables[name][column] = [f"{data.draw(st.sampled_from([PERSON, VEHICLE]))} (tokens)"]
    tables["of your own"] = {"user": [USER], "note": [f"{CAR} and {PERSON}"]}
    shown = everything(smartcar_ops.load(write(reports, "run", **tables), pseudonyms=True)).lower()
    assert [] == [id for id in (USER, CAR, PERSON, VEHICLE) if id in shown]


@pytest.mark.usefixtures("without_kernel")
def test_a_real_run_keeps_its_counts_and_no_id(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Audit and plan of a company: decisions count the same, no UUID is left, users are joined as before."""
    monkeypatch.chdir(house.root)
    for name, value in house.environment.items():
        monkeypatch.setenv(name, value)
    for notebook in ("20", "30"):
        folder = notebook_runs.run(notebook).folder
        assert folder
        plain, safe = smartcar_ops.load(folder), smartcar_ops.load(folder, pseudonyms=True)
        assert list(plain) == list(safe)
        for table in plain:
            assert plain[table].shape == safe[table].shape
            assert list(plain[table].columns) == list(safe[table].columns)
        assert [] == UUID.findall(everything(safe))
    assert plain["plan"]["decision"].value_counts().to_dict() == safe["plan"]["decision"].value_counts().to_dict()
    assert plain["plan"]["user_id"].nunique() == safe["plan"]["user_id"].nunique()


def test_the_key_is_made_once_and_is_its_owners_alone(tmp_path: Path) -> None:
    """Many processes at once get one key, 0600; another reports folder has another one."""
    with ThreadPoolExecutor(8) as executor:
        found = {one.pseudonym("user", "1") for one in executor.map(pseudonyms.beside, [tmp_path] * 40)}
    assert 1 == len(found)
    assert [".pseudonym-key"] == [path.name for path in tmp_path.iterdir()]
    assert 0o600 == (tmp_path / ".pseudonym-key").stat().st_mode & 0o777
    (tmp_path / "other").mkdir()
    assert found.isdisjoint({pseudonyms.beside(tmp_path / "other").pseudonym("user", "1")})


@pytest.mark.parametrize("text", ["", "12ab", "g" * 64, "é"])
def test_what_is_no_key_is_refused(tmp_path: Path, text: str) -> None:
    """A damaged key would silently give other pseudonyms: exit 5, with what to do."""
    (tmp_path / ".pseudonym-key").write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match="is not a key of pseudonyms; expected 64 hexadecimal digits"):
        pseudonyms.beside(tmp_path)


def test_a_key_that_can_not_be_written_is_a_sentence(tmp_path: Path) -> None:
    """Exit 2 with the file and the reason."""
    with pytest.raises(SmartcarOpsError, match=r"pseudonym-key, .* can't be written or read \(No such") as raised:
        pseudonyms.beside(tmp_path / "gone")
    assert 2 == raised.value.exit_code
