"""Texts submitted over HTTP: staged before the answer, and embedded like those of a table."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from lexigram_ray.core.config import WorkersConfig, load_config
from lexigram_ray.ingestion.tables import table_of
from lexigram_ray.jobs.embed_report import EmbedRequest
from lexigram_ray.jobs.searching import search_collection
from lexigram_ray.jobs.staged import read_staged
from lexigram_ray.jobs.store import Store
from lexigram_ray.jobs.submitting import submit_embed
from tests.finished_jobs import finish
from tests.ready_state import converted_models, state
from tests.service_site import Site, running_service

__all__ = ["converted_models", "state"]

pytestmark = pytest.mark.timeout(120)

TEXTS = [
    {"id": f"b{number}", "text": f"Berth {number} is for vessels of {number * 31} tonnes."}
    for number in range(20)
]


@pytest.fixture
def config(state: Path) -> WorkersConfig:
    return load_config(
        state_dir=state, runtime={"inline_seconds": 100_000}, service={"max_body_mb": 2}
    )


@pytest.fixture
def site(config: WorkersConfig) -> Iterator[Site]:
    with running_service(config) as running:
        yield running


def submit(site: Site, key: str | None = None, **body: Any) -> Any:
    headers = {"Idempotency-Key": key} if key is not None else {}
    return site.client.post(
        "/v1/embedding-jobs", json={"collection": "berths"} | body, headers=headers
    )


def jobs_of(config: WorkersConfig) -> list[Any]:
    with Store.open(config.paths.store_url) as store:
        return store.list_jobs(limit=1_000)[0]


@pytest.mark.parametrize("path", ["/v1/embedding-jobs", "/v1/documents"])
def test_what_is_wrong_with_the_service_s_own_model_is_no_fault_of_the_request(
    tmp_path: Path, path: str
) -> None:
    body: dict[str, Any] = {"collection": "berths", "texts": TEXTS}
    if path == "/v1/documents":
        (tmp_path / "berths.txt").write_text("Berth 7 is for tugs.")
        body = {"collection": "berths", "path": str(tmp_path / "berths.txt")}
    server = {"url": "http://user:password@127.0.0.1:9/v1"}
    config = load_config(
        state_dir=tmp_path / "state", allowed_roots=[tmp_path], embedding={"server": server}
    )
    with running_service(config) as site:
        answer = site.client.post(path, json=body)
    assert (answer.status_code, answer.json()["code"]) == (503, "config")
    assert "password@" not in answer.text


def test_texts_are_embedded_and_found_with_their_metadata(
    site: Site, config: WorkersConfig
) -> None:
    texts = [each | {"metadata": {"quay": "north", "n": [1, None]}} for each in TEXTS]
    answer = submit(site, texts=texts)
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert (job["kind"], job["status"]) == ("embed", "pending")
    finish(config, job["id"])
    (hit, *_) = search_collection(config, TEXTS[7]["text"], collection="berths").hits
    assert (hit.id, hit.document_id, hit.text) == ("b7", "b7", TEXTS[7]["text"])
    assert hit.to_dict()["metadata"] == {"quay": "north", "n": [1, None]}


def test_texts_are_staged_like_those_of_an_arrow_table(site: Site, config: WorkersConfig) -> None:
    submit(site, texts=[each | {"metadata": {"quay": "n"}} for each in TEXTS])
    (rows,) = [read_staged(path) for path in config.paths.staged.glob("*.arrow")]
    table = pa.table(
        {
            "id": [each["id"] for each in TEXTS],
            "text": [each["text"] for each in TEXTS],
            "quay": ["n"] * len(TEXTS),
        }
    )
    other = load_config(state_dir=config.state_dir, data_uri=str(config.state_dir / "other"))
    submit_embed(other, EmbedRequest(table=table_of(table, source="http"), collection="berths"))
    (staged,) = [read_staged(path) for path in other.paths.staged.glob("*.arrow")]
    assert rows.equals(staged)


def test_chunks_are_texts_under_another_name(site: Site, config: WorkersConfig) -> None:
    by_texts, by_chunks = submit(site, texts=TEXTS), submit(site, chunks=TEXTS)
    assert by_texts.json()["id"] == by_chunks.json()["id"]
    assert len(jobs_of(config)) == 1


def test_a_key_is_one_job_and_its_texts_outlive_the_service(config: WorkersConfig) -> None:
    with running_service(config) as site:
        first = submit(site, "k", texts=TEXTS)
    with running_service(config) as site:
        again = submit(site, "k", texts=TEXTS)
        other = submit(site, "k", texts=TEXTS[1:])
    assert again.json()["id"] == first.json()["id"]
    assert again.headers["idempotent-replayed"] == "true"
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    ended = finish(config, first.json()["id"])
    assert ended[first.json()["id"]].status.value == "completed"


def test_many_at_once_are_each_in_the_store_once(site: Site, config: WorkersConfig) -> None:
    def one(number: int) -> str:
        text = {"id": f"{number % 40}", "text": f"text {number % 40}"}
        answer = submit(site, f"key-{number % 40}", texts=[text])
        assert answer.status_code == 202, answer.text
        return answer.json()["id"]

    with ThreadPoolExecutor(16) as pool:
        ids = list(pool.map(one, range(120)))
    assert set(ids) == {job.id for job in jobs_of(config)}
    assert len(set(ids)) == 40
    assert [ids[:40], ids[40:80], ids[80:]] == [ids[:40]] * 3


def test_a_text_that_cannot_be_embedded_fails_alone(site: Site, config: WorkersConfig) -> None:
    bad = [{"id": "b1", "text": "the id of another"}, {"id": "blank", "text": " "}]
    job_id = submit(site, texts=[*TEXTS, *bad]).json()["id"]
    job = finish(config, job_id)[job_id]
    assert job.status.value == "completed"
    assert job.summary["texts"]["failed"] == 2


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"texts": []},
        {"texts": TEXTS, "chunks": TEXTS},
        {"texts": TEXTS, "unknown": 1},
        {"texts": [{"id": "a"}]},
        {"texts": [{"text": "a"}]},
        {"texts": [{"id": 1, "text": "a"}]},
        {"texts": [{"id": "", "text": "a"}]},
        {"texts": [{"id": "a\0", "text": "a"}]},
        {"texts": [{"id": "a", "text": ""}]},
        {"texts": [{"id": "a", "text": "a", "metadata": None}]},
        {"texts": [{"id": "a", "text": "a", "title": "a"}]},
        {"texts": ["a"]},
        {"texts": "a"},
        {"texts": [{"id": "a", "text": "a"}] * 10_001},
        {"collection": "a b", "texts": TEXTS},
    ],
)
def test_what_does_not_fit_is_refused_and_leaves_nothing(
    site: Site, config: WorkersConfig, body: dict[str, Any]
) -> None:
    answer = submit(site, **body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert jobs_of(config) == []
    assert not config.paths.staged.exists()


def test_metadata_that_nests_too_deep_is_refused(site: Site) -> None:
    deep = '{"x":' * 5_000 + "1" + "}" * 5_000
    body = f'{{"collection": "a", "texts": [{{"id": "a", "text": "a", "metadata": {deep}}}]}}'
    headers = {"Content-Type": "application/json"}
    answer = site.client.post("/v1/embedding-jobs", content=body, headers=headers)
    assert answer.status_code == 422


def test_other_bodies_are_refused(site: Site) -> None:
    too_large = {"id": "a", "text": "x" * 900_000}
    assert submit(site, texts=[too_large] * 3).status_code == 413
    answer = site.client.post(
        "/v1/embedding-jobs", content=b"id,text", headers={"Content-Type": "text/csv"}
    )
    assert answer.status_code == 415
    assert answer.headers["accept"] == "application/json"


def test_a_collection_made_otherwise_is_refused(site: Site, config: WorkersConfig) -> None:
    finish(config, submit(site, texts=TEXTS).json()["id"])
    other = load_config(state_dir=config.state_dir, embedding={"dimensions": 128})
    with running_service(other) as second:
        answer = submit(second, texts=TEXTS)
    assert (answer.status_code, answer.json()["code"]) == (409, "collection_mismatch")
