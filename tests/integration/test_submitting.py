"""Jobs that are recorded by one process and worked on by another: real model, store and Lance."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lexigram_ray.core.config import WorkersConfig, load_config
from lexigram_ray.core.errors import (
    DiskFullError,
    LeaseLostError,
    StoreUnreachableError,
    UsageError,
)
from lexigram_ray.core.types import FailureCategory, JobStatus
from lexigram_ray.embedding.cached import CachedEmbedder
from lexigram_ray.ingestion.tables import open_table, table_of
from lexigram_ray.jobs import embed as embed_job
from lexigram_ray.jobs import staged_files, submitting, text_commit
from lexigram_ray.jobs.claiming import EndedElsewhereError
from lexigram_ray.jobs.embed_report import EmbedProgress, EmbedReport, EmbedRequest
from lexigram_ray.jobs.embed_run import EmbedInterrupted
from lexigram_ray.jobs.records import ERROR, INTERRUPTED, Attempt, Claim, Job, Owner
from lexigram_ray.jobs.report import IngestReport, IngestRequest, Progress
from lexigram_ray.jobs.staged_files import discard_abandoned
from lexigram_ray.jobs.store import Store
from lexigram_ray.jobs.submitting import SubmitOptions, submit_embed, submit_ingest
from lexigram_ray.runtime.embed import run_embed
from lexigram_ray.runtime.ingest import run_ingest
from lexigram_ray.runtime.resume import run_job
from tests.fakes import HashingProvider
from tests.tables import rows_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

QUICK = {"heartbeat_seconds": 0.1, "lease_seconds": 20}
TEXTS = [f"Berth {number} is for vessels of {number * 31} tonnes." for number in range(40)]


@pytest.fixture
def config(state: Path) -> WorkersConfig:
    return load_config(state_dir=state, jobs=QUICK, runtime={"inline_seconds": 100_000})


@pytest.fixture
def table(tmp_path: Path) -> Path:
    file = tmp_path / "berths.jsonl"
    rows = [{"id": f"b{number}", "text": text} for number, text in enumerate(TEXTS)]
    bad = [{"id": "b1", "text": "twice"}, {"id": "empty", "text": " "}]
    file.write_text("".join(json.dumps(row) + "\n" for row in (*rows, *bad)))
    return file


def ingestion(docs: Path, **changed: Any) -> IngestRequest:
    return IngestRequest(paths=(docs,), collection="docs", **changed)


def embedding(data: object, **changed: Any) -> EmbedRequest:
    table = open_table(data) if isinstance(data, Path) else table_of(data)
    return EmbedRequest(table=table, collection="texts", **changed)


def resumed(
    config: WorkersConfig, job: Job, on_progress: Callable[[Any], None] | None = None
) -> IngestReport | EmbedReport:
    return run_job(config, job.id, stop=threading.Event(), actor="job:x", on_progress=on_progress)


def embed_here(
    config: WorkersConfig,
    request: EmbedRequest,
    on_progress: Callable[[EmbedProgress], None] = lambda _: None,
    stop: threading.Event | None = None,
) -> EmbedReport:
    return run_embed(config, request, on_progress, stop or threading.Event())


def submit_where_nobody_checks(config: WorkersConfig, request: EmbedRequest) -> tuple[Job, bool]:
    """Leave the job of a program that died right after its submission."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(submitting, "_refuse_object", lambda _: None)
        return submit_embed(config, request)


def job_now(config: WorkersConfig, job_id: str) -> Job:
    with Store.open(config.paths.store_url) as store:
        job = store.get(job_id)
    assert job is not None
    return job


def last_attempt(config: WorkersConfig, job_id: str) -> Attempt:
    with Store.open(config.paths.store_url) as store:
        return store.attempts_of(job_id)[-1]


def staged_of(config: WorkersConfig) -> list[str]:
    return sorted(path.suffix for path in config.paths.staged.iterdir())


def test_a_submitted_ingestion_is_done_later_from_another_working_directory(
    config: WorkersConfig, docs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(docs.parent)
    job, created = submit_ingest(config, ingestion(Path(docs.name)))
    again, made_again = submit_ingest(config, ingestion(docs, prune=True))
    assert (created, made_again, again.id) == (True, False, job.id)
    assert not config.paths.lancedb.exists()

    monkeypatch.chdir("/")
    told: list[Progress] = []
    report = resumed(config, job, told.append)

    assert isinstance(report, IngestReport)
    assert (report.job_id, report.status, report.documents.ingested) == (
        job.id,
        JobStatus.COMPLETED,
        5,
    )
    assert {row["job_id"] for row in rows_of(config.state_dir, "docs")} == {job.id}
    assert told
    assert job_now(config, job.id).status is JobStatus.COMPLETED
    assert last_attempt(config, job.id).actor == "job:x"


def test_the_runner_works_with_what_was_asked_at_submission(
    config: WorkersConfig, docs: Path
) -> None:
    resumed(config, submit_ingest(config, ingestion(docs))[0])
    (docs / "bees.html").unlink()
    asked = config.model_copy(
        update={"chunking": config.chunking.model_copy(update={"strategy": "characters"})}
    )
    job, _ = submit_ingest(config, ingestion(docs, prune=True))
    with pytest.raises(UsageError, match="chunker"):
        submit_ingest(asked, ingestion(docs))
    other, _ = submit_ingest(asked, IngestRequest(paths=(docs,), collection="characters"))

    report = resumed(config, job)
    assert isinstance(report, IngestReport)
    assert report.documents.removed == 1
    assert resumed(config, other).status is JobStatus.COMPLETED


def test_a_submitted_table_needs_its_file_no_more(config: WorkersConfig, table: Path) -> None:
    job, created = submit_embed(config, embedding(table))
    assert staged_of(config) == [".arrow", ".json"]
    table.unlink()

    report = resumed(config, job)

    assert created
    assert isinstance(report, EmbedReport)
    assert (report.texts.read, report.texts.embedded, report.texts.failed) == (42, 40, 2)
    assert {problem.code for problem in report.problems} == {"repeated_id", "empty_text"}
    assert [row["text"] for row in rows_of(config.state_dir, "texts")] == sorted(
        TEXTS, key=lambda text: f"b{TEXTS.index(text)}"
    )
    assert staged_of(config) == []


def test_texts_without_a_file_are_done_by_whoever_has_the_job(config: WorkersConfig) -> None:
    job, _ = submit_embed(config, embedding(TEXTS))
    again, created = submit_embed(config, embedding(TEXTS))

    assert (again.id, created) == (job.id, False)
    assert resumed(config, job).rows == len(TEXTS)


def test_a_command_that_was_interrupted_is_gone_on_with_by_its_job(
    config: WorkersConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_commit, "FIRST_COMMIT_SECONDS", 0.0)
    monkeypatch.setattr("lexigram_ray.jobs.text_tracker.TELL_EVERY_SECONDS", 0.0)
    stop = threading.Event()
    texts = [f"Rule {number} of the quay" for number in range(1_200)]

    def stop_midway(now: EmbedProgress) -> None:
        if now.texts_done:
            stop.set()

    with pytest.raises(EmbedInterrupted) as interrupted:
        embed_here(config, embedding(texts), stop_midway, stop)
    job = job_now(config, interrupted.value.job_id)
    assert job.status is JobStatus.PENDING
    assert last_attempt(config, job.id).outcome == INTERRUPTED
    monkeypatch.setattr("lexigram_ray.jobs.text_tracker.TELL_EVERY_SECONDS", 0.2)

    report = resumed(config, job)

    assert isinstance(report, EmbedReport)
    assert (report.job_id, report.rows, report.texts.read) == (job.id, 1_200, 1_200)


def test_a_command_takes_the_job_that_was_submitted(config: WorkersConfig, table: Path) -> None:
    job, _ = submit_embed(config, embedding(table))
    report = embed_here(config, embedding(table))

    assert (report.job_id, report.adopted, report.rows) == (job.id, True, 40)
    with pytest.raises(LeaseLostError, match="final"):
        resumed(config, job)


def test_a_command_without_prune_says_that_the_job_was_submitted_with_it(
    config: WorkersConfig, docs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    job, _ = submit_ingest(config, ingestion(docs, prune=True))
    report = run_ingest(config, ingestion(docs), lambda _: None, threading.Event())

    assert report.job_id == job.id
    assert f"job {job.id} was submitted with --prune, and is now done without" in caplog.messages


def test_rows_that_were_cleared_away_are_read_again_unless_the_table_has_changed(
    config: WorkersConfig, table: Path
) -> None:
    job, _ = submit_embed(config, embedding(table))
    for path in config.paths.staged.iterdir():
        path.unlink()
    good = table.read_text()
    table.write_text(good.replace("tonnes", "tons"))
    with pytest.raises(UsageError, match="has changed since"):
        resumed(config, job)
    table.write_text(good)

    assert resumed(config, job).rows == 40


def test_a_path_that_is_gone_is_named(config: WorkersConfig, docs: Path) -> None:
    job, _ = submit_ingest(config, ingestion(docs))
    docs.rename(docs.with_name("elsewhere"))

    with pytest.raises(UsageError, match=str(docs)):
        resumed(config, job)
    assert job_now(config, job.id).status is JobStatus.PENDING


def test_a_providers_object_is_not_resumed_by_others(config: WorkersConfig) -> None:
    request = embedding(TEXTS, provider=HashingProvider())
    with pytest.raises(UsageError, match=r"fake/hashing.*cannot make the vectors"):
        submit_embed(config, request)
    job, _ = submit_where_nobody_checks(config, request)

    with pytest.raises(UsageError, match="fake/hashing"):
        resumed(config, job)
    report = embed_here(config, request)
    assert report.job_id == job.id


def test_a_job_that_cannot_begin_has_an_attempt_that_says_why(
    config: WorkersConfig, docs: Path
) -> None:
    job, _ = submit_ingest(config, ingestion(docs))
    with Store.open(config.paths.store_url) as store:
        store.claim(job.id, replace(Owner.current(), pid=2**22 + 1), 3600)
    shutil.rmtree(docs)

    for tries in (1, 2):
        with pytest.raises(UsageError, match=str(docs)):
            resumed(config, job)
        with Store.open(config.paths.store_url) as store:
            assert store.errors_in_a_row(job.id) == tries

    # With a dead owner, it stood as running for ever, and nobody could give it up.
    assert job_now(config, job.id).status is JobStatus.PENDING
    attempt = last_attempt(config, job.id)
    assert (attempt.outcome, attempt.actor) == (ERROR, "job:x")
    assert str(docs) in str(attempt.error)


def test_rows_that_cannot_be_cleared_away_fail_no_job(
    config: WorkersConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: object) -> None:
        raise StoreUnreachableError("the store does not answer")

    monkeypatch.setattr(embed_job, "discard", unreachable)
    report = embed_here(config, embedding(TEXTS))

    assert (report.status, report.rows) == (JobStatus.COMPLETED, len(TEXTS))


def test_a_job_that_another_process_has_is_left_to_it(config: WorkersConfig, docs: Path) -> None:
    job, _ = submit_ingest(config, ingestion(docs))
    with Store.open(config.paths.store_url) as store:
        claim = store.claim(job.id, Owner.current(), 20)
        assert isinstance(claim, Claim)

    with pytest.raises(LeaseLostError, match=f"process {os.getpid()} on"):
        resumed(config, job)


def test_a_wrong_request_is_refused_before_anything_is_recorded(
    config: WorkersConfig, docs: Path, table: Path
) -> None:
    with pytest.raises(UsageError, match="no such file"):
        submit_ingest(config, ingestion(docs / "gone"))
    with pytest.raises(UsageError):
        submit_embed(config, EmbedRequest(table=open_table(table), collection="no/name"))
    submit_ingest(config, ingestion(docs), options=SubmitOptions(unique_key="may"))
    with pytest.raises(UsageError, match="unique key 'may'"):
        submit_ingest(config, ingestion(docs.parent), options=SubmitOptions(unique_key="may"))

    with Store.open(config.paths.store_url) as store:
        assert len(store.list_jobs()[0]) == 1


def test_reading_that_is_stopped_records_nothing(config: WorkersConfig) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(EmbedInterrupted, match="before anything was submitted"):
        submit_embed(config, embedding(TEXTS), stop=stop)
    assert staged_of(config) == []


def test_rows_of_waiting_jobs_outlive_the_end_of_others(
    config: WorkersConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staged_files, "ABANDONED_AFTER_SECONDS", -1.0)
    kept = [submit_embed(config, embedding([f"text {number}"]))[0] for number in range(3)]
    abandoned = config.paths.staged / f"{'0' * 32}.json"
    abandoned.touch()

    embed_here(config, embedding(["something else"]))

    left = {path.stem for path in config.paths.staged.iterdir()}
    assert left == {str(job.spec["rows"]) for job in kept}


def test_what_killed_jobs_have_left_is_looked_for_now_and_then(
    config: WorkersConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staged_files, "ABANDONED_AFTER_SECONDS", -1.0)
    embed_here(config, embedding(["text 1"]))
    abandoned = config.paths.staged / f"{'0' * 32}.json"
    abandoned.touch()

    embed_here(config, embedding(["text 2"]))
    assert list(config.paths.staged.iterdir()) == [abandoned]
    monkeypatch.setattr(staged_files, "LOOK_AGAIN_SECONDS", 0.0)
    embed_here(config, embedding(["text 3"]))
    assert list(config.paths.staged.iterdir()) == []


def test_rows_that_another_store_has_staged_in_the_same_folder_stay_until_it_is_done(
    config: WorkersConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staged_files, "ABANDONED_AFTER_SECONDS", -1.0)
    theirs = config.model_copy(update={"store_url": f"sqlite:///{tmp_path / 'theirs.db'}"})
    both, _ = submit_embed(theirs, embedding(["text 1"]))
    kept, _ = submit_embed(theirs, embedding(["text 2"]))
    job, _ = submit_embed(config, embedding(["text 1"]))
    assert job.spec["rows"] == both.spec["rows"]

    resumed(config, job)
    embed_here(config, embedding(["something else"]))
    with Store.open(config.paths.store_url) as store:
        abandoned = discard_abandoned(store, config.paths.staged, Owner.current())

    assert abandoned == (0, 0)
    left = {path.stem for path in config.paths.staged.iterdir()}
    assert left == {str(each.spec["rows"]) for each in (both, kept)}
    resumed(theirs, both)
    assert {path.stem for path in config.paths.staged.iterdir()} == {str(kept.spec["rows"])}


def test_rows_that_are_cleared_away_between_reading_and_recording_are_read_again(
    config: WorkersConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def record_after_a_clearing(*args: Any, **keywords: Any) -> tuple[Job, bool]:
        for path in config.paths.staged.iterdir():
            path.unlink()
        return record(*args, **keywords)

    record = submitting.record_embed
    monkeypatch.setattr(submitting, "record_embed", record_after_a_clearing)
    job, _ = submit_embed(config, embedding(TEXTS))

    assert staged_of(config) == [".arrow", ".json"]
    assert resumed(config, job).rows == len(TEXTS)


def test_two_jobs_over_the_same_rows_share_them_to_the_last(config: WorkersConfig) -> None:
    first, _ = submit_embed(config, embedding(TEXTS))
    other = EmbedRequest(table=table_of(TEXTS), collection="others")
    second, _ = submit_embed(config, other)

    assert resumed(config, first).rows == len(TEXTS)
    assert staged_of(config) == [".arrow", ".json"]
    assert resumed(config, second).rows == len(TEXTS)
    assert staged_of(config) == []


def test_an_error_stands_in_the_attempt_with_its_category_and_no_secret(
    config: WorkersConfig, docs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise DiskFullError("no space left for https://lexi:hunter2@vectors.example/v1")

    monkeypatch.setattr(CachedEmbedder, "embed", full)
    job, _ = submit_ingest(config, ingestion(docs))
    with pytest.raises(DiskFullError):
        resumed(config, job)

    attempt = last_attempt(config, job.id)
    assert (attempt.outcome, attempt.category) == (ERROR, FailureCategory.TRANSIENT)
    assert attempt.error == "DiskFullError: no space left for https://***@vectors.example/v1"
    assert attempt.traceback is not None
    assert "to_the_end" in attempt.traceback
    assert "hunter2" not in attempt.traceback
    assert job_now(config, job.id).status is JobStatus.PENDING
    monkeypatch.undo()
    assert resumed(config, job).status is JobStatus.COMPLETED


def test_a_job_that_is_cancelled_while_a_command_runs_it_says_so(
    config: WorkersConfig, docs: Path
) -> None:
    def cancel_once(now: Progress) -> None:
        if now.documents_total and not cancelled:
            with Store.open(config.paths.store_url) as store:
                cancelled.append(store.cancel(now.job_id, Owner.current(), turn_seconds=5))
            time.sleep(0.4)  # A beat finds it.

    cancelled: list[Job] = []
    with pytest.raises(EndedElsewhereError) as ended:
        run_ingest(config, ingestion(docs), cancel_once, threading.Event())

    (job,) = cancelled
    assert (ended.value.code, ended.value.exit_code) == ("cancelled", 1)
    assert f"job {job.id} was cancelled" in str(ended.value)
    report = IngestReport.of_job(job_now(config, job.id))
    assert (report.status, report.documents.found) == (JobStatus.CANCELLED, 0)
    assert report.to_dict()["error"] == {
        "code": "cancelled",
        "message": f"job {job.id} was cancelled",
    }


def test_who_waits_for_a_job_that_is_cancelled_is_told(config: WorkersConfig) -> None:
    job, _ = submit_embed(config, embedding(TEXTS))
    with Store.open(config.paths.store_url) as store:
        store.claim(job.id, Owner.current(), 20)

    def cancel_while_waiting(now: EmbedProgress) -> None:
        if now.phase == "waiting":
            with Store.open(config.paths.store_url) as store:
                store.cancel(job.id, Owner.current(), turn_seconds=5)

    report = embed_here(config, embedding(TEXTS), cancel_while_waiting)

    assert (report.job_id, report.status) == (job.id, JobStatus.CANCELLED)
    assert report.error == f"job {job.id} was cancelled"
