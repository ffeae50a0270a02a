"""Users' own tokens of V2: a used refresh token buys a new pair, and dies after a grace."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field

from smartcar_ops.access import Credentials
from smartcar_ops.errors import AuthenticationError, NotSmartcarError, SmartcarError
from smartcar_ops.smartcar.failures import body_of, mapping
from smartcar_ops.smartcar.transport import Request, Transport
from smartcar_ops.smartcar.v2 import GONE, has_stopped

TIMEOUT = 8.0
"""Seconds: so that three attempts, connecting included, end within the shorter grace (60 s) of a used refresh token."""

LIFE = 7200.0
"""Seconds that an access token lives, as documented."""


class ReconnectError(AuthenticationError):
    """The refresh token is used, revoked or older than 60 days: its user must go through Connect again."""


@dataclass(frozen=True)
class Pair:
    """What a refresh gives; ``expires_in`` are the access token's seconds."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_in: float = LIFE


class UserTokens:
    """A client of V2's token endpoint; ``origin`` is its whole address."""

    def __init__(self, transport: Transport, origin: str, credentials: Credentials) -> None:
        self._transport, self._origin, self._credentials = transport, origin, credentials

    @property
    def application_id(self) -> str:
        """Which application's tokens these are."""
        return self._credentials.application_id

    def refresh(self, refresh_token: str) -> Pair:
        """A new pair; no unit of the allowance. Keep it before using it: the old refresh token dies in a minute.

        ReconnectError where the user must connect again, AuthenticationError where the application's own pair is
        refused, another SmartcarError else; a lost answer is asked for again at once, within the grace.
        """
        request = Request(
            api="auth",
            method="POST",
            url=self._origin,
            template="/oauth/token",
            headers={"authorization": self._basic(), "accept": "application/json"},
            data={"grant_type": "refresh_token", "refresh_token": refresh_token},
            free=True,
            timeout=TIMEOUT,
        )
        try:
            response = self._transport.send(request)
        except SmartcarError as error:
            raise _plainly(error) from None
        kind = response.headers.get("content-type", "no content type")
        if "json" not in kind.lower():
            raise self._strange(f"answered with {kind.split(';')[0]}; expected JSON", response.status_code)
        body = mapping(body_of(response))
        for key in ("access_token", "refresh_token"):
            if not isinstance(body.get(key), str) or not re.fullmatch(r"[!-~]+", body[key]):
                raise self._strange(f"answered without a usable {key}", response.status_code)
        lives = body.get("expires_in")
        seconds = float(lives) if isinstance(lives, int | float) else LIFE
        return Pair(body["access_token"], body["refresh_token"], seconds)

    def _basic(self) -> str:
        pair = f"{self._credentials.application_id}:{self._credentials.v2_client_secret.get_secret_value()}"
        return f"Basic {base64.b64encode(pair.encode()).decode()}"

    def _strange(self, what: str, status: int) -> NotSmartcarError:
        return NotSmartcarError(
            f"smartcar: V2's token endpoint at {self._origin} {what}. Check SMARTCAR_AUTH_ORIGIN.", status=status
        )


def _plainly(error: SmartcarError) -> SmartcarError:
    """The same error; where a token or the application's pair is refused, one that says whose turn it is."""
    if error.status == GONE:
        return has_stopped(f"its token endpoint answered {GONE}", status=GONE)
    if error.type == "invalid_grant":
        return ReconnectError(
            "smartcar: V2 takes this refresh token no more (used, revoked or older than 60 days); this user must go "
            "through Connect again.",
            status=error.status,
            type=error.type,
        )
    if error.type == "invalid_client" or error.status == 401:
        return AuthenticationError(
            "smartcar: V2's token endpoint refused the application; expected a current pair in SMARTCAR_APPLICATION_ID "
            'and SMARTCAR_V2_CLIENT_SECRET. See README, "Credentials".',
            status=error.status,
            type=error.type,
        )
    return error
