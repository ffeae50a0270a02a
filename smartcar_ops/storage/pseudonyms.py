"""Keyed pseudonyms for the ids in a run's tables, the same in every table and run beside the same key."""

from __future__ import annotations

import hmac
import os
import secrets
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from smartcar_ops.errors import SettingsError, SmartcarOpsError
from smartcar_ops.storage.columns import IdOwner, TableMeaning, describe
from smartcar_ops.storage.run_folder import Bundle
from smartcar_ops.text import UUID

KEY = ".pseudonym-key"
"""The file beside the runs that has the key."""

KEY_BYTES = 32
DIGITS = 20
"""Hexadecimal digits of a pseudonym."""

WHOLE_LIST = "*"
"""The subject of a question about a whole list; it is nobody's id."""

CACHED = 1_000_000
"""Pseudonyms held in memory, because most ids are in several rows."""


class Pseudonymizer:
    """Replaces ids by pseudonyms; without the key, nobody can tell which id a pseudonym stands for."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self.pseudonym = lru_cache(CACHED)(self._pseudonym)

    def _pseudonym(self, kind: str, id: str) -> str:
        """Return the pseudonym of an id, such as ``user-…``; an id of Smartcar's counts trimmed and in lower case."""
        same = id.strip().lower() if kind == "smartcar" else id
        return f"{kind}-{hmac.digest(self._key, f'{kind} {same}'.encode(), 'sha256').hex()[:DIGITS]}"

    def text(self, text: str) -> str:
        """Return a text with pseudonyms in place of the UUIDs in it."""
        return UUID.sub(lambda found: self.pseudonym("smartcar", found[0]), text)

    def table(self, table: pd.DataFrame, meaning: TableMeaning) -> pd.DataFrame:
        """Return a copy of a table with pseudonyms in place of ids, and without free text."""
        return pd.DataFrame({column: self._column(table, column, meaning) for column in table.columns})

    def _column(self, table: pd.DataFrame, name: str, meaning: TableMeaning) -> pd.Series[Any]:
        values, of = table[name], meaning.columns[name]
        if of.free_text:
            return pd.Series(None, index=table.index, dtype="str")
        if of.owner:
            return self._ids(values, table, of.owner)
        return values.map(self._any, na_action="ignore") if of.type == "text" else values

    def _ids(self, values: pd.Series[Any], table: pd.DataFrame, owner: IdOwner) -> pd.Series[Any]:
        kinds = table[owner.column] if owner.column else [""] * len(table)
        replaced = [
            self._id(owner.kind(kind), value) for kind, value in zip(kinds, values.astype("object"), strict=True)
        ]
        return pd.Series(replaced, index=table.index, dtype="str")

    def _id(self, kind: str, value: Any) -> Any:
        if value in ("", WHOLE_LIST) or pd.isna(value):
            return value
        return self.pseudonym(kind, str(value))

    def _any(self, value: Any) -> Any:
        """Return a value of any JSON type with pseudonyms in place of the UUIDs in its texts."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(name): self._any(member) for name, member in value.items()}
        return [self._any(one) for one in value] if isinstance(value, list) else value

    def json(self, content: Mapping[str, Any]) -> dict[str, Any]:
        """Return a JSON object with pseudonyms in place of the UUIDs in it."""
        return {name: self._any(value) for name, value in content.items()}


class PseudonymousBundle(Bundle):
    """The tables of a run without its ids: each is replaced by the same pseudonym in every table and run."""

    def __init__(self, folder: Path, pseudonymizer: Pseudonymizer) -> None:
        super().__init__(folder)
        self._pseudonymizer = pseudonymizer

    @property
    def summary(self) -> dict[str, Any]:
        """The content of `summary.json`: the verdict and the counts."""
        return self._pseudonymizer.json(super().summary)

    @property
    def run(self) -> dict[str, Any]:
        """The content of `run.json`, without the texts among the parameters, because they may name anybody."""
        run = super().run
        parameters = run.get("parameters") or {}
        kept = {name: None if isinstance(value, str) else value for name, value in parameters.items()}
        return self._pseudonymizer.json({**run, "parameters": kept})

    def _table(self, path: Path) -> pd.DataFrame:
        return self._pseudonymizer.table(super()._table(path), describe(path.stem, pq.read_schema(path)))


def beside(reports: Path) -> Pseudonymizer:
    """Return the pseudonymizer of a reports folder; its key is made when it is first needed.

    SmartcarOpsError if the key can't be written, SettingsError if its file does not have one.
    """
    path = reports / KEY
    try:
        if not path.exists():
            _make_key(path)
        text = path.read_text(encoding="ascii").strip()
        key = bytes.fromhex(text)
    except OSError as error:
        raise SmartcarOpsError(
            f"load: {path}, the key of the pseudonyms, can't be written or read ({error.strerror}); expected a folder "
            "that you can write to."
        ) from None
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise SettingsError(
            f"load: {path} is not a key of pseudonyms; expected {2 * KEY_BYTES} hexadecimal digits. Restore it from a "
            "backup, or delete it to get other pseudonyms from now on."
        )
    return Pseudonymizer(key)


def _make_key(path: Path) -> None:
    """Write a new key that only its owner can read, unless another process has just written one."""
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
    try:
        temporary.touch(0o600, exist_ok=False)
        temporary.chmod(0o600)  # whatever the umask
        temporary.write_text(f"{secrets.token_hex(KEY_BYTES)}\n", encoding="ascii")
        try:
            os.link(temporary, path)  # fails if the file is there, so that all processes use the same key
        except OSError:
            if not path.exists():  # a file system without links
                temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
