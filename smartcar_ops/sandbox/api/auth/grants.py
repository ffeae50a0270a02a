"""Authorization codes and V2 tokens: handed out once, rotated, dead after a while (section 5.4)."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from smartcar_ops.sandbox.api.auth.lifetimes import ACCESS_LIFE, CODE_LIFE, REFRESH_LIFE
from smartcar_ops.sandbox.fleet.model import UserToken


class GrantRefused(Exception):
    """A code or a refresh token that gives nothing; the text says why."""


@dataclass(frozen=True, slots=True)
class Code:
    """An authorization code: whose it is, where it was sent, and when."""

    user_id: str
    vehicle_ids: tuple[str, ...]
    redirect_uri: str
    issued_at: datetime


class Grants:
    """Codes and tokens by their text; times are the caller's."""

    def __init__(self, tokens: Iterable[UserToken], grace: timedelta) -> None:
        self.grace = grace
        self._codes: dict[str, Code] = {}
        self._tokens: dict[str, UserToken] = {}
        self._refreshing: dict[str, UserToken] = {}
        self._used: dict[str, datetime] = {}
        for token in tokens:
            self._keep(token)

    def issue_code(self, code: Code) -> str:
        """A code for Connect's redirect, valid for ten minutes and once."""
        text = str(uuid.uuid4())
        self._codes[text] = code
        return text

    def exchange(self, text: str, redirect_uri: str | None, now: datetime) -> UserToken:
        """The first tokens for a code; raises GrantRefused for a wrong, used or old one, or another redirect_uri.

        A missing `redirect_uri` is let pass: the official SDKs may leave it out.
        """
        code = self._codes.get(text)
        if code is None or now - code.issued_at >= CODE_LIFE:
            raise GrantRefused("Invalid or expired authorization code.")
        if redirect_uri is not None and redirect_uri != code.redirect_uri:
            raise GrantRefused("The redirect_uri is not the one the code was sent to.")
        del self._codes[text]
        return self._issue(code.user_id, code.vehicle_ids, now)

    def peek(self, refresh_token: str, now: datetime) -> UserToken:
        """The tokens a refresh token came with; raises GrantRefused where it is wrong, revoked, used or old."""
        token = self._refreshing.get(refresh_token)
        if token is None or token.behaviour == "revoked" or now - token.created_at >= REFRESH_LIFE:
            raise GrantRefused("Invalid or expired refresh token.")
        used = self._used.get(refresh_token)
        if used is not None and now - used >= self.grace:
            raise GrantRefused("The refresh token has been used.")
        return token

    def refresh(self, refresh_token: str, now: datetime) -> UserToken:
        """A new pair, another one each time within the grace; raises as `peek` does. The old access token lives on."""
        token = self.peek(refresh_token, now)
        self._used.setdefault(refresh_token, now)
        return self._issue(token.user_id, token.vehicle_ids, now, token.behaviour)

    def alive(self, access_token: str, now: datetime) -> UserToken | None:
        """The token of this text, if it is not revoked and younger than two hours."""
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
