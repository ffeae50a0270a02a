"""The application token (iam): one for all calls of V3, cached, renewed before it runs out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

import httpx

from smartcar_ops.access import Credentials
from smartcar_ops.errors import AuthenticationError, NotSmartcarError
from smartcar_ops.smartcar.failures import body_of, mapping
from smartcar_ops.smartcar.transport import Request, Transport

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
