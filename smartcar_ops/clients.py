"""Everything that acts on one company, opened from its settings: the same in a notebook and in a worker process."""

from __future__ import annotations

from datetime import UTC, datetime

from smartcar_ops.database.ledger import v2_state
from smartcar_ops.database.ledger.ledger import Ledger, Scope
from smartcar_ops.database.ledger.rate_limit_store import SharedStateStore
from smartcar_ops.database.ledger.vehicle_units import VehicleUnits
from smartcar_ops.database.tables import Company
from smartcar_ops.fields.readers import is_number_as_text
from smartcar_ops.settings.environment import Settings
from smartcar_ops.smartcar.auth import ApplicationToken, UserTokens
from smartcar_ops.smartcar.http.journal import Journal
from smartcar_ops.smartcar.http.rate_limit import BucketState, TokenBucket
from smartcar_ops.smartcar.http.transport import Transport
from smartcar_ops.smartcar.management import ManagementV2, ManagementV3
from smartcar_ops.smartcar.v2 import V2
from smartcar_ops.smartcar.v3 import V3


class SmartcarClients:
    """Every client of Smartcar over one transport; nothing is asked yet."""

    def __init__(self, settings: Settings, transport: Transport) -> None:
        origins, credentials, off = settings.origins, settings.credentials, settings.v2 == "off"
        self.token = ApplicationToken(transport, origins.iam, credentials)
        self.user_tokens = UserTokens(transport, origins.auth, credentials)
        self.v2 = V2(transport, origins.api, batch_counts=settings.allowance.batch, off=off)
        self.v3 = V3(transport, origins.vehicle_api_v3, self.token, is_number_as_text)
        self.management_v3 = ManagementV3(transport, origins.management_api_v3, self.token)
        secret = credentials.management_token
        known = secret.get_secret_value() != ""
        self.management_v2 = ManagementV2(transport, origins.management_api, secret, off=off) if known else None


class Clients:
    """The database, the ledger, the allowance and every client; ``close`` them at the end.

    SettingsError or DatabaseError if the database can't be used; nothing is asked of Smartcar yet. ``to_upgrade`` takes
    an older ledger as it is, for whoever will upgrade it. ``noted_in``: another journal of what is sent than the run's.
    """

    def __init__(self, settings: Settings, *, to_upgrade: bool = False, noted_in: Journal | None = None) -> None:
        self.company = Company.connect(settings.database_url.get_secret_value(), settings.layout, vault=settings.vault)
        scope = Scope(settings.service, settings.mode)
        self.ledger = Ledger.open(self.company, scope, settings.reports, to_upgrade=to_upgrade)
        self.bucket = shared_bucket(settings, self.ledger)
        self.transport = Transport(noted_in=noted_in)
        self.meter = self.transport.meter = VehicleUnits(self.ledger, settings.layout.limits)
        v2_state.settle(self.ledger, off=settings.v2 == "off", now=datetime.now(UTC))
        self.smartcar = SmartcarClients(settings, self.transport)
        self.v2, self.v3 = self.smartcar.v2, self.smartcar.v3

    def close(self) -> None:
        """Closes every connection, to Smartcar and to the database."""
        self.transport.close()
        self.company.engine.dispose()
        self.ledger.engine.dispose()


def shared_bucket(settings: Settings, ledger: Ledger) -> TokenBucket:
    """The allowance, shared through the ledger where one binds."""
    shared = SharedStateStore(ledger, BucketState) if settings.allowance.limited else None
    return TokenBucket(settings.allowance, shared)


def paused_bucket(settings: Settings, ledger: Ledger) -> TokenBucket | None:
    """The allowance, where Smartcar asked for a pause that is not over; writes nothing."""
    if not settings.allowance.limited or not SharedStateStore(ledger, BucketState).is_used:
        return None
    bucket = shared_bucket(settings, ledger)
    return bucket if bucket.paused() else None
