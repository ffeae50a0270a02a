"""What a process of a test does: spends one service's allowance with eight threads, until its time is over."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
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


def spend_all(
    database: str, reports: Path, server: str, allowance: Allowance, seconds: float, pipe: Connection
) -> None:
    """Once it is told to, sends as fast as the allowance lets it."""
    ledger = Ledger.open(Company.connect(database, Layout()), Scope("service", "live"), reports)
    bucket = TokenBucket(allowance, SharedStateStore(ledger, BucketState))
    transport = Transport()

    def spend(_: int) -> None:
        try:
            while True:
                transport.send(Request("v3", "GET", f"{server}/x", "/x"))
        except AllowanceSpentError:
            return

    pipe.send("ready")
    pipe.recv()
    with transport.spending(Budget(bucket, max_minutes=seconds / 60)), ThreadPoolExecutor(THREADS) as executor:
        list(executor.map(spend, range(THREADS)))
