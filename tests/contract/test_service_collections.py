"""Collections over real HTTP: shown, searched as on the command line, dropped; and the figures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from lexigram_ray.cli.app import run
from lexigram_ray.core.config import load_config
from lexigram_ray.jobs.store import Store
from lexigram_ray.service import figures
from lexigram_ray.service.models import collections as models
from lexigram_ray.vectors.collections import Collections
from lexigram_ray.vectors.writing import replace_documents
from tests.collections_data import SETTINGS, documents
from tests.documents import PAGES
from tests.job_data import submitted
from tests.ready_state import converted_models, with_model
from tests.service_answers import on_command_line, problem, shown
from tests.service_site import Site, running_service

__all__ = ["converted_models"]

PATH = "/v1/collections"
QUERY = PAGES[1].split(".")[0]
MODES = ("hybrid", "vector", "text")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, converted_models: Path) -> Iterator[Site]:
    """A service with one collection of real passages and real vectors."""
    folder = tmp_path_factory.mktemp("service")
    state, docs = with_model(folder / "state", converted_models), folder / "docs"
    docs.mkdir()
    for number, page in enumerate(PAGES):
        (docs / f"{number}.txt").write_text(page)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run(["ingest", str(docs), "-c", "harbour", "--state", str(state)]) == 0
        with running_service(load_config(state_dir=state)) as running:
            yield running


def small_collection(site: Site, name: str, rows: int = 3) -> Collections:
    """Make a collection of another model: it can be searched by words."""
    collections = site.context.collections
    made = collections.create(name, SETTINGS, site.context.store.store_id)
    replace_documents(made, documents({"a": rows}), delete_for=[])
    return collections


def search(site: Site, name: str = "harbour", **asked: object) -> dict[str, Any]:
    given = {"query": QUERY} | asked
    return shown(site.client.post(f"{PATH}/{name}/search", json=given), models.Found)


def without_time(found: dict[str, Any]) -> dict[str, Any]:
    hits = [each | {"score": pytest.approx(each["score"])} for each in found["hits"]]
    return found | {"took_ms": None, "hits": hits}


def test_collections_are_listed_and_shown_as_on_the_command_line(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = shown(site.client.get(PATH), models.CollectionList)
    one = shown(site.client.get(f"{PATH}/harbour"), models.Collection)

    assert listed == on_command_line(capsys, site.state, "collections", "list")
    assert one == on_command_line(capsys, site.state, "collections", "show", "harbour")
    assert one["documents"] == len(PAGES)


@pytest.mark.parametrize("mode", MODES)
def test_a_search_finds_what_the_command_line_finds(
    site: Site, mode: str, capsys: pytest.CaptureFixture[str]
) -> None:
    where = "source LIKE '%.txt' AND chunk_index >= 0"
    found = search(site, mode=mode, limit=2, where=where)
    said = on_command_line(
        capsys,
        site.state,
        *("search", QUERY, "-c", "harbour", "--mode", mode, "--limit", "2", "--where", where),
    )

    assert without_time(found) == without_time(said)
    assert found["hits"][0]["source"].endswith("1.txt")


def test_a_search_sees_what_was_written_a_moment_ago(site: Site) -> None:
    collections = small_collection(site, "growing")
    first = search(site, "growing", query="passage", mode="text")
    collection = collections.open("growing")
    replace_documents(collection, documents({"b": 2}), delete_for=[])
    second = search(site, "growing", query="passage", mode="text")
    collections.drop("growing")
    gone = site.client.post(f"{PATH}/growing/search", json={"query": "x", "mode": "text"})
    small_collection(site, "growing", rows=1)
    anew = search(site, "growing", query="passage", mode="text")
    site.client.delete(f"{PATH}/growing")

    assert [len(each["hits"]) for each in (first, second, anew)] == [3, 5, 1]
    problem(gone, 404, "collection_not_found")


@pytest.mark.parametrize(
    "where",
    [
        "page = ",
        "nothing = 1",
        "page = 1; DROP TABLE t",
        "1 = 1) OR (1 = 1",
        "text = 'open",
        "page = 1 -- all",
        "page = 1 /* all */",
        "id IN (SELECT id FROM t)",
        "length(repeat(text, 1000000000)) > 0",
        "\"repeat\"(text, 1000000000) = ''",
        "text = E'\\'' OR repeat('a', 100000000000) = '",
        "(" * 300 + "true" + ")" * 300,
        " OR ".join(["page = 1"] * 300),
        "not " * 500 + "true",
        "x" * 3000,
        "CAST(text AS INT) > 1",
        "1 / 0 = 1",
        "regexp_match(text, '(((((a{999}){999}){999}){999}') IS NOT NULL",
        "text = '\x00' AND \x00",
        "vector = 1",
    ],
)
def test_a_condition_of_a_stranger_is_refused_in_words(site: Site, where: str) -> None:
    answer = site.client.post(
        f"{PATH}/harbour/search", json={"query": QUERY, "mode": "text", "where": where}
    )

    assert answer.status_code == 422, answer.text
    assert answer.json()["code"] in ("condition_refused", "usage", "invalid_request")
    assert ".rs:" not in answer.text
    assert search(site, mode="text")["hits"]


@pytest.mark.parametrize(
    "where",
    [
        "page IS NULL AND (source LIKE '%.txt' OR title IN ('a', 'b'))",
        "lower(text) = lower(text) AND length(text) > 1",
        "NOT (chunk_index BETWEEN 5 AND 7)",
        "created_at > to_timestamp('2020-01-01T00:00:00Z')",
        "`source` = source and char_end - char_start > -1.5e3",
        "title = 'it''s' OR metadata LIKE '{%'",
        'title != "no title" AND coalesce(page, 1) = 1',
        " ",
    ],
)
def test_a_plain_condition_is_taken(site: Site, where: str) -> None:
    assert search(site, mode="text", where=where)["hits"]


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"query": ""},
        {"query": "  "},
        {"query": 1},
        {"query": "x", "limit": "5"},
        {"query": "x", "limit": 0},
        {"query": "x", "limit": 100_000},
        {"query": "x", "mode": "odd"},
        {"query": "x", "where": 1},
        {"query": "x" * 20_000},
        {"query": "x", "filter": "page = 1"},
    ],
)
def test_a_search_that_makes_no_sense_is_refused(site: Site, asked: dict[str, object]) -> None:
    problem(site.client.post(f"{PATH}/harbour/search", json=asked), 422, "invalid_request")


def test_what_is_no_unicode_is_answered_all_the_same(site: Site) -> None:
    body = b'{"query": "\\ud800 crane", "mode": "text"}'
    answer = site.client.post(
        f"{PATH}/harbour/search", content=body, headers={"Content-Type": "application/json"}
    )

    assert answer.status_code in (200, 422), answer.text


def test_a_collection_whose_model_is_not_here_is_searched_by_words_alone(site: Site) -> None:
    small_collection(site, "foreign")
    by_meaning = site.client.post(f"{PATH}/foreign/search", json={"query": "passage"})
    by_words = search(site, "foreign", query="passage", mode="text")
    site.client.delete(f"{PATH}/foreign")

    assert problem(by_meaning, 409, "collection_mismatch")["hint"]
    assert len(by_words["hits"]) == 3


@pytest.mark.parametrize("name", ["nothing", "harbor"])
def test_a_collection_that_there_is_not_is_not_found(site: Site, name: str) -> None:
    for answer in (
        site.client.get(f"{PATH}/{name}"),
        site.client.delete(f"{PATH}/{name}"),
        site.client.post(f"{PATH}/{name}/search", json={"query": "x"}),
    ):
        problem(answer, 404, "collection_not_found")


@pytest.mark.parametrize(
    "name", ["..", "%2e%2e", "a%2Fb", "-x", ".x", "a..b", "ä", "x" * 300, "%00"]
)
def test_a_name_that_no_collection_can_have_opens_nothing(site: Site, name: str) -> None:
    for method in ("GET", "DELETE"):
        assert site.client.request(method, f"{PATH}/{name}").status_code in (404, 405, 422)
    assert site.client.get(f"{PATH}/harbour").status_code == 200


def test_a_collection_is_dropped_with_what_is_known_of_it(site: Site) -> None:
    collections = small_collection(site, "old")
    uploads = site.context.config.paths.uploads / "old"
    uploads.mkdir(parents=True)
    (uploads / "handbook.txt").write_text(PAGES[0])

    dropped = shown(site.client.delete(f"{PATH}/old"), models.Dropped)

    assert dropped == {"dropped": "old", "rows": 3}
    assert not collections.exists("old")
    assert not uploads.exists()
    problem(site.client.delete(f"{PATH}/old"), 404, "collection_not_found")


def test_the_figures_are_those_of_the_store(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "FRESH_SECONDS", 0.0)
    monkeypatch.setattr(figures, "SIZES_FRESH_SECONDS", 0.0)
    store: Store = site.context.store
    submitted(store, kind="embed")

    answer = site.client.get("/metrics")
    found = {
        (sample.name, tuple(sorted(sample.labels.values()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }

    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert found["lexigram_jobs", ("embed", "pending")] == 1
    assert found["lexigram_jobs", ("completed", "ingest")] == 1
    assert found["lexigram_dead_letters", ("transient",)] == 0
    assert found["lexigram_collection_rows", ("harbour",)] >= len(PAGES)
    assert found["lexigram_documents_total", ("done", "harbour", "ingest")] == len(PAGES)
    assert found["lexigram_job_seconds_count", ("ingest",)] == 1
    assert found["lexigram_job_seconds_sum", ("ingest",)] > 0
