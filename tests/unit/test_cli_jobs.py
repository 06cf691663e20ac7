"""Jobs in words: ids, tables, pages, what a watch shows, and what is said to try next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lexigram_ray.cli.displays import Silent
from lexigram_ray.cli.invocation import Invocation
from lexigram_ray.cli.job_ids import find_job, find_jobs, short_ids
from lexigram_ray.cli.job_next import say_next
from lexigram_ray.cli.job_page import print_page
from lexigram_ray.cli.job_words import age, progress_in_words, style_of
from lexigram_ray.cli.jobs_moment import JobsMoment
from lexigram_ray.cli.jobs_table import error_in_short
from lexigram_ray.cli.jobs_watch import SILENT_SECONDS, Hints, exit_code
from lexigram_ray.core.errors import UsageError
from lexigram_ray.core.types import FailureCategory, JobStatus
from lexigram_ray.jobs.job_object import page_object
from lexigram_ray.jobs.owner import Owner
from lexigram_ray.jobs.records import Attempt, Claim, Job
from lexigram_ray.jobs.store import Store
from lexigram_ray.jobs.watching import Watched
from tests.job_data import embed_spec, ingest_spec, ingest_summary, submitted

NOW = datetime(2026, 11, 24, 13, 0, tzinfo=UTC)
GONE = replace(Owner.current(), process_started=1)
JOB = Job(
    id="0193579e-1c2d-7abc-8def-0123456789ab",
    kind="ingest",
    status=JobStatus.RUNNING,
    priority=0,
    collection="papers",
    spec=ingest_spec(Path("/papers")),
    spec_key="key",
    fence=1,
    attempt=1,
    retry_of=None,
    created_at=NOW - timedelta(minutes=12),
    started_at=NOW - timedelta(seconds=50),
    finished_at=None,
    error=None,
    error_code=None,
    progress={"total": 1000, "done": 250, "failed": 3},
)
ATTEMPT = Attempt(
    job_id=JOB.id,
    number=1,
    fence=1,
    owner=Owner(host="node-7", pid=4711, process_started=1, boot_id="another"),
    started_at=NOW - timedelta(seconds=50),
    ended_at=NOW - timedelta(seconds=45),
    outcome="error",
    error="OSError: no \x1b[31mroute",
    actor="job:ingest:papers",
    category=FailureCategory.TRANSIENT,
    traceback="Traceback\n  File x",
)


def completed(*, ingested: int, failed: int) -> Job:
    summary = ingest_summary(ingested=ingested, failed=[f"/{n}" for n in range(failed)])
    return replace(JOB, status=JobStatus.COMPLETED, finished_at=NOW, summary=summary)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path / 'jobs.db'}") as opened:
        yield opened


def test_a_job_is_found_by_the_beginning_of_its_id_in_any_spelling(store: Store) -> None:
    job = submitted(store)

    assert find_job(store, job.id) == job
    assert find_job(store, job.id[:13]) == job
    assert find_job(store, job.id[:6]) == job
    assert find_job(store, job.id.replace("-", "").upper()) == job
    assert find_jobs(store, [job.id, job.id[:10]]) == [job]


def test_a_beginning_of_several_ids_names_them(store: Store) -> None:
    jobs = [submitted(store, ingest_spec(Path(f"/{number}"))) for number in range(12)]

    with pytest.raises(UsageError, match=r"begins the ids of 12 jobs: .* and 2 more") as refused:
        find_job(store, jobs[0].id[:6])

    assert jobs[-1].id in refused.value.message
    assert refused.value.hint == "give more of the one that you mean"


@pytest.mark.parametrize("given", ["zzzzzzzz", "fffffff", "0193579e-1c2d", "f" * 32, "\udcff" * 8])
def test_what_names_no_job_says_where_they_are_listed(store: Store, given: str) -> None:
    submitted(store)

    with pytest.raises(UsageError, match="no job") as refused:
        find_job(store, given)

    assert "jobs list" in str(refused.value.hint)


@pytest.mark.parametrize("given", ["", "0193", "01935-"])
def test_less_than_six_characters_name_no_job(store: Store, given: str) -> None:
    with pytest.raises(UsageError, match="too short to name a job"):
        find_job(store, given)


def test_ids_are_shown_as_long_as_it_takes_to_tell_them_apart() -> None:
    other = "0193579e-1c2e-7abc-8def-0123456789ab"
    twin = JOB.id.replace("7abc", "7abd")

    assert short_ids([JOB.id, other]) == ["0193579e-1c2d", "0193579e-1c2e"]
    assert short_ids([JOB.id, twin]) == ["0193579e-1c2d-7abc", "0193579e-1c2d-7abd"]
    assert short_ids([]) == []


@pytest.mark.parametrize(
    ("job", "code", "style"),
    [
        (completed(ingested=3, failed=0), 0, "green"),
        (completed(ingested=3, failed=1), 3, "yellow"),
        (completed(ingested=0, failed=2), 1, "yellow"),
        (completed(ingested=0, failed=0), 0, "green"),
        (replace(JOB, status=JobStatus.FAILED), 1, "red"),
        (replace(JOB, status=JobStatus.CANCELLED), 1, "dim"),
        (JOB, 130, "cyan"),
    ],
)
def test_a_job_ends_with_the_exit_code_of_its_command(job: Job, code: int, style: str) -> None:
    assert (exit_code([job]), style_of(job)) == (code, style)


def test_of_several_jobs_the_worst_end_counts() -> None:
    good, some = completed(ingested=3, failed=0), completed(ingested=3, failed=1)
    bad = replace(JOB, status=JobStatus.FAILED)

    assert exit_code([good, some]) == 3
    assert exit_code([some, bad, good]) == 1
    assert exit_code([bad, JOB]) == 130


def test_the_object_of_a_job_that_has_ended_has_its_reports_counts() -> None:
    assert completed(ingested=3, failed=1).to_dict()["progress"] == {
        "total": 4,
        "done": 4,
        "failed": 1,
        "percent": 100.0,
    }
    assert JOB.to_dict()["progress"] == JOB.progress | {"percent": 25.0}


def test_progress_names_what_is_counted() -> None:
    assert progress_in_words(JOB) == "250/1,000 documents, 25%, 3 failed"
    assert progress_in_words(replace(JOB, kind="embed", progress={"done": 2})) == "2 texts"
    assert progress_in_words(replace(JOB, progress={})) == "nothing is done yet"


@pytest.mark.parametrize(
    ("seconds", "expected"), [(40, "40 s"), (150, "2 min"), (7300, "2 h"), (260_000, "3 d")]
)
def test_an_age_is_told_in_one_unit(seconds: float, expected: str) -> None:
    assert age(NOW - timedelta(seconds=seconds), NOW) == expected


def test_of_a_long_error_a_table_shows_the_beginning() -> None:
    assert error_in_short("a cause\nwith details") == "a cause"
    assert error_in_short("x" * 80) == "x" * 59 + "…"
    assert error_in_short(None) == ""


def test_a_page_says_how_far_it_is_who_worked_on_it_and_why_it_failed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_page(JOB, [ATTEMPT], NOW)
    page = capsys.readouterr().out

    assert page.startswith("running: ingest into collection papers\n")
    assert "progress   250/1,000 documents, 25%, 3 failed, 5.0/s, about 2 min 30 s left\n" in page
    assert "reads      /papers\n" in page
    [header, attempt] = page.splitlines()[-2:]
    assert header.split() == [
        "ATTEMPT", "NODE", "PID", "ACTOR", "STARTED", "TOOK", "OUTCOME", "CATEGORY", "ERROR",
    ]  # fmt: skip
    for shown in ("node-7", "4711", "job:ingest:papers", "5.0 s", "transient", r"no \x1b[31mroute"):
        assert shown in attempt
    assert "Traceback" not in page


def test_columns_that_no_attempt_fills_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    running = replace(
        ATTEMPT, ended_at=None, outcome=None, error=None, category=None, actor="", owner=GONE
    )
    print_page(JOB, [running], NOW)
    [header, attempt] = capsys.readouterr().out.splitlines()[-2:]

    assert header.split() == ["ATTEMPT", "NODE", "PID", "STARTED", "TOOK", "OUTCOME"]
    assert "its process is gone" in attempt


def test_tracebacks_are_shown_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    print_page(JOB, [ATTEMPT], NOW, tracebacks=True)
    assert "traceback of attempt 1:\n  Traceback\n    File x\n" in capsys.readouterr().out

    print_page(JOB, [replace(ATTEMPT, traceback=None)], NOW, tracebacks=True)
    assert "no traceback was kept of 1 attempt\n" in capsys.readouterr().out


def test_no_secret_of_a_specification_is_shown() -> None:
    server = {"url": "https://user:hunter2@host/v1", "api_key": "abc", "max_tokens": 256}
    job = replace(JOB, spec={"request": {"config": {"server": server, "paths": ["sk-abcdefghij"]}}})

    shown = page_object(job, [ATTEMPT], NOW)["spec"]

    assert shown == {
        "request": {
            "config": {
                "server": {"url": "https://***@host/v1", "api_key": "***", "max_tokens": 256},
                "paths": ["***"],
            }
        }
    }


def moment(*jobs: Job) -> JobsMoment:
    return JobsMoment(tuple(Watched.begin(job, 0.0) for job in jobs), NOW)


def test_a_watch_of_one_job_shows_its_phase_its_counts_and_the_time_left() -> None:
    one = moment(JOB)

    assert one.title == "ingest into papers: running"
    assert (one.fraction, one.job_id) == (0.25, JOB.id)
    assert one.counts(0.0) == ["250/1,000 documents, 25%, 3 failed", "5.0/s"]
    assert one.seconds_remaining == 150.0
    indexing = replace(JOB, progress=JOB.progress | {"phase": "checking"})
    assert moment(indexing).title == ("ingest into papers: checking the table against the ledger")
    waiting = replace(JOB, status=JobStatus.PENDING, started_at=None, progress={})
    assert moment(waiting).title == "ingest into papers: waiting for a worker"
    assert moment(waiting).fraction is None


def test_a_watch_of_several_jobs_shows_how_many_are_in_which_state() -> None:
    several = moment(JOB, completed(ingested=3, failed=0))

    assert several.title == "2 jobs: 1 running, 1 completed"
    assert (several.fraction, several.job_id) == (0.625, "")
    assert several.counts(0.0) == ["253 records done"]
    record = several.to_record()
    assert (record["records_done"], record["error_count"]) == (253, 3)


@pytest.mark.parametrize(
    ("job", "said"),
    [
        (
            replace(JOB, status=JobStatus.PENDING),
            ["note: nothing works on recorded", "try: /bin/lexigram-ray up"],
        ),
        (
            replace(JOB, status=JobStatus.PENDING, run_after=NOW + timedelta(hours=1)),
            ["note: it waits until "],
        ),
        (JOB, ["watch with: /bin/lexigram-ray jobs watch " + JOB.id]),
        (completed(ingested=2, failed=0), ["search with: /bin/lexigram-ray search"]),
        (
            completed(ingested=2, failed=1),
            [
                "see failures with: /bin/lexigram-ray dlq list --collection papers",
                "try: /bin/lexigram-ray jobs retry " + JOB.id + " --failed",
                "search with: /bin/lexigram-ray search",
            ],
        ),
        (replace(JOB, status=JobStatus.FAILED), ["try: /bin/lexigram-ray jobs retry " + JOB.id]),
        (replace(JOB, status=JobStatus.CANCELLED), ["try: /bin/lexigram-ray jobs retry " + JOB.id]),
    ],
)
def test_what_to_try_next_fits_the_jobs_state(
    job: Job,
    said: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.argv", ["/bin/lexigram-ray"])
    say_next(job, Invocation(argv=("jobs", "show")), NOW, has_workers=False)

    lines = capsys.readouterr().err.splitlines()
    assert [line[: len(begun)] for line, begun in zip(lines, said, strict=True)] == said


@pytest.mark.parametrize(
    ("spec", "is_offered"),
    [
        (embed_spec(Path("/faq.csv")), True),
        (embed_spec(None), False),
        (embed_spec(Path("/faq.csv"), provider="mine"), False),
        ({"source": "/faq.csv"}, False),
    ],
)
def test_a_retry_is_offered_only_where_it_is_not_refused(
    spec: dict[str, object], is_offered: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    summary: dict[str, object] = {"texts": {"read": 2, "embedded": 1, "failed": 1}}
    job = replace(JOB, kind="embed", status=JobStatus.COMPLETED, spec=spec, summary=summary)
    say_next(job, Invocation(argv=("jobs", "show")), NOW, has_workers=True)

    said = capsys.readouterr().err
    assert ("--failed" in said) == is_offered
    assert "search with: " in said


@pytest.mark.parametrize(
    ("has_workers", "orphaned", "said"),
    [
        (True, False, ["note: it waits for its turn", "watch with: "]),
        (True, True, ["note: the process that worked on it is gone", "watch with: "]),
        (False, True, ["note: the process that worked on it is gone", "try: "]),
    ],
)
def test_a_job_without_a_worker_says_whether_it_gets_one(
    has_workers: bool, orphaned: bool, said: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    job = JOB if orphaned else replace(JOB, status=JobStatus.PENDING)
    invocation = Invocation(argv=("jobs", "show"))
    say_next(job, invocation, NOW, has_workers=has_workers, orphaned=orphaned)

    lines = capsys.readouterr().err.splitlines()
    assert [line[: len(begun)] for line, begun in zip(lines, said, strict=True)] == said


def test_a_watch_says_once_that_the_process_of_a_job_is_gone(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    job = submitted(store)
    assert isinstance(store.claim(job.id, GONE, 60), Claim)
    invocation = Invocation(argv=("jobs", "watch"))
    hints = Hints(store, invocation, Silent(), has_workers=True)
    begun = find_jobs(store, [job.id])
    watched = [Watched.begin(each, 0.0) for each in begun]

    for seconds in (SILENT_SECONDS - 1, SILENT_SECONDS, SILENT_SECONDS + 1):
        watched = [each.look(store, seconds) for each in watched]
        hints.look(watched)

    assert capsys.readouterr().err == f"note: the process that worked on job {job.id} is gone\n"
