"""What arrived at the company, out of the files it was kept in: Connect's redirects and Smartcar's webhooks.

A row that can't be read is an arrival with a ``problem``, and ends nothing.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from smartcar_ops.capture import rows
from smartcar_ops.capture.rows import NO_OBJECT, FileRow
from smartcar_ops.errors import ParameterError
from smartcar_ops.smartcar import json_values
from smartcar_ops.smartcar.error_responses import mapping, text

YES = ("true", "yes", "1")
"""What `state_checked` may say."""

LONGEST_ADDRESS = 100_000
"""Characters of a redirect's address."""

ADDRESS = (
    *("url", "query", "address", "uri", "request_uri", "request", "href", "location", "query_string", "querystring"),
    *("querystringparameters", "rawquerystring", "path"),
)
"""The columns or members that may hold a redirect's address, the first that is filled."""

LOGGED = re.compile(r"\b(?:GET|POST|HEAD) (?P<address>\S+)(?: HTTP/[\d.]+)?")
"""How an access log has the address that was asked for."""

NAMING = re.compile(r"(?:\b|%3F|%26|%23)(?:user_?id|code|error|state)(?:=|%3D)", re.IGNORECASE)
"""What a redirect's address has somewhere."""

BODY = ("body", "rawbody", "raw-body", "payload", "raw", "content", "requestbody", "request-body", "message", "event")
"""The members or columns that may hold a webhook's body, the first that is filled."""

SIGNATURE = ("signature", "sc-signature", "scsignature", "x-sc-signature", "http-sc-signature")

WRAPPED = ("request", "req", "http", "event")
"""Members in which some receivers keep body and headers together."""


@dataclass(frozen=True)
class SentBack:
    """A redirect as the company stored it; ``user_id`` is its own id of whom it had sent to Connect.

    ``checked``: the company says, by ``state_checked``, that the state was the one it had sent this user with.
    """

    line: int
    address: str = field(default="", repr=False)
    user_id: str | None = None
    problem: str = ""
    checked: bool = False


@dataclass(frozen=True)
class Delivery:
    """A webhook as the company stored it: the raw body, and the ``SC-Signature`` that came with it.

    ``parsed``: the body was stored as an object, so that it may not be written as it came.
    """

    line: int
    body: str = field(default="", repr=False)
    signature: str | None = field(default=None, repr=False)
    problem: str = ""
    parsed: bool = False


def find(name: str, given: str) -> Path | None:
    """The file that a parameter names, None where it names none; ParameterError where it can't be read."""
    if not given.strip():
        return None
    if any(mark in given for mark in ("://", "?", "{", "user_id=", "code=")):
        # The content itself may hold a code or a place: not repeated.
        raise ParameterError(f"parameters: {name} holds an address or a body; expected the path of a file of them.")
    path = Path(given.strip()).expanduser()
    try:
        if not path.is_file():
            raise ParameterError(f"parameters: {name} is {given!r}; there is no such file, give the path of one.")
        rows.refuse_strange(name, path)
    except OSError as error:
        raise ParameterError(
            f"parameters: {name} is {given!r}, which can't be read ({error.strerror}); give a file that can be."
        ) from None
    return path


# --- redirects -----------------------------------------------------------------------------------------------


def redirects(path: Path) -> Iterator[SentBack]:
    """Every redirect of a file: CSV with a header, JSON, addresses or lines of a log; ParameterError for none."""
    first = True
    for row in rows.read(path, ADDRESS):
        if first and row.named is None and not row.problem and not NAMING.search(row.text) and "://" not in row.text:
            raise ParameterError(
                "parameters: redirects names a file whose first line is no redirect and no header with the column url "
                "or query; expected CSV with such a header, JSON Lines, or an address a line."
            )
        first = False
        yield _sent_back(row)


def _sent_back(row: FileRow) -> SentBack:
    if row.problem:
        return SentBack(row.line, problem=row.problem)
    named = {"url": row.text} if row.named is None else _small(row.named)
    addresses = [found for name in ADDRESS if (found := _address(named.get(name)))]
    address = next(filter(NAMING.search, addresses), next(iter(addresses), ""))
    if not address:
        return SentBack(row.line, problem="the row has no address of a redirect")
    if len(address) > LONGEST_ADDRESS:
        return SentBack(row.line, problem="the address is too long to be one")
    checked = str(named.get("state_checked", "")).strip().lower() in YES
    return SentBack(row.line, address, (text(named.get("user_id")) or "").strip() or None, checked=checked)


def _small(row: Mapping[str, Any]) -> dict[str, Any]:
    """The members by name in small letters."""
    return {name.lower(): value for name, value in row.items()}


def _address(value: Any) -> str:
    """The address in a cell: alone, somewhere in a line of a log, or taken apart into its parameters."""
    if isinstance(value, dict):
        return "?" + urlencode({name: one for name, one in value.items() if isinstance(one, str)})
    told = (text(value) or "").strip()
    if len(told) > LONGEST_ADDRESS or not re.search(r"\s", told):
        return told
    logged = LOGGED.search(told)
    words = [logged["address"]] if logged else re.split(r"[\s\"'<>]+", told)
    return next(filter(NAMING.search, words), "")


# --- webhooks ------------------------------------------------------------------------------------------------


def webhooks(path: Path) -> Iterator[Delivery]:
    """Every webhook of a file of JSON or CSV: an event, or its body with its signature."""
    for row in rows.read(path, BODY):
        yield from map(_delivery, _each(row))


def _each(row: FileRow) -> list[FileRow]:
    """The rows of a list that is kept under a name of its own (`Records`, `Items`); else the row alone."""
    lists = [value for value in (row.named or {}).values() if isinstance(value, list)]
    stored = _named(row.named or {})
    if len(lists) != 1 or _is_event(stored) or any(name in stored for name in BODY):
        return [row]
    return [FileRow(row.line, named=one) for one in lists[0] if isinstance(one, dict)] or [row]


def _delivery(row: FileRow) -> Delivery:
    if row.problem:
        return Delivery(row.line, problem=row.problem)
    named = _in_line(row.text) if row.named is None else row.named
    if named is None:
        return Delivery(row.line, problem=NO_OBJECT)
    stored = _opened(_named(named))
    body = next((found for name in BODY if (found := stored.get(name))), None)
    if _is_event(stored) or not any(name in stored for name in BODY):
        return Delivery(row.line, _written(named))
    if not isinstance(body, dict | str):
        return Delivery(row.line, problem="the line has no body")
    parsed = isinstance(body, dict)
    raw = _written(body) if isinstance(body, dict) else _unpacked(body, flagged=_is_base64(stored))
    if not raw:
        return Delivery(row.line, problem="its body is not Base64, as isBase64Encoded says")
    return Delivery(row.line, raw, _signature(stored), parsed=parsed)


def _in_line(line: str) -> dict[str, Any] | None:
    """The object in a line that begins with something else, as a log's does; the line itself may be a text of JSON."""
    start = line.find("{")
    try:
        found = json_values.loads(line[start:]) if start >= 0 else None
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _named(row: Mapping[str, Any]) -> dict[str, Any]:
    """The members by name, in whatever case and with whichever dash they were stored."""
    return {name.lower().replace("_", "-"): value for name, value in row.items()}


def _opened(stored: dict[str, Any]) -> dict[str, Any]:
    """The members, and those of the member that body and headers are kept in together."""
    for name in WRAPPED:
        inner = _named(mapping(stored.get(name)))
        if any(known in inner for known in BODY) and not _is_event(inner):
            return {**{key: value for key, value in stored.items() if key != name}, **inner}
    return stored


def _is_event(stored: Mapping[str, Any]) -> bool:
    return "eventtype" in stored or "eventname" in stored


def _written(body: Mapping[str, Any]) -> str:
    """A body that was parsed before it was stored, as Smartcar's own SDKs write it to check it."""
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False)


def _is_base64(stored: Mapping[str, Any]) -> bool:
    return str(stored.get("isbase64encoded", stored.get("is-base64-encoded", ""))).lower() in YES


def _unpacked(body: str, *, flagged: bool) -> str:
    """The raw body of a text that was packed into Base64 or into JSON once more; empty where the flag is wrong."""
    told = body.strip()
    if flagged or told.startswith(("ey", "ew")):  # how Base64 of an object begins
        try:
            return base64.b64decode(told, validate=True).decode("utf-8")
        except (binascii.Error, ValueError):
            return "" if flagged else body
    if told.startswith('"'):
        try:
            return str(json_values.loads(told))
        except ValueError:
            return body
    return body


def _signature(stored: Mapping[str, Any]) -> str | None:
    """The signature beside the body or among the headers, however a framework keeps those."""
    kept = stored.get("headers") or stored.get("multivalueheaders")
    if isinstance(kept, str):
        kept = _in_line(kept)
    pairs = kept if isinstance(kept, list) else []
    headers = _named(mapping(kept)) | _named(dict(filter(None, map(_pair, pairs))))
    candidates = (place.get(name) for place in (stored, headers) for name in SIGNATURE)
    return next((found for value in candidates if (found := _single(value))), None)


def _pair(header: Any) -> tuple[str, Any] | None:
    """A header of a list of them: a pair, or an object with name and value."""
    if isinstance(header, dict):
        one = _named(header)
        name, value = one.get("name", one.get("key")), one.get("value")
    elif isinstance(header, list) and len(header) == 2:
        name, value = header
    else:
        return None
    return (name, value) if isinstance(name, str) else None


def _single(value: Any) -> str | None:
    """A header's value: some frameworks keep a list of them."""
    return text(value[0]) if isinstance(value, list) and value else text(value)
