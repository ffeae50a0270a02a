"""What the environment says of the network: proxies, what goes past them, and whose certificates are trusted.

httpx reads these variables itself, but not every form that is in use, and only with the first call.
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
    """A proxy and the variable that names it; its address may hold a password."""

    variable: str
    url: str = field(repr=False)


def check() -> None:
    """SettingsError where a variable names a proxy or certificates that can't be used; connects to nothing."""
    for scheme in _proxies():
        if scheme in ("http", "https", "all"):
            _read(scheme)
    trusted()


def proxy_for(url: str) -> Proxy | None:
    """The proxy for this address, None where it is asked directly, as this machine itself always is.

    SettingsError where the proxy that the environment names can't be used.
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
    """The certificates that the environment names, None where it names none; SettingsError where they are of no use."""
    file, folder, keys = (os.environ.get(name) for name in (CERTIFICATES, FOLDER, KEYS))
    if keys:
        _try(KEYS, "a file that can be written", lambda: Path(keys).open("a").close())  # Python does, for any context
    if file:
        return _try(CERTIFICATES, "a file of certificates in PEM", lambda: ssl.create_default_context(cafile=file))
    if folder:
        _try(FOLDER, "a folder of certificates in PEM", lambda: next(Path(folder).iterdir()))
        return ssl.create_default_context(capath=folder)
    return None


def _try(variable: str, expected: str, act: Callable[[], T]) -> T:
    """What the act gives; SettingsError with the variable's name where it can't be done."""
    try:
        return act()
    except (OSError, StopIteration) as error:
        why = "it holds none" if isinstance(error, ssl.SSLError | StopIteration) else error.strerror
        raise SettingsError(
            f"settings: {variable} is {os.environ[variable]!r}, which can't be used ({why}); expected {expected}, or "
            "unset it."
        ) from None


def _proxies() -> Mapping[str, str]:
    """The system's proxies by scheme; `no` is the list of what goes past them."""
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
            f"settings: {variable} is no address of a proxy; expected one such as http://proxy.example.com:3128."
        )
    if parts.scheme.startswith("socks") and not importlib.util.find_spec("socksio"):
        raise SettingsError(
            f"settings: {variable} names a SOCKS proxy, for which the package socksio is missing; "
            "pip install 'httpx[socks]', or name an HTTP proxy."
        )
    return Proxy(variable, url)


def _variable(name: str) -> str:
    """A variable's name as the environment spells it; the small letters win, as in the reading of it."""
    return next((found for found in (name, name.upper()) if os.environ.get(found)), f"the system's {name}")


def _is_direct(host: str, port: int | None, past: str) -> bool:
    """Whether a host goes past the proxies: this machine, or one in the list by its name, address or range."""
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
