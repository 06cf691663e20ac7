"""Documents by URL: from a real https server, and never from where they may not come."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from lexigram_ray.core.config import WorkersConfig, load_config
from lexigram_ray.core.ids import hash_bytes
from lexigram_ray.jobs.searching import search_collection
from lexigram_ray.jobs.store import Store
from lexigram_ray.service import fetching
from tests.documents import PAGES, pdf
from tests.finished_jobs import finish
from tests.https_site import HttpsSite, https_site, redirects, sends
from tests.ready_state import converted_models, state
from tests.service_site import Site, running_service

__all__ = ["converted_models", "state"]

pytestmark = pytest.mark.timeout(120)

TEXT = b"The harbour master listens on channel twelve."


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HttpsSite]:
    with https_site(tmp_path, "localhost", "files.example.org") as running:
        monkeypatch.setenv("SSL_CERT_FILE", str(running.authority))
        yield running


@pytest.fixture
def config(state: Path, server: HttpsSite) -> WorkersConfig:
    hosts = (f"localhost:{server.port}", f".example.org:{server.port}")
    urls = {"enabled": True, "allowed_hosts": hosts, "timeout_seconds": 20}
    return load_config(
        state_dir=state,
        runtime={"inline_seconds": 100_000},
        service={"urls": urls, "max_upload_mb": 2},
    )


@pytest.fixture
def site(config: WorkersConfig, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A service for which this machine's own addresses are public."""
    monkeypatch.setattr(fetching, "is_public", lambda _: True)
    with running_service(config) as running:
        yield running


def submit(site: Site, *urls: str, **fields: Any) -> Any:
    named = {"url": urls[0]} if len(urls) == 1 else {"urls": urls}
    where = "/v1/documents" if len(urls) == 1 else "/v1/documents/batch"
    return site.client.post(where, json={"collection": "docs"} | named | fields)


def refusal(answer: Any) -> tuple[int, str, str]:
    found = answer.json()
    return answer.status_code, found["code"], found["detail"]


def kept(config: WorkersConfig) -> list[str]:
    uploads = config.paths.uploads
    return sorted(str(path.relative_to(uploads)) for path in uploads.rglob("*") if path.is_file())


def jobs_of(config: WorkersConfig) -> list[Any]:
    with Store.open(config.paths.store_url) as store:
        return store.list_jobs(limit=100)[0]


def test_a_document_by_url_is_ingested_and_says_where_it_is_from(
    site: Site, server: HttpsSite, config: WorkersConfig
) -> None:
    server.answers["/rules/handbook.pdf"] = sends(pdf())
    url = f"https://localhost:{server.port}/rules/handbook.pdf"
    answer = submit(site, f"{url}?token=secret", metadata={"kind": "rules"})
    assert answer.status_code == 202, answer.text
    finish(config, answer.json()["id"])
    (hit, *_) = search_collection(config, PAGES[0], collection="docs").hits
    assert hit.metadata["kind"] == "rules"
    assert hit.metadata["url"] == url
    assert Path(hit.source).name == "handbook.pdf"
    assert "token=secret" not in json.dumps([job.spec for job in jobs_of(config)])
    assert server.seen == [("/rules/handbook.pdf", f"localhost:{server.port}", "localhost")]


def test_many_urls_are_one_job_or_none(
    site: Site, server: HttpsSite, config: WorkersConfig
) -> None:
    server.answers |= {"/a.txt": sends(TEXT), "/b.txt": sends(TEXT + b"!")}
    base = f"https://localhost:{server.port}"
    failed = submit(site, f"{base}/a.txt", f"{base}/missing.txt")
    assert refusal(failed)[:2] == (422, "url_not_fetched")
    assert "404" in failed.json()["detail"]
    assert kept(config) == []
    assert submit(site, f"{base}/a.txt", f"{base}/b.txt").status_code == 202
    (job,) = jobs_of(config)
    assert len(job.spec["paths"]) == 2


@pytest.mark.parametrize(
    ("path", "headers", "name"),
    [
        ("/a/report.txt", {}, "report.txt"),
        ("/a/%C3%9Cbung.txt", {}, "Übung.txt"),
        ("/download", {"Content_Disposition": 'attachment; filename="x/../r.txt"'}, "r.txt"),
        ("/d", {"Content_Disposition": "attachment; filename*=UTF-8''%E6%8A%A5.txt"}, "报.txt"),
        ("/page", {"Content_Type": "text/html; charset=utf-8"}, "page.html"),
        ("/", {"Content_Type": "text/plain"}, "localhost.txt"),
    ],
)
def test_a_document_is_called_as_its_server_calls_it(
    site: Site, server: HttpsSite, path: str, headers: dict[str, str], name: str
) -> None:
    config = site.context.config
    server.answers[path] = sends(TEXT, **headers)
    answer = submit(site, f"https://localhost:{server.port}{path}")
    assert answer.status_code == 202, answer.text
    assert kept(config) == [f"docs/{hash_bytes(TEXT)}/{name}"]


def test_redirections_are_followed_a_few_times_and_checked_each_time(
    site: Site, server: HttpsSite, config: WorkersConfig
) -> None:
    base = f"https://localhost:{server.port}"
    server.answers |= {f"/r{number}": redirects(f"/r{number + 1}") for number in range(6)}
    server.answers |= {
        "/r6": sends(TEXT),
        "/plain": redirects(f"http://localhost:{server.port}/r6"),
        "/inside": redirects("https://169.254.169.254/latest/meta-data"),
        "/other-port": redirects("https://localhost:1/r6"),
        "/nowhere": redirects("https://[::1"),
        "/circle": redirects("/circle"),
    }
    assert submit(site, f"{base}/r1").status_code == 202
    for path in ("/r0", "/plain", "/inside", "/other-port", "/nowhere", "/circle"):
        answer = submit(site, base + path)
        assert refusal(answer)[:2] == (422, "url_not_fetched"), path
        assert path == "/nowhere" or "redirect" in answer.json()["detail"]
    assert len(kept(config)) == 1


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("https://elsewhere.org/x", "url_not_allowed"),
        ("https://localhost/x", "url_not_allowed"),
        ("https://example.org:{port}/x", "url_not_allowed"),
        ("https://files.example.org.evil.net:{port}/x", "url_not_allowed"),
        ("https://localhost:{port}@evil.net/x", "url_not_fetched"),
        ("https://user:word@localhost:{port}/x", "url_not_fetched"),
        ("https://2130706433:{port}/x", "url_not_allowed"),
        ("https://[::1]:{port}/x", "url_not_allowed"),
        ("https://localhost:99999/x", "url_not_allowed"),
        ("https:///x", "url_not_fetched"),
        ("https://nowhere.example.org:{port}/x", "url_not_fetched"),
        ("http://localhost:{port}/x", "invalid_request"),
        ("ftp://localhost:{port}/x", "invalid_request"),
        ("file:///etc/passwd", "invalid_request"),
        ("https://localhost:{port}/x y", "invalid_request"),
    ],
)
def test_urls_of_elsewhere_are_refused(
    site: Site, server: HttpsSite, config: WorkersConfig, url: str, code: str
) -> None:
    answer = submit(site, url.format(port=server.port))
    assert answer.json()["code"] == code, answer.text
    assert answer.status_code == (403 if code == "url_not_allowed" else 422)
    assert answer.json()["hint"]
    assert server.seen == []
    assert kept(config) == []


def test_an_address_of_the_inside_is_not_connected_to(
    config: WorkersConfig, server: HttpsSite
) -> None:
    server.answers["/x.txt"] = sends(TEXT)
    with running_service(config) as site:
        answer = submit(site, f"https://localhost:{server.port}/x.txt")
    assert refusal(answer)[:2] == (422, "url_not_fetched")
    assert "public" in answer.json()["detail"]
    assert server.seen == []


def test_a_name_is_resolved_once_and_that_address_is_connected_to(
    site: Site, server: HttpsSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers["/x.txt"] = sends(TEXT)
    real, looked_up = socket.getaddrinfo, []

    def rebinding(host: Any, *args: Any, **named: Any) -> Any:
        if host != "files.example.org":
            return real(host, *args, **named)
        looked_up.append(host)
        return real("127.0.0.1" if len(looked_up) == 1 else "10.255.255.1", *args, **named)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    answer = submit(site, f"https://files.example.org:{server.port}/x.txt")
    assert answer.status_code == 202, answer.text
    assert len(looked_up) == 1
    name = "files.example.org"
    assert server.seen == [("/x.txt", f"{name}:{server.port}", name)]


def test_a_certificate_of_another_name_or_authority_is_refused(
    site: Site, server: HttpsSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.getaddrinfo

    def resolved(host: Any, *args: Any, **named: Any) -> Any:
        return real("127.0.0.1" if host == "other.example.org" else host, *args, **named)

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    server.answers["/x.txt"] = sends(TEXT)
    wrong_name = submit(site, f"https://other.example.org:{server.port}/x.txt")
    monkeypatch.delenv("SSL_CERT_FILE")
    unknown = submit(site, f"https://localhost:{server.port}/x.txt")
    for answer in (wrong_name, unknown):
        assert refusal(answer)[:2] == (422, "url_not_fetched")
        assert "certificate" in answer.json()["detail"].lower()
    assert server.seen == []


def test_what_is_too_large_too_slow_or_broken_off_is_refused(
    site: Site, server: HttpsSite, config: WorkersConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = threading.Event()

    def endless(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        with contextlib.suppress(OSError):
            while not ended.wait(0.05):
                request.wfile.write(b"x" * 100)

    def endless_headers(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        with contextlib.suppress(OSError):
            while not ended.wait(0.05):
                request.send_header("X-More", "x")
                request.flush_headers()

    def cut(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", "1000")
        request.end_headers()
        request.wfile.write(b"x" * 10)

    server.answers |= {
        "/large": sends(b"x" * 2_000_001),
        "/cut": cut,
        "/packed": sends(b"x", Content_Encoding="gzip"),
        "/error": sends(b"x", 500),
        "/empty": sends(b""),
    }
    base = f"https://localhost:{server.port}"
    for path, word in (("large", "larger"), ("cut", "broke"), ("packed", "gzip"), ("error", "500")):
        answer = submit(site, f"{base}/{path}")
        assert refusal(answer)[:2] == (422, "url_not_fetched")
        assert word in answer.json()["detail"]
    assert submit(site, f"{base}/empty").json()["code"] == "empty"

    server.answers |= {"/slow": endless, "/slower": endless_headers}
    urls = config.service.urls.model_copy(update={"timeout_seconds": 1.0})
    service = config.service.model_copy(update={"urls": urls})
    with running_service(config.model_copy(update={"service": service})) as impatient:
        late = [submit(impatient, f"{base}/{path}") for path in ("slow", "slower")]
    ended.set()
    for answer in late:
        assert refusal(answer)[:2] == (422, "url_not_fetched")
        assert "longer than 1 s" in answer.json()["detail"]
    assert kept(config) == []
    assert jobs_of(config) == []


def test_urls_are_refused_where_they_are_not_enabled(state: Path) -> None:
    with running_service(load_config(state_dir=state)) as site:
        for urls in (["https://localhost/x"], ["https://localhost/x", "https://localhost/y"]):
            answer = submit(site, *urls)
            assert refusal(answer)[:2] == (403, "urls_not_enabled")
            assert "service.urls.enabled" in answer.json()["hint"]


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:8.8.8.8"])
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert fetching.is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "240.0.0.1",
        "198.18.0.1",
        "::1",
        "::",
        "fe80::1",
        "fc00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
        "2002:a00:1::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "fec0::1",
    ],
)
def test_addresses_of_the_inside_are_not_public(address: str) -> None:
    assert not fetching.is_public(ipaddress.ip_address(address))
