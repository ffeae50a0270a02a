"""The plain way to compare, as the migration guide's own snippets do it: one request after the other.

A new connection a request, one V2 endpoint at a time, then V3's signals; nothing is judged.
"""

from __future__ import annotations

from collections.abc import Sequence

import requests

from smartcar_ops.compare.vehicles import LinkedVehicle
from smartcar_ops.fields.field_map import FieldMap
from smartcar_ops.settings.environment import Settings

TIMEOUT = 30


def read(settings: Settings, pairs: Sequence[LinkedVehicle], fields: FieldMap) -> int:
    """Reads these vehicles on both versions, what the kit reads and nothing more; how many requests were sent."""
    token = application_token(settings)
    return 1 + sum(_read(settings, pair, fields, token) for pair in pairs)


def application_token(settings: Settings) -> str:
    """V3's token."""
    credentials = settings.credentials
    answer = requests.post(
        f"{settings.origins.iam}/oauth2/token",
        data={
            "grant_type": "client_credentials",
            "client_id": credentials.client_id,
            "client_secret": credentials.client_secret.get_secret_value(),
        },
        timeout=TIMEOUT,
    )
    answer.raise_for_status()
    return str(answer.json()["access_token"])


def _read(settings: Settings, pair: LinkedVehicle, fields: FieldMap, token: str) -> int:
    paths, _ = fields.paths_for(pair.make, pair.powertrain, pair.permissions)
    for path in paths:
        address = f"{settings.origins.api}/v2.0/vehicles/{pair.vehicle_id}{path.rstrip('/')}"
        requests.get(address, headers={"authorization": f"Bearer {pair.token}"}, timeout=TIMEOUT).json()
    headers = {"authorization": f"Bearer {token}", "sc-user-id": pair.smartcar_user_id}
    address = f"{settings.origins.vehicle_api_v3}/v3/vehicles/{pair.vehicle_id}/signals"
    requests.get(address, headers=headers, timeout=TIMEOUT).json()
    return len(paths) + 1
