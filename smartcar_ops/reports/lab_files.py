"""The files that JupyterLab edits: the kit's notebooks are saved without outputs, so that no id lands in a commit.

While the server runs, it keeps the outputs in memory and shows them again: after a reload of the page a panel is still
there, and goes on with its kernel.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager

from smartcar_ops.settings.home import NOTEBOOKS, OWN_NOTEBOOKS

KEPT = ("outputs", "execution_count")
"""What a cell that was executed has, and a saved one has not."""

BY_KERNEL = ("kernelspec", "language_info")
"""Entries of a notebook's metadata that JupyterLab writes anew from the kernel, with its version."""


class LabFiles(AsyncLargeFileManager):
    """Stores files as JupyterLab does, but for the kit's notebooks."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._outputs: dict[str, dict[str, dict[str, Any]]] = {}
        """Path -> id of a cell -> its source and what it has of `KEPT`."""

    async def save(self, model: dict[str, Any], path: str = "") -> dict[str, Any]:
        """Save a file; a notebook of the kit without its outputs, and with its metadata as on disk."""
        content = model.get("content")
        if is_own(path) and isinstance(content, dict) and "cells" in content:
            path = path.strip("/")
            self._outputs[path] = {
                str(cell.get("id")): {name: cell.get(name) for name in ("source", *KEPT)} for cell in _code(content)
            }
            for cell in _code(content):
                cell |= {"outputs": [], "execution_count": None}
                cell.get("metadata", {}).pop("execution", None)  # when the kernel ran it
            content["metadata"] = content.get("metadata", {}) | await self._metadata_on_disk(path)
        saved: dict[str, Any] = await super().save(model, path)  # type: ignore[no-untyped-call]
        return saved

    async def get(self, path: str, content: bool = True, *given: Any, **options: Any) -> dict[str, Any]:
        """Return a file; a notebook of the kit with the outputs of the cells that are as they were when saved."""
        model: dict[str, Any] = await super().get(path, content, *given, **options)  # type: ignore[no-untyped-call]
        kept = self._outputs.get(path.strip("/"), {})
        if content and kept and model.get("type") == "notebook":
            for cell in _code(model["content"]):
                before = kept.get(str(cell.get("id")))
                if before and _text(before["source"]) == _text(cell["source"]):
                    cell |= {name: before[name] for name in KEPT}
        return model

    async def _metadata_on_disk(self, path: str) -> dict[str, Any]:
        """Return what the notebook on disk has of `BY_KERNEL`; nothing if there is none."""
        if not await self.file_exists(path):
            return {}
        model = await super().get(path, type="notebook")  # type: ignore[no-untyped-call]
        metadata: Mapping[str, Any] = model["content"].get("metadata", {})
        return {name: metadata[name] for name in BY_KERNEL if name in metadata}


def is_own(path: str) -> bool:
    """Return whether a path, below the folder that JupyterLab serves, is a notebook of the kit."""
    folder, _, name = path.strip("/").rpartition("/")
    return folder == NOTEBOOKS and name.endswith(".ipynb") and name.startswith(OWN_NOTEBOOKS)


def _code(notebook: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [cell for cell in notebook["cells"] if cell.get("cell_type") == "code"]


def _text(source: str | list[str]) -> str:
    return source if isinstance(source, str) else "".join(source)
