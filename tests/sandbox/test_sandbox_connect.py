"""Connect's redirects and V2's tokens, with an injected clock."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import parse_qsl, urlsplit

import pytest

from smartcar_ops.sandbox.api.state import utc_now
from smartcar_ops.sandbox.fleet.model import LIVE, SIMULATED

BACK = "https://app.example.org/back"


def ask(caller, path="authorize", **query):
    """What Connect answers to a launch; right but for what is given."""
    known = caller.sandbox.world.credentials
    asked = {"client_id": known.application_id, "redirect_uri": BACK, "response_type": "code", "state": "s-1", **query}
    return caller.http.get(f"/oauth/{path}", params={k: v for k, v in asked.items() if v is not None})


def sent_back(answer):
    """The parameters of a redirect."""
    assert 302 == answer.status_code
    return dict(parse_qsl(urlsplit(answer.headers["location"]).query))


def tokens(caller, secret=None, **form):
    """What the V2 token endpoint answers."""
    known = caller.sandbox.world.credentials
    return caller.http.post("/oauth/token", data=form, auth=(known.application_id, secret or known.v2_client_secret))


def exchange(caller, **query):
    """The first tokens of a person who said yes."""
    code = sent_back(ask(caller, **query))["code"]
    return tokens(caller, grant_type="authorization_code", code=code, redirect_uri=BACK).json()


def test_a_person_who_says_yes(play, newest):
    """The redirect has user_id, code, state and external_id, at the URI asked for."""
    caller = play()
    answer = ask(caller, external_id="my-17")
    assert answer.headers["location"].startswith(f"{BACK}?")
    found = sent_back(answer)
    assert {"user_id", "code", "state", "external_id"} == set(found) - {"virtual_key_url"}
    assert (newest.user_id, "s-1", "my-17") == (found["user_id"], found["state"], found["external_id"])
    listed = caller.v3("/connections", filter__user__externalId="my-17").json()["data"]
    assert {newest.user_id} == {row["attributes"]["user"]["id"] for row in listed}
    ask(caller, external_id="null")
    assert 0 == caller.v3("/connections", filter__user__externalId="my-17").json()["meta"]["totalCount"]


def test_which_person_and_which_mode(play, world):
    """pretend_user chooses the person; mode=simulated takes one with a simulated car; a stranger is a 400 page."""
    caller = play()
    live = [c for c in world.connections if c.mode == LIVE]
    assert live[5].user_id == sent_back(ask(caller, pretend_user=live[5].user_id))["user_id"]
    simulated = {c.user_id for c in world.connections if c.mode == SIMULATED}
    assert sent_back(ask(caller, mode="simulated"))["user_id"] in simulated
    assert 400 == ask(caller, pretend_user="nobody").status_code


def test_application_id_and_no_code(play):
    """application_id is taken for client_id; without response_type=code there is no code."""
    caller = play()
    own = caller.sandbox.world.credentials.application_id
    found = sent_back(ask(caller, client_id=None, application_id=own, response_type=None))
    assert "code" not in found
    assert "user_id" in found


def test_a_wrong_client_id(play):
    """The V3 client id is an HTML page saying 400, as is none at all; markup in it is escaped."""
    caller = play()
    v3 = caller.sandbox.world.credentials.client_id
    answer = ask(caller, client_id=v3)
    assert (400, True) == (answer.status_code, answer.headers["content-type"].startswith("text/html"))
    assert f"400: Invalid parameter client_id: {v3}" in answer.text
    assert "<script>" not in ask(caller, client_id="<script>").text
    assert 400 == ask(caller, redirect_uri="javascript:alert(1)").status_code


@pytest.mark.parametrize(
    ("error", "more"),
    [
        ("access_denied", set()),
        ("no_vehicles", set()),
        ("configuration_error", {"status_code", "error_message"}),
        ("vehicle_incompatible", {"vin", "make", "year"}),
    ],
)
def test_errors(play, error, more):
    """A person who says no, or whose car cannot, is an error redirect with a description and the state."""
    found = sent_back(ask(play(), pretend_error=error))
    assert error == found["error"]
    assert {"error", "error_description", "state"} | more == set(found)


def test_reauthentication(play, newest):
    """It sends back the vehicle id and no user id; an unknown vehicle is a 400 page."""
    caller = play()
    found = sent_back(ask(caller, "reauthenticate", response_type="vehicle_id", vehicle_id=newest.vehicle_id))
    assert {"vehicle_id": newest.vehicle_id, "state": "s-1"} == found
    assert 400 == ask(caller, "reauthenticate", vehicle_id="x").status_code


def test_redirect_faults(play, newest):
    """userId alone, both with different ids, no code."""
    assert newest.user_id == sent_back(ask(play("redirect-userId")))["userId"]
    assert "user_id" not in sent_back(ask(play("redirect-userId")))
    both = sent_back(ask(play("redirect-both")))
    assert newest.user_id == both["user_id"] != both["userId"]
    assert "code" not in sent_back(ask(play("redirect-no-code")))


def test_a_code_works_once_and_for_ten_minutes(play, world):
    """The tokens open the person's cars; a second use, another redirect_uri and a late one are invalid_grant."""
    moments = [utc_now()]
    caller = play(clock=lambda: moments[-1])
    found = sent_back(ask(caller))
    grant = {"grant_type": "authorization_code", "code": found["code"]}
    wrong = tokens(caller, **grant, redirect_uri="https://elsewhere.example")
    assert (400, "invalid_grant") == (wrong.status_code, wrong.json()["error"])
    good = tokens(caller, **grant, redirect_uri=BACK).json()
    assert ("Bearer", 7200) == (good["token_type"], good["expires_in"])
    assert found["user_id"] == caller.v2("/user", good["access_token"]).json()["id"]
    cars = {c.vehicle_id for c in world.connections if c.user_id == found["user_id"] and c.mode == LIVE}
    assert cars == set(caller.v2("/vehicles", good["access_token"]).json()["vehicles"])
    assert "invalid_grant" == tokens(caller, **grant, redirect_uri=BACK).json()["error"]
    late = sent_back(ask(caller))["code"]
    moments.append(moments[0] + timedelta(minutes=10))
    assert "invalid_grant" == tokens(caller, grant_type="authorization_code", code=late).json()["error"]


def test_access_tokens_die_after_two_hours(play):
    """A token issued while it runs is 401 two hours on by the clock."""
    moments = [utc_now()]
    caller = play(clock=lambda: moments[-1])
    token = exchange(caller)["access_token"]
    assert 200 == caller.v2("/user", token).status_code
    moments.append(moments[0] + timedelta(hours=2))
    assert 401 == caller.v2("/user", token).status_code


@pytest.mark.parametrize(("faults", "grace"), [((), 600), (("refresh-grace-60",), 60)])
def test_rotation(play, faults, grace):
    """A used refresh token gives another new pair within the grace and nothing after it; the new one works on."""
    moments = [utc_now()]
    caller = play(*faults, clock=lambda: moments[-1])
    first = exchange(caller)

    def refresh(token):
        return tokens(caller, grant_type="refresh_token", refresh_token=token)

    second = refresh(first["refresh_token"]).json()
    moments.append(moments[0] + timedelta(seconds=grace - 1))
    third = refresh(first["refresh_token"]).json()
    assert 3 == len({pair["refresh_token"] for pair in (first, second, third)})
    assert {200} == {caller.v2("/user", p["access_token"]).status_code for p in (first, second, third)}
    moments.append(moments[0] + timedelta(seconds=grace))
    late = refresh(first["refresh_token"])
    assert (400, "invalid_grant") == (late.status_code, late.json()["error"])
    assert 200 == refresh(second["refresh_token"]).status_code
    moments.append(moments[0] + timedelta(days=61))
    assert 400 == refresh(third["refresh_token"]).status_code


def test_the_worlds_refresh_tokens(play, world):
    """A dead token of a connected person can be refreshed for 60 days; a revoked one and one who left cannot."""
    caller = play()

    def refresh(vehicle):
        text = world.tokens[vehicle.token].refresh_token
        return tokens(caller, grant_type="refresh_token", refresh_token=text)

    by_persona = {user.persona: user for user in world.users}
    for user in world.users:
        if user.persona == "vin_only":
            for vehicle in user.vehicles:
                young = world.now - vehicle.token_created_at < timedelta(days=59)
                if young or world.now - vehicle.token_created_at > timedelta(days=60):
                    assert (200 if young else 400) == refresh(vehicle).status_code
    for persona in ("revoked_token", "gone", "lapsed", "family_car", "external_id"):
        assert "invalid_grant" == refresh(by_persona[persona].vehicles[0]).json()["error"], persona
    assert world.tokens[by_persona["gone"].vehicles[0].token].refresh_token not in repr(world.tokens)


@pytest.mark.parametrize(
    ("form", "status", "error"),
    [
        ({}, 400, "invalid_request"),
        ({"grant_type": "refresh_token"}, 400, "invalid_request"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"grant_type": "refresh_token", "refresh_token": "x"}, 400, "invalid_grant"),
        ({"grant_type": "authorization_code", "code": "x"}, 400, "invalid_grant"),
        ({"grant_type": "refresh_token", "refresh_token": "x", "secret": "wrong"}, 401, "invalid_client"),
    ],
)
def test_refused(play, form, status, error):
    """Every wrong request has its OAuth error and a description."""
    answer = tokens(play(), **form)
    assert (status, error) == (answer.status_code, answer.json()["error"])
    assert answer.json()["error_description"]
