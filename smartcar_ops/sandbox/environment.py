"""The environment variables that point the kit at a sandbox."""

from __future__ import annotations

from smartcar_ops.sandbox.fleet.model import Credentials

ORIGINS = (
    "SMARTCAR_IAM_ORIGIN",
    "SMARTCAR_VEHICLE_API_V3_ORIGIN",
    "SMARTCAR_MANAGEMENT_API_V3_ORIGIN",
    "SMARTCAR_API_ORIGIN",
    "SMARTCAR_MANAGEMENT_API_ORIGIN",
    "SMARTCAR_CONNECT_ORIGIN",
)


def environment(url: str, database_url: str, credentials: Credentials) -> dict[str, str]:
    """Return name -> value: the credentials, the company's database, and the same origin for every API."""
    return {
        "SMARTCAR_CLIENT_ID": credentials.client_id,
        "SMARTCAR_CLIENT_SECRET": credentials.client_secret,
        "SMARTCAR_APPLICATION_ID": credentials.application_id,
        "SMARTCAR_V2_CLIENT_SECRET": credentials.v2_client_secret,
        "SMARTCAR_MANAGEMENT_TOKEN": credentials.management_token,
        "SMARTCAR_DATABASE_URL": database_url,
        **dict.fromkeys(ORIGINS, url),
        "SMARTCAR_AUTH_ORIGIN": f"{url}/oauth/token",
    }
