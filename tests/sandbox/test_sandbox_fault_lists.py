"""The faults of V3's lists, envelope and access, as they are on the wire."""

from __future__ import annotations

from smartcar_ops.sandbox.api.v3.routes import is_listed_only
from smartcar_ops.sandbox.faults.id_slips import NIL, is_nobody, names_two
from smartcar_ops.sandbox.fleet.model import LIVE


def test_unknown_filter(play, newest):
    """Ignored in the normal case; under unknown-filter-400 the guide's filter[user_id] is 400 VALIDATION."""
    normal = play().v3("/connections", filter__user_id=newest.user_id)
    assert (200, True) == (normal.status_code, normal.json()["meta"]["totalCount"] > 1)
    faulty = play("unknown-filter-400")
    error = faulty.v3("/connections", filter__user_id=newest.user_id).json()["errors"][0]
    assert ("400", "VALIDATION") == (error["status"], error["type"])
    assert 200 == faulty.v3("/connections", filter__userId=newest.user_id).status_code


def test_mode_default_live(play, world):
    """Without a mode filter only live connections are listed, and the links say so."""
    page = play("mode-default-live").v3("/connections").json()
    assert sum(c.mode == LIVE for c in world.connections) == page["meta"]["totalCount"]
    assert "filter%5Bvehicle.mode%5D=live" in page["links"]["self"]


def test_page_max_50(play):
    """A larger size is clamped to 50."""
    page = play("page-max-50").v3("/connections", page__size=100).json()
    assert (50, 50) == (page["meta"]["pageSize"], len(page["data"]))


def test_empty_page_size_zero(play):
    """An empty list reports a page size of 0; one with rows does not."""
    caller = play("empty-page-size-zero")
    assert 0 == caller.v3("/connections", filter__userId="nobody").json()["meta"]["pageSize"]
    assert 10 == caller.v3("/connections").json()["meta"]["pageSize"]


def test_no_user_attribute(play, newest):
    """The user is under relationships alone."""
    caller = play("no-user-attribute")
    row = caller.v3("/connections", filter__userId=newest.user_id).json()["data"][0]
    assert "user" not in row["attributes"]
    assert newest.user_id == row["relationships"]["user"]["data"]["id"]


def test_next_relative(play):
    """Links are paths; the next one leads on when joined to the host."""
    caller = play("next-relative")
    first = caller.v3("/connections").json()
    assert first["links"]["next"].startswith("/v3/connections?page%5Bnumber%5D=2&")
    second = caller.http.get(first["links"]["next"], headers=caller.app).json()
    assert 2 == second["meta"]["pageNumber"]


def test_next_other_host(play):
    """The next link alone names another host, and is null at the end."""
    caller = play("next-other-host")
    links = caller.v3("/connections").json()["links"]
    assert links["next"].startswith("http://other.invalid/v3/connections?")
    assert links["self"].startswith(caller.sandbox.url)
    assert caller.v3("/connections", page__number=99).json()["links"]["next"] is None


def test_old_envelope(play, newest):
    """meta.page, links.previous, relative links; single resources stand bare."""
    caller = play("old-envelope")
    page = caller.v3("/connections", page__number=2).json()
    assert 2 == page["meta"]["page"]
    assert "pageNumber" not in page["meta"]
    assert "prev" not in page["links"]
    assert page["links"]["previous"].startswith("/v3/connections?")
    vehicle = caller.v3(f"/vehicles/{newest.vehicle_id}").json()
    assert (newest.vehicle_id, "vehicle") == (vehicle["id"], vehicle["type"])
    path = f"/vehicles/{newest.vehicle_id}/signals/vehicleidentification-vin"
    assert "vehicleidentification-vin" == caller.v3(path, newest.user_id).json()["id"]
    assert newest.id == caller.v3(f"/connections/{newest.id}").json()["id"]


def test_listed_but_404(play, world):
    """About one connected vehicle in eight is listed and 404 all the same; the predicate says which."""
    caller = play("listed-but-404")
    live = [c for c in world.connections if c.mode == LIVE]
    lost = [c for c in live if is_listed_only(c.vehicle_id)]
    assert 0.04 < len(lost) / len(live) < 0.25
    for connection in lost[:3]:
        assert 1 <= caller.v3("/connections", filter__vehicleId=connection.vehicle_id).json()["meta"]["totalCount"]
        error = caller.v3(f"/vehicles/{connection.vehicle_id}").json()["errors"][0]
        assert ("404", "VEHICLE_NOT_FOUND") == (error["status"], error["code"])
        assert 404 == caller.signals(connection).status_code
    found = next(c for c in live if not is_listed_only(c.vehicle_id))
    assert 200 == caller.signals(found).status_code


def test_wrong_user_403(play, newest):
    """Another user's id is 403 ACCESS_DENIED instead of 404."""
    answer = play("wrong-user-403").v3(f"/vehicles/{newest.vehicle_id}/signals", "somebody-else")
    error = answer.json()["errors"][0]
    assert (403, "AUTHENTICATION", "ACCESS_DENIED") == (answer.status_code, error["type"], error["code"])


def test_missing_user_accepted(play, newest):
    """Signals answer without sc-user-id; a wrong one is still refused."""
    caller = play("missing-user-accepted")
    path = f"/vehicles/{newest.vehicle_id}/signals"
    assert 200 == caller.v3(path).status_code
    assert 404 == caller.v3(path, "somebody-else").status_code


def test_user_token_on_v3(play, world):
    """A living V2 token is 401 on V3 in the normal case and accepted under the fault; a dead one never."""
    living = next(v for v in world.vehicles if v.token_alive and v.tied)
    dead = next(v for v in world.vehicles if not v.token_alive)

    def status(caller, vehicle):
        headers = {"authorization": f"Bearer {vehicle.token}"}
        return caller.http.get("/v3/connections", headers=headers).status_code

    assert 401 == status(play(), living)
    faulty = play("user-token-on-v3")
    assert (200, 401) == (status(faulty, living), status(faulty, dead))


def test_flat_errors(play):
    """V3's errors have V2's shape, those of other faults too."""
    caller = play("flat-errors", "server-500")
    body = caller.v3("/vehicles/nothing").json()
    assert ("RESOURCE_NOT_FOUND", "VEHICLE_NOT_FOUND", 404) == (body["type"], body["code"], body["statusCode"])
    assert "INVALID_PATH" == caller.v3("/nothing").json()["code"]
    failed = [caller.v3("/connections") for _ in range(3)][-1]
    assert (500, 500) == (failed.status_code, failed.json()["statusCode"])


def test_ids_undefined(play, world):
    """About one person in four is no id in both lists; the others are who they are."""
    rows = play("ids-undefined").v3("/connections", page__size=100).json()["data"]
    told = [row["relationships"]["user"]["data"]["id"] for row in rows]
    assert told == [row["attributes"]["user"]["id"] for row in rows]
    nobody = {"undefined", NIL}
    assert nobody <= set(told)
    assert 0.1 < sum(id in nobody for id in told) / len(told) < 0.4
    assert [id for id in told if id not in nobody] == [
        c.user_id for c in world.connections[:100] if not is_nobody(c.user_id)
    ]


def test_rows_without_mode(play):
    """No row tells its mode, and the filter is obeyed all the same."""
    page = play("rows-without-mode").v3("/connections", filter__vehicle__mode="live").json()
    assert [] == [row for row in page["data"] if "mode" in row["attributes"]["vehicle"]]
    assert 0 < page["meta"]["totalCount"]


def test_two_users_in_a_row(play, world):
    """About one connection in eight names somebody else under attributes."""
    rows = play("two-users-in-a-row").v3("/connections", page__size=100).json()["data"]
    differ = {
        row["id"] for row in rows if row["attributes"]["user"]["id"] != row["relationships"]["user"]["data"]["id"]
    }
    assert differ == {c.id for c in world.connections[:100] if names_two(c)}
    assert 0 < len(differ) < 30


def test_two_external_ids(play, world):
    """A connection with the company's own id is there twice, the second time with its last user's."""
    named = [c for c in world.connections if c.external_id is not None]
    page = play("two-external-ids").v3("/connections", filter__userId=named[0].user_id).json()
    told = [row["attributes"]["user"]["externalId"] for row in page["data"]]
    assert [named[0].external_id, str(world.users[-1].id)] == told[:2]
    assert len(told) == page["meta"]["totalCount"]
