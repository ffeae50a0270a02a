"""How many vehicles are still to be linked, and to be recorded, counted in the database."""

from __future__ import annotations

import sqlalchemy as sa

from smartcar_ops.database.evidence.evidence import Evidence
from smartcar_ops.database.evidence.workspace import InOrder
from smartcar_ops.database.ledger import tables as t
from smartcar_ops.database.sql_types import Query


class OpenWork(Evidence):
    """The queries for what is left to ask Smartcar; create it once per workspace."""

    def unlinked(self) -> Query:
        """Return one row: unlinked ``vehicles``, those with a live ``tokens`` not asked yet, those with ``vins``."""
        cars, links = self._cars, self.links
        asked = (
            sa.select(t.asked.c.subject)
            .where(self._scope.of(t.asked), t.asked.c.source == "tokens")
            .subquery("asked_tokens")
        )
        by_token = sa.and_(cars.c.token_alive == 1, asked.c.subject.is_(None))
        rows = cars.outerjoin(links, cars.c.local_vehicle_id == links.c.local_vehicle_id).outerjoin(
            asked, cars.c.local_vehicle_id == asked.c.subject
        )
        return (
            sa.select(
                sa.func.count().label("vehicles"),
                sa.func.coalesce(sa.func.sum(sa.case((by_token, 1), else_=0)), 0).label("tokens"),
                sa.func.coalesce(sa.func.sum(cars.c.has_vin), 0).label("vins"),
            )
            .select_from(rows)
            .where(links.c.local_vehicle_id.is_(None))
        )

    def vehicles(self) -> Query:
        """Return one row: all ``vehicles``."""
        return sa.select(sa.func.count().label("vehicles")).select_from(self._cars)

    def unread(self) -> Query:
        """Return one row: the ``vehicles`` of `unread_vehicles`."""
        unread = self.unread_vehicles().order_by(None).subquery("unread")
        return sa.select(sa.func.count().label("vehicles")).select_from(unread)

    def unrecorded(self) -> Query:
        """Return (make, powertrain, permissions, vehicles) of linked, connected vehicles without a recording.

        A vehicle with several users counts once, under one of their permissions.
        """
        links, row, kept = self.links, t.connections, t.recordings
        readable = (
            sa.select(
                links.c.local_vehicle_id,
                sa.func.min(row.c.make).label("make"),
                sa.func.min(row.c.powertrain).label("powertrain"),
                sa.func.min(sa.func.coalesce(row.c.permissions, "")).label("permissions"),
            )
            .select_from(InOrder(links, row, links.c.vehicle_id == row.c.vehicle_id))
            .where(self._known)
            .group_by(links.c.local_vehicle_id)
            .subquery("readable")
        )
        recorded = (
            sa.select(kept.c.local_vehicle_id)
            .where(self._scope.of(kept), kept.c.answered)
            .distinct()
            .subquery("recorded")
        )
        group = readable.c.make, readable.c.powertrain, readable.c.permissions
        rows = readable.outerjoin(recorded, readable.c.local_vehicle_id == recorded.c.local_vehicle_id)
        return (
            sa.select(*group, sa.func.count().label("vehicles"))
            .select_from(rows)
            .where(recorded.c.local_vehicle_id.is_(None))
            .group_by(*group)
        )
