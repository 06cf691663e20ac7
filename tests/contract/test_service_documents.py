"""Documents submitted over HTTP by path, alone and in batches, and what a key means."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lexigram_ray.core.config import WorkersConfig, load_config
from lexigram_ray.jobs.searching import search_collection
from lexigram_ray.jobs.store import Store
from tests.documents import PAGES, docx_file, pdf
from tests.finished_jobs import finish
from tests.ready_state import converted_models, state
from tests.service_site import Site, running_service

__all__ = ["converted_models", "state"]

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "tides.txt").write_text("The tide turns twice a day.")
    (folder / "fog.txt").write_text("Fog signals are given twice a minute.")
    return folder


@pytest.fixture
def config(state: Path, docs: Path) -> WorkersConfig:
    return load_config(state_dir=state, allowed_roots=(docs,), runtime={"inline_seconds": 100_000})


@pytest.fixture
def site(config: WorkersConfig) -> Iterator[Site]:
    with running_service(config) as running:
        yield running


def submit(site: Site, body: object, key: str | None = None, where: str = "") -> Any:
    headers = {"Idempotency-Key": key} if key is not None else {}
    return site.client.post(f"/v1/documents{where}", json=body, headers=headers)


def jobs_of(config: WorkersConfig) -> list[str]:
    with Store.open(config.paths.store_url) as store:
        return [job.id for job in store.list_jobs(limit=100)[0]]


def test_a_document_by_path_is_recorded_before_it_is_answered(
    site: Site, config: WorkersConfig, docs: Path
) -> None:
    answer = submit(site, {"collection": "docs", "path": str(docs / "tides.txt"), "priority": 7})
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert int(answer.headers["retry-after"]) >= 1
    assert "idempotent-replayed" not in answer.headers
    assert (job["kind"], job["status"], job["priority"]) == ("ingest", "pending", 7)
    assert jobs_of(config) == [job["id"]]


def test_uploads_and_paths_are_ingested_and_found(
    site: Site, config: WorkersConfig, docs: Path
) -> None:
    uploads = {"handbook.pdf": pdf(), "Hafenordnung ½.docx": docx_file()}
    ids: dict[str, str] = {}
    for name, content in uploads.items():
        answer = site.client.post(
            "/v1/documents",
            files={"file": (name, content)},
            data={"collection": "docs", "metadata": json.dumps({"kept": name})},
        )
        assert answer.status_code == 202, answer.text
        ids[name] = answer.json()["id"]
    folder = submit(site, {"collection": "docs", "paths": [str(docs)]}, where="/batch")
    assert folder.status_code == 202, folder.text
    ended = finish(config, *ids.values(), folder.json()["id"])
    assert [job.status.value for job in ended.values()] == ["completed"] * 3

    hits = search_collection(config, PAGES[1], collection="docs", limit=10).hits
    sources = {Path(hit.source).name: hit for hit in hits}
    assert {"handbook.pdf", "Hafenordnung ½.docx", "tides.txt", "fog.txt"} <= set(sources)
    for name, content in uploads.items():
        hit = sources[name]
        assert Path(hit.source).read_bytes() == content
        assert hit.metadata["kept"] == name
    assert PAGES[1] in sources["handbook.pdf"].text


def test_a_document_that_fails_fails_its_job_and_alone_in_a_batch(
    site: Site, config: WorkersConfig, docs: Path
) -> None:
    (docs / "broken.pdf").write_bytes(pdf()[:200])
    alone = submit(site, {"collection": "docs", "path": str(docs / "broken.pdf")})
    batch = submit(site, {"collection": "docs", "paths": [str(docs)]}, where="/batch")
    ended = finish(config, alone.json()["id"], batch.json()["id"])
    assert [job.status.value for job in ended.values()] == ["failed", "completed"]


def test_the_same_id_replaces_the_document(site: Site, config: WorkersConfig) -> None:
    jobs: list[str] = []
    for text in ("The old crane lifts ten tonnes.", "The new crane lifts forty tonnes."):
        answer = site.client.post(
            "/v1/documents",
            files={"file": ("crane.txt", text.encode())},
            data={"collection": "docs", "document_id": "crane"},
        )
        jobs.append(answer.json()["id"])
        finish(config, jobs[-1])
    hits = search_collection(config, "crane", collection="docs").hits
    assert [(hit.document_id, hit.text) for hit in hits] == [
        ("crane", "The new crane lifts forty tonnes.")
    ]


def test_the_same_key_and_request_are_the_same_job_even_when_it_has_ended(
    site: Site, config: WorkersConfig, docs: Path
) -> None:
    body = {"collection": "docs", "path": str(docs / "tides.txt")}
    first = submit(site, body, "k1")
    again = submit(site, body, "k1")
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.json()["id"] == first.json()["id"]
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    finish(config, first.json()["id"])
    later = submit(site, body, "k1")
    assert (later.json()["id"], later.json()["status"]) == (first.json()["id"], "completed")
    other = submit(site, body, "k2")
    assert other.json()["id"] != first.json()["id"]


def test_a_key_of_another_request_is_refused(site: Site, config: WorkersConfig, docs: Path) -> None:
    submit(site, {"collection": "docs", "path": str(docs / "tides.txt")}, "k1")
    other = submit(site, {"collection": "docs", "path": str(docs / "fog.txt")}, "k1")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert len(jobs_of(config)) == 1


def test_the_same_under_another_key_is_told_of_the_job_that_waits(site: Site, docs: Path) -> None:
    body = {"collection": "docs", "path": str(docs / "tides.txt")}
    first = submit(site, body, "k1")
    other = submit(site, body, "secret-of-another")
    assert (other.status_code, other.json()["code"]) == (409, "already_submitted")
    assert other.headers["location"] == first.headers["location"]
    assert "k1" not in other.text
    without = submit(site, body)
    assert (without.status_code, without.json()["id"]) == (202, first.json()["id"])


def test_many_at_once_with_one_key_get_one_job(
    site: Site, config: WorkersConfig, docs: Path
) -> None:
    body = {"collection": "docs", "path": str(docs / "tides.txt")}
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: submit(site, body, "once"), range(32)))
    assert {answer.status_code for answer in answers} == {202}
    assert {answer.json()["id"] for answer in answers} == set(jobs_of(config))
    assert len(jobs_of(config)) == 1
    fresh = [each for each in answers if "idempotent-replayed" not in each.headers]
    assert len(fresh) == 1


@pytest.mark.parametrize("key", ["", "x" * 256, "with space", "tab\there"])
def test_a_key_that_is_none_is_refused(site: Site, docs: Path, key: str) -> None:
    answer = submit(site, {"collection": "docs", "path": str(docs / "tides.txt")}, key)
    assert answer.status_code == 422


def test_paths_outside_are_refused_and_told_apart_in_nothing(
    site: Site, config: WorkersConfig, docs: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("not yours")
    (docs / "link").symlink_to(tmp_path)
    (docs / "loop").symlink_to(docs / "loop")
    there = [str(secret), str(docs / "link" / "secret.txt"), f"{docs}/../secret.txt"]
    missing = [path.replace("secret", "absent") for path in there]
    for path, other in zip(there, missing, strict=True):
        seen = [submit(site, {"collection": "docs", "path": each}).json() for each in (path, other)]
        for each in seen:
            del each["request_id"]
        assert seen[0]["status"] == 403
        assert json.dumps(seen[0]).replace("secret", "absent") == json.dumps(seen[1])
        batch = submit(site, {"collection": "d", "paths": [str(docs), path]}, where="/batch")
        assert batch.status_code == 403
    # What upload has put there is read by workers, and named by nobody.
    assert submit(site, {"collection": "d", "path": str(config.paths.uploads)}).status_code == 403
    assert jobs_of(config) == []


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("{docs}/absent.txt", "usage"),
        ("{docs}", "usage"),
        ("docs/tides.txt", "invalid_request"),
        ("~/tides.txt", "invalid_request"),
        ("{docs}/\0", "invalid_request"),
        ("", "invalid_request"),
        ("/" + "x" * 5_000, "invalid_request"),
    ],
)
def test_a_path_that_cannot_be_is_refused_with_the_way_out(
    site: Site, docs: Path, path: str, code: str
) -> None:
    answer = submit(site, {"collection": "docs", "path": path.format(docs=docs)})
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert answer.json()["hint"]


def test_no_path_is_read_where_no_roots_are_set(state: Path, docs: Path) -> None:
    with running_service(load_config(state_dir=state)) as site:
        for path in (docs / "tides.txt", docs / "absent"):
            answer = submit(site, {"collection": "docs", "path": str(path)})
            assert (answer.status_code, answer.json()["code"]) == (403, "path_not_allowed")
            assert "allowed_roots" in answer.json()["hint"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"collection": "docs"},
        {"collection": "docs", "path": "/a", "url": "https://b.example/"},
        {"collection": "../etc", "path": "/a"},
        {"collection": "docs", "path": 1},
        {"collection": "docs", "path": "/a", "priority": "1"},
        {"collection": "docs", "path": "/a", "priority": 2**31},
        {"collection": "docs", "path": "/a", "deadline_seconds": 0},
        {"collection": "docs", "path": "/a", "delay_seconds": 1e300},
        {"collection": "docs", "path": "/a", "unknown": 1},
        {"collection": "docs", "path": "/a", "metadata": [1]},
        {"collection": "docs", "path": "/a", "metadata": {"long": "x" * 70_000}},
        {"collection": "docs", "path": "/a", "document_id": "a\nb"},
        [],
        "docs",
    ],
)
def test_what_does_not_fit_is_refused(site: Site, config: WorkersConfig, body: object) -> None:
    answer = submit(site, body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert answer.headers["content-type"] == "application/problem+json"
    assert jobs_of(config) == []


def test_a_deadline_before_the_start_is_refused(site: Site, docs: Path) -> None:
    body = {"collection": "docs", "path": str(docs / "tides.txt"), "delay_seconds": 60}
    assert submit(site, body | {"deadline_seconds": 30}).status_code == 422
    assert submit(site, body | {"deadline_seconds": 90}).status_code == 202


@pytest.mark.parametrize(
    ("content", "media_type", "status"),
    [
        (b"{", "application/json", 422),
        (b"", "application/json", 422),
        (b"\xff", "application/json", 422),
        (b"[" * 100_000, "application/json", 422),
        (b'{"collection": "\\ud800"}', "application/json", 422),
        (b"collection=docs", "application/x-www-form-urlencoded", 415),
        (b"{}", "", 415),
    ],
)
def test_a_body_that_is_none_is_refused(
    site: Site, content: bytes, media_type: str, status: int
) -> None:
    headers = {"Content-Type": media_type} if media_type else {}
    answer = site.client.post("/v1/documents", content=content, headers=headers)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_collection_of_another_model_is_refused_at_once(
    site: Site, config: WorkersConfig, docs: Path
) -> None:
    first = submit(site, {"collection": "docs", "path": str(docs / "tides.txt")})
    finish(config, first.json()["id"])
    embedding = {"model": config.embedding.model, "dimensions": 128}
    other = load_config(state_dir=config.state_dir, allowed_roots=(docs,), embedding=embedding)
    with running_service(other) as second:
        answer = submit(second, {"collection": "docs", "path": str(docs / "fog.txt")})
    assert (answer.status_code, answer.json()["code"]) == (409, "collection_mismatch")


def test_a_batch_has_at_most_so_many_sources(state: Path, docs: Path) -> None:
    config = load_config(state_dir=state, allowed_roots=(docs,), service={"max_files": 2})
    with running_service(config) as site:
        paths = [str(docs / name) for name in ("fog.txt", "tides.txt")]
        assert submit(site, {"collection": "d", "paths": paths}, where="/batch").status_code == 202
        answer = submit(site, {"collection": "d", "paths": [*paths, str(docs)]}, where="/batch")
    assert (answer.status_code, answer.json()["code"]) == (422, "too_many_sources")
