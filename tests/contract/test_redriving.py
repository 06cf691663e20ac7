"""Retrying dead letters, on every store: which jobs it makes, once each, whoever is killed."""

from __future__ import annotations

import random
import subprocess
import time
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import cast

import pytest

from lexigram_ray.core.config import load_config
from lexigram_ray.core.errors import UsageError
from lexigram_ray.core.types import FailureCategory, JobStatus
from lexigram_ray.jobs.letter_records import (
    DeadLetter,
    LetterFilter,
    LetterRetry,
    LetterStatus,
    NewFailure,
    Subject,
)
from lexigram_ray.jobs.letter_sweep import Sweeper
from lexigram_ray.jobs.records import Job
from lexigram_ray.jobs.redriving import Obstacle, Redriven, plan, redrive
from lexigram_ray.jobs.requests import ingest_request_of
from lexigram_ray.jobs.retry_policy import RetryPolicy
from lexigram_ray.jobs.retrying import retry
from lexigram_ray.jobs.store import Store
from tests.contract.store_data import NOW, Clock, child, line_from
from tests.job_data import claimed, embed_spec, ended, ingest_spec, ingest_summary, submitted

CHILD = Path(__file__).with_name("redriving_child.py")
ALL = LetterFilter()
OPEN = LetterFilter(statuses=(LetterStatus.OPEN,))
RETRYING = LetterFilter(statuses=(LetterStatus.RETRYING,))


@pytest.fixture
def real_store(store_url: str) -> Iterator[Store]:
    with Store.open(store_url) as opened:
        yield opened


def failure(origin: Path | str, **changes: object) -> NewFailure:
    given = {
        "subject": Subject.DOCUMENT,
        "subject_id": str(origin),
        "source": str(origin),
        "origin": str(origin),
        "category": FailureCategory.TRANSIENT,
        "code": "server_unavailable",
        "error": "it did not answer",
    }
    return NewFailure(**(given | changes))  # pyright: ignore[reportArgumentType]


def files(folder: Path, count: int, prefix: str = "f") -> list[Path]:
    folder.mkdir(exist_ok=True)
    made = [folder / f"{prefix}{number}.txt" for number in range(count)]
    for path in made:
        path.touch()
    return made


def failed_job(store: Store, *failures: NewFailure, spec: dict[str, object]) -> Job:
    """A job that has ended, in which these have failed."""
    kind = "embed" if "rows" in spec else "ingest"
    job = submitted(store, spec, kind=kind)
    store.dead_letters.add(kind, job.collection, job.id, failures)
    return ended(store, job)


def letters_of(store: Store, which: LetterFilter = ALL) -> list[DeadLetter]:
    return list(store.dead_letters.each(which))


def paths_of(job: Job) -> list[str]:
    request = ingest_request_of(job)
    assert request is not None
    return sorted(map(str, request.paths))


def all_jobs(store: Store, status: JobStatus | None = None) -> list[Job]:
    return store.list_jobs(status=status, limit=100_000)[0]


def redriven(store: Store, **changes: object) -> Redriven:
    return redrive(store, ALL, staged=Path("/nowhere"), **changes)  # pyright: ignore[reportArgumentType]


def test_documents_of_one_job_become_one_job_over_them(store: Store, tmp_path: Path) -> None:
    first, second = files(tmp_path / "one", 3), files(tmp_path / "two", 1)
    spec = ingest_spec(tmp_path / "one", prune=True)
    one = failed_job(store, *map(failure, first[:2]), spec=spec)
    two = failed_job(store, failure(second[0]), spec=ingest_spec(tmp_path / "two"))

    done = redriven(store)

    assert (done.retried, done.refused) == (3, ())
    by_origin = {job.retry_of: job for job in done.jobs}
    assert by_origin.keys() == {one.id, two.id}
    request = ingest_request_of(by_origin[one.id])
    assert request is not None
    assert (request.retry_failed, request.prune) == (True, False)
    assert paths_of(by_origin[one.id]) == sorted(map(str, first[:2]))
    assert {letter.status for letter in letters_of(store)} == {LetterStatus.RETRYING}
    assert {letter.retry_job_id for letter in letters_of(store)} == {job.id for job in done.jobs}
    again = redriven(store)
    assert (again.retried, len(again.jobs)) == (0, 0)
    assert {reason for _, reason in again.refused} == {Obstacle.RETRYING}


def test_so_many_documents_that_they_cannot_be_named_in_one_job_become_several(
    store: Store, tmp_path: Path
) -> None:
    folder = tmp_path / "docs"
    failed_job(store, *map(failure, files(folder, 1_001)), spec=ingest_spec(folder))

    drawn = plan(store, letters_of(store), staged=tmp_path)

    assert [len(each.letter_ids) for each in drawn.retries] == [1_000, 1]
    assert all_jobs(store, JobStatus.PENDING) == []


def test_rows_of_a_job_are_that_job_once_more(store: Store, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("text\n")
    rows = [
        failure(table, subject=Subject.ROW, subject_id=str(number), source=f"{table}, row {number}")
        for number in range(3)
    ]
    job = failed_job(store, *rows, spec=embed_spec(table))

    done = redriven(store)

    [again] = done.jobs
    assert (again.kind, again.spec, again.retry_of) == ("embed", job.spec, job.id)
    assert done.retried == 3


def test_a_job_that_failed_as_a_whole_is_done_again_as_it_was(store: Store, tmp_path: Path) -> None:
    spec = ingest_spec(*files(tmp_path, 1), prune=True)
    job = ended(store, submitted(store, spec), JobStatus.FAILED, error="no model")

    [again] = redriven(store).jobs

    assert (again.spec, again.retry_of) == (job.spec, job.id)
    ended(store, again)
    assert letters_of(store) == []
    assert store.dead_letters.counts()[LetterStatus.ADDRESSED] == 1


def test_what_cannot_be_done_again_is_refused_with_its_reason(store: Store, tmp_path: Path) -> None:
    [there] = files(tmp_path, 1)
    gone, table = tmp_path / "gone.txt", tmp_path / "gone.csv"
    no_request = {name: value for name, value in ingest_spec(there).items() if name != "request"}
    row = {"subject": Subject.ROW}
    failed_job(store, failure(gone), spec=ingest_spec(gone))
    failed_job(store, failure("1", **row), spec=embed_spec(table))
    failed_job(store, failure("2", **row), spec=embed_spec(None))
    failed_job(store, failure("3", **row), spec=embed_spec(None, provider="Mine") | {"n": 1})
    failed_job(store, failure("old"), spec=no_request)
    store.dead_letters.add("ingest", "papers", "no-such-job", [failure("strange")])
    running = submitted(store, ingest_spec(there))
    store.dead_letters.add("ingest", "papers", running.id, [failure(there)])

    done = redriven(store)

    assert (done.retried, done.jobs) == (0, ())
    assert {letter.subject_id: reason for letter, reason in done.refused} == {
        str(gone): Obstacle.FILE_GONE,
        "1": Obstacle.TABLE_GONE,
        "2": Obstacle.TEXTS_GONE,
        "3": Obstacle.OBJECT,
        "old": Obstacle.NO_REQUEST,
        "strange": Obstacle.NO_JOB,
        str(there): Obstacle.UNFINISHED,
    }
    assert {letter.status for letter in letters_of(store)} == {LetterStatus.OPEN}


def test_a_limit_retries_the_oldest_and_a_wrong_rate_nothing(
    store: Store, clock: Clock, tmp_path: Path
) -> None:
    made = files(tmp_path, 4)
    for path in made:
        failed_job(store, failure(path), spec=ingest_spec(path))
        clock.advance(1)

    with pytest.raises(UsageError, match="out of range"):
        redriven(store, per_minute=0.0)
    done = redriven(store, limit=3)

    assert sorted(path for job in done.jobs for path in paths_of(job)) == sorted(map(str, made[:3]))


def test_at_a_rate_letters_get_their_times_and_the_sweeper_keeps_them(
    store: Store, clock: Clock, tmp_path: Path
) -> None:
    made = files(tmp_path, 6)
    wrong = [failure(path, category=FailureCategory.INVALID_INPUT) for path in made]
    failed_job(store, *wrong, spec=ingest_spec(tmp_path))

    done = redriven(store, per_minute=60.0, now=NOW)

    assert (done.scheduled, done.retried, done.jobs) == (6, 0, ())
    times = sorted(letter.next_retry_at for letter in letters_of(store) if letter.next_retry_at)
    assert times == [NOW + timedelta(seconds=second) for second in range(6)]
    sweeper = Sweeper(load_config(state_dir=tmp_path), store, clock, lambda: 0.5)
    retried = []
    for _ in range(6):
        retried.append(sweeper.look_for_due().retried)
        clock.advance(1)
    assert retried == [1] * 6
    paths = [path for job in all_jobs(store, JobStatus.PENDING) for path in paths_of(job)]
    assert sorted(paths) == sorted(map(str, made))


def test_a_due_letter_whose_file_is_gone_waits_and_stands_in_nobodys_way(
    store: Store, clock: Clock, tmp_path: Path
) -> None:
    [there] = files(tmp_path, 1)
    gone = tmp_path / "gone.txt"
    failed_job(store, failure(gone), failure(there), spec=ingest_spec(tmp_path))
    sweeper = Sweeper(load_config(state_dir=tmp_path), store, clock, lambda: 1.0)
    sweeper.look()
    clock.advance(61)

    swept = sweeper.look()

    assert (swept.retried, swept.put_off) == (1, 1)
    [waiting] = letters_of(store, OPEN)
    assert (waiting.origin, waiting.retry_count) == (str(gone), 1)
    assert sweeper.look_for_due().put_off == 0
    gone.touch()
    clock.advance(3_601)
    assert sweeper.look_for_due().retried == 1


def test_closed_letters_go_in_their_time_but_not_at_once_where_a_clock_was_set_forward(
    store: Store, clock: Clock, tmp_path: Path
) -> None:
    [path] = files(tmp_path, 1)
    failed_job(store, failure(path), spec=ingest_spec(tmp_path))
    store.dead_letters.archive(LetterFilter())
    sweeper = Sweeper(load_config(state_dir=tmp_path), store, clock, lambda: 0.5)
    assert sweeper.look().expired == 0

    clock.advance(400 * 86_400)
    assert sweeper.look().expired == 0
    failed_job(store, spec=ingest_spec(tmp_path / "other"))
    clock.advance(3_600)
    assert sweeper.look().expired == 0

    clock.advance(86_400)
    assert sweeper.look().expired == 1
    assert letters_of(store, LetterFilter(statuses=tuple(LetterStatus))) == []


@pytest.mark.parametrize(("asked", "looks"), [(False, 5), (True, 5)])
def test_a_file_that_stays_gone_is_given_up_and_told_of(
    store: Store, clock: Clock, tmp_path: Path, *, asked: bool, looks: int
) -> None:
    failed_job(store, failure(tmp_path / "gone.txt"), spec=ingest_spec(tmp_path))
    [letter] = letters_of(store)
    if asked:
        store.dead_letters.schedule({letter.id: NOW}, asked=True)
    config = load_config(state_dir=tmp_path)
    sweeper = Sweeper(config, store, clock, lambda: 1.0)

    put_off = 0
    for _ in range(20):
        put_off += sweeper.look().put_off
        clock.advance(3_601)

    [letter] = letters_of(store, OPEN)
    assert (put_off, letter.retry_count, letter.next_retry_at) == (looks, 5, None)
    limits = RetryPolicy.of(config).limits
    assert [each.id for each in store.dead_letters.to_notify(limits, 10)] == [letter.id]


def test_automatic_retries_wait_for_no_plan_however_late_it_is(
    store: Store, clock: Clock, tmp_path: Path
) -> None:
    [own] = files(tmp_path, 1, "own")
    planned = files(tmp_path, 1_001)
    failed_job(store, *map(failure, planned), spec=ingest_spec(tmp_path))
    redriven(store, per_minute=60.0, now=NOW - timedelta(days=1))
    failed_job(store, failure(own), spec=ingest_spec(own))
    sweeper = Sweeper(load_config(state_dir=tmp_path), store, clock, lambda: 1.0)
    sweeper.look()
    clock.advance(61)

    sweeper.look_for_due()

    assert str(own) in {letter.origin for letter in letters_of(store, RETRYING)}


def test_jobs_retry_of_what_failed_marks_its_letters(store: Store, tmp_path: Path) -> None:
    bad, good = files(tmp_path, 2)
    job = submitted(store, ingest_spec(tmp_path))
    store.dead_letters.add("ingest", "papers", job.id, [failure(bad), failure(tmp_path / "gone")])
    summary = ingest_summary(ingested=1, failed=(bad,), skipped=(good,))
    job = ended(store, job, summary=summary)

    [again] = retry(store, [job], failed_only=True, staged=tmp_path)

    [letter] = letters_of(store, RETRYING)
    assert (letter.origin, letter.retry_job_id) == (str(bad), again.job.id)


@contextmanager
def started(command: str, *arguments: object) -> Generator[subprocess.Popen[str]]:
    with child(command, *arguments, script=CHILD) as process:
        assert line_from(process) == "ready"
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
        yield process


def assert_each_retried_once(store: Store, made: list[Path]) -> None:
    jobs = all_jobs(store, JobStatus.PENDING)
    times = Counter(path for job in jobs for path in paths_of(job))
    assert times.keys() == set(map(str, made))
    assert set(times.values()) == {1}
    letters = letters_of(store, RETRYING)
    assert len(letters) == len(made)
    by_job = {job.id: set(paths_of(job)) for job in jobs}
    assert all(letter.origin in by_job[cast("str", letter.retry_job_id)] for letter in letters)


@pytest.mark.slow
def test_who_retries_thousands_and_is_killed_has_left_each_open_or_retried_once(
    real_store: Store, store_url: str, tmp_path: Path
) -> None:
    made = files(tmp_path / "docs", 4_000)
    for start in range(0, len(made), 1_000):
        part = made[start : start + 1_000]
        failed_job(real_store, *map(failure, part), spec=ingest_spec(part[0]))

    for seed in range(3):
        with started("redrive_all", store_url, tmp_path) as process:
            time.sleep(random.Random(seed).uniform(0.05, 0.5))
            process.kill()
            process.wait()
        open_now, retrying = letters_of(real_store, OPEN), letters_of(real_store, RETRYING)
        # Nothing is deleted, and what is marked has its job.
        assert len(open_now) + len(retrying) == len(made)
        jobs = {job.id for job in all_jobs(real_store, JobStatus.PENDING)}
        assert {letter.retry_job_id for letter in retrying} == jobs
    redrive(real_store, OPEN, staged=tmp_path)

    assert_each_retried_once(real_store, made)


@pytest.mark.slow
def test_ten_thousand_letters_at_a_rate_are_retried_once_each_though_all_are_killed_and_doubled(
    real_store: Store, store_url: str, tmp_path: Path
) -> None:
    made = files(tmp_path / "docs", 10_000)
    failed_job(real_store, *map(failure, made), spec=ingest_spec(tmp_path / "docs"))
    per_minute = 60_000.0
    with started("schedule_all", store_url, tmp_path, per_minute) as process:
        time.sleep(0.3)
        process.kill()
    with started("schedule_all", store_url, tmp_path, per_minute) as process:
        assert line_from(process) == str(len(made))

    kills, deadline = 0, time.monotonic() + 180
    while (left := real_store.dead_letters.count(OPEN)) and time.monotonic() < deadline:
        # Two at once, as if one had been left over; both are killed in the middle.
        with (
            started("sweep", store_url, tmp_path),
            started("sweep", store_url, tmp_path),
        ):
            aim = left // 2 if kills < 3 else 0
            while real_store.dead_letters.count(OPEN) > aim and time.monotonic() < deadline:
                time.sleep(0.05)
            kills += 2

    assert kills >= 4
    assert_each_retried_once(real_store, made)


def test_a_retry_that_somebody_else_has_made_makes_no_job(store: Store, tmp_path: Path) -> None:
    made = files(tmp_path, 2)
    failed_job(store, *map(failure, made), spec=ingest_spec(tmp_path))
    drawn = plan(store, letters_of(store), staged=tmp_path)
    late: tuple[LetterRetry, ...] = drawn.retries
    [(job, _)] = store.dead_letters.retry(drawn.retries)
    store.finish(claimed(store, job), JobStatus.CANCELLED, summary={})

    # Open once more after that: now it is a retry of its own.
    assert len(store.dead_letters.retry(late)) == 1
    assert store.dead_letters.retry(late) == []
