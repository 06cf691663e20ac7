"""Who may use the service, over real HTTP: tokens, scopes, rates, and what is noted of changes."""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from lexigram_ray.core.config import WorkersConfig, load_config
from lexigram_ray.core.errors import UsageError
from lexigram_ray.jobs.store import Store
from lexigram_ray.service.auth import check_may_start
from lexigram_ray.service.gate import REMEMBERED_SECONDS
from lexigram_ray.service.token_rates import LEAST_BURST
from tests.job_data import ingest_spec, submitted
from tests.service_site import Site, running_service

PROBLEM = "application/problem+json"
READ, SUBMIT, OPERATE = "/v1/jobs", f"/v1/jobs/{uuid4()}/cancel", "/v1/collections/none"
NUMBERS = itertools.count()
OF_NOBODY = f"lxr_{'0' * 12}_{'0' * 64}"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WorkersConfig:
    monkeypatch.chdir(tmp_path)
    return load_config(state_dir=tmp_path / "state")


@pytest.fixture
def site(config: WorkersConfig) -> Iterator[Site]:
    """A service of its own, whose store has never had a token."""
    with running_service(config) as running:
        yield running


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, str]]:
    config = load_config(state_dir=tmp_path_factory.mktemp("guarded") / "state")
    with Store.open(config.paths.store_url) as store:
        secret = store.tokens.create("reader", ["read"])[1]
    with running_service(config) as running:
        yield running, secret


@pytest.fixture
def closed(guarded: tuple[Site, str]) -> Site:
    """A service that knows tokens, for all tests that leave no trace."""
    return guarded[0]


@pytest.fixture
def reader(guarded: tuple[Site, str]) -> str:
    """The secret of a token of `closed`."""
    return guarded[1]


def changed(config: WorkersConfig, **service: object) -> WorkersConfig:
    return config.model_copy(update={"service": config.service.model_copy(update=service)})


def token(site: Site, name: str, *scopes: str, seconds: float | None = None) -> str:
    expires_at = None if seconds is None else datetime.now(UTC) + timedelta(seconds=seconds)
    return site.context.store.tokens.create(name, scopes, expires_at)[1]


def token_of_its_own(site: Site, *scopes: str, seconds: float | None = None) -> str:
    return token(site, f"token-{next(NUMBERS)}", *scopes, seconds=seconds)


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def status(site: Site, secret: str, method: str = "GET", path: str = READ) -> int:
    return site.client.request(method, path, headers=bearer(secret)).status_code


def sent_raw(site: Site, request: bytes) -> bytes:
    """What the service answers to bytes that no client library would send."""
    with socket.create_connection(("127.0.0.1", site.port), timeout=20) as connection:
        connection.sendall(request)
        answer = b""
        while b"\r\n\r\n" not in answer and (more := connection.recv(65536)):
            answer += more
    return answer


# -- No token --------------------------------------------------------------------------------------


def test_on_loopback_nobody_needs_a_token_before_there_is_one(site: Site) -> None:
    assert site.client.get(READ).status_code == 200
    assert site.client.delete(OPERATE).status_code == 404
    # A client that cannot go without sends what it likes.
    assert status(site, "sk-whatever") == 200


def test_the_first_token_closes_the_door_for_all_others_and_for_good(site: Site) -> None:
    assert site.client.get(READ).status_code == 200
    secret = token(site, "reader", "read")
    time.sleep(REMEMBERED_SECONDS)
    answer = site.client.get(READ)

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.headers["Content-Type"] == PROBLEM
    problem = answer.json()
    assert problem["code"] == "no_token"
    assert "tokens create" in problem["hint"]
    assert problem["request_id"] == answer.headers["X-Request-ID"]
    assert status(site, secret) == 200
    site.context.store.tokens.revoke("reader")
    time.sleep(REMEMBERED_SECONDS)
    assert site.client.get(READ).status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "rebound.example.org"},
        {"Host": "127.0.0.1.example.org:8000"},
        {"Host": "169.254.169.254"},
        {"Origin": "https://example.org"},
        {"Origin": "null"},
    ],
)
def test_a_page_that_a_browser_here_shows_is_nobody(site: Site, headers: dict[str, str]) -> None:
    answer = site.client.post(SUBMIT, headers=headers)

    assert answer.status_code == 401
    assert next(iter(headers)) in answer.json()["detail"]


@pytest.mark.parametrize("header", ["Forwarded", "X-Forwarded-For", "X-Real-IP"])
def test_what_a_proxy_on_this_machine_sends_for_others_needs_a_token(
    site: Site, header: str
) -> None:
    answer = site.client.get(READ, headers={header: "for=198.51.100.7"})

    assert (answer.status_code, answer.json()["code"]) == (401, "no_token")
    assert header in answer.json()["detail"]


def test_figures_need_a_token_unless_they_are_asked_for_by_this_machine(
    closed: Site, reader: str
) -> None:
    page = {"Host": "rebound.example.org"}

    assert closed.client.get("/metrics").status_code == 200
    assert closed.client.get("/metrics", headers=page).status_code == 401
    assert closed.client.get("/metrics", headers=page | bearer(reader)).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [{"Host": "localhost:1"}, {"Host": "[::1]:8000"}, {"Origin": "http://localhost:3000"}],
)
def test_this_machine_has_more_than_one_name(site: Site, headers: dict[str, str]) -> None:
    assert site.client.get(READ, headers=headers).status_code == 200
    assert b" 200 " in sent_raw(site, b"GET /v1/jobs HTTP/1.0\r\n\r\n")


def test_other_machines_always_need_a_token(config: WorkersConfig) -> None:
    with running_service(changed(config, host="0.0.0.0")) as site:
        assert site.client.get(READ).status_code == 401
        assert status(site, token(site, "reader", "read")) == 200


def test_it_does_not_start_where_others_reach_it_and_no_token_is_valid(
    config: WorkersConfig,
) -> None:
    open_to_all = changed(config, host="0.0.0.0")
    with Store.open(config.paths.store_url) as store:
        check_may_start(config, store)
        with pytest.raises(UsageError, match=r"0\.0\.0\.0") as caught:
            check_may_start(open_to_all, store)
        assert "lexigram-ray tokens create NAME" in (caught.value.hint or "")
        store.tokens.create("ci", ["read"])
        check_may_start(open_to_all, store)
        store.tokens.revoke("ci")
        with pytest.raises(UsageError):
            check_may_start(open_to_all, store)


# -- Tokens ----------------------------------------------------------------------------------------


def test_two_tokens_are_two_callers(closed: Site, reader: str) -> None:
    operator = token_of_its_own(closed, "operate")

    assert status(closed, operator, "DELETE", OPERATE) == 404
    assert status(closed, reader, "DELETE", OPERATE) == 403


def test_a_revoked_token_is_refused_within_a_second(closed: Site, reader: str) -> None:
    made, secret = closed.context.store.tokens.create("short-lived", ["read"])
    assert status(closed, secret) == 200
    closed.context.store.tokens.revoke(made.id)
    time.sleep(REMEMBERED_SECONDS)

    answer = closed.client.get(READ, headers=bearer(secret))
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'
    assert answer.json()["code"] == "invalid_token"
    assert status(closed, reader) == 200


def test_an_expired_token_is_refused_from_that_moment(closed: Site) -> None:
    short = token_of_its_own(closed, "read", seconds=3)
    seen = [status(closed, short)]
    time.sleep(3)
    seen.append(status(closed, short))

    assert seen == [200, 401]


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"Bearer",
        b"bearer lxr_",
        b"Basic dXNlcjpwYXNz",
        b"Bearer " + OF_NOBODY.encode(),
        b"Bearer " + OF_NOBODY.upper().encode(),
        b"Bearer lxr_' OR '1'='1",
        b"Bearer t\xc3\xb6ken-\xe2\x98\x83",
        b"Bearer " + bytes(range(0x80, 0xFF)),
        b"Bearer " + b"a" * 8000,
        OF_NOBODY.encode(),
    ],
)
def test_what_is_no_token_is_refused_and_not_repeated(
    closed: Site, reader: str, value: bytes
) -> None:
    answer = closed.client.get(READ, headers={b"Authorization": value})

    assert answer.status_code == 401
    assert answer.headers["Content-Type"] == PROBLEM
    assert len(value) < 10 or value.decode("latin-1") not in answer.text
    assert status(closed, reader) == 200


def test_a_token_with_anything_around_it_is_another_one(closed: Site, reader: str) -> None:
    for changed in (f"{reader}0", reader[:-1], f"x{reader}", f"{reader} {reader}"):
        assert status(closed, changed) == 401, changed
    lower = {"Authorization": f"bearer  {reader}"}
    assert closed.client.get(READ, headers=lower).status_code == 200


def test_two_headers_at_once_are_refused(closed: Site, reader: str) -> None:
    twice = [("Authorization", f"Bearer {OF_NOBODY}"), ("Authorization", f"Bearer {reader}")]

    assert closed.client.get(READ, headers=twice).status_code == 401
    assert closed.client.get(READ, headers=twice[::-1]).status_code == 401


@pytest.mark.parametrize(
    "line",
    [
        b"Authorization: Bearer a\r\n b",
        b"Authorization: Bearer a\x00b",
        b"Authorization: Bearer a\nX-Request-ID: b",
        b"Authorization\r\n: Bearer a",
        b"Authorization: Bearer a\r\nX-Request-ID: a\r\nSet-Cookie: a=b",
    ],
)
def test_headers_that_hold_headers_harm_nobody(closed: Site, reader: str, line: bytes) -> None:
    answer = sent_raw(closed, b"GET /v1/jobs HTTP/1.1\r\nHost: localhost\r\n" + line + b"\r\n\r\n")

    assert answer.split(b" ", 2)[1] in (b"400", b"401")
    assert b"set-cookie" not in answer.lower()
    assert status(closed, reader) == 200


def test_a_body_is_not_read_before_its_sender_is_known(closed: Site, reader: str) -> None:
    request = (
        b"POST /v1/documents HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 500000000\r\n\r\n"
    )

    assert sent_raw(closed, request).split(b" ", 2)[1] == b"401"
    assert status(closed, reader) == 200


def test_bad_json_of_a_stranger_is_a_stranger_s(closed: Site) -> None:
    answer = closed.client.post("/v1/dead-letters/retry", content="{", headers=bearer(OF_NOBODY))
    assert answer.status_code == 401


def test_in_openai_s_shape_where_openai_s_clients_ask(closed: Site) -> None:
    answer = closed.client.post(
        "/v1/embeddings", json={"model": "m", "input": "a"}, headers=bearer("sk-other")
    )

    assert answer.status_code == 401
    assert answer.json()["error"]["type"] == "authentication_error"
    assert answer.json()["error"]["code"] == "invalid_token"


# -- Scopes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scope", "answers"),
    [("read", (200, 403, 403)), ("submit", (200, 404, 403)), ("operate", (200, 404, 404))],
)
def test_a_scope_allows_its_own_and_those_below(
    closed: Site, scope: str, answers: tuple[int, ...]
) -> None:
    secret = token_of_its_own(closed, scope)

    asked = (("GET", READ), ("POST", SUBMIT), ("DELETE", OPERATE))
    assert tuple(status(closed, secret, *each) for each in asked) == answers


def test_a_run_of_maintenance_is_cancelled_by_whoever_may_start_it(
    site: Site, tmp_path: Path
) -> None:
    operator = bearer(token(site, "operator", "operate"))
    submitter = bearer(token(site, "submitter", "submit"))
    run = site.client.post("/v1/maintenance/tasks/health_check/run", headers=operator)
    document = submitted(site.context.store, ingest_spec(tmp_path))
    path = f"{run.headers['Location']}/cancel"

    refused = site.client.post(path, headers=submitter)

    assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope")
    assert site.client.post(path, headers=operator).json()["status"] == "cancelled"
    assert site.client.post(f"/v1/jobs/{document.id}/cancel", headers=submitter).status_code == 200


def test_a_missing_scope_is_named_with_the_way_out(closed: Site, reader: str) -> None:
    answer = closed.client.delete(OPERATE, headers=bearer(reader))

    assert answer.status_code == 403
    assert answer.headers["Content-Type"] == PROBLEM
    assert answer.headers["WWW-Authenticate"] == (
        'Bearer error="insufficient_scope", scope="operate"'
    )
    problem = answer.json()
    assert "operate" in problem["detail"]
    assert "reader" in problem["detail"]
    assert problem["hint"] == "lexigram-ray tokens create NAME --scope operate"


def test_every_route_wants_a_token_and_openapi_json_says_so(closed: Site, reader: str) -> None:
    described = closed.client.get("/openapi.json").json()
    scheme = described["components"]["securitySchemes"]["HTTPBearer"]
    routes = [
        (method, path, operation)
        for path, operations in described["paths"].items()
        for method, operation in operations.items()
        if path.startswith("/v1/")
    ]

    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    assert len(routes) > 3
    assert [path for _, path, operation in routes if "security" not in operation] == []
    refused = {closed.client.request(method, path).status_code for method, path, _ in routes}
    assert refused == {401}
    assert status(closed, reader) == 200


# -- Rates -----------------------------------------------------------------------------------------


def test_whoever_asks_too_much_is_told_when_to_come_again(config: WorkersConfig) -> None:
    with running_service(changed(config, requests_per_minute=1)) as site:
        seen = [site.client.get(READ) for _ in range(LEAST_BURST + 1)]
        vectors = site.client.post("/v1/embeddings", json={"model": "m", "input": "a"})
        liveness = site.client.get("/livez")

        assert [each.status_code for each in seen] == [*[200] * LEAST_BURST, 429]
        last = seen[-1]
        assert 1 <= int(last.headers["Retry-After"]) <= 60
        assert last.json()["code"] == "rate_limited"
        assert last.headers["Content-Type"] == PROBLEM
        assert vectors.status_code == 429
        assert vectors.json()["error"]["type"] == "rate_limit_error"
        assert liveness.status_code == 200
        # Those with a token have a measure of their own each.
        secrets = [token(site, name, "read") for name in ("a", "b")]
        time.sleep(REMEMBERED_SECONDS)
        assert [status(site, secret) for secret in secrets] == [200, 200]
