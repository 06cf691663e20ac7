"""Hostile requests over real HTTP: each is refused as it should be, and the service is unharmed."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from lexigram_ray.core.types import DEFAULT_MODEL
from tests.contract.hostile_site import LONG, converted_models, filled, unharmed
from tests.filled_service import COLLECTION, QUESTION, FilledService
from tests.service_answers import PROBLEM_JSON

__all__ = ["converted_models", "filled", "unharmed"]

pytestmark = pytest.mark.timeout(300)

SEARCH = f"/v1/collections/{COLLECTION}/search"
DOCUMENTS, TEXTS, EMBEDDINGS = "/v1/documents", "/v1/embedding-jobs", "/v1/embeddings"
INVALID = (422, "invalid_request")
JSON = {"Content-Type": "application/json"}
DEEP = b'{"query":' + b"[" * 10_000 + b"]" * 10_000 + b"}"


def refused(filled: FilledService, answer: httpx.Response) -> tuple[int, str]:
    """The status and the code of an answer, which is a problem in the shape of its route."""
    media_type, body = answer.headers["content-type"], answer.json()
    if answer.request.url.path.startswith(("/v1/embeddings", "/v1/models")):
        assert media_type == "application/json"
        code = body["error"]["code"]
    else:
        assert media_type == PROBLEM_JSON
        code = body["code"]
    assert "Traceback" not in answer.text
    assert str(filled.site.context.config.paths.store_url) not in answer.text
    return answer.status_code, code


def jobs(filled: FilledService) -> int:
    return len(filled.site.context.store.list_jobs(limit=1000)[0])


def is_refused(
    filled: FilledService, expected: tuple[int, str], method: str, path: str, **given: Any
) -> None:
    """Send a request that is refused, and leaves nothing."""
    before = jobs(filled)
    assert refused(filled, filled.ask(method, path, **given)) == expected
    assert jobs(filled) == before


# -- Paths and names -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/etc/passwd", (403, "path_not_allowed")),
        ("DOCS/../../../../../../../../etc/passwd", (403, "path_not_allowed")),
        ("DOCS/way-out/passwd", (403, "path_not_allowed")),
        ("DOCS/way-out/there-is-none", (403, "path_not_allowed")),
        ("/proc/self/environ", (403, "path_not_allowed")),
        ("/dev/zero", (403, "path_not_allowed")),
        ("../../etc/passwd", INVALID),
        ("file:///etc/passwd", INVALID),
        ("/etc/passwd\0.txt", INVALID),
        ("/" + "a" * 5_000, INVALID),
        ("", INVALID),
    ],
)
def test_a_path_that_leads_out_is_refused(
    filled: FilledService, path: str, expected: tuple[int, str]
) -> None:
    one = path.replace("DOCS", str(filled.docs))
    is_refused(filled, expected, "POST", DOCUMENTS, json={"collection": "x", "path": one})
    many = {"collection": "x", "paths": [str(filled.docs), one]}
    is_refused(filled, expected, "POST", f"{DOCUMENTS}/batch", json=many)


@pytest.mark.parametrize(
    "name",
    [
        "../../../../tmp/x.txt",
        "/etc/cron.d/x",
        "..\\..\\x.txt",
        "..",
        "a" * 300 + ".txt",
        "a\0b.txt",
        "CON",
        ".incoming",
        "\u202etxt.exe",
        "ü" * 200 + ".pdf",
        "%2e%2e%2fx.txt",
        "; rm -rf ~",
    ],
)
def test_a_file_stays_among_the_uploads_whatever_it_is_called(
    filled: FilledService, name: str
) -> None:
    answer = filled.ask(
        "POST",
        DOCUMENTS,
        files={"file": (name, b"Whatever it is called.")},
        data={"collection": "names"},
    )
    uploads = filled.site.context.config.paths.uploads
    assert answer.status_code == 202, answer.text
    (path,) = filled.ask("GET", f"/v1/jobs/{answer.json()['id']}").json()["spec"]["request"][
        "paths"
    ]
    assert Path(path).read_bytes() == b"Whatever it is called."
    # Below it are the collection and the content, and no further folder.
    assert Path(path).resolve().parents[2] == uploads.resolve()


@pytest.mark.parametrize(
    "name", ["../x", "..", "", "a/b", "a\\b", "a\0b", "harbör", "名前", ".hidden", "x" * 300, " "]
)
def test_a_collection_that_is_no_name_is_refused(filled: FilledService, name: str) -> None:
    text = {"id": "1", "text": "x"}
    is_refused(filled, INVALID, "POST", TEXTS, json={"collection": name, "texts": [text]})
    is_refused(
        filled,
        INVALID,
        "POST",
        DOCUMENTS,
        files={"file": ("x.txt", b"x")},
        data={"collection": name},
    )


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v1/collections/%2e%2e%2fjobs.db", (404, "not_found")),
        ("/v1/collections/..%2f..%2f..%2fetc%2fpasswd", (404, "not_found")),
        ("/v1/collections/%00", INVALID),
        ("/v1/collections/%2e%2e", INVALID),
        ("/v1/collections/harb%C3%B6r", INVALID),
        ("/v1/collections/%ff%fe", INVALID),
        (f"/v1/collections/{'x' * 300}", INVALID),
        ("/v1/collections/there-is-none", (404, "collection_not_found")),
        ("/v1/jobs/1' OR '1'='1", (404, "job_not_found")),
        ("/v1/jobs/*", (404, "job_not_found")),
        ("/v1/jobs/0-100", (404, "job_not_found")),
        ("/v1/dead-letters/00000000-0000-0000-0000-000000000000", (404, "dead_letter_not_found")),
        ("/v1/models/..%2f..%2fetc%2fpasswd", (404, "model_not_found")),
        (f"/v1/models/{'m' * 600}", (400, "invalid_request")),
        ("//v1/jobs", (404, "not_found")),
    ],
)
def test_a_path_to_what_is_not_there_is_refused(
    filled: FilledService, path: str, expected: tuple[int, str]
) -> None:
    url = httpx.URL(filled.site.url).copy_with(raw_path=path.encode())
    answer = filled.site.client.get(url, headers=filled.bearer())
    assert refused(filled, answer) == expected


# -- JSON ------------------------------------------------------------------------------------------


def in_pieces(body: bytes) -> Iterable[bytes]:
    """Sent in chunks, and so without a length that could be looked at before."""
    return (body[start : start + 65_536] for start in range(0, len(body), 65_536))


@pytest.mark.parametrize("path", [SEARCH, EMBEDDINGS, TEXTS, "/v1/dead-letters/retry"])
def test_too_large_a_body_is_refused_with_a_length_and_without(
    filled: FilledService, path: str
) -> None:
    body = b'{"query":"' + b"a" * 2_000_000 + b'"}'
    for content in (body, in_pieces(body)):
        is_refused(filled, (413, "content_too_large"), "POST", path, content=content, headers=JSON)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (SEARCH, (400, "bad_request")),
        (EMBEDDINGS, (400, "bad_request")),
        ("/v1/dead-letters/retry", (400, "bad_request")),
        (TEXTS, INVALID),
        (DOCUMENTS, INVALID),
    ],
)
@pytest.mark.parametrize("body", [DEEP, b'{"query":"\xff\xfe"}'], ids=["deep", "no-utf-8"])
def test_json_that_cannot_be_read_is_refused(
    filled: FilledService, path: str, expected: tuple[int, str], body: bytes
) -> None:
    is_refused(filled, expected, "POST", path, content=body, headers=JSON)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"a"',
        b"{",
        b"{'query': 'a'}",
        b'{"query": 1}',
        b'{"query": ["a"]}',
        b'{"query": {"$ne": null}}',
        b'{"query": ""}',
        b'{"query": "   "}',
        b'{"query": "\\ud800"}',
        b'{"query": "a", "limit": "5"}',
        b'{"query": "a", "limit": true}',
        b'{"query": "a", "limit": 0}',
        b'{"query": "a", "limit": 1.5}',
        b'{"query": "a", "limit": NaN}',
        b'{"query": "a", "limit": -Infinity}',
        b'{"query": "a", "limit": 1e999}',
        b'{"query": "a", "limit": 99999999999999999999999999}',
        b'{"query": "a", "mode": "../x"}',
        b'{"query": "a", "__class__": "x"}',
        b'{"query": "' + b"a" * 20_000 + b'"}',
    ],
)
def test_a_search_that_is_none_is_refused(filled: FilledService, body: bytes) -> None:
    is_refused(filled, INVALID, "POST", SEARCH, content=body, headers=JSON)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_json_does_not_have_are_refused(filled: FilledService, value: str) -> None:
    bodies = {
        TEXTS: f'{{"collection":"x","texts":[{{"id":"1","text":"x","metadata":{{"n":{value}}}}}]}}',
        DOCUMENTS: f'{{"collection":"x","path":"{filled.docs}","delay_seconds":{value}}}',
        "/v1/dead-letters/retry": f'{{"all":true,"dry_run":true,"rate":{value}}}',
        "/v1/maintenance/tasks/health_check/run": f'{{"options":{{"n":{value}}}}}',
    }
    for path, body in bodies.items():
        is_refused(filled, INVALID, "POST", path, content=body, headers=JSON)


def test_of_a_key_that_comes_twice_the_last_one_counts(filled: FilledService) -> None:
    body = b'{"query": "nothing", "limit": 0, "query": "tide", "limit": 1}'
    answer = filled.ask("POST", SEARCH, content=body, headers=JSON)
    assert (answer.status_code, answer.json()["query"]) == (200, "tide")
    assert len(answer.json()["hits"]) == 1


@pytest.mark.parametrize("path", [SEARCH, EMBEDDINGS, TEXTS, DOCUMENTS, "/v1/dead-letters/retry"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/xml"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json-but-not-quite"},
        {"Content-Type": "a" * 5_000},
    ],
    ids=lambda headers: headers.get("Content-Type", "none")[:30],
)
def test_a_body_of_another_type_is_refused(
    filled: FilledService, path: str, headers: dict[str, str]
) -> None:
    expected = (415, "unsupported_media_type")
    is_refused(filled, expected, "POST", path, content=b'{"a": 1}', headers=headers)


@pytest.mark.parametrize("path", [SEARCH, EMBEDDINGS, TEXTS, DOCUMENTS])
def test_a_compressed_body_is_not_unpacked(filled: FilledService, path: str) -> None:
    bomb = gzip.compress(b" " * 100_000_000)
    headers = JSON | {"Content-Encoding": "gzip"}
    expected = (415, "unsupported_content_encoding")
    is_refused(filled, expected, "POST", path, content=bomb, headers=headers)


# -- Conditions, filters, cursors ------------------------------------------------------------------


@pytest.mark.parametrize(
    "where",
    [
        "1=1; DROP TABLE jobs",
        "id IN (SELECT id FROM access_tokens)",
        "1=1 UNION SELECT hash FROM access_tokens",
        "1=1 --",
        "1=1 /* x */",
        "page = 1) OR (1=1",
        "'unclosed",
        '"unclosed',
        "repeat('a', 1000000000) = 'b'",
        "pg_sleep(100) IS NULL",
        "load_extension('x.so')",
        "read_csv('/etc/passwd') = 1",
        "no_such_column = 1",
        "id = E'\\x27'",
        "(" * 500 + "1=1" + ")" * 500,
        " OR ".join(["page = 1"] * 150),
        "CAST(text AS INT) = 1",
        "\0",
    ],
)
def test_a_condition_that_is_more_is_refused(filled: FilledService, where: str) -> None:
    body = {"query": QUESTION, "where": where}
    is_refused(filled, (422, "condition_refused"), "POST", SEARCH, json=body)


def test_a_condition_of_many_characters_is_refused(filled: FilledService) -> None:
    body = {"query": QUESTION, "where": f"id = '{'x' * 100_000}'"}
    is_refused(filled, INVALID, "POST", SEARCH, json=body)


@pytest.mark.parametrize(
    "query",
    [
        "status=' OR 1=1 --",
        "kind=ingest;DROP TABLE jobs",
        "limit=0",
        "limit=-1",
        "limit=1e9",
        "limit=99999999999999999999",
        "limit=5&limit=x",
        "cursor=x",
        "cursor=' OR 1=1",
        "cursor=1.%00",
        "cursor=99999999999999999999.a",
        "cursor=..%2f..",
        "cursor=MS4yOjM%3D",
        f"cursor={'9' * 5_000}",
        f"collection={'x' * 5_000}",
        "unknown=1",
    ],
)
def test_filters_and_cursors_that_are_none_are_refused(filled: FilledService, query: str) -> None:
    assert refused(filled, filled.ask("GET", f"/v1/jobs?{query}")) == INVALID


def test_sql_in_a_name_is_a_name_that_nobody_has(filled: FilledService) -> None:
    for path in ("/v1/jobs", "/v1/dead-letters"):
        answer = filled.ask("GET", path, params={"collection": "x' OR '1'='1"})
        assert (answer.status_code, answer.json()["items"]) == (200, [])


def test_too_many_ids_at_once_are_refused(filled: FilledService) -> None:
    ids = [f"00000000-0000-7000-8000-{number:012}" for number in range(1_001)]
    is_refused(filled, INVALID, "POST", "/v1/dead-letters/retry", json={"ids": ids})


# -- Vectors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changed",
    [
        {"encoding_format": "base32"},
        {"encoding_format": "Zm9v\n"},
        {"encoding_format": None},
        {"input": ""},
        {"input": []},
        {"input": [[]]},
        {"input": [-1]},
        {"input": [2**31]},
        {"input": [10**30]},
        {"input": [[1, -1]]},
        {"input": [1, "a"]},
        {"input": [1.5]},
        {"input": [True]},
        {"input": {"$gt": ""}},
        {"input": None},
        {"input": "a\ud800"},
        {"input": ["a"] * 2_049},
        {"input": [[1]] * 2_049},
        {"input": list(range(8_193))},
        {"dimensions": 0},
        {"dimensions": -1},
        {"dimensions": 10**30},
        {"dimensions": "8"},
        {"model": ""},
        {"model": 1},
        {"user": "u" * 2_000},
        {"extra": "x"},
    ],
    ids=lambda changed: str(changed)[:40],
)
def test_what_has_no_vector_is_refused(filled: FilledService, changed: dict[str, Any]) -> None:
    body = {"model": DEFAULT_MODEL, "input": "a"} | changed
    expected = (400, "invalid_request")
    # Not the client's own encoder, which refuses half a character.
    is_refused(filled, expected, "POST", EMBEDDINGS, content=json.dumps(body), headers=JSON)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"input": [999_999]}, (400, "invalid_tokens")),
        ({"input": [[1], [2**31 - 1]]}, (400, "invalid_tokens")),
        ({"input": [0, 0]}, (400, "invalid_tokens")),
        ({"dimensions": 100_000}, (400, "invalid_dimensions")),
        ({"model": "../../etc/passwd"}, (404, "model_not_found")),
        ({"model": "https://example.org/model"}, (404, "model_not_found")),
    ],
)
def test_what_the_model_does_not_have_is_refused(
    filled: FilledService, changed: dict[str, Any], expected: tuple[int, str]
) -> None:
    body = {"model": DEFAULT_MODEL, "input": "a"} | changed
    is_refused(filled, expected, "POST", EMBEDDINGS, json=body)


# -- Forms and URLs --------------------------------------------------------------------------------


def test_a_form_of_ten_thousand_parts_is_refused(filled: FilledService) -> None:
    many = [("file", (f"{number}.txt", b"x")) for number in range(2_500)]
    fields = {f"field{number}": "x" for number in range(10_000)}
    expected = (422, "invalid_form")
    is_refused(filled, expected, "POST", DOCUMENTS, files=many)
    is_refused(filled, expected, "POST", DOCUMENTS, files=many[:1], data=fields)
    batch = [("files", file) for _, file in many]
    is_refused(filled, expected, "POST", f"{DOCUMENTS}/batch", files=batch)


@pytest.mark.parametrize(
    "media_type",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        f"multipart/form-data; boundary={'b' * 500}",
        "multipart/form-data; boundary=other",
    ],
)
def test_a_form_without_its_boundary_is_refused(filled: FilledService, media_type: str) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\nx\r\n--b--\r\n'
    headers = {"Content-Type": media_type}
    is_refused(filled, (422, "invalid_form"), "POST", DOCUMENTS, content=body, headers=headers)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://169.254.169.254/latest/meta-data/", (422, "url_not_fetched")),
        ("https://127.0.0.1/x", (422, "url_not_fetched")),
        ("https://0x7f000001/x", (422, "url_not_fetched")),
        ("https://2130706433/x", (422, "url_not_fetched")),
        ("https://[::1]/x", (422, "url_not_fetched")),
        ("https://localhost/x", (422, "url_not_fetched")),
        ("https://LOCALHOST./x", (422, "url_not_fetched")),
        ("https://user:secret@localhost/x", (422, "url_not_fetched")),
        ("https://[::ffff:127.0.0.1]/x", (403, "url_not_allowed")),
        ("https://metadata.google.internal/x", (403, "url_not_allowed")),
        ("https://localhost:22/x", (403, "url_not_allowed")),
        ("https://localhost@example.org/x", (422, "url_not_fetched")),
        ("http://localhost/x", INVALID),
        ("file:///etc/passwd", INVALID),
        ("gopher://localhost/x", INVALID),
        ("https://localhost/\r\nX: y", INVALID),
        (f"https://localhost/{'x' * 3_000}", INVALID),
    ],
)
def test_an_address_of_the_inside_is_not_asked(
    filled: FilledService, url: str, expected: tuple[int, str]
) -> None:
    is_refused(filled, expected, "POST", DOCUMENTS, json={"collection": "x", "url": url})
    many = {"collection": "x", "urls": [url], "paths": [str(filled.docs)]}
    is_refused(filled, expected, "POST", f"{DOCUMENTS}/batch", json=many)


# -- Headers and methods ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    ["garbage", "-5", "1.5", "9" * 40, "0x10", "1; DROP TABLE jobs", "1-end-end", "", "\u00b2"],
)
def test_an_event_id_that_is_none_is_refused(filled: FilledService, value: str) -> None:
    job = filled.pending_job()
    headers = {"Last-Event-ID": value.encode()}
    answer = filled.ask("GET", f"/v1/jobs/{job}/events", "read", headers=headers)
    assert refused(filled, answer) == INVALID


def test_headers_that_ask_for_less_are_not_believed(filled: FilledService) -> None:
    job = filled.pending_job()
    for name, value in (
        ("If-None-Match", 'garbage", W/", "\xff, ,,'),
        ("If-None-Match", '"' + "a" * 900),
        ("Range", "ids=0-10"),
        ("Range", "bytes=0-10"),
        ("X-HTTP-Method-Override", "DELETE"),
        ("X-Original-URL", "/v1/collections/harbour"),
        ("X-Forwarded-Prefix", "/admin"),
    ):
        answer = filled.ask("GET", f"/v1/jobs/{job}", headers={name: value.encode()})
        assert (answer.status_code, answer.json()["id"]) == (200, job), name


@pytest.mark.parametrize("method", ["PUT", "PATCH", "POST", "TRACE", "PROPFIND", "OPTIONS"])
def test_a_method_that_a_path_does_not_have_is_refused_with_those_it_has(
    filled: FilledService, method: str
) -> None:
    headers = {"X-HTTP-Method-Override": "DELETE", "X-HTTP-Method": "DELETE"}
    answer = filled.ask(method, f"/v1/collections/{COLLECTION}", headers=headers)
    assert refused(filled, answer) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "DELETE, GET"


@pytest.mark.parametrize("key", [b"", b"a b", b"\xc3\xbc", b"k" * 300])
def test_a_key_that_is_none_is_refused(filled: FilledService, key: bytes) -> None:
    text = {"collection": "x", "texts": [{"id": "1", "text": "x"}]}
    is_refused(filled, INVALID, "POST", TEXTS, json=text, headers={"Idempotency-Key": key})


def test_a_key_of_another_request_is_refused(filled: FilledService) -> None:
    key = {"Idempotency-Key": "k1"}
    text = {"collection": "keys", "texts": [{"id": "1", "text": "x"}]}
    assert filled.ask("POST", TEXTS, json=text, headers=key).status_code == 202
    other = text | {"collection": "others"}
    expected = (422, "idempotency_key_reused")
    is_refused(filled, expected, "POST", TEXTS, json=other, headers=key)
    # Another token has keys of its own.
    own = filled.ask("POST", TEXTS, "submit", json=other, headers=key)
    assert own.status_code == 202


# -- Tokens ----------------------------------------------------------------------------------------


def test_a_scope_that_is_too_small_is_refused(filled: FilledService) -> None:
    text = {"collection": "x", "texts": [{"id": "1", "text": "x"}]}
    expected = (403, "insufficient_scope")
    is_refused(filled, expected, "POST", TEXTS, scope="read", json=text)
    is_refused(filled, expected, "DELETE", f"/v1/collections/{COLLECTION}", scope="submit")
    run = "/v1/maintenance/tasks/integrity_check/run"
    is_refused(filled, expected, "POST", run, scope="submit", json={})


@pytest.mark.parametrize("name", ["名前 ☃", "ﷺ" * 60, "a\u0301", "'; DROP TABLE jobs; --"])
def test_a_token_of_any_name_is_only_a_token(filled: FilledService, name: str) -> None:
    secret = filled.site.context.store.tokens.create(name, ("read",))[1]
    headers = {"Authorization": f"Bearer {secret}"}
    assert filled.site.client.get("/v1/jobs", headers=headers).status_code == 200
    answer = filled.site.client.delete(f"/v1/collections/{COLLECTION}", headers=headers)
    assert refused(filled, answer) == (403, "insufficient_scope")
    assert name in answer.json()["detail"]


def test_a_token_that_is_over_is_refused(filled: FilledService) -> None:
    tokens = filled.site.context.store.tokens
    revoked, secret = tokens.create("revoked", ("operate",))
    tokens.revoke(revoked.id)
    soon = datetime.now(UTC) + timedelta(seconds=0.5)
    expired = tokens.create("expired", ("operate",), soon)[1]
    deadline = time.monotonic() + LONG
    while filled.site.client.get("/v1/jobs", headers=bearer(expired)).status_code == 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    for each in (secret, expired, secret[:-1], secret.upper(), "null", "' OR 1=1 --", "☃"):
        answer = filled.site.client.get("/v1/jobs", headers=bearer(each))
        assert refused(filled, answer)[0] == 401, each


def bearer(secret: str) -> dict[bytes, bytes]:
    return {b"Authorization": f"Bearer {secret}".encode()}
