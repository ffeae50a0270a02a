"""All clients for one company, opened from its settings; used by notebooks and worker processes."""

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
from smartcar_ops.smartcar.http.rate_limit import BucketState, TokenBucket
from smartcar_ops.smartcar.http.transport import Transport
from smartcar_ops.smartcar.management import ManagementV2, ManagementV3
from smartcar_ops.smartcar.v2 import V2
from smartcar_ops.smartcar.v3 import V3
from smartcar_ops.storage.journal import Journal


class SmartcarClients:
    """All Smartcar clients over one transport; creating them makes no call."""

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
    """The database, the ledger, the allowance and all Smartcar clients; call ``close`` at the end.

    Makes no call to Smartcar. SettingsError or DatabaseError if the database can't be used. ``to_upgrade`` accepts a
    ledger of an older version, for the notebook that upgrades it. ``noted_in`` is the journal that records what is
    sent; by default the run's own.
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
        """Close all connections to Smartcar and to the database."""
        self.transport.close()
        self.company.engine.dispose()
        self.ledger.engine.dispose()


def shared_bucket(settings: Settings, ledger: Ledger) -> TokenBucket:
    """Return the allowance; if it is limited, all processes share it through the ledger."""
    shared = SharedStateStore(ledger, BucketState) if settings.allowance.limited else None
    return TokenBucket(settings.allowance, shared)


def paused_bucket(settings: Settings, ledger: Ledger) -> TokenBucket | None:
    """Return the allowance if Smartcar asked for a pause that is not over, otherwise None; writes nothing."""
    if not settings.allowance.limited or not SharedStateStore(ledger, BucketState).is_used:
        return None
    bucket = shared_bucket(settings, ledger)
    return bucket if bucket.paused() else None
