"""Reads what the company received from the files it was stored in: Connect's redirects and Smartcar's webhooks.

A row that can't be read is returned with a ``problem``; the rows after it are still read.
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
"""The values of `state_checked` that mean yes."""

LONGEST_ADDRESS = 100_000
"""Characters of a redirect's address."""

ADDRESS = (
    *("url", "query", "address", "uri", "request_uri", "request", "href", "location", "query_string", "querystring"),
    *("querystringparameters", "rawquerystring", "path"),
)
"""The columns or members that may hold a redirect's address; the first that is not empty counts."""

LOGGED = re.compile(r"\b(?:GET|POST|HEAD) (?P<address>\S+)(?: HTTP/[\d.]+)?")
"""How an access log shows the requested address."""

NAMING = re.compile(r"(?:\b|%3F|%26|%23)(?:user_?id|code|error|state)(?:=|%3D)", re.IGNORECASE)
"""A parameter by which a redirect's address is recognized."""

BODY = ("body", "rawbody", "raw-body", "payload", "raw", "content", "requestbody", "request-body", "message", "event")
"""The members or columns that may hold a webhook's body; the first that is not empty counts."""

SIGNATURE = ("signature", "sc-signature", "scsignature", "x-sc-signature", "http-sc-signature")

WRAPPED = ("request", "req", "http", "event")
"""Members in which some receivers store body and headers together."""


@dataclass(frozen=True)
class SentBack:
    """A redirect as the company stored it; ``user_id`` is the company's own id of the user it sent to Connect.

    ``checked``: according to ``state_checked``, the company verified that the state is the one it gave this user.
    """

    line: int
    address: str = field(default="", repr=False)
    user_id: str | None = None
    problem: str = ""
    checked: bool = False


@dataclass(frozen=True)
class Delivery:
    """A webhook as the company stored it: the raw body and its ``SC-Signature``.

    ``parsed``: the body was stored as an object, so that its text may differ from what was received.
    """

    line: int
    body: str = field(default="", repr=False)
    signature: str | None = field(default=None, repr=False)
    problem: str = ""
    parsed: bool = False


def find(name: str, given: str) -> Path | None:
    """Return the path in a parameter, None if it is empty; ParameterError if the file can't be read."""
    if not given.strip():
        return None
    if any(mark in given for mark in ("://", "?", "{", "user_id=", "code=")):
        # The content may include a code or a place, so it is not repeated.
        raise ParameterError(f"parameters: {name} holds an address or a body; expected the path of a file of them.")
    path = Path(given.strip()).expanduser()
    try:
        if not path.is_file():
            raise ParameterError(f"parameters: {name} is {given!r}, which is not a file; expected the path of one.")
        rows.refuse_strange(name, path)
    except OSError as error:
        raise ParameterError(
            f"parameters: {name} is {given!r}, which can't be read ({error.strerror}); expected a readable file."
        ) from None
    return path


# --- redirects -----------------------------------------------------------------------------------------------


def redirects(path: Path) -> Iterator[SentBack]:
    """Yield the redirects in a file of CSV with a header, JSON, addresses or log lines.

    ParameterError if the first line is none of these.
    """
    first = True
    for row in rows.read(path, ADDRESS):
        if first and row.named is None and not row.problem and not NAMING.search(row.text) and "://" not in row.text:
            raise ParameterError(
                "parameters: the first line of the redirects file is neither a redirect nor a header with the column "
                "url or query; expected CSV with such a header, JSON Lines, or one address per line."
            )
        first = False
        yield _sent_back(row)


def _sent_back(row: FileRow) -> SentBack:
    if row.problem:
        return SentBack(row.line, problem=row.problem)
    named = {"url": row.text} if row.named is None else _small(row.named)
    addresses = [address for name in ADDRESS if (address := _address(named.get(name)))]
    address = next(filter(NAMING.search, addresses), next(iter(addresses), ""))
    if not address:
        return SentBack(row.line, problem="the row has no redirect address")
    if len(address) > LONGEST_ADDRESS:
        return SentBack(row.line, problem=f"the address has more than {LONGEST_ADDRESS:,} characters")
    checked = str(named.get("state_checked", "")).strip().lower() in YES
    return SentBack(row.line, address, (text(named.get("user_id")) or "").strip() or None, checked=checked)


def _small(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members by their lower-case names."""
    return {name.lower(): value for name, value in row.items()}


def _address(value: Any) -> str:
    """Return the address in a cell: alone, somewhere in a log line, or split into its parameters."""
    if isinstance(value, dict):
        return "?" + urlencode({name: one for name, one in value.items() if isinstance(one, str)})
    cell = (text(value) or "").strip()
    if len(cell) > LONGEST_ADDRESS or not re.search(r"\s", cell):
        return cell
    logged = LOGGED.search(cell)
    words = [logged["address"]] if logged else re.split(r"[\s\"'<>]+", cell)
    return next(filter(NAMING.search, words), "")


# --- webhooks ------------------------------------------------------------------------------------------------


def webhooks(path: Path) -> Iterator[Delivery]:
    """Yield the webhooks in a file of JSON or CSV: events, or raw bodies with their signatures."""
    for row in rows.read(path, BODY):
        yield from map(_delivery, _each(row))


def _each(row: FileRow) -> list[FileRow]:
    """Return the rows of a list that is stored under a name (`Records`, `Items`); otherwise the row itself."""
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
        return Delivery(row.line, problem="its body is not Base64, although isBase64Encoded is true")
    return Delivery(row.line, raw, _signature(stored), parsed=parsed)


def _in_line(line: str) -> dict[str, Any] | None:
    """Return the JSON object in a line, which may begin with other text, as in a log; None if there is none."""
    start = line.find("{")
    try:
        value = json_values.loads(line[start:]) if start >= 0 else None
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _named(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members by name, in lower case and with dashes instead of underscores."""
    return {name.lower().replace("_", "-"): value for name, value in row.items()}


def _opened(stored: dict[str, Any]) -> dict[str, Any]:
    """Return the members, with those of the member that holds body and headers moved to the top level."""
    for name in WRAPPED:
        inner = _named(mapping(stored.get(name)))
        if any(known in inner for known in BODY) and not _is_event(inner):
            return {**{key: value for key, value in stored.items() if key != name}, **inner}
    return stored


def _is_event(stored: Mapping[str, Any]) -> bool:
    return "eventtype" in stored or "eventname" in stored


def _written(body: Mapping[str, Any]) -> str:
    """Return the text of a body that was stored parsed, written as Smartcar's SDKs write it to check a signature."""
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False)


def _is_base64(stored: Mapping[str, Any]) -> bool:
    return str(stored.get("isbase64encoded", stored.get("is-base64-encoded", ""))).lower() in YES


def _unpacked(body: str, *, flagged: bool) -> str:
    """Return the raw body, decoded if it was stored as Base64 or as a JSON string; empty if ``flagged`` is wrong."""
    encoded = body.strip()
    if flagged or encoded.startswith(("ey", "ew")):  # how Base64 of an object begins
        try:
            return base64.b64decode(encoded, validate=True).decode("utf-8")
        except (binascii.Error, ValueError):
            return "" if flagged else body
    if encoded.startswith('"'):
        try:
            return str(json_values.loads(encoded))
        except ValueError:
            return body
    return body


def _signature(stored: Mapping[str, Any]) -> str | None:
    """Return the signature next to the body or in the headers, in any of the forms that frameworks store."""
    raw = stored.get("headers") or stored.get("multivalueheaders")
    if isinstance(raw, str):
        raw = _in_line(raw)
    pairs = raw if isinstance(raw, list) else []
    headers = _named(mapping(raw)) | _named(dict(filter(None, map(_pair, pairs))))
    candidates = (place.get(name) for place in (stored, headers) for name in SIGNATURE)
    return next((found for value in candidates if (found := _single(value))), None)


def _pair(header: Any) -> tuple[str, Any] | None:
    """Return (name, value) of a header in a list, which is a pair or an object; None if it is neither."""
    if isinstance(header, dict):
        one = _named(header)
        name, value = one.get("name", one.get("key")), one.get("value")
    elif isinstance(header, list) and len(header) == 2:
        name, value = header
    else:
        return None
    return (name, value) if isinstance(name, str) else None


def _single(value: Any) -> str | None:
    """Return a header's value, which some frameworks store as a list."""
    return text(value[0]) if isinstance(value, list) and value else text(value)
