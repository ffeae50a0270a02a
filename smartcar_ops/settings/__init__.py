"""Settings: environment, .env, TOML, credentials."""

from __future__ import annotations

from smartcar_ops.errors import SettingsError

_MOVED = {"ROOT", "Settings", "Source", "read"}


def __getattr__(name: str) -> object:
    """SettingsError for what was a part of `smartcar_ops.settings` while that was one file."""
    if name in _MOVED:
        place = "smartcar_ops.settings.environment"
        raise SettingsError(f"settings: {name} has moved; import it from {place} instead.")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
