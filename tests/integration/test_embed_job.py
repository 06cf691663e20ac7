"""Embedding jobs from a table to a collection, in this process: real store, staging and Lance."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import lance
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from lexigram_ray.core.config import WorkersConfig, load_config
from lexigram_ray.core.errors import (
    CollectionMismatchError,
    LeaseLostError,
    TextsRefusedError,
    UsageError,
)
from lexigram_ray.core.types import JobStatus
from lexigram_ray.embedding.adapters import as_provider
from lexigram_ray.ingestion.tables import open_table, table_of
from lexigram_ray.jobs import text_commit
from lexigram_ray.jobs.embed import EmbedInterrupted
from lexigram_ray.jobs.embed_report import EmbedProgress, EmbedReport, EmbedRequest
from lexigram_ray.jobs.records import Owner
from lexigram_ray.jobs.searching import search_collection
from lexigram_ray.jobs.store import Store
from lexigram_ray.runtime.embed import run_embed
from tests.fakes import HashingProvider
from tests.tables import rows_of


@pytest.fixture
def config(tmp_path: Path) -> WorkersConfig:
    return load_config(state_dir=tmp_path / "state")


def _records(count: int, version: str = "first") -> list[dict[str, object]]:
    return [
        {"id": f"n{number:05}", "text": f"{version} text of {number}", "kind": number % 3}
        for number in range(count)
    ]


def _embed(
    config: WorkersConfig,
    data: object,
    provider: HashingProvider | None = None,
    *,
    stop: threading.Event | None = None,
    on_progress: object = None,
) -> EmbedReport:
    request = EmbedRequest(
        table=table_of(data, source="records"),
        collection="texts",
        provider=provider or HashingProvider(),
    )
    tell = on_progress if callable(on_progress) else lambda _: None
    return run_embed(config, request, tell, stop or threading.Event())


def test_every_row_of_a_file_is_in_the_collection_under_its_own_id(
    config: WorkersConfig, tmp_path: Path
) -> None:
    file = tmp_path / "orders.parquet"
    pq.write_table(pa.Table.from_pylist(_records(1_300)), file)
    provider = HashingProvider()
    request = EmbedRequest(
        table=open_table(file, id_column="id"), collection="texts", provider=provider
    )
    report = run_embed(config, request, lambda _: None, threading.Event())

    assert report.status is JobStatus.COMPLETED
    counts = report.texts
    assert (counts.read, counts.embedded, counts.cached, counts.failed) == (1_300, 1_300, 0, 0)
    rows = rows_of(config.state_dir, "texts")
    assert [row["id"] for row in rows] == [f"n{number:05}" for number in range(1_300)]
    first = rows[0]
    assert first["document_id"] == first["id"]
    assert (first["text"], first["char_start"], first["char_end"]) == ("first text of 0", 0, 15)
    assert json.loads(first["metadata"]) == {"kind": 0}
    assert first["source"] == str(file)
    expected = provider.embed_texts(["first text of 7"])[0]
    assert np.allclose(rows[7]["vector"], expected, atol=1e-6)


def test_a_second_run_embeds_and_writes_nothing(config: WorkersConfig) -> None:
    _embed(config, _records(600))
    version = _version(config)
    again = HashingProvider()
    report = _embed(config, _records(600), again)
    assert again.calls == 0
    assert (report.texts.cached, report.unchanged, report.rows) == (600, 600, 600)
    assert _version(config) == version


def test_the_same_texts_in_another_collection_come_from_the_cache(config: WorkersConfig) -> None:
    _embed(config, _records(600))
    again = HashingProvider()
    request = EmbedRequest(
        table=table_of(_records(600), source="records"), collection="other", provider=again
    )
    report = run_embed(config, request, lambda _: None, threading.Event())
    assert again.calls == 0
    assert (report.texts.cached, report.unchanged, report.rows) == (600, 0, 600)


def test_only_changed_rows_are_computed_again_and_no_row_stands_twice(
    config: WorkersConfig,
) -> None:
    _embed(config, _records(600))
    changed = _records(600)
    changed[5]["text"] = "another text"
    provider = HashingProvider()
    report = _embed(config, changed, provider)
    assert provider.texts_embedded == 1
    assert (report.texts.embedded, report.texts.cached, report.rows) == (1, 599, 600)
    assert rows_of(config.state_dir, "texts")[5]["text"] == "another text"


def test_bad_rows_are_records_of_their_own_and_the_others_are_embedded(
    config: WorkersConfig,
) -> None:
    records = _records(10)
    records[2]["text"] = None
    records[3]["text"] = "   "
    records[6]["id"] = "n00001"
    report = _embed(config, records)
    assert report.status is JobStatus.COMPLETED
    assert (report.texts.read, report.texts.embedded, report.texts.failed) == (10, 7, 3)
    assert report.rows == 7
    assert {problem.code for problem in report.problems} >= {"empty_text", "repeated_id"}
    assert any("row 7" in problem.source for problem in report.problems)
    again = _embed(config, records)
    assert (again.texts.cached, again.texts.failed) == (7, 3)


class _RefusingProvider(HashingProvider):
    def __reduce__(self) -> tuple[object, ...]:
        return _RefusingProvider, (self.spec.dimension,)

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = super().embed_texts(texts)
        bad = {place: "it is not finite" for place, text in enumerate(texts) if " of 3" in text}
        if bad:
            raise TextsRefusedError(bad, vectors)
        return vectors


def test_a_text_that_the_model_refuses_costs_no_other_text(config: WorkersConfig) -> None:
    report = _embed(config, _records(20), _RefusingProvider())
    assert (report.texts.embedded, report.texts.failed, report.rows) == (19, 1, 19)
    assert [problem.code for problem in report.problems] == ["text_refused"]
    assert "n00003" in report.problems[0].source
    again = _embed(config, _records(20), _RefusingProvider())
    assert (again.texts.cached, again.texts.failed, again.rows) == (19, 1, 19)


def test_an_interrupted_job_is_gone_on_with_and_nothing_is_done_twice(
    config: WorkersConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_commit, "FIRST_COMMIT_SECONDS", 0.0)
    stop = threading.Event()

    def stop_midway(progress: EmbedProgress) -> None:
        if progress.texts_done >= 1_024:
            stop.set()

    monkeypatch.setattr("lexigram_ray.jobs.text_tracker.TELL_EVERY_SECONDS", 0.0)
    with pytest.raises(EmbedInterrupted) as interrupted:
        _embed(config, _records(4_000), stop=stop, on_progress=stop_midway)
    assert interrupted.value.report is not None
    report = _embed(config, _records(4_000))
    assert report.adopted
    assert report.job_id == interrupted.value.job_id
    assert (report.texts.read, report.rows) == (4_000, 4_000)
    assert report.texts.embedded + report.texts.cached == 4_000


def test_two_jobs_with_the_same_ids_at_once_leave_each_row_whole_and_once(
    config: WorkersConfig,
) -> None:
    reports: dict[str, EmbedReport] = {}

    def work(version: str) -> None:
        reports[version] = _embed(config, _records(2_000, version))

    threads = [threading.Thread(target=work, args=(version,)) for version in ("first", "second")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert {report.status for report in reports.values()} == {JobStatus.COMPLETED}
    rows = rows_of(config.state_dir, "texts")
    assert len(rows) == len({row["id"] for row in rows}) == 2_000
    provider = HashingProvider()
    vectors = provider.embed_texts([row["text"] for row in rows])
    assert np.allclose(np.array([row["vector"] for row in rows]), vectors, atol=1e-6)


def test_a_writer_whose_claim_was_taken_writes_nothing_more(
    config: WorkersConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = text_commit.merge_rows

    def taken_over_first(collection: object, rows: pa.Table) -> object:
        monkeypatch.setattr(text_commit, "merge_rows", original)
        merged = original(collection, rows)  # type: ignore[arg-type]
        with Store.open(config.paths.store_url) as store:
            (job,), _ = store.list_jobs(kind="embed")
            _take_over(store, job.id)
        return merged

    monkeypatch.setattr(text_commit, "merge_rows", taken_over_first)
    monkeypatch.setattr(text_commit, "FIRST_COMMIT_SECONDS", 0.0)
    with pytest.raises(LeaseLostError):
        _embed(config, _records(3_000))
    assert 0 < len(rows_of(config.state_dir, "texts")) < 3_000


def test_a_commit_whose_answer_is_lost_is_repeated_and_leaves_one_copy(
    config: WorkersConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = text_commit.merge_rows

    def lost_once(collection: object, rows: pa.Table) -> object:
        monkeypatch.setattr(text_commit, "merge_rows", original)
        original(collection, rows)  # type: ignore[arg-type]
        raise ConnectionError("the answer is lost")

    monkeypatch.setattr(text_commit, "merge_rows", lost_once)
    with pytest.raises(ConnectionError):
        _embed(config, _records(700))
    report = _embed(config, _records(700))
    assert (report.adopted, report.rows) == (True, 700)


def test_rows_that_vanish_before_the_check_fail_the_job_and_the_next_run_restores_them(
    config: WorkersConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def delete_some(*_: object, **__: object) -> None:
        _dataset(config).delete("id IN ('n00001', 'n00002')")

    with monkeypatch.context() as patch:
        patch.setattr("lexigram_ray.vectors.text_index.ensure_text_index", delete_some)
        report = _embed(config, _records(50))
    assert report.status is JobStatus.FAILED
    assert "n00001" in (report.error or "")
    again = _embed(config, _records(50))
    assert (again.status, again.rows, again.texts.embedded) == (JobStatus.COMPLETED, 50, 0)


def test_documents_and_rows_do_not_mix_in_one_collection(
    config: WorkersConfig, tmp_path: Path
) -> None:
    from tests.integration.local_ingest import ingest_here

    (tmp_path / "note.txt").write_text("The moon pulls the sea.")
    ingest_here(config, tmp_path / "note.txt", collection="texts")
    with pytest.raises(CollectionMismatchError):
        _embed(config, _records(3), HashingProvider(384))


def test_an_empty_table_makes_an_empty_collection(config: WorkersConfig) -> None:
    report = _embed(
        config, pa.table({"id": pa.array([], "string"), "text": pa.array([], "string")})
    )
    assert (report.status, report.texts.read, report.rows) == (JobStatus.COMPLETED, 0, 0)


def test_staged_rows_are_gone_when_the_job_is_done(config: WorkersConfig) -> None:
    _embed(config, _records(50))
    assert list(config.paths.staged.glob("*.arrow")) == []


def _dataset(config: WorkersConfig) -> lance.LanceDataset:
    return lance.dataset(str(config.paths.lancedb / "texts.lance"))


def _version(config: WorkersConfig) -> int:
    return _dataset(config).version


def _take_over(store: Store, job_id: str) -> None:
    """Claim a job whose owner's lease has run out, as another machine would."""
    from sqlalchemy import text

    with store._database.write() as connection:
        connection.execute(text("UPDATE jobs SET lease_until = 0"))
    store.claim(job_id, Owner.current(), 60)


class _FailingProvider(HashingProvider):
    """Raises on one text, whatever else is in the batch; on all of them when it is broken."""

    def __init__(self, dimension: int = 32, *, is_broken: bool = False) -> None:
        super().__init__(dimension)
        self._is_broken = is_broken

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if self._is_broken or any(text.endswith(" of 4") for text in texts):
            raise RuntimeError("no vector today")
        return super().embed_texts(texts)


def test_a_text_that_a_provider_raises_on_fails_alone(config: WorkersConfig) -> None:
    report = _embed(config, _records(20), _FailingProvider())
    assert (report.texts.embedded, report.texts.failed, report.rows) == (19, 1, 19)
    assert "no vector today" in report.problems[0].reason


def test_a_provider_that_fails_on_every_text_stops_the_job_and_blames_no_row(
    config: WorkersConfig,
) -> None:
    with pytest.raises(RuntimeError, match="no vector today"):
        _embed(config, _records(20), _FailingProvider(is_broken=True))
    report = _embed(config, _records(20))
    assert (report.adopted, report.texts.failed, report.rows) == (True, 0, 20)


def test_a_passage_whose_page_or_headings_changed_is_written_anew(config: WorkersConfig) -> None:
    passage = {"id": "p", "document_id": "d1", "text": "Tides.", "page": 1, "headings": ["Sea"]}
    _embed(config, [SimpleNamespace(**passage)])
    report = _embed(config, [SimpleNamespace(**passage | {"page": 7, "headings": ["Moon"]})])
    assert (report.unchanged, report.texts.cached) == (0, 1)
    (row,) = rows_of(config.state_dir, "texts")
    assert (row["page"], row["headings"]) == (7, ["Moon"])


def test_a_write_that_was_undone_before_the_check_fails_the_job(
    config: WorkersConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    _embed(config, _records(50))
    version = _version(config)

    def restore(*_: object, **__: object) -> None:
        _dataset(config).checkout_version(version).restore()

    monkeypatch.setattr("lexigram_ray.vectors.text_index.ensure_text_index", restore)
    report = _embed(config, _records(50, "second"))
    assert report.status is JobStatus.FAILED
    assert "n00000" in (report.error or "")


def test_a_collection_that_goes_while_its_job_is_interrupted_is_filled_anew(
    config: WorkersConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_commit, "FIRST_COMMIT_SECONDS", 0.0)
    monkeypatch.setattr("lexigram_ray.jobs.text_tracker.TELL_EVERY_SECONDS", 0.0)

    def interrupt_at(texts: int) -> None:
        stop = threading.Event()

        def stop_midway(progress: EmbedProgress) -> None:
            if progress.phase == "embedding" and progress.texts_done >= texts:
                stop.set()

        with pytest.raises(EmbedInterrupted):
            _embed(config, _records(3_000), stop=stop, on_progress=stop_midway)

    interrupt_at(1_500)
    shutil.rmtree(config.paths.lancedb / "texts.lance")
    interrupt_at(500)
    report = _embed(config, _records(3_000))
    assert (report.status, report.rows) == (JobStatus.COMPLETED, 3_000)


def test_a_compaction_beside_a_commit_heals_and_removes_nothing(
    config: WorkersConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    for start in range(0, 90, 30):
        _embed(config, _records(90)[start : start + 30])

    def compacted_meanwhile(collection: object, rows: pa.Table) -> object:
        _dataset(config).optimize.compact_files()
        return merge(collection, rows)  # type: ignore[arg-type]

    merge = text_commit.merge_rows
    monkeypatch.setattr(text_commit, "merge_rows", compacted_meanwhile)
    monkeypatch.setattr(text_commit, "remove_rows", _must_not_be_called)
    report = _embed(config, _records(150)[90:])
    assert (report.status, report.rows) == (JobStatus.COMPLETED, 150)


def test_texts_that_no_cache_holds_decide_where_a_job_runs(config: WorkersConfig) -> None:
    here = load_config(state_dir=config.state_dir, runtime={"inline_seconds": 1e6})
    _embed(here, [{"id": str(n), "text": f"{n} " + "word " * 200} for n in range(2_000)])
    changed = [{"id": str(n), "text": f"{n} " + "word " * 200} for n in range(2_000)]
    changed[7]["text"] = "another"
    report = _embed(config, changed)
    assert report.place == "this process"
    assert report.texts.embedded == 1


def test_a_wrong_column_lists_some_of_its_failures_and_counts_the_others(
    config: WorkersConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lexigram_ray.jobs.embed_run.MOST_PROBLEMS", 5)
    report = _embed(config, [{"id": str(n), "text": " "} for n in range(12)])
    assert (report.texts.failed, len(report.problems)) == (12, 5)
    assert any("7 more rows" in note for note in report.notes)


def _must_not_be_called(*_: object) -> None:
    raise AssertionError("rows were removed")


def test_the_cache_of_cut_texts_is_not_asked_where_long_texts_fail(config: WorkersConfig) -> None:
    strict = load_config(state_dir=config.state_dir, embedding={"long_texts": "fail"})
    _embed(config, _records(10))
    again = HashingProvider()
    request = EmbedRequest(
        table=table_of(_records(10), source="records"), collection="strict", provider=again
    )
    report = run_embed(strict, request, lambda _: None, threading.Event())
    assert (again.texts_embedded, report.texts.cached) == (10, 0)


def test_what_stands_beyond_the_models_limit_is_no_reason_to_start_ray(
    config: WorkersConfig,
) -> None:
    report = _embed(config, [{"id": "long", "text": "word " * 400_000}])
    assert report.place == "this process"


def test_a_search_without_the_provider_says_who_made_the_collection(config: WorkersConfig) -> None:
    class Own:
        revision = "1"

        def embed(self, texts: Sequence[str]) -> list[list[float]]:
            return [[1.0, float(len(text))] for text in texts]

    _embed(config, _records(3), as_provider(Own()))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="own provider"):
        search_collection(config, "a question", collection="texts")
    assert search_collection(config, "text", collection="texts", mode="text").hits
