"""What Connect sends back in the redirect: whose consent it was, or why there is none."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from smartcar_ops.errors import NotSmartcarError
from smartcar_ops.smartcar.ids import external_id, smartcar_id


@dataclass(frozen=True)
class Redirect:
    """A redirect's parameters; ``user_id`` in lower case, None after an error or a re-authentication.

    ``code`` is optional for V3 and never shown.
    """

    user_id: str | None
    state: str | None
    external_id: str | None
    vehicle_id: str | None
    error: str | None
    code: str | None = field(default=None, repr=False)


def read_redirect(url: str) -> Redirect:
    """A redirect from its whole address or query string.

    ``user_id`` is read before ``userId`` (the migration guide's spelling). NotSmartcarError where the two are there
    and differ, or a parameter comes twice with two values: whose consent it was can't be told; and where a consent's
    ``user_id`` is no id.
    """
    try:
        parts = urlsplit(url)
        query = parse_qs(parts.query or parts.path.lstrip("?"), max_num_fields=100)
    except ValueError:
        raise NotSmartcarError("smartcar: a redirect is no address; expected https://…?user_id=…&state=….") from None

    def one(*names: str) -> str | None:
        values = {value.strip() for name in names for value in query.get(name, ()) if value.strip()}
        if len(values) > 1:
            raise NotSmartcarError(
                f"smartcar: a redirect names {len(values)} different values for {' and '.join(names)}; refused, since "
                "it can't be told whose consent it was."
            )
        return next(iter(values), None)

    told, error = one("user_id", "userId"), one("error")
    user_id = smartcar_id(told)
    if told and not user_id and not error:
        raise NotSmartcarError(
            "smartcar: a redirect's user_id is no UUID, or the nil one; refused, since it names nobody."
        )
    return Redirect(
        user_id=user_id,
        state=one("state"),
        external_id=external_id(one("external_id")),
        vehicle_id=smartcar_id(one("vehicle_id")),
        error=error,
        code=one("code"),
    )
