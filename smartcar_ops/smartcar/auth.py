"""The application token (iam): one for all calls of V3, cached, renewed before it runs out."""

from __future__ import annotations

import base64
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import httpx

from smartcar_ops.errors import AuthenticationError, NotSmartcarError, SmartcarError
from smartcar_ops.settings.credentials import Credentials
from smartcar_ops.smartcar.error_responses import body_of, mapping
from smartcar_ops.smartcar.http.transport import Request, Transport
from smartcar_ops.smartcar.v2 import GONE, has_stopped

MARGIN = 60.0
"""Seconds before its end at which a token is renewed; half its life where that is shorter."""


class ApplicationToken:
    """Gives the token to every thread; asks the token endpoint once where many find it expired.

    Never on disk, never in a repr.
    """

    def __init__(
        self,
        transport: Transport,
        origin: str,
        credentials: Credentials,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._transport, self._origin, self._credentials, self._clock = transport, origin, credentials, clock
        self._lock = threading.Lock()
        self._token = ""
        self._until = 0.0

    def __call__(self, *, instead_of: str = "") -> str:
        """A live token; with ``instead_of`` (a token that was refused), a newer one than that."""
        with self._lock:
            if self._token and self._token != instead_of and self._clock() < self._until:
                return self._token
            self._token, lives = self._ask()
            self._until = self._clock() + max(lives - MARGIN, lives / 2)
            return self._token

    def send(self, transport: Transport, request: Request) -> httpx.Response:
        """The answer to a request, sent with a live token; once more with a new one where it is refused.

        AuthenticationError where the new one is refused as well.
        """
        token = self()
        try:
            return transport.send(_signed(request, token))
        except AuthenticationError:
            return transport.send(_signed(request, self(instead_of=token)))

    def _ask(self) -> tuple[str, float]:
        """A new token and its life in seconds; status, content type and key are checked in that order."""
        try:
            response = self._transport.send(
                Request(
                    api="iam",
                    method="POST",
                    url=f"{self._origin}/oauth2/token",
                    template="/oauth2/token",
                    data={
                        "grant_type": "client_credentials",
                        "client_id": self._credentials.client_id,
                        "client_secret": self._credentials.client_secret.get_secret_value(),
                    },
                    free=True,
                )
            )
        except AuthenticationError as error:
            raise AuthenticationError(
                f"smartcar: the token endpoint refused the credentials of {self._credentials.client_id[:12]}…; "
                'expected a current V3 client id and secret. Was the secret rotated? See README, "Credentials".',
                status=error.status,
                type=error.type,
            ) from None
        kind = response.headers.get("content-type", "no content type")
        if "json" not in kind.lower():
            raise NotSmartcarError(
                f"smartcar: the token endpoint at {self._origin} answered with {kind}; expected JSON. "
                "Check SMARTCAR_IAM_ORIGIN.",
                status=response.status_code,
            )
        body = mapping(body_of(response))
        token, lives = body.get("access_token"), body.get("expires_in", 3600)
        if not isinstance(token, str) or not token:
            raise NotSmartcarError(
                f"smartcar: the token endpoint at {self._origin} answered without an access_token. "
                "Check SMARTCAR_IAM_ORIGIN.",
                status=response.status_code,
            )
        return token, float(lives) if isinstance(lives, int | float) else 3600.0


def _signed(request: Request, token: str) -> Request:
    return replace(request, headers={**request.headers, "authorization": f"Bearer {token}"})


TIMEOUT = 8.0
"""Seconds: so that three attempts, connecting included, end within the shorter grace (60 s) of a used refresh token."""

LIFE = 7200.0
"""Seconds that an access token lives, as documented."""


class ReconnectError(AuthenticationError):
    """The refresh token is used, revoked or older than 60 days: its user must go through Connect again."""


@dataclass(frozen=True)
class TokenPair:
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

    def refresh(self, refresh_token: str) -> TokenPair:
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
        return TokenPair(body["access_token"], body["refresh_token"], seconds)

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
