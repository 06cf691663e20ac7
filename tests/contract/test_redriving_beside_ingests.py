"""Retrying dead letters while a plain ingestion of the same documents waits, or runs."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

from lexigram_ray.core.config import load_config
from lexigram_ray.core.ids import source_name
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.letter_records import LetterFilter, LetterStatus
from lexigram_ray.jobs.letter_sweep import Sweeper
from lexigram_ray.jobs.records import Job
from lexigram_ray.jobs.redriving import Obstacle, redrive
from lexigram_ray.jobs.report import IngestRequest, Resumption
from lexigram_ray.jobs.requests import ingest_request_of
from lexigram_ray.jobs.retrying import retry
from lexigram_ray.jobs.store import Store
from lexigram_ray.jobs.submitting import submit_ingest
from lexigram_ray.runtime.ingest import run_ingest
from lexigram_ray.runtime.resume import run_job
from tests.contract.store_data import Clock, found
from tests.contract.test_redriving import failed_job, failure, letters_of
from tests.documents import truncated_docx
from tests.job_data import claimed, ended, ingest_spec, ingest_summary, submitted
from tests.misbehaving_server import MODEL, running

ALL = LetterFilter(statuses=tuple(LetterStatus))


def one_file(tmp_path: Path) -> Path:
    path = tmp_path / "bad.txt"
    path.touch()
    return path


def spec_of(path: Path) -> dict[str, object]:
    """What a plain ingestion of one file records: it leaves earlier failures alone."""
    return ingest_spec(path) | {"paths": [source_name(path.resolve())]}


def asks_for_failed(job: Job) -> bool:
    request = ingest_request_of(job)
    assert request is not None
    return request.retry_failed


def test_a_plain_ingestion_that_waits_is_asked_to_try_what_failed_as_well(
    store: Store, tmp_path: Path
) -> None:
    path = one_file(tmp_path)
    failed_job(store, failure(path), spec=ingest_spec(tmp_path))
    waiting = submitted(store, spec_of(path))
    assert not asks_for_failed(waiting)

    done = redrive(store, LetterFilter(), staged=tmp_path)

    assert ([job.id for job in done.jobs], done.retried, done.refused) == ([waiting.id], 1, ())
    now = found(store, waiting.id)
    assert asks_for_failed(now)
    assert now.spec_key == waiting.spec_key
    # Nothing else of it has changed.
    assert replace(now, spec=waiting.spec) == waiting
    assert submitted(store, spec_of(path)).id == waiting.id
    [letter] = letters_of(store, ALL)
    assert (letter.status, letter.retry_job_id) == (LetterStatus.RETRYING, waiting.id)


def test_letters_stay_open_while_a_plain_ingestion_of_their_document_runs(
    store: Store, tmp_path: Path
) -> None:
    path = one_file(tmp_path)
    failed_job(store, failure(path), spec=ingest_spec(tmp_path))
    running = submitted(store, spec_of(path))
    claim = claimed(store, running)

    done = redrive(store, LetterFilter(), staged=tmp_path)

    assert (done.jobs, done.retried) == ((), 0)
    assert [reason for _, reason in done.refused] == [Obstacle.OTHERS_TURN]
    assert not asks_for_failed(found(store, running.id))
    [letter] = letters_of(store, ALL)
    assert letter.status is LetterStatus.OPEN
    store.finish(claim, JobStatus.COMPLETED, summary={})
    done = redrive(store, LetterFilter(), staged=tmp_path)
    assert done.retried == 1
    assert all(map(asks_for_failed, done.jobs))


def test_the_sweeper_puts_such_letters_off_and_counts_no_retry(
    store: Store, clock: Clock, tmp_path: Path
) -> None:
    path = one_file(tmp_path)
    failed_job(store, failure(path), spec=ingest_spec(tmp_path))
    claim = claimed(store, submitted(store, spec_of(path)))
    sweeper = Sweeper(load_config(state_dir=tmp_path), store, clock, lambda: 1.0)
    sweeper.look()
    clock.advance(61)

    swept = sweeper.look()

    assert (swept.retried, swept.put_off) == (0, 1)
    assert sweeper.look_for_due().put_off == 0
    assert letters_of(store, ALL)[0].retry_count == 0
    store.finish(claim, JobStatus.COMPLETED, summary={})
    clock.advance(16)
    assert sweeper.look_for_due().retried == 1


def test_a_retry_of_a_job_says_that_a_running_one_leaves_its_failures_alone(
    store: Store, tmp_path: Path
) -> None:
    path = one_file(tmp_path)
    job = submitted(store, ingest_spec(tmp_path))
    store.dead_letters.add("ingest", "papers", job.id, [failure(path)])
    job = ended(store, job, summary=ingest_summary(failed=(path,)))
    running = submitted(store, spec_of(path))
    claim = claimed(store, running)

    [again] = retry(store, [job], failed_only=True, staged=tmp_path)

    assert (again.job.id, again.created) == (running.id, False)
    assert "leaves those that failed before alone" in again.notes[0]
    assert letters_of(store, ALL)[0].status is LetterStatus.OPEN
    store.finish(claim, JobStatus.COMPLETED, summary={})
    [again] = retry(store, [job], failed_only=True, staged=tmp_path)
    assert (again.created, again.notes) == (True, ())
    assert letters_of(store, ALL)[0].status is LetterStatus.RETRYING


def test_whoever_had_read_a_job_before_it_was_asked_for_more_does_it_all_the_same(
    tmp_path: Path,
) -> None:
    bad = tmp_path / "bad.docx"
    bad.write_bytes(truncated_docx())
    with running() as server:
        config = load_config(
            state_dir=tmp_path / "state", embedding={"model": MODEL, "server": {"url": server.url}}
        )
        request = IngestRequest(paths=(bad,), collection="docs")
        first, _ = submit_ingest(config, request)
        run_job(config, first.id, stop=threading.Event())
        waiting, _ = submit_ingest(config, request)
        with Store.open(config.paths.store_url) as store:
            assert redrive(store, LetterFilter(), staged=tmp_path).retried == 1
            seen_before = replace(request, resumes=Resumption(job=waiting))
            run_ingest(config, seen_before, lambda _: None, threading.Event())

            [letter] = letters_of(store, ALL)
    assert [attempt.job_id for attempt in letter.attempts] == [first.id, waiting.id]
