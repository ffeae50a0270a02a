"""What the environment says of the network: proxies, what goes past them, certificates; and what is refused early."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from pathlib import Path

import certifi
import pytest

from smartcar_ops import cli
from smartcar_ops.errors import SettingsError, SmartcarOpsError, UnreachableError
from smartcar_ops.sandbox import embedded
from smartcar_ops.settings import environment, network, startup
from smartcar_ops.smartcar.http.transport import Request, Transport
from tests.smartcar.scripted import Answer, Scripted
from tests.support.house import NOTEBOOKS

REAL = {
    "SMARTCAR_CLIENT_ID": "client_planted",
    "SMARTCAR_CLIENT_SECRET": "s3cr3t-plant",
    "SMARTCAR_DATABASE_URL": "sqlite:////nowhere/company.db",
}
PROXY = "http://kit:pass-plant@proxy.example:3128"


@pytest.fixture
def server() -> Iterator[Scripted]:
    """A server that answers everything; asked as a proxy it gets whole addresses."""
    scripted = Scripted()
    yield scripted
    scripted.close()


WRONG = [
    ("ALL_PROXY", "socks5://127.0.0.1:9", "sets a SOCKS proxy, for which the package socksio is missing"),
    ("https_proxy", "ftp://proxy.example", "is not a proxy URL"),
    ("HTTPS_PROXY", "http://kit:pass-plant@proxy.example:port", "is not a proxy URL"),
    ("HTTP_PROXY", "http://:3128", "is not a proxy URL"),
    ("HTTP_PROXY", "http://proxy example", "is not a proxy URL"),
    ("HTTP_PROXY", "http://[::1", "is not a proxy URL"),
    ("SSL_CERT_FILE", "/nonexistent/corp.pem", "is '/nonexistent/corp.pem', which can't be used (No such file"),
    ("SSL_CERT_FILE", os.devnull, "which can't be used (it contains none"),
    ("SSL_CERT_DIR", "/nonexistent", "is '/nonexistent', which can't be used (No such file"),
    ("SSLKEYLOGFILE", "/nonexistent/keys", "is '/nonexistent/keys', which can't be used (No such file"),
]


@pytest.mark.parametrize(("name", "value", "words"), WRONG)
def test_what_cannot_work_is_refused_by_its_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    """Exit 5 with one sentence before anything connects; no password is told."""
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        startup.settle(REAL, tmp_path)
    assert str(caught.value).startswith(f"settings: {name} ")
    assert words in str(caught.value)
    assert "pass-plant" not in str(caught.value)


@pytest.mark.parametrize("real", [True, False])
@pytest.mark.parametrize("arguments", [("run", "20"), ("doctor",), ("runs",)])
def test_every_command_says_so(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    real: bool,
) -> None:
    """Exit 5, nothing written and no sandbox started, for whoever tries the sandbox too."""
    (tmp_path / "notebooks").symlink_to(NOTEBOOKS, target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    for name, value in {**(REAL if real else {}), "ALL_PROXY": "socks5://127.0.0.1:9"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        cli.main(list(arguments))
    printed = capsys.readouterr()
    assert 5 == ended.value.code
    assert (printed.out + printed.err).startswith("settings: ALL_PROXY sets a SOCKS proxy")
    assert ["notebooks"] == [path.name for path in tmp_path.iterdir()]


def test_a_folder_of_certificates_that_is_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would trust nobody, and every call would fail."""
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    with pytest.raises(SettingsError, match=r"SSL_CERT_DIR is .* \(it contains none\); expected a folder"):
        network.check()


def test_certificates_that_are_named_are_trusted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Those of the file alone; without one httpx's own."""
    assert network.trusted() is None
    monkeypatch.setenv("SSL_CERT_FILE", certifi.where())
    found = network.trusted()
    assert isinstance(found, ssl.SSLContext)
    assert found.cert_store_stats()["x509_ca"] > 50


PAST = "localhost, 127.0.0.1,::1,fd07:b51a:cc66:f0::/64,10.0.0.0/8,.corp.example,*.lan,exact.example:8080"


@pytest.mark.parametrize(
    ("url", "direct"),
    [
        ("https://[fd07:b51a:cc66:f0::7]/x", True),
        ("https://[fd07:b51a:cc66:f1::7]/x", False),
        ("http://10.1.2.3:80/", True),
        ("http://11.1.2.3/", False),
        ("https://api.corp.example/", True),
        ("https://corp.example.com/", False),
        ("https://api.LAN/", True),
        ("http://exact.example:8080/", True),
        ("http://exact.example/", False),
        ("https://vehicle.api.smartcar.com/v3", False),
    ],
)
def test_what_goes_past_the_proxies(monkeypatch: pytest.MonkeyPatch, url: str, direct: bool) -> None:
    """Names with what is below them, addresses and ranges of both kinds."""
    monkeypatch.setenv("NO_PROXY", PAST)
    monkeypatch.setenv("ALL_PROXY", PROXY)
    network.check()
    assert direct is (network.proxy_for(url) is None)
    monkeypatch.setenv("NO_PROXY", "*")
    assert network.proxy_for(url) is None


def test_a_demo_asks_nobody_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ignores what is set, and works."""
    monkeypatch.setenv("ALL_PROXY", "socks5://proxy.example")
    monkeypatch.setenv(environment.DEMO, "1")
    monkeypatch.setattr(embedded, "attach_or_start", _start)
    with pytest.raises(SmartcarOpsError, match="the sandbox would start"):
        startup.settle(root=tmp_path)


def _start(_folder: Path, **_options: object) -> None:
    raise RuntimeError("the sandbox would start")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.0.1", "localhost", "[::1]"])
def test_this_machine_is_asked_directly(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """No proxy reaches it: the sandbox works whatever is set, usable or not."""
    monkeypatch.setenv("ALL_PROXY", "socks5://proxy.example")
    assert network.proxy_for(f"http://{host}:8080/") is None


def test_calls_go_by_the_proxy_that_is_named(server: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name without a scheme is HTTP's; a scheme's own proxy goes before that of all."""
    server.play("/vehicles", Answer({"through": "the proxy"}))
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", server.url.removeprefix("http://"))
    transport = Transport(attempts=1)
    request = Request("v3", "GET", "http://api.invalid/vehicles", "/vehicles")
    assert {"through": "the proxy"} == transport.json(request)
    assert "api.invalid" == server.asked[0].headers["host"]
    transport.close()


def test_a_range_of_addresses_in_no_proxy_stops_no_call(server: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many containers have it."""
    monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1,::1,fd07:b51a:cc66:f0::/64")
    server.play("/vehicles", Answer({"fine": True}))
    transport = Transport(attempts=1)
    assert {"fine": True} == transport.json(Request("v3", "GET", f"{server.url}/vehicles", "/vehicles"))
    transport.close()


def test_a_proxy_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its variable, since its address may hold a password."""
    monkeypatch.setenv("HTTP_PROXY", "http://kit:pass-plant@127.0.0.1:1")
    transport = Transport(attempts=1)
    with pytest.raises(UnreachableError, match=r"api\.invalid gave no answer through HTTP_PROXY to GET") as caught:
        transport.json(Request("v3", "GET", "http://api.invalid/x", "/x"))
    assert "pass-plant" not in str(caught.value)
    transport.close()
