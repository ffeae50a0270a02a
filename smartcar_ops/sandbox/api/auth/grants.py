"""Authorization codes and V2 tokens: issued once, rotated at each refresh, expired after a while."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from smartcar_ops.sandbox.api.auth.lifetimes import ACCESS_LIFE, CODE_LIFE, REFRESH_LIFE
from smartcar_ops.sandbox.fleet.model import UserToken


class GrantRefused(Exception):
    """A code or refresh token that is refused; the text is the reason."""


@dataclass(frozen=True, slots=True)
class Code:
    """An authorization code: its user and vehicles, the redirect URI it was sent to, and when."""

    user_id: str
    vehicle_ids: tuple[str, ...]
    redirect_uri: str
    issued_at: datetime


class Grants:
    """The codes and tokens, by their text. The caller passes the current time."""

    def __init__(self, tokens: Iterable[UserToken], grace: timedelta) -> None:
        self.grace = grace
        self._codes: dict[str, Code] = {}
        self._tokens: dict[str, UserToken] = {}
        self._refreshing: dict[str, UserToken] = {}
        self._used: dict[str, datetime] = {}
        for token in tokens:
            self._keep(token)

    def issue_code(self, code: Code) -> str:
        """Return a code for Connect's redirect. It is valid once, for 10 minutes."""
        text = str(uuid.uuid4())
        self._codes[text] = code
        return text

    def exchange(self, text: str, redirect_uri: str | None, now: datetime) -> UserToken:
        """Return the first tokens for a code.

        Raises GrantRefused for a wrong, used or expired code, or another `redirect_uri`. A missing `redirect_uri` is
        accepted, because the official SDKs may leave it out.
        """
        code = self._codes.get(text)
        if code is None or now - code.issued_at >= CODE_LIFE:
            raise GrantRefused("Invalid or expired authorization code.")
        if redirect_uri is not None and redirect_uri != code.redirect_uri:
            raise GrantRefused("The redirect_uri is not the one the code was sent to.")
        del self._codes[text]
        return self._issue(code.user_id, code.vehicle_ids, now)

    def peek(self, refresh_token: str, now: datetime) -> UserToken:
        """Return the tokens that a refresh token was issued with.

        Raises GrantRefused if the refresh token is wrong, revoked, used or expired.
        """
        token = self._refreshing.get(refresh_token)
        if token is None or token.behaviour == "revoked" or now - token.created_at >= REFRESH_LIFE:
            raise GrantRefused("Invalid or expired refresh token.")
        used = self._used.get(refresh_token)
        if used is not None and now - used >= self.grace:
            raise GrantRefused("The refresh token has been used.")
        return token

    def refresh(self, refresh_token: str, now: datetime) -> UserToken:
        """Return a new pair of tokens, a different one at each call within the grace period.

        Raises GrantRefused for the same reasons as `peek`. The old access token stays valid.
        """
        token = self.peek(refresh_token, now)
        self._used.setdefault(refresh_token, now)
        return self._issue(token.user_id, token.vehicle_ids, now, token.behaviour)

    def alive(self, access_token: str, now: datetime) -> UserToken | None:
        """Return the token with this text if it is not revoked and less than two hours old, else None."""
        token = self._tokens.get(access_token)
        if token is None or token.behaviour == "revoked" or now - token.created_at >= ACCESS_LIFE:
            return None
        return token

    def _issue(self, user_id: str, vehicle_ids: tuple[str, ...], now: datetime, behaviour: str = "normal") -> UserToken:
        token = UserToken(str(uuid.uuid4()), user_id, vehicle_ids, now, behaviour, str(uuid.uuid4()))
        self._keep(token)
        return token

    def _keep(self, token: UserToken) -> None:
        self._tokens[token.text] = self._refreshing[token.refresh_token] = token
