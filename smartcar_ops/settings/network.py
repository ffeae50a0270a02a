"""Network settings from the environment: proxies, hosts that bypass them, and trusted certificates.

httpx reads these variables itself, but not in every common form, and only at the first call.
"""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import ssl
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from smartcar_ops.errors import SettingsError

SCHEMES = ("http", "https", "socks5", "socks5h")

CERTIFICATES, FOLDER, KEYS = "SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE"

T = TypeVar("T")

_bypasses: Callable[[str, Mapping[str, str]], int | bool] = vars(urllib.request)["proxy_bypass_environment"]


@dataclass(frozen=True)
class Proxy:
    """A proxy and the variable that sets it; the URL may contain a password."""

    variable: str
    url: str = field(repr=False)


def check() -> None:
    """Raise SettingsError if a variable sets a proxy or certificates that can't be used; makes no connection."""
    for scheme in _proxies():
        if scheme in ("http", "https", "all"):
            _read(scheme)
    trusted()


def proxy_for(url: str) -> Proxy | None:
    """Return the proxy for this URL; None for a direct connection, as always to this machine.

    SettingsError if the proxy in the environment can't be used.
    """
    try:
        parts, port = urlsplit(url), urlsplit(url).port
    except ValueError:
        return None
    proxies = _proxies()
    scheme = next((name for name in (parts.scheme, "all") if proxies.get(name)), None)
    if scheme is None or _is_direct(parts.hostname or "", port, proxies.get("no", "")):
        return None
    return _read(scheme)


def trusted() -> ssl.SSLContext | None:
    """Return the certificates that the environment sets, or None. SettingsError if they can't be used."""
    file, folder, keys = (os.environ.get(name) for name in (CERTIFICATES, FOLDER, KEYS))
    if keys:
        _try(KEYS, "a file that can be written", lambda: Path(keys).open("a").close())  # as Python does for any context
    if file:
        return _try(CERTIFICATES, "a file of certificates in PEM", lambda: ssl.create_default_context(cafile=file))
    if folder:
        _try(FOLDER, "a folder of certificates in PEM", lambda: next(Path(folder).iterdir()))
        return ssl.create_default_context(capath=folder)
    return None


def _try(variable: str, expected: str, act: Callable[[], T]) -> T:
    """Return the result of ``act``. SettingsError, naming the variable, if it fails."""
    try:
        return act()
    except (OSError, StopIteration) as error:
        why = "it contains none" if isinstance(error, ssl.SSLError | StopIteration) else error.strerror
        raise SettingsError(
            f"settings: {variable} is {os.environ[variable]!r}, which can't be used ({why}); expected {expected}, or "
            "unset it."
        ) from None


def _proxies() -> Mapping[str, str]:
    """Return the system's proxies by scheme; `no` lists the hosts that bypass them."""
    return urllib.request.getproxies()


def _read(scheme: str) -> Proxy:
    variable = _variable(f"{scheme}_proxy")
    given = _proxies()[scheme]
    url = given if "://" in given else f"http://{given}"
    try:
        parts = urlsplit(url)
        usable = parts.scheme in SCHEMES and parts.hostname and parts.port != 0 and url.isprintable() and " " not in url
    except ValueError:
        usable = False
    if not usable:
        raise SettingsError(
            f"settings: {variable} is not a proxy URL; expected one such as http://proxy.example.com:3128."
        )
    if parts.scheme.startswith("socks") and not importlib.util.find_spec("socksio"):
        raise SettingsError(
            f"settings: {variable} sets a SOCKS proxy, for which the package socksio is missing; "
            "run pip install 'httpx[socks]', or use an HTTP proxy."
        )
    return Proxy(variable, url)


def _variable(name: str) -> str:
    """Return a variable's name as it is set; lower case takes precedence, as when it is read."""
    return next((found for found in (name, name.upper()) if os.environ.get(found)), f"the system's {name}")


def _is_direct(host: str, port: int | None, past: str) -> bool:
    """True if a host bypasses the proxies: this machine, or a name, address or range in the list ``past``."""
    names = [name.strip().replace("*.", ".") for name in past.split(",")]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        named = {"no": ",".join(names)}
        known = host if port is None else f"{host}:{port}"
        return host == "localhost" or bool(_bypasses(known, named))
    ranges = [found for name in names if (found := _range(name))]
    return address.is_loopback or "*" in names or any(address in found for found in ranges)


def _range(name: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(name.strip("[]"), strict=False)
    except ValueError:
        return None
