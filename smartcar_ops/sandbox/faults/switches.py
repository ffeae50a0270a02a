"""Switches for behavior that Smartcar's documentation leaves open, or that a fault changes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from smartcar_ops.sandbox.api.auth.lifetimes import APPLICATION_TOKEN_LIFE


@dataclass(frozen=True, slots=True)
class Behaviour:
    """The switches. The defaults are the normal case. Routes read these switches, never a fault's name."""

    delay: float = 0
    """Seconds of delay before each answer except /health."""
    token_life: timedelta = APPLICATION_TOKEN_LIFE
    """How long an application token is accepted, whatever its `expires_in` says."""
    refresh_grace: timedelta = timedelta(minutes=10)
    """How long a used V2 refresh token still works (documented; 1 minute in older texts)."""

    redirect_user: tuple[str, ...] = ("user_id",)
    """The names of the user id in Connect's redirect. A second name carries another id."""
    redirect_code: bool = True

    unknown_filter_refused: bool = False
    default_mode: str | None = None
    """The mode of the vehicles in /v3/connections if the request has no mode filter; None: every mode."""
    max_page: int = 100
    empty_page_size_zero: bool = False
    user_attribute: bool = True
    next_link: str = "absolute"
    """`absolute`, `relative` or `foreign` (another origin)."""
    old_envelope: bool = False
    pages_shift: bool = False
    undefined_ids: bool = False
    modes_told: bool = True
    """Whether the rows of both lists of connections contain the mode."""
    two_users: bool = False
    two_external_ids: bool = False

    listed_but_404: bool = False
    wrong_user_status: int = 404
    missing_user_accepted: bool = False
    user_token_on_v3: bool = False
    flat_errors: bool = False

    cached_errors: bool = False
    nulls: bool = False
    epoch_times: bool = False
    empty_store: bool = False
    signals_page: int = 0
    """Number of signals on a page of a vehicle's signals; 0: all of them."""
    unsubscribed_404: bool = False
    """Whether the list of signals is 404 for a vehicle that no webhook is subscribed to."""
    signal_404: bool = False

    imperial: bool = False
    triggers_under_data: bool = False
