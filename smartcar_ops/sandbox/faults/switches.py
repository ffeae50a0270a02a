"""How the pretend Smartcar answers where its documentation leaves room, or where a fault says so."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from smartcar_ops.sandbox.api.auth.lifetimes import APPLICATION_TOKEN_LIFE


@dataclass(frozen=True, slots=True)
class Behaviour:
    """The switches; the defaults are the normal case. The rooms ask these, never a fault's name."""

    delay: float = 0
    """Seconds before each answer but /health."""
    token_life: timedelta = APPLICATION_TOKEN_LIFE
    """How long an application token really lives."""
    refresh_grace: timedelta = timedelta(minutes=10)
    """How long a used V2 refresh token still works (documented; 1 minute in older texts)."""

    redirect_user: tuple[str, ...] = ("user_id",)
    """The names of the user id in Connect's redirect; the second one carries another id."""
    redirect_code: bool = True

    unknown_filter_refused: bool = False
    default_mode: str | None = None
    """The mode /v3/connections is narrowed to where none is asked for; None: every mode."""
    max_page: int = 100
    empty_page_size_zero: bool = False
    user_attribute: bool = True
    next_link: str = "absolute"
    """`absolute`, `relative` or `foreign` (another origin)."""
    old_envelope: bool = False
    pages_shift: bool = False
    undefined_ids: bool = False
    modes_told: bool = True
    """Whether the rows of both lists of connections tell their mode."""
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
    """How many signals of a vehicle are on a page; 0: all of them."""
    unsubscribed_404: bool = False
    """Whether the signals of a vehicle that no webhook is subscribed to are 404."""
    signal_404: bool = False

    imperial: bool = False
    triggers_under_data: bool = False
