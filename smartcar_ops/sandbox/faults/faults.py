"""The faults that the pretend Smartcar can have, one or several: each a name, a sentence, and what it changes."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from smartcar_ops.sandbox.faults import interceptors
from smartcar_ops.sandbox.faults.interceptors import HangUp, Strike, in_turn, is_about_a_vehicle, is_data, refusing
from smartcar_ops.sandbox.faults.switches import Behaviour
from smartcar_ops.sandbox.fleet.model import LIVE


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault: what it does in one sentence, the switches it sets, and a function that makes its strike, if any."""

    sentence: str
    switches: Mapping[str, Any] = field(default_factory=dict)
    make: Callable[[Behaviour], Strike] | None = None


def _server_500(behaviour: Behaviour) -> Strike:
    text = "An internal error occurred."
    return in_turn(5, is_data, refusing(500, "SERVER", "INTERNAL", text, behaviour.flat_errors))


def _rate_limit(behaviour: Behaviour, headers: dict[str, str] | None = None) -> Strike:
    text = "Your application has exceeded its rate limit."
    return in_turn(7, is_data, refusing(429, "RATE_LIMIT", "SMARTCAR_API", text, behaviour.flat_errors, headers))


def _rate_limit_told(behaviour: Behaviour) -> Strike:
    return _rate_limit(behaviour, {"retry-after": "1"})


def _vehicle_rate_limit(behaviour: Behaviour) -> Strike:
    text = "Too many requests for this vehicle, try again later."
    refuse = refusing(429, "RATE_LIMIT", "VEHICLE", text, behaviour.flat_errors, {"retry-after": "1"})
    return in_turn(7, is_about_a_vehicle, refuse)


def _billing_430(behaviour: Behaviour) -> Strike:
    text = "The vehicle's monthly request limit is reached."
    refuse = refusing(430, "BILLING", "VEHICLE_REQUEST_LIMIT", text, behaviour.flat_errors)
    return in_turn(1, is_about_a_vehicle, refuse)


FAULTS = {
    # every API
    "slow": Fault("Every answer except /health is delayed by 100 ms.", {"delay": 0.1}),
    "server-500": Fault("Every 5th data request is answered with 500.", make=_server_500),
    "rate-limit": Fault("Every 7th data request is answered with 429 and Retry-After: 1.", make=_rate_limit_told),
    "rate-limit-no-retry-after": Fault(
        "Every 7th data request is answered with 429 and no Retry-After.", make=_rate_limit
    ),
    "vehicle-rate-limit": Fault(
        "Every 7th request about a vehicle is answered with 429 RATE_LIMIT/VEHICLE and Retry-After: 1.",
        make=_vehicle_rate_limit,
    ),
    "billing-430": Fault("Every request about a vehicle is answered with 430.", make=_billing_430),
    "drop-connection": Fault(
        "Every 6th data request gets no answer: the connection is closed.",
        make=lambda _: in_turn(6, is_data, lambda path: HangUp()),
    ),
    # tokens
    "token-expires": Fault(
        "Application tokens claim to be valid for an hour but are refused after 2 seconds.",
        {"token_life": timedelta(seconds=2)},
    ),
    "token-html": Fault("The token endpoint answers 200 with an HTML page.", make=lambda _: interceptors.sign_in_page),
    "refresh-grace-60": Fault(
        "A used V2 refresh token works for 60 seconds instead of 10 minutes.",
        {"refresh_grace": timedelta(seconds=60)},
    ),
    "user-token-on-v3": Fault("V3 also accepts a living V2 user token.", {"user_token_on_v3": True}),
    # Connect
    "redirect-userId": Fault("Connect's redirect has userId instead of user_id.", {"redirect_user": ("userId",)}),
    "redirect-both": Fault(
        "Connect's redirect has user_id and userId, with different values.", {"redirect_user": ("user_id", "userId")}
    ),
    "redirect-no-code": Fault("Connect's redirect has no code.", {"redirect_code": False}),
    # V3 lists
    "unknown-filter-400": Fault(
        "An unknown filter of /v3/connections is answered with 400 instead of being ignored.",
        {"unknown_filter_refused": True},
    ),
    "mode-default-live": Fault(
        "Without a mode filter, /v3/connections lists only live vehicles.", {"default_mode": LIVE}
    ),
    "page-max-50": Fault("V3 lists have at most 50 rows a page, whatever was requested.", {"max_page": 50}),
    "pages-shift": Fault("Connections are added and removed while /v3/connections is read.", {"pages_shift": True}),
    "ids-undefined": Fault(
        "About one user id in four is 'undefined' or the nil UUID in both lists of connections and in V2's /user.",
        {"undefined_ids": True},
    ),
    "rows-without-mode": Fault("The rows of both lists of connections have no mode.", {"modes_told": False}),
    "two-users-in-a-row": Fault(
        "About one V3 connection in eight names different users under attributes and relationships.",
        {"two_users": True},
    ),
    "two-external-ids": Fault(
        "V3 lists each connection with an external id twice, the second time with another user's external id.",
        {"two_external_ids": True},
    ),
    "empty-page-size-zero": Fault("An empty V3 list reports a page size of 0.", {"empty_page_size_zero": True}),
    "no-user-attribute": Fault("V3 connections name their user only under relationships.", {"user_attribute": False}),
    "next-relative": Fault("The links of V3 lists are paths without a host.", {"next_link": "relative"}),
    "next-other-host": Fault("The next link of V3 lists points to another host.", {"next_link": "foreign"}),
    "old-envelope": Fault(
        "V3 uses its older envelope: meta.page, links.previous, relative links, single resources without data.",
        {"old_envelope": True},
    ),
    # V3 vehicles and signals
    "listed-but-404": Fault(
        "About one connected vehicle in eight is listed, but answered with 404 VEHICLE_NOT_FOUND.",
        {"listed_but_404": True},
    ),
    "wrong-user-403": Fault(
        "Another user's sc-user-id is answered with 403 ACCESS_DENIED instead of 404.", {"wrong_user_status": 403}
    ),
    "missing-user-accepted": Fault("V3 returns signals even without sc-user-id.", {"missing_user_accepted": True}),
    "cached-error-bodies": Fault(
        "About a third of a car's V3 signals have the error ASLEEP, the last good body and old times.",
        {"cached_errors": True},
    ),
    "success-with-nulls": Fault("About a third of a car's V3 signals are SUCCESS with null members.", {"nulls": True}),
    "epoch-times": Fault(
        "V3 writes times as numbers, in milliseconds for some cars and in seconds for others.", {"epoch_times": True}
    ),
    "empty-store": Fault(
        "V3 has no signals of any car: an empty list, and 404 for each signal.", {"empty_store": True}
    ),
    "signals-paged": Fault("A vehicle's V3 signals come in pages of 10.", {"signals_page": 10}),
    "unsubscribed-404": Fault(
        "The list of signals is 404 for a vehicle that no webhook is subscribed to.", {"unsubscribed_404": True}
    ),
    "signal-404": Fault("Every request for a single signal is 404.", {"signal_404": True}),
    "flat-errors": Fault("V3 returns its errors in V2's flat shape.", {"flat_errors": True}),
    # V2
    "v2-off": Fault("V2 is switched off: 410 on every path.", make=lambda _: interceptors.switched_off),
    "imperial": Fault("V2 always answers in imperial units, and its header says so.", {"imperial": True}),
    # webhooks
    "triggers-under-data": Fault(
        "Webhook events have their triggers under data instead of next to it.", {"triggers_under_data": True}
    ),
}


def check_faults(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names if all are known. Else raise ValueError with the first unknown one and the known ones."""
    checked = tuple(names)
    for name in checked:
        if name not in FAULTS:
            near = difflib.get_close_matches(name, FAULTS, n=1)
            meant = f" (did you mean {near[0]}?)" if near else ""
            raise ValueError(f"sandbox: unknown fault {name!r}{meant}, known are {', '.join(sorted(FAULTS))}")
    return checked


def behaviour_of(names: Iterable[str]) -> Behaviour:
    """Return the switches of these faults together. If two set the same switch, the later fault wins."""
    behaviour = Behaviour()
    for name in names:
        behaviour = replace(behaviour, **FAULTS[name].switches)
    return behaviour


def strikes_of(names: Iterable[str], behaviour: Behaviour) -> list[Strike]:
    """Return the strikes of these faults; each has its own count."""
    makers = [FAULTS[name].make for name in names]
    return [make(behaviour) for make in makers if make is not None]
