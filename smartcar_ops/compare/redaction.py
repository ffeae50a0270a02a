"""Remove private values from answers, so that they can be stored and shared: no VIN, place, name, e-mail or token.

The values stay comparable: each VIN is replaced by its own word, and all places of a vehicle are shifted by the same
distance. Fields that are private as a whole are hidden later, in `compare.judging.judge`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

from smartcar_ops.smartcar.error_responses import mapping

HIDDEN = "…"
VIN_LIKE = re.compile(r"(?<![A-Za-z0-9-])(?=[A-Za-z]*\d)(?=\d*[A-Za-z])[A-HJ-NPR-Za-hj-npr-z0-9]{17}(?![A-Za-z0-9-])")
LONG = re.compile(r"[A-Za-z0-9]{17}")
"""A quick test before `VIN_LIKE`: most texts are times and words, and do not match."""
E_MAIL = re.compile(r"[^\s@/\"<>]+@[^\s@/\"<>]+\.[A-Za-z]{2,}")
QUERY = re.compile(r"(?<=://)([^\s?]*)\?\S*")
POINTS = (("latitude", "longitude"), ("lat", "lng"), ("lat", "lon"))
PRIVATE = frozenset({"address", "street", "city", "postalcode", "postcode", "zip", "zipcode", "nickname"})
"""Members, in lower case, whose text may identify the place or owner of a car."""
PRIVATE_CODES = frozenset({"vehicleidentification-nickname"})
VIN_CODE, VIN_PATH = "vehicleidentification-vin", "/vin"


class Redactor:
    """Redacts the answers about one vehicle, with the same words for the same VIN and the same shift of places."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets = [secret for secret in secrets if secret]
        self._vins: dict[str, str] = {}
        self._origin: tuple[float, float] | None = None

    def signals(self, body: Any) -> Any:
        """Return V3's list of signals, redacted."""
        for row in _rows(body, "data"):
            inner = mapping(mapping(row).get("attributes"))
            if str(inner.get("code") or mapping(row).get("id")).lower() == VIN_CODE:
                self._note(mapping(inner.get("body")).get("value"))
        return self._clean(body)

    def batch(self, body: Any) -> Any:
        """Return a V2 batch's answer, redacted."""
        for row in _rows(body, "responses"):
            if mapping(row).get("path") == VIN_PATH:
                self._note(mapping(mapping(row).get("body")).get("vin"))
        return self._clean(body)

    def _note(self, vin: Any) -> None:
        """Assign a word to the value of a VIN field, whatever it looks like."""
        if isinstance(vin, str) and vin.strip():
            self._word(vin)

    def _word(self, vin: str) -> str:
        return self._vins.setdefault("".join(vin.split()).upper(), f"VIN {len(self._vins) + 1}")

    def _clean(self, value: Any) -> Any:
        if isinstance(value, dict):
            return self._object(value)
        if isinstance(value, list):
            return [self._clean(entry) for entry in value]
        return self._text(value) if isinstance(value, str) else value

    def _object(self, members: dict[str, Any]) -> dict[str, Any]:
        cleaned: dict[str, Any] = {}
        for name, value in members.items():
            if isinstance(value, str):
                cleaned[name] = HIDDEN if name.lower() in PRIVATE else self._text(value)
            else:
                cleaned[name] = self._clean(value) if isinstance(value, dict | list) else value
        if "code" in members and str(members["code"]).lower() in PRIVATE_CODES:
            body = mapping(cleaned.get("body"))
            cleaned["body"] = {name: value and HIDDEN for name, value in body.items()} or cleaned.get("body")
        for names in POINTS:
            if names[0] in members:
                self._move(members, cleaned, names)
        return cleaned

    def _move(self, members: dict[str, Any], cleaned: dict[str, Any], names: tuple[str, str]) -> None:
        point = tuple(members.get(name) for name in names)
        if all(isinstance(angle, int | float) and not isinstance(angle, bool) for angle in point):
            cleaned.update(zip(names, self._moved(*point), strict=True))  # type: ignore[arg-type]

    def _moved(self, latitude: float, longitude: float) -> tuple[float, float]:
        """Return the place shifted so that the vehicle's first place is at latitude 0, longitude 0; to a centimeter.

        At the equator a degree of longitude is as long as a degree of latitude, so distances of a few km are kept.
        """
        if not (abs(latitude) <= 90 and abs(longitude) <= 180):
            return latitude, longitude
        if self._origin is None:
            self._origin = (latitude, longitude)
        north = latitude - self._origin[0]
        east = (longitude - self._origin[1] + 540) % 360 - 180
        return round(north, 7), round(east * math.cos(math.radians((latitude + self._origin[0]) / 2)), 7)

    def _text(self, words: str) -> str:
        if len(words) < 5 or words.isalpha():
            return words
        for secret in self._secrets:
            words = words.replace(secret, HIDDEN)
        known = self._vins.get("".join(words.split()).upper())
        if known:
            return known
        if len(words) >= 17 and LONG.search(words):
            words = VIN_LIKE.sub(lambda found: self._word(found[0]), words)
        if "@" in words:
            words = E_MAIL.sub(HIDDEN, words)
        return QUERY.sub(rf"\1?{HIDDEN}", words) if "://" in words else words


def _rows(body: Any, name: str) -> list[Any]:
    rows = mapping(body).get(name)
    return rows if isinstance(rows, list) else []
