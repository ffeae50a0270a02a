"""Access to Smartcar: credentials, origins and allowance, each validated when it is created."""

from __future__ import annotations

import re
from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from smartcar_ops.text import UUID

ORIGINS = {
    "SMARTCAR_IAM_ORIGIN": "https://iam.smartcar.com",
    "SMARTCAR_VEHICLE_API_V3_ORIGIN": "https://vehicle.api.smartcar.com",
    "SMARTCAR_MANAGEMENT_API_V3_ORIGIN": "https://management.api.smartcar.com",
    "SMARTCAR_API_ORIGIN": "https://api.smartcar.com",
    "SMARTCAR_AUTH_ORIGIN": "https://auth.smartcar.com/oauth/token",
    "SMARTCAR_MANAGEMENT_API_ORIGIN": "https://management.smartcar.com",
    "SMARTCAR_CONNECT_ORIGIN": "https://connect.smartcar.com",
}


class Allowance(BaseModel):
    """The application's allowance in units: at most ``burst``, refilled with ``per_minute``."""

    model_config = ConfigDict(frozen=True)

    burst: int = Field(default=120, ge=1)
    per_minute: float = Field(default=2, gt=0, allow_inf_nan=False)
    batch: Literal["paths", "one"] = "paths"
    limited: bool = True
    """False only for the embedded sandbox if no allowance is set."""


class Credentials(BaseModel):
    """The four credentials, which are easy to confuse, each under its own name."""

    model_config = ConfigDict(frozen=True)

    client_id: str
    client_secret: SecretStr
    application_id: str = ""
    v2_client_secret: SecretStr = SecretStr("")
    management_token: SecretStr = SecretStr("")
    """The current token: used for V2 management and to answer VERIFY."""
    other_management_tokens: tuple[SecretStr, ...] = ()
    """Tokens that may also have signed a webhook: from before a rotation, or of another application."""

    @property
    def management_tokens(self) -> tuple[SecretStr, ...]:
        """All tokens that can verify a signature, without empty ones, with which anyone could sign."""
        every = (self.management_token, *self.other_management_tokens)
        return tuple(token for token in every if token.get_secret_value())

    @field_validator("client_id")
    @classmethod
    def _v3_client_id(cls, value: str) -> str:
        if UUID.fullmatch(value):
            raise ValueError(
                f"is '{value[:4]}…-…', which looks like an Application ID; the V3 client id starts with "
                "'client_'. See README, \"Credentials\""
            )
        if not value.startswith("client_"):
            raise ValueError(
                "does not start with 'client_', as a V3 client id does; perhaps the id and the secret are swapped. "
                'See README, "Credentials"'
            )
        return value

    @field_validator("application_id")
    @classmethod
    def _uuid(cls, value: str) -> str:
        if value and not UUID.fullmatch(value):
            looks = ", which looks like a V3 client id" if value.startswith("client_") else ""
            raise ValueError(f'is not a UUID{looks}; the Application ID is a UUID. See README, "Credentials"')
        return value

    @field_validator("client_secret", "v2_client_secret")
    @classmethod
    def _no_id_as_secret(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value().startswith("client_"):
            raise ValueError(
                "starts with 'client_', as a client id does; perhaps the id and the secret are swapped. "
                'See README, "Credentials"'
            )
        return value


class Origins(BaseModel):
    """The address of each Smartcar service, without a trailing slash."""

    model_config = ConfigDict(frozen=True)

    iam: str = ORIGINS["SMARTCAR_IAM_ORIGIN"]
    vehicle_api_v3: str = ORIGINS["SMARTCAR_VEHICLE_API_V3_ORIGIN"]
    management_api_v3: str = ORIGINS["SMARTCAR_MANAGEMENT_API_V3_ORIGIN"]
    api: str = ORIGINS["SMARTCAR_API_ORIGIN"]
    auth: str = ORIGINS["SMARTCAR_AUTH_ORIGIN"]
    management_api: str = ORIGINS["SMARTCAR_MANAGEMENT_API_ORIGIN"]
    connect: str = ORIGINS["SMARTCAR_CONNECT_ORIGIN"]

    @field_validator("*")
    @classmethod
    def _absolute(cls, value: str) -> str:
        expected = "expected an address such as https://api.smartcar.com"
        if "@" in value:
            raise ValueError(f"contains an '@', perhaps a user name and a password; {expected}")
        if not _is_address(value):
            raise ValueError(f"is {value!r}; {expected}")
        return value.rstrip("/")


def _is_address(value: str) -> bool:
    try:
        parts = urlsplit(value)
        known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        return False
    return bool(known) and not (parts.query or parts.fragment or re.search(r"[\s\\]", value))
