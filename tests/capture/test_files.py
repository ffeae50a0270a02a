"""Files of redirects and webhooks, in the forms people keep them: read, or told by what is odd about them."""

from __future__ import annotations

import base64
import gzip
import json
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from pydantic import SecretStr

from smartcar_ops.capture import files
from smartcar_ops.capture.files import Delivery, SentBack
from smartcar_ops.errors import NotSmartcarError
from smartcar_ops.sandbox.api.management.webhooks import sign
from smartcar_ops.smartcar.inbound import Redirect, is_signed, read_event, read_redirect
from tests.support.memory import peak_of

ANN, BEN = "aaaaaaaa-0000-4000-8000-000000000001", "bbbbbbbb-0000-4000-8000-000000000002"
LOCAL, BACK = "4711", "https://app.example.com/callback"
EVENT = {"eventType": "VEHICLE_STATE", "data": {"user": {"id": ANN}, "vehicle": {"id": BEN}}, "meta": {"mode": "LIVE"}}
TOKEN = SecretStr("a-management-token")


def sent_back(path: Path, *lines: str) -> list[SentBack]:
    """The redirects of a file of these lines."""
    path.write_text("\n".join(lines) + "\n")
    found = files.find("redirects", str(path))
    assert found
    return list(files.redirects(found))


def delivered(path: Path, *lines: str) -> list[Delivery]:
    """The webhooks of a file of these lines."""
    path.write_text("\n".join(lines) + "\n")
    found = files.find("webhooks", str(path))
    assert found
    return list(files.webhooks(found))


def whose(given: SentBack) -> tuple[str | None, str | None]:
    """(Smartcar's user, the company's own) of a redirect."""
    read: Redirect = read_redirect(given.address)
    return read.user_id, given.user_id or read.external_id


# --- redirects -----------------------------------------------------------------------------------------------

FORMS: dict[str, Iterable[str]] = {
    "csv, Excel's own first line": ("sep=;", "user_id;url", f"{LOCAL};{BACK}?code=c&user_id={ANN}"),
    "csv, pipes": ("user_id|request_uri", f"{LOCAL}|/cb?user_id={ANN}"),
    "escaped for HTML": (f"{BACK}?code=c&amp;user_id={ANN}&amp;amp;external_id={LOCAL}",),
    "escaped for JSON": (f"{BACK}?code=c\\u0026user_id={ANN}\\u0026external_id={LOCAL}",),
    "encoded twice": (f"{BACK}?code=c%26user_id%3D{ANN}%26external_id%3D{LOCAL}",),
    "encoded twice, the first too": (f"/cb?code%3Dc%26user_id%3D{ANN}%26external_id%3D{LOCAL}",),
    "encoded as a whole": (quote(f"{BACK}?code=c&user_id={ANN}&external_id={LOCAL}", safe=""),),
    "in the fragment": (f"{BACK}#code=c&user_id={ANN}&external_id={LOCAL}",),
    "in the fragment's query": (f"{BACK}?lang=en#/cb?code=c&user_id={ANN}&external_id={LOCAL}",),
    "an access log": (
        f'10.0.0.1 - - [28/Nov/2026:07:00:00 +0000] "GET /cb?external_id={LOCAL}&user_id={ANN} HTTP/1.1" 302 0 "-"',
    ),
    "an application's log": (f"07:00:00 INFO back at '{BACK}?external_id={LOCAL}&user_id={ANN}'",),
    "a log in JSON": (json.dumps({"request": f"GET /cb?user_id={ANN} HTTP/2.0", "user_id": LOCAL}),),
    "a gateway's event": (
        json.dumps({"path": "/cb", "queryStringParameters": {"user_id": ANN, "external_id": LOCAL}}),
    ),
    "a framework's request": (json.dumps({"url": "/cb", "query": {"user_id": ANN, "external_id": LOCAL}}),),
    "json, an array": (json.dumps([{"url": f"?user_id={ANN}", "user_id": LOCAL}]),),
    "json, many lines": (json.dumps([{"url": f"?user_id={ANN}", "user_id": LOCAL}], indent=2),),
    "json, texts": (json.dumps([f"?user_id={ANN}&external_id={LOCAL}"]),),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_redirect_is_read_in_every_form_it_is_kept_in(tmp_path: Path, form: str) -> None:
    """As logs, pages, gateways, spreadsheets and databases keep it."""
    (given,) = sent_back(tmp_path / "sent", *FORMS[form])
    assert ("", (ANN, LOCAL)) == (given.problem, whose(given))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "gzip"])
def test_a_file_may_be_encoded_or_packed(tmp_path: Path, encoding: str) -> None:
    """As Excel saves Unicode, and as logs are rotated."""
    content, path = f"url\tuser_id\n?user_id={ANN}\t{LOCAL}\n", tmp_path / "sent"
    path.write_bytes(gzip.compress(content.encode()) if encoding == "gzip" else content.encode(encoding))
    assert path == files.find("redirects", str(path))
    assert [(ANN, LOCAL)] == [whose(given) for given in files.redirects(path)]


def test_a_packed_file_that_is_cut_off_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    """The rows before the cut are there, and the cut is a line for a person."""
    path, noise = tmp_path / "sent.gz", random.Random(0)
    packed = gzip.compress("\n".join(f"?user_id={ANN}&code={noise.random()}" for _ in range(5000)).encode())
    path.write_bytes(packed[: len(packed) // 2])
    *whole, last = files.redirects(path)
    assert 1000 < len(whole)
    assert {""} == {given.problem for given in whole}
    assert "the file ends here: it was not fully compressed or downloaded" == last.problem


@pytest.mark.parametrize(
    ("query", "words"),
    [
        (f"state=x%26user_id%3D{ANN}", "has a user_id inside another parameter"),
        (f"code=c;user_id={ANN}", "has a user_id inside another parameter"),
        (f"next=%2Fcb%3Fuser_id%3D{ANN}&code=c", "has a user_id inside another parameter"),
        (f"user_id={ANN}#user_id={BEN}", "2 different values"),
        ("code=c%26user_id%3Dundefined", "not a UUID"),
    ],
)
def test_what_is_odd_about_an_address_is_told(query: str, words: str) -> None:
    """A state is the company's own: what stands in it is never taken for Smartcar's id."""
    with pytest.raises(NotSmartcarError, match=words):
        read_redirect(f"{BACK}?{query}")
    assert ANN == read_redirect(f"{BACK}?user_id={ANN}&state=x%26user_id%3D{BEN}#_=_").user_id
    assert read_redirect(f"{BACK}?code=c&state=s").user_id is None


def test_the_other_lines_of_a_log_are_no_redirects(tmp_path: Path) -> None:
    """What was asked for counts, not the page it was asked from."""
    line = '10.0.0.1 - - [28/Nov/2026:07:00:00 +0000] "GET {} HTTP/1.1" 200 0 "{}?user_id={}&code=c"'
    given = sent_back(tmp_path / "log", *(line.format(f"/{name}", BACK, BEN) for name in (f"?user_id={ANN}", "app.js")))
    assert (ANN, None) == whose(given[0])
    assert ["", "the row has no redirect address"] == [one.problem for one in given]


# --- webhooks ------------------------------------------------------------------------------------------------


def base64_of(body: str) -> str:
    """As gateways pack a body."""
    return base64.b64encode(body.encode()).decode()


def lines_of(**members: Any) -> str:
    """A line of JSON."""
    return json.dumps(members)


KEPT: dict[str, Callable[[str, str], str]] = {
    "a gateway's event": lambda body, signed: lines_of(
        path="/hook", headers={"SC-Signature": signed}, body=base64_of(body), isBase64Encoded=True
    ),
    "Base64 that nothing tells": lambda body, signed: lines_of(body=base64_of(body), signature=signed),
    "a queue's records": lambda body, signed: lines_of(Records=[{"body": body, "headers": {"sc-signature": signed}}]),
    "rawBody": lambda body, signed: lines_of(rawBody=body, headers={"SC-Signature": signed}),
    "a payload": lambda body, signed: lines_of(id=1, payload=body, sc_signature=signed),
    "a request": lambda body, signed: lines_of(request={"body": body, "headers": {"sc-signature": signed}}),
    "WSGI": lambda body, signed: lines_of(body=body, headers={"HTTP_SC_SIGNATURE": signed}),
    "headers as pairs": lambda body, signed: lines_of(body=body, headers=[["Host", "x"], ["SC-Signature", signed], 7]),
    "headers as objects": lambda body, signed: lines_of(body=body, headers=[{"name": "SC-Signature", "value": signed}]),
    "headers as text": lambda body, signed: lines_of(body=body, headers=lines_of(**{"sc-signature": signed})),
    "many headers": lambda body, signed: lines_of(body=body, multiValueHeaders={"SC-Signature": [signed]}),
    "text in JSON once more": lambda body, signed: lines_of(body=json.dumps(body), signature=signed),
    "an array": lambda body, signed: json.dumps([{"body": body, "signature": signed}]),
    "pretty": lambda body, signed: json.dumps({"body": body, "signature": signed}, indent=2),
    "a pretty array": lambda body, signed: json.dumps([{"body": body, "signature": signed}], indent=4),
    "a log": lambda body, signed: "07:00 INFO webhook " + lines_of(body=body, signature=signed),
    "csv": lambda body, signed: 'id;Body;signature\n1;"{}";{}'.format(body.replace('"', '""'), signed),
}


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("form", KEPT)
def test_a_webhook_is_read_in_every_form_it_is_kept_in(tmp_path: Path, form: str, indent: int | None) -> None:
    """As gateways, queues, frameworks, databases and editors keep it: its body is the raw one that was signed."""
    body = json.dumps({**EVENT, "text": "ü"}, indent=indent, ensure_ascii=False)
    (given,) = delivered(tmp_path / "hooks", KEPT[form](body, sign(TOKEN.get_secret_value(), body.encode())))
    assert (body, False, "") == (given.body, given.parsed, given.problem)
    assert given.signature
    assert is_signed(given.body.encode(), given.signature, TOKEN)


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("wrap", [list, lambda events: {"Items": events}])
def test_events_of_one_document_are_all_read(tmp_path: Path, indent: int | None, wrap: Callable[[Any], Any]) -> None:
    """An array, or a list under a name, on one line or on many."""
    given = delivered(tmp_path / "hooks", json.dumps(wrap([EVENT, {**EVENT, "userId": ANN}]), indent=indent))
    assert [ANN, ANN] == [read_event(one.body).user_id for one in given]


def test_an_empty_list_is_no_event(tmp_path: Path) -> None:
    """Nothing arrived, on one line or on many."""
    assert [] == [*delivered(tmp_path / "hooks", "[]"), *delivered(tmp_path / "hooks", "[", "]")]


def test_documents_one_after_the_other_are_read_beside_a_broken_one(tmp_path: Path) -> None:
    """Each by the line it begins on; what is broken ends nothing."""
    pretty = json.dumps(EVENT, indent=2)
    given = delivered(tmp_path / "hooks", pretty, '{\n  "eventType": oops\n}', pretty, pretty[:40])
    lines = pretty.count("\n") + 1
    broken = "the line is not a JSON object"
    assert ["", broken, "", broken] == [one.problem for one in given]
    assert [1, 1 + lines, 4 + lines, 4 + 2 * lines] == [one.line for one in given]


def test_a_long_array_is_streamed(tmp_path: Path) -> None:
    """Of a file of many events as one array little is in memory at once."""
    path, one = tmp_path / "all.json", json.dumps({**EVENT, "padding": "p" * 20_000}, indent=1)
    path.write_text("[" + ",\n".join([one] * 500) + "]")
    events, peak = peak_of(lambda: sum(not given.problem for given in files.webhooks(path)))
    assert 500 == events
    assert path.stat().st_size / 10 > peak


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (lines_of(body="%%", isBase64Encoded=True), "its body is not Base64, although isBase64Encoded is true"),
        (lines_of(body=7), "the line has no body"),
        ('"text"', "the line is not a JSON object"),
        ("[" * 100_000, "the line is not a JSON object"),
        ("7", "the line is not a JSON object"),
    ],
)
def test_what_is_odd_about_a_webhook_is_told(tmp_path: Path, line: str, words: str) -> None:
    """One reason each, and the next line is read."""
    given = delivered(tmp_path / "hooks", json.dumps(EVENT), line, json.dumps(EVENT))
    assert ["", words, ""] == [one.problem for one in given]
