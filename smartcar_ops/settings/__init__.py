"""Settings: environment, .env, TOML, credentials."""

from __future__ import annotations

from smartcar_ops.errors import SettingsError

_MOVED = {"ROOT", "Settings", "Source", "read"}


def __getattr__(name: str) -> object:
    """Raise SettingsError, with the new place, for names that were here when `smartcar_ops.settings` was one file."""
    if name in _MOVED:
        place = "smartcar_ops.settings.environment"
        raise SettingsError(f"settings: {name} has moved; import it from {place} instead.")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
