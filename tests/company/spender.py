"""A process that spends one service's allowance with eight threads, until its time is over; run by a test."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from smartcar_ops.database.ledger.ledger import Ledger, Scope
from smartcar_ops.database.ledger.rate_limit_store import SharedStateStore
from smartcar_ops.database.tables import Company
from smartcar_ops.errors import AllowanceSpentError
from smartcar_ops.settings.credentials import Allowance
from smartcar_ops.settings.layout import Layout
from smartcar_ops.smartcar.http.rate_limit import BucketState, Budget, TokenBucket
from smartcar_ops.smartcar.http.transport import Request, Transport

THREADS = 8


def main(database: str, reports: str, server: str, burst: str, per_minute: str, seconds: str) -> None:
    """Sends as fast as the allowance lets it."""
    ledger = Ledger.open(Company.connect(database, Layout()), Scope("service", "live"), Path(reports))
    bucket = TokenBucket(
        Allowance(burst=int(burst), per_minute=float(per_minute)), SharedStateStore(ledger, BucketState)
    )
    transport = Transport()

    def spend(_: int) -> None:
        try:
            while True:
                transport.send(Request("v3", "GET", f"{server}/x", "/x"))
        except AllowanceSpentError:
            return

    print("ready", flush=True)
    sys.stdin.readline()
    with transport.spending(Budget(bucket, max_minutes=float(seconds) / 60)), ThreadPoolExecutor(THREADS) as executor:
        list(executor.map(spend, range(THREADS)))


if __name__ == "__main__":
    main(*sys.argv[1:])
