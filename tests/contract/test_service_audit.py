"""What is noted of changes through the service, and what its health tells whom, over real HTTP."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from lexigram_ray.core.config import load_config
from lexigram_ray.jobs.audit_log import AuditEntry
from lexigram_ray.jobs.store import Store
from lexigram_ray.service.gate import REMEMBERED_SECONDS
from tests.service_site import Site, running_service

PROBLEM = "application/problem+json"
COLLECTION = "/v1/collections/none"
OF_NOBODY = f"lxr_{'0' * 12}_{'0' * 64}"


@pytest.fixture
def secret(tmp_path: Path) -> str:
    """A token that is there before the service is."""
    with Store.open(f"sqlite:///{tmp_path / 'state' / 'jobs.db'}") as store:
        return store.tokens.create("operator", ["operate"])[1]


@pytest.fixture
def site(secret: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.chdir(tmp_path)
    with running_service(load_config(state_dir=tmp_path / "state")) as running:
        running.client.headers["Authorization"] = f"Bearer {secret}"
        yield running


def entries(site: Site, expected: int) -> list[AuditEntry]:
    """The audit log, newest first, once all of it says how it ended."""
    deadline = time.monotonic() + 20
    while True:
        found = site.context.store.audit.page()[0]
        is_complete = all(entry.status is not None for entry in found)
        if (len(found) >= expected and is_complete) or time.monotonic() > deadline:
            return found
        time.sleep(0.02)


def break_store(site: Site) -> None:
    """Have every open connection find that the file is no database any more."""
    path = Path(site.context.config.paths.store_url.removeprefix("sqlite:///"))
    with path.open("r+b") as file:
        file.write(b"\xff" * path.stat().st_size)


# -- The audit log ---------------------------------------------------------------------------------


def test_a_change_leaves_a_row_with_who_what_and_how(site: Site, secret: str) -> None:
    answer = site.client.delete(COLLECTION, headers={"X-Request-ID": "mine-1"})

    (entry,) = entries(site, 1)
    assert (entry.token_name, entry.method, entry.path) == ("operator", "DELETE", COLLECTION)
    assert (entry.status, entry.client) == (answer.status_code, "127.0.0.1")
    assert entry.request_id == answer.headers["X-Request-ID"] == "mine-1"
    assert entry.token_id == secret.split("_")[1]


def test_a_row_is_there_before_the_change_and_complete_after(site: Site) -> None:
    @site.app.post("/v1/look")
    def look() -> list[int | None]:
        return [entry.status for entry in site.context.store.audit.page()[0]]

    assert site.client.post("/v1/look").json() == [None]
    assert [entry.status for entry in entries(site, 1)] == [200]


def test_a_change_that_ends_in_an_error_of_ours_is_noted_as_that(site: Site) -> None:
    @site.app.post("/v1/fail")
    def fail() -> None:
        raise ArithmeticError("nobody foresaw this")

    assert site.client.post("/v1/fail").status_code == 500
    assert [entry.status for entry in entries(site, 1)] == [500]


def test_what_was_refused_to_a_known_caller_is_noted_and_nothing_of_strangers(site: Site) -> None:
    reader = site.context.store.tokens.create("reader", ["read"])[1]
    of_reader, of_stranger = f"Bearer {reader}", f"Bearer {OF_NOBODY}"

    site.client.delete(COLLECTION, headers={"Authorization": of_reader})
    site.client.post("/v1/nothing/here")
    broken = {"Content-Type": "application/json"}
    site.client.post("/v1/dead-letters/retry", content="{", headers=broken)
    site.client.delete(COLLECTION, headers={"Authorization": of_stranger})

    noted = [(entry.token_name, entry.status) for entry in entries(site, 3)]
    assert noted == [("operator", 422), ("operator", 404), ("reader", 403)]


def test_what_changes_nothing_is_not_noted(site: Site) -> None:
    site.client.get("/v1/jobs")
    site.client.post("/v1/embeddings", json={})
    site.client.post("/v1/collections/papers/search", json={})
    site.client.delete("/v1/collections/search")

    assert [entry.path for entry in entries(site, 1)] == ["/v1/collections/search"]


def test_a_secret_in_a_path_is_not_kept(site: Site) -> None:
    site.client.delete(f"/v1/collections/{OF_NOBODY}")

    (entry,) = entries(site, 1)
    assert entry.path == "/v1/collections/***"


def test_a_change_that_cannot_be_noted_is_not_made(site: Site) -> None:
    done: list[str] = []
    site.app.post("/v1/change")(lambda: done.append("changed"))
    site.client.get("/v1/jobs")
    break_store(site)
    answer = site.client.post("/v1/change")

    assert answer.status_code == 503
    assert answer.headers["Content-Type"] == PROBLEM
    assert int(answer.headers["Retry-After"]) > 0
    assert done == []


def test_changes_that_come_at_once_are_each_noted_before_they_are_made(site: Site) -> None:
    unnoted: list[str] = []

    @site.app.post("/v1/look/{number}")
    def look(number: int) -> None:
        # `page` shows the newest: of sixteen at once, all.
        noted = {entry.path for entry in site.context.store.audit.page()[0]}
        unnoted.extend({f"/v1/look/{number}"} - noted)

    with ThreadPoolExecutor(16) as pool:
        asked = [pool.submit(site.client.post, f"/v1/look/{number}") for number in range(40)]
        assert {each.result().status_code for each in asked} == {200}

    assert unnoted == []
    found = entries(site, 40)
    assert {entry.path for entry in found} == {f"/v1/look/{number}" for number in range(40)}
    assert {entry.status for entry in found} == {200}


# -- Health ----------------------------------------------------------------------------------------


def test_health_tells_more_to_whoever_shows_a_token(site: Site, tmp_path: Path) -> None:
    site.context.store.submit(
        kind="ingest", collection="docs", spec={"paths": [str(tmp_path)]}, spec_key="key"
    )

    told = site.client.get("/health").json()
    assert (told["status"], told["jobs"]["pending"], told["dead_letters"]) == ("up", 1, 0)
    assert httpx.get(f"{site.url}/health").json() == {"status": "up"}
    wrong = httpx.get(f"{site.url}/health", headers={"Authorization": f"Bearer {OF_NOBODY}"})
    assert wrong.status_code == 401


def test_where_no_token_is_needed_health_tells_nothing_else(tmp_path: Path) -> None:
    with running_service(load_config(state_dir=tmp_path / "other")) as site:
        assert site.client.get("/health").json() == {"status": "up"}
        odd = site.client.get("/health", headers={"Authorization": "Bearer sk-whatever"})
        assert odd.json() == {"status": "up"}


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/health", "/openapi.json"])
def test_what_probes_ask_needs_no_token(site: Site, path: str) -> None:
    answer = httpx.get(site.url + path)
    assert answer.status_code == 200
    assert json.loads(answer.text)


def test_a_store_that_is_away_lets_nobody_in_and_is_down(site: Site) -> None:
    break_store(site)
    time.sleep(REMEMBERED_SECONDS)

    assert site.client.get("/v1/jobs").status_code == 503
    answer = site.client.get("/health")
    assert (answer.status_code, answer.json()) == (503, {"status": "down"})
    assert httpx.get(f"{site.url}/livez").status_code == 200
