"""A second, small audit over HTTP and SQL alone: it sees what the kit sees, and shares no code with either."""

from __future__ import annotations

import uuid
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta

import httpx
import sqlalchemy as sa


class Auditor:
    """Asks every source once; `buckets()` judges the database as it is now."""

    def __init__(self, client: httpx.Client, app: dict[str, str], url: str) -> None:
        self.client, self.app = client, app
        self.engine = sa.create_engine(url)
        self.by_vehicle: dict[str, set[str]] = defaultdict(set)
        self.personal: dict[str, set[str]] = defaultdict(set)
        self.by_vin: dict[str, str] = {}
        self.ties: dict[int, str] = {}
        self.silent: set[int] = set()
        self.all_users: set[str] = set()
        self._connections()
        for row in self._rows("SELECT * FROM vehicles"):
            self._tie(row)

    def _rows(self, sql: str) -> list[dict]:
        with self.engine.connect() as connection:
            return [dict(row) for row in connection.execute(sa.text(sql)).mappings()]

    def _connections(self) -> None:
        url: str | None = "/v3/connections?page%5Bsize%5D=100&filter%5Bvehicle.mode%5D=live"
        while url:
            page = self.client.get(url, headers=self.app).json()
            for item in page["data"]:
                self._connection(item)
            url = page["links"]["next"]

    def _connection(self, item: dict) -> None:
        user = item["relationships"]["user"]["data"]["id"]
        vehicle = item["relationships"]["vehicle"]["data"]["id"]
        self.all_users.add(user)
        self.by_vehicle[vehicle].add(user)
        if "externalId" in item["attributes"]["user"]:
            self.personal[item["attributes"]["user"]["externalId"]].add(user)
        path = f"/v3/vehicles/{vehicle}/signals/vehicleidentification-vin"
        signal = self.client.get(path, headers={**self.app, "sc-user-id": user}).json()
        self.by_vin[signal["data"]["attributes"]["body"]["value"]] = vehicle

    def _tie(self, row: dict) -> None:
        created = datetime.fromisoformat(str(row["token_created_at"])).replace(tzinfo=UTC)
        if datetime.now(UTC) - created < timedelta(hours=2):
            self._ask_token(row)
        if row["id"] not in self.ties and row["vin"] in self.by_vin:
            self.ties[row["id"]] = self.by_vin[row["vin"]]

    def _ask_token(self, row: dict) -> None:
        bearer = {"authorization": f"Bearer {row['vehicle_access_token']}"}
        user = self.client.get("/v2.0/user", headers=bearer)
        if user.status_code == 500:
            self.silent.add(row["user_id"])
        if user.status_code != 200:
            return
        self.personal[str(row["user_id"])].add(user.json()["id"])
        vehicles = self.client.get("/v2.0/vehicles", headers=bearer).json()["vehicles"]
        if len(vehicles) == 1:
            self.ties[row["id"]] = vehicles[0]

    def buckets(self) -> dict[str, tuple[str, str | None]]:
        """User id -> (bucket, the one id its evidence names or None)."""
        owned: dict[int, list[int]] = defaultdict(list)
        for row in self._rows("SELECT id, user_id FROM vehicles"):
            owned[row["user_id"]].append(row["id"])
        found = {
            str(user["id"]): self._judge(user["id"], user.get("smartcar_user_id"), owned[user["id"]])
            for user in self._rows("SELECT * FROM users")
        }
        would_hold = Counter(held for bucket, held in found.values() if held and bucket not in ("invalid", "conflict"))
        return {
            user: ("shared", held)
            if held and would_hold[held] > 1 and bucket not in ("invalid", "conflict")
            else (bucket, held)
            for user, (bucket, held) in found.items()
        }

    def _judge(self, user: int, stored: str | None, vehicles: list[int]) -> tuple[str, str | None]:
        stored = (stored or "").strip().lower() or None
        personal = self.personal[str(user)]
        cars = {name for row in vehicles if row in self.ties for name in self.by_vehicle[self.ties[row]]}
        named = personal or cars
        if stored and not _is_uuid(stored):
            return "invalid", None
        if len(named) > 1 or (personal and cars and not personal & cars) or (stored and named - {stored}):
            return "conflict", None
        if stored:
            confirming = cars if vehicles else self.all_users
            return ("mapped" if stored in confirming else "unconfirmed"), stored
        if named:
            return "ready", next(iter(named))
        if not vehicles:
            return "no_vehicles", None
        return ("unasked" if user in self.silent else "reconnect"), None


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False
