"""Reads the company's own tables, with the names in its layout; only `changes` and `stored_tokens` write them."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Literal

import sqlalchemy as sa
from sqlalchemy.exc import NoSuchTableError, SQLAlchemyError

from smartcar_ops.database import column_types, engines, selects, token_ages
from smartcar_ops.database.column_types import letters_of, smartcar_id_of, text_of, tidy
from smartcar_ops.database.sql_types import Condition, Expression, Query
from smartcar_ops.errors import DatabaseError
from smartcar_ops.settings.layout import Layout, Vault

IDS = 500
"""Maximum number of ids in one query."""

COLUMNS = {
    "users": ("id", "smartcar_user_id"),
    "vehicles": (
        "id",
        "user_id",
        "vin",
        "access_token",
        "token_created_at",
        "refresh_token",
        "smartcar_vehicle_id",
        "smartcar_user_id",
    ),
}
"""The layout's keys for the columns that the kit reads, by section."""

Phase = Literal["before", "partial", "expanded", "contracted"]


@dataclass(frozen=True)
class Car:
    """One row of the company's vehicles with what queries to Smartcar need; ids are text, the VIN is in upper case."""

    local_vehicle_id: str
    user_id: str | None
    smartcar_vehicle_id: str | None
    vin: str | None = field(repr=False)
    token: str | None = field(repr=False)
    token_alive: bool
    unopened: bool = False
    """True if its stored token is young but can't be opened, so that it has no usable one."""
    stored_refresh_token: str | bytes | None = field(default=None, repr=False)
    """As stored in the table, perhaps sealed; None if there is none or the kit may not refresh."""

    @property
    def refreshable(self) -> bool:
        """Whether the kit may request a new token for this car."""
        return self.stored_refresh_token is not None


class Company:
    """The company's users and vehicles in one database; read-only.

    If the layout has ``open_token`` but no ``vault`` is given, no stored token can be opened or used.
    """

    def __init__(self, engine: sa.Engine, layout: Layout, *, vault: Vault | None = None) -> None:
        self.engine, self.layout = engine, layout
        self.vault = vault or Vault((lambda _: None) if layout.vehicles.open_token else None)

    @classmethod
    def connect(cls, url: str, layout: Layout, *, vault: Vault | None = None) -> Company:
        """Connect to the database; SettingsError for invalid options, DatabaseError if it or a table is missing."""
        engine = engines.create(url)
        engines.refuse_missing_file(engine)
        engines.try_out(engine)
        company = cls(engine, layout, vault=vault)
        company.check()
        return company

    def check(self) -> None:
        """DatabaseError if a table or column that every act, or refreshing tokens, needs is missing or unsuitable."""
        _ = self.users, self.vehicles
        self._check_types()
        names = self.layout.vehicles
        if names.refresh and self._vehicle_column(names.access_token) is not None:  # otherwise the schema is contracted
            self._need("vehicles", names.table, self.vehicles, ("refresh_token", "token_created_at"))

    @cached_property
    def users(self) -> sa.Table:
        """The table of users, as reflected from the database."""
        names = self.layout.users
        return self._table("users", names.table, names.schema_, ("id",))

    @cached_property
    def vehicles(self) -> sa.FromClause:
        """The table of vehicles, or the layout's own SELECT in its place."""
        names = self.layout.vehicles
        if names.from_:
            return self._selected(names.from_)
        return self._table("vehicles", names.table, names.schema_, ("id", "user_id"))

    @property
    def phase(self) -> Phase:
        """The schema's phase: ``before`` expand, ``partial``, ``expanded``, or ``contracted`` (no token column)."""
        columns = self.user_id_column is not None, self.vehicle_id_column is not None
        if not any(columns):
            return "before"
        if not all(columns):
            return "partial"
        return "contracted" if self._vehicle_column(self.layout.vehicles.access_token) is None else "expanded"

    @property
    def user_id_column(self) -> Expression | None:
        """``users.smartcar_user_id``; None before expand."""
        return self.users.columns.get(self.layout.users.smartcar_user_id)

    @property
    def vehicle_id_column(self) -> Expression | None:
        """``vehicles.smartcar_vehicle_id``; None before expand."""
        return self._vehicle_column(self.layout.vehicles.smartcar_vehicle_id)

    def columns(self, section: Literal["users", "vehicles"]) -> tuple[list[str], dict[str, str]]:
        """Return (the layout's columns that the table has, key -> column of those it lacks).

        Keys without a column name are left out. E-mail and name are not included, because the kit never reads them.
        """
        names, table = getattr(self.layout, section), getattr(self, section)
        wanted = {key: getattr(names, key) for key in COLUMNS[section] if getattr(names, key)}
        return (
            [column for column in wanted.values() if column in table.c],
            {key: column for key, column in wanted.items() if column not in table.c},
        )

    @property
    def vehicle_user_id_column(self) -> Expression | None:
        """``vehicles.smartcar_user_id``; None if the company stores the id only per user."""
        return self._vehicle_column(self.layout.vehicles.smartcar_user_id)

    def refresh(self) -> None:
        """Discard the reflected tables after a change of the schema."""
        for name in ("users", "vehicles"):
            self.__dict__.pop(name, None)

    def fingerprint(self) -> str:
        """Return a short hash of the database's dialect, host, port and name, the same for all its accounts."""
        url = self.engine.url
        words = (self.engine.dialect.name, url.host or "", str(url.port or ""), url.database or "")
        return hashlib.sha256("\n".join(words).encode()).hexdigest()[:16]

    def people(self, ids: Collection[str] | None = None) -> Query:
        """Return the query for (user_id, stored, current): the Smartcar id normalized (null if empty) and unchanged.

        With ``ids``, only these users, found by their index.
        """
        stored = self.user_id_column
        raw = smartcar_id_of(stored) if stored is not None else sa.null()
        query = sa.select(
            text_of(self.users.c[self.layout.users.id]).label("user_id"),
            (tidy(raw) if stored is not None else sa.cast(sa.null(), sa.String(36))).label("stored"),
            (raw if stored is not None else sa.cast(sa.null(), sa.String(36))).label("current"),
        )
        if ids is not None:
            identity = self.users.c[self.layout.users.id]
            chosen = (column_types.is_named(identity, sa.literal(id), self._dialect) for id in ids)
            query = query.where(sa.or_(sa.false(), *chosen))
        return _narrowed(query, self.layout.users.where)

    def cars(self, now: datetime, owners: Collection[str] | None = None) -> Query:
        """Return the query for the cars; with ``owners``, only those of these users.

        (local_vehicle_id, user_id, vehicle_id, current, stored_vehicle_user_id, current_vehicle_user_id, token_alive,
        has_vin). The Smartcar ids are given normalized and as stored; the last two columns are 0 or 1.
        """
        names = self.layout.vehicles
        stored, vin, owner = self.vehicle_id_column, self._vehicle_column(names.vin), self.vehicle_user_id_column
        nothing = sa.cast(sa.null(), sa.String(36))
        query = sa.select(
            text_of(self._vehicle(names.id)).label("local_vehicle_id"),
            self._owner.label("user_id"),
            (tidy(smartcar_id_of(stored)) if stored is not None else nothing).label("vehicle_id"),
            (smartcar_id_of(stored) if stored is not None else nothing).label("current"),
            (tidy(smartcar_id_of(owner)) if owner is not None else nothing).label("stored_vehicle_user_id"),
            (smartcar_id_of(owner) if owner is not None else nothing).label("current_vehicle_user_id"),
            sa.case((self._alive(now), 1), else_=0).label("token_alive"),
            sa.case((_filled(vin), 1), else_=0).label("has_vin") if vin is not None else sa.literal(0).label("has_vin"),
        )
        if owners is not None:
            mine, identity = self._vehicle(names.user_id), self.users.c[self.layout.users.id]
            chosen = (column_types.is_owner(mine, identity, sa.literal(id), self._dialect) for id in owners)
            query = query.where(sa.or_(sa.false(), *chosen))
        return _narrowed(query, names.where)

    def cars_to_ask(self, now: datetime) -> Iterator[Car]:
        """Return every car with what queries to Smartcar need, sorted by id; its valid token is opened; streamed."""
        return self._read_cars(self._asking(now), at_once=2000)

    def cars_by_id(self, ids: Sequence[str], now: datetime) -> Iterator[Car]:
        """Return these cars as they are now, without those that are gone."""
        identity = self._vehicle(self.layout.vehicles.id)
        for part in self._parts(identity, ids):
            chosen = column_types.is_one_of(identity, part, self._dialect)
            yield from (car for car in self._read_cars(self._asking(now).where(chosen)) if car.local_vehicle_id in part)

    def _asking(self, now: datetime) -> Query:
        names = self.layout.vehicles
        vin, token, stored = (
            self._vehicle_column(name) for name in (names.vin, names.access_token, names.smartcar_vehicle_id)
        )
        refresh = self._vehicle_column(names.refresh_token) if names.refresh and token is not None else None
        nothing = sa.null()
        identity = self._vehicle(names.id)
        query = sa.select(
            text_of(identity),
            self._owner,
            tidy(smartcar_id_of(stored)) if stored is not None else nothing,
            sa.func.upper(sa.func.trim(letters_of(vin))) if vin is not None else nothing,
            token if token is not None else nothing,
            sa.case((self._alive(now), 1), else_=0),
            refresh if refresh is not None else nothing,
        ).order_by(identity)
        return _narrowed(query, names.where)

    def _read_cars(self, query: Query, *, at_once: int = 0) -> Iterator[Car]:
        """Return the query's cars; streamed in batches of ``at_once`` rows, if given."""
        options = {"yield_per": at_once} if at_once else {}
        with engines.failures(self.engine, "reading the vehicles"), self.engine.connect() as connection:
            for local, user, known, number, stored, alive, refresh in connection.execute(
                query, execution_options=options
            ):
                # An expired token is not opened, because that may be a call to a key service.
                token = self._usable(stored) if alive or self.vault.open is None else None
                yield Car(
                    local,
                    user,
                    known,
                    number or None,
                    token or None,
                    token_alive=bool(alive and token),
                    unopened=bool(alive and not token),
                    stored_refresh_token=refresh if refresh and refresh.strip() else None,
                )

    def _usable(self, stored: str | bytes | None) -> str | None:
        """Return the usable form of a stored token; without ``open_token``, bytes are read as text.

        Spaces or zero bytes that pad a column of fixed width are removed.
        """
        if self.vault.open is None and isinstance(stored, bytes):
            stored = stored.rstrip(b"\0").decode("ascii", errors="replace")
            stored = None if "\ufffd" in stored else stored
        token = self.vault.opened(stored)
        return token and token.strip()

    def is_healthy(self) -> bool:
        """Return whether the first value of the layout's health query is true; False if the query fails."""
        try:
            with self.engine.connect() as connection:
                return bool(connection.execute(sa.text(self.layout.health.query)).scalar())
        except SQLAlchemyError:
            return False

    def has_user(self, user_id: str) -> bool:
        """Return whether there is a user of the layout with this id."""
        return user_id in self.known({user_id}).values()

    def known(self, named: Iterable[str]) -> dict[str, str]:
        """Return given text -> user id for the texts that are the id of a user of the layout.

        One query per 500 texts, in the id's own type, so that its index is used.
        """
        identity = self.users.c[self.layout.users.id]
        wanted = {text: column_types.readings(identity, text, self._dialect) for text in named}
        found: set[str] = set()
        with engines.failures(self.engine, "looking for users"), self.engine.connect() as connection:
            for part in self._parts(identity, {reading for readings in wanted.values() for reading in readings}):
                query = self.people().where(column_types.is_one_of(identity, part, self._dialect))
                found |= {row["user_id"] for row in connection.execute(query).mappings()}
        users = {text: next((one for one in readings if one in found), None) for text, readings in wanted.items()}
        return {text: user for text, user in users.items() if user is not None}

    def values(self, section: str, column: str, ids: Sequence[str]) -> dict[str, str | None]:
        """Return a column's current values for these users or vehicles, as text, without rows that are gone."""
        table: sa.FromClause = self.users if section == "users" else self.vehicles
        names = self.layout.users if section == "users" else self.layout.vehicles
        identity, values = table.c[names.id], dict[str, str | None]()
        for part in self._parts(identity, ids):
            query = sa.select(text_of(identity), smartcar_id_of(table.c[column]))
            query = query.where(column_types.is_one_of(identity, part, self._dialect))
            with engines.failures(self.engine, f"reading the {section}"), self.engine.connect() as connection:
                values |= {row[0]: row[1] for row in connection.execute(query) if row[0] in part}
        return values

    def count(self) -> int:
        """Return the number of users of the layout."""
        query = sa.select(sa.func.count()).select_from(self.people().subquery())
        with engines.failures(self.engine, "counting the users"), self.engine.connect() as connection:
            return int(connection.execute(query).scalar_one())

    def count_tokens(self, now: datetime) -> tuple[int, int]:
        """Return (vehicles with a usable token younger than two hours, all vehicles of the layout)."""
        cars = self.cars(now).subquery()
        alive = sa.func.coalesce(sa.func.sum(cars.c.token_alive), 0)
        query = sa.select(alive, sa.func.count()).select_from(cars)
        with engines.failures(self.engine, "counting tokens"), self.engine.connect() as connection:
            living, every = connection.execute(query).one()
        return int(living) - self.count_unopened(now), int(every)

    def count_unopened(self, now: datetime) -> int:
        """Return the number of vehicles whose token is young but can't be opened by ``open_token``; 0 without one."""
        return sum(car.unopened for car in self.cars_to_ask(now)) if self.vault.open else 0

    def _alive(self, now: datetime) -> Condition:
        names = self.layout.vehicles
        token, created = self._vehicle_column(names.access_token), self._vehicle_column(names.token_created_at)
        if token is None or created is None:
            return sa.false()
        return sa.and_(_filled(token), token_ages.is_young(created, now, self._dialect))

    @property
    def _dialect(self) -> str:
        return self.engine.dialect.name

    @property
    def _owner(self) -> sa.ColumnElement[str]:
        """A car's ``user_id``, in the text form of users' ids."""
        return column_types.owner_of(self._vehicle(self.layout.vehicles.user_id), self.users.c[self.layout.users.id])

    def _parts(self, identity: Expression, ids: Iterable[str]) -> Iterator[set[str]]:
        """Return the ids that this column can contain, in batches."""
        valid = sorted({one for one in ids if one in column_types.readings(identity, one, self._dialect)})
        for start in range(0, len(valid), IDS):
            yield set(valid[start : start + IDS])

    def _vehicle(self, name: str) -> Expression:
        return self.vehicles.c[name]

    def _vehicle_column(self, name: str) -> Expression | None:
        return self.vehicles.c.get(name) if name else None

    def _table(self, section: str, name: str, schema: str, needed: tuple[str, ...]) -> sa.Table:
        with engines.failures(self.engine, f"reading the table {name}"):
            try:
                table = sa.Table(
                    name,
                    sa.MetaData(),
                    schema=schema or None,
                    autoload_with=self.engine,
                    resolve_fks=False,
                    listeners=[("column_reflect", column_types.without_domain)],
                )
            except NoSuchTableError:
                raise DatabaseError(
                    f"database: there is no table {name!r}; expected the company's {section}. "
                    f"Name it in smartcar_ops.toml, [{section}] table."
                ) from None
        self._need(section, name, table, needed)
        return table

    def _need(self, section: str, name: str, table: sa.FromClause, keys: Iterable[str]) -> None:
        """DatabaseError if the table lacks the column of one of the section's keys."""
        for key in keys:
            column = getattr(getattr(self.layout, section), key)
            if column not in table.c:
                raise DatabaseError(
                    f"database: the table {name!r} has no column {column!r}; "
                    f"name the right one in smartcar_ops.toml, [{section}] {key}."
                )

    def _selected(self, select: str) -> sa.FromClause:
        """Return the layout's SELECT as a table; a query that returns no rows gives its columns."""
        with engines.failures(self.engine, "reading [vehicles] from"), self.engine.connect() as connection:
            probe = connection.execute(sa.text(f"SELECT * FROM ({select}) probe WHERE 1 = 0"))  # noqa: S608
            names = list(probe.keys())
            types = selects.types_of(connection, select, probe)
        missing = {self.layout.vehicles.id, self.layout.vehicles.user_id} - set(names)
        if missing:
            raise DatabaseError(
                f"database: [vehicles] from returns no {sorted(missing)[0]!r}; its columns are {names}."
            )
        columns = [sa.column(name, kind) for name, kind in zip(names, types, strict=True)]
        return sa.text(select).columns(*columns).subquery("vehicles_from")

    def _check_types(self) -> None:
        """DatabaseError if a column's type can't store or return an id or a token's age."""
        users, vehicles, dialect = self.layout.users, self.layout.vehicles, self._dialect
        identity, owner = self.users.c[users.id], self._vehicle(vehicles.user_id)
        for key, column in (("[users] id", identity), ("[vehicles] id", self._vehicle(vehicles.id))):
            self._refuse(key, column, column_types.why_no_key(column), "use a column of integers, text, UUIDs or bytes")
        why = column_types.why_no_key(owner) or column_types.why_no_owner(owner, identity, dialect)
        self._refuse("[vehicles] user_id", owner, why, "use a column with the type of [users] id")
        targets = [("[users] smartcar_user_id", self.user_id_column)]
        if isinstance(self.vehicles, sa.Table):
            targets.append(("[vehicles] smartcar_vehicle_id", self.vehicle_id_column))
            targets.append(("[vehicles] smartcar_user_id", self.vehicle_user_id_column))
        for key, target in targets:
            if target is not None:
                advice = "it must store an id of 36 characters: make it VARCHAR(36) or UUID, or use another column"
                self._refuse(key, target, column_types.why_no_target(target, dialect), advice)
        created = self._vehicle_column(vehicles.token_created_at)
        if created is not None:
            advice = "use a column of times, of seconds or milliseconds since 1970, or of ISO text"
            self._refuse("[vehicles] token_created_at", created, token_ages.why_no_time(created, dialect), advice)

    def _refuse(self, key: str, column: Expression, why: str, advice: str) -> None:
        if why:
            kind = column_types.name_of(column, self.engine.dialect)
            raise DatabaseError(f"database: {key} is the column {column.key!r} ({kind}), which is {why}; {advice}.")

    def refuse_shared_ids(self) -> None:
        """DatabaseError if several rows have one id, because a change would be written to all of them.

        A primary key or unique index on the column rules that out; otherwise the rows are checked.
        """
        for section in ("users", "vehicles"):
            names, table = getattr(self.layout, section), getattr(self, section)
            if not isinstance(table, sa.Table) or column_types.is_unique(table, names.id, self._dialect):
                continue
            text = text_of(table.c[names.id])
            several = _narrowed(sa.select(text.label("id")).where(text.is_not(None)), names.where).subquery("named")
            query = sa.select(several.c.id).group_by(several.c.id).having(sa.func.count() > 1).limit(1)
            with engines.failures(self.engine, f"reading the {section}"), self.engine.connect() as connection:
                if connection.execute(query).first() is not None:
                    by_case = " (ignoring case)" if self._dialect in column_types.MYSQL else ""
                    raise DatabaseError(
                        f"database: [{section}] id is the column {names.id!r}, and several rows of {names.table!r} "
                        f"have the same id{by_case}; nothing was planned. Use a unique column, or filter the rows "
                        f"with [{section}] where."
                    )


def _filled(column: Expression | None) -> Condition:
    if column is None:
        return sa.false()
    return sa.and_(column.is_not(None), sa.func.trim(text_of(column)) != "")


def _narrowed(query: Query, where: str) -> Query:
    return query.where(sa.text(f"({where})")) if where else query
