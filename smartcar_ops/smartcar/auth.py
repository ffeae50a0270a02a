"""OAuth tokens: the application token for V3 (cached and renewed before it expires) and V2's user tokens."""

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
"""Seconds before its expiry at which a token is renewed; half its lifetime if that is shorter."""


class ApplicationToken:
    """Provides the application token to all threads; if several find it expired, one requests a new one.

    The token is never on disk and never in a repr.
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
        """Return a valid token; with ``instead_of`` (a refused token), a newer one."""
        with self._lock:
            if self._token and self._token != instead_of and self._clock() < self._until:
                return self._token
            self._token, lifetime = self._request_token()
            self._until = self._clock() + max(lifetime - MARGIN, lifetime / 2)
            return self._token

    def send(self, transport: Transport, request: Request) -> httpx.Response:
        """Send a request with a valid token, and once more with a new token if it is refused.

        AuthenticationError if the new token is refused too.
        """
        token = self()
        try:
            return transport.send(_signed(request, token))
        except AuthenticationError:
            return transport.send(_signed(request, self(instead_of=token)))

    def _request_token(self) -> tuple[str, float]:
        """Return a new token and its lifetime in seconds; check status, content type and keys in that order."""
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
        content_type = response.headers.get("content-type", "no content type")
        if "json" not in content_type.lower():
            raise NotSmartcarError(
                f"smartcar: the token endpoint at {self._origin} answered with {content_type}; expected JSON. "
                "Check SMARTCAR_IAM_ORIGIN.",
                status=response.status_code,
            )
        body = mapping(body_of(response))
        token, lifetime = body.get("access_token"), body.get("expires_in", 3600)
        if not isinstance(token, str) or not token:
            raise NotSmartcarError(
                f"smartcar: the token endpoint at {self._origin} answered without an access_token. "
                "Check SMARTCAR_IAM_ORIGIN.",
                status=response.status_code,
            )
        return token, float(lifetime) if isinstance(lifetime, int | float) else 3600.0


def _signed(request: Request, token: str) -> Request:
    return replace(request, headers={**request.headers, "authorization": f"Bearer {token}"})


TIMEOUT = 8.0
"""Seconds; three attempts, with connecting, must end within the 60 s for which a used refresh token still works."""

LIFE = 7200.0
"""Documented lifetime of an access token, in seconds."""


class ReconnectError(AuthenticationError):
    """The refresh token is used, revoked or older than 60 days: its user must go through Connect again."""


@dataclass(frozen=True)
class TokenPair:
    """The tokens that a refresh returns; ``expires_in`` is the access token's lifetime in seconds."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_in: float = LIFE


class UserTokens:
    """A client of V2's token endpoint; ``origin`` is its full URL."""

    def __init__(self, transport: Transport, origin: str, credentials: Credentials) -> None:
        self._transport, self._origin, self._credentials = transport, origin, credentials

    @property
    def application_id(self) -> str:
        """The application that the tokens belong to."""
        return self._credentials.application_id

    def refresh(self, refresh_token: str) -> TokenPair:
        """Return a new pair of tokens; costs no units.

        Store the pair before you use it: the old refresh token expires within a minute. If the answer is lost, the
        request is repeated within that minute. ReconnectError if the user must connect again, AuthenticationError
        if the application's own credentials are refused, otherwise another SmartcarError.
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
            raise _specific(error) from None
        content_type = response.headers.get("content-type", "no content type")
        if "json" not in content_type.lower():
            raise self._unexpected(f"answered with {content_type.split(';')[0]}; expected JSON", response.status_code)
        body = mapping(body_of(response))
        tokens: dict[str, str] = {}
        for key in ("access_token", "refresh_token"):
            token = body.get(key)
            if not isinstance(token, str) or not re.fullmatch(r"[!-~]+", token):
                raise self._unexpected(f"answered without a usable {key}", response.status_code)
            tokens[key] = token
        lifetime = body.get("expires_in")
        seconds = float(lifetime) if isinstance(lifetime, int | float) else LIFE
        return TokenPair(tokens["access_token"], tokens["refresh_token"], seconds)

    def _basic(self) -> str:
        pair = f"{self._credentials.application_id}:{self._credentials.v2_client_secret.get_secret_value()}"
        return f"Basic {base64.b64encode(pair.encode()).decode()}"

    def _unexpected(self, what: str, status: int) -> NotSmartcarError:
        return NotSmartcarError(
            f"smartcar: V2's token endpoint at {self._origin} {what}. Check SMARTCAR_AUTH_ORIGIN.", status=status
        )


def _specific(error: SmartcarError) -> SmartcarError:
    """Return the same error, or a more specific one if V2 has stopped or a token or the application is refused."""
    if error.status == GONE:
        return has_stopped(f"its token endpoint answered {GONE}", status=GONE)
    if error.type == "invalid_grant":
        return ReconnectError(
            "smartcar: V2 no longer accepts this refresh token (used, revoked or older than 60 days); this user must "
            "go through Connect again.",
            status=error.status,
            type=error.type,
        )
    if error.type == "invalid_client" or error.status == 401:
        return AuthenticationError(
            "smartcar: V2's token endpoint refused the application; expected current values in SMARTCAR_APPLICATION_ID "
            'and SMARTCAR_V2_CLIENT_SECRET. See README, "Credentials".',
            status=error.status,
            type=error.type,
        )
    return error
