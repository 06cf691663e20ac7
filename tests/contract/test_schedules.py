"""What every store promises of schedules: each time is decided on once, whoever looks at it."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from lexigram_ray.core.errors import LeaseLostError, UsageError
from lexigram_ray.core.types import JobStatus, MaintenanceStatus
from lexigram_ray.jobs.backup import back_up, restore
from lexigram_ray.jobs.letter_records import LetterFilter
from lexigram_ray.jobs.owner import Owner
from lexigram_ray.jobs.records import Claim, Job
from lexigram_ray.jobs.requests import MAINTENANCE
from lexigram_ray.jobs.retrying import retry
from lexigram_ray.jobs.schedule_records import Overlap, PlannedRun, Run, Schedule, Trigger
from lexigram_ray.jobs.store import Store
from tests.contract.store_data import NOW, Clock, elsewhere, found, gone, line_from, submit
from tests.contract.test_store_processes import start_together

MINUTE = timedelta(minutes=1)
SCHEDULE = Schedule(name="minutely", task="health_check", cron=None, interval_seconds=60)


def defined(store: Store, **changes: object) -> Schedule:
    store.schedules.define([replace(SCHEDULE, **changes)], origins=())
    return current(store)


def current(store: Store, name: str = "minutely") -> Schedule:
    schedule = store.schedules.get(name)
    assert schedule is not None
    return schedule


def planned(minutes: int, **changes: object) -> PlannedRun:
    due = NOW + minutes * MINUTE
    return replace(PlannedRun(due_at=due, trigger=Trigger.SCHEDULE, start_at=NOW), **changes)


def recorded(store: Store, *runs: PlannedRun) -> list[Run]:
    return store.schedules.record(current(store), runs, max(run.due_at for run in runs))


def job_of(store: Store, run: Run) -> Job:
    assert run.job_id is not None
    return found(store, run.job_id)


def claim_of(store: Store, run: Run, owner: Owner | None = None) -> Claim:
    claim = store.claim(job_of(store, run).id, owner or Owner.current(), 60)
    assert isinstance(claim, Claim)
    return claim


def completed(store: Store, run: Run, **figures: object) -> None:
    store.finish(claim_of(store, run), JobStatus.COMPLETED, summary={"figures": figures})


def status_of(store: Store, run: Run) -> MaintenanceStatus:
    assert run.job_id is not None
    now = store.schedules.run_of_job(run.job_id)
    assert now is not None
    return now.status


# -- Definitions -----------------------------------------------------------------------------------


def test_a_definition_is_read_as_it_was_written(store: Store) -> None:
    full = Schedule(
        name="nightly",
        task="package.module:clean",
        cron="23 3 * * *",
        interval_seconds=None,
        timezone="Europe/Lisbon",
        jitter_seconds=30,
        overlap=Overlap.QUEUE,
        timeout_seconds=900,
        options={"older_than": "7d", "deep": {"a": [1, None]}},
        enabled=False,
        origin="config",
    )

    store.schedules.define([full, SCHEDULE], origins=["builtin", "config"])

    found = current(store, "nightly")
    assert found == replace(full, considered_until=NOW, created_at=NOW, updated_at=NOW)
    assert [each.name for each in store.schedules.list()] == ["minutely", "nightly"]
    assert store.schedules.get("hourly") is None


def test_defining_the_same_again_changes_nothing(store: Store, clock: Clock) -> None:
    before = defined(store)
    clock.advance(60)

    assert defined(store) == before


def test_schedules_that_are_no_longer_defined_go_and_their_runs_stay(store: Store) -> None:
    defined(store)
    (run,) = recorded(store, planned(1))
    store.schedules.define([replace(SCHEDULE, name="mine", origin="api")], origins=["api"])

    store.schedules.define([], origins=["builtin", "config"])

    assert [each.name for each in store.schedules.list()] == ["mine"]
    assert store.schedules.runs("minutely") == ([run], None)


def test_what_a_user_switched_stays_until_the_definition_switches(
    store: Store, clock: Clock
) -> None:
    defined(store)
    store.schedules.enable("minutely", False)
    clock.advance(600)

    assert not defined(store, timeout_seconds=9).enabled
    assert not defined(store, enabled=False).enabled
    switched_on = defined(store, enabled=True)

    assert switched_on.enabled
    assert switched_on.considered_until == NOW + timedelta(seconds=600)


def test_a_schedule_with_new_times_is_considered_from_now_on(store: Store, clock: Clock) -> None:
    defined(store)
    clock.advance(3600)

    assert defined(store, timeout_seconds=9).considered_until == NOW
    assert defined(store, interval_seconds=90).considered_until == NOW + timedelta(hours=1)


def test_what_came_due_while_a_schedule_was_off_was_not_missed(store: Store, clock: Clock) -> None:
    defined(store)
    clock.advance(60)
    assert store.schedules.enable("minutely", True).considered_until == NOW
    off = store.schedules.enable("minutely", False)
    clock.advance(3600)

    on = store.schedules.enable("minutely", True)

    assert (off.enabled, on.enabled) == (False, True)
    assert on.considered_until == NOW + timedelta(seconds=3660)


def test_an_unknown_schedule_is_refused_with_the_nearest_name(store: Store) -> None:
    defined(store)

    with pytest.raises(UsageError, match="no schedule 'minutly'") as caught:
        store.schedules.enable("minutly", True)
    with pytest.raises(UsageError):
        store.schedules.run_now("something else entirely")

    assert caught.value.hint == "did you mean minutely?"


# -- Making runs -----------------------------------------------------------------------------------


def test_a_run_comes_with_a_job_that_says_what_is_to_be_done(store: Store) -> None:
    defined(store, options={"dry_run": True})

    (run,) = recorded(store, planned(1))

    job = job_of(store, run)
    assert (job.kind, job.collection, job.status) == (MAINTENANCE, "", JobStatus.PENDING)
    assert job.spec == {
        "schedule": "minutely",
        "task": "health_check",
        "run_id": run.id,
        "due_at": run.due_at.isoformat(),
        "trigger": "schedule",
        "options": {"dry_run": True},
        "timeout_seconds": 300.0,
    }
    assert run.status is MaintenanceStatus.PENDING
    assert current(store).considered_until == run.due_at


def test_a_run_whose_start_is_later_waits_for_it(store: Store, clock: Clock) -> None:
    defined(store)
    later = NOW + timedelta(seconds=100)
    (run,) = recorded(store, planned(1, start_at=later))

    assert job_of(store, run).run_after == later
    assert store.schedules.ready(9) == []
    clock.advance(100)
    assert [job.id for job in store.schedules.ready(9)] == [run.job_id]


def test_a_skipped_run_is_recorded_with_its_reason_and_without_a_job(store: Store) -> None:
    defined(store)

    skipped, made = recorded(store, planned(1, skip_reason="the one before ran"), planned(2))

    assert (skipped.status, skipped.reason, skipped.job_id) == (
        MaintenanceStatus.SKIPPED,
        "the one before ran",
        None,
    )
    assert store.schedules.runs()[0] == [made, skipped]
    assert len(store.list_jobs(kind=MAINTENANCE)[0]) == 1


def test_only_the_first_of_those_who_saw_the_same_schedule_makes_its_runs(store: Store) -> None:
    seen = defined(store)
    until = NOW + MINUTE

    first = store.schedules.record(seen, [planned(1)], until)
    second = store.schedules.record(seen, [planned(1)], until)

    assert (len(first), second) == (1, [])
    assert len(store.schedules.runs()[0]) == 1


def test_no_time_runs_twice_even_where_it_is_considered_again(store: Store) -> None:
    defined(store)
    recorded(store, planned(1))

    again = recorded(store, planned(1), planned(2))

    assert [run.due_at for run in again] == [NOW + 2 * MINUTE]


def test_a_schedule_that_is_off_or_gone_makes_no_runs(store: Store) -> None:
    seen = defined(store)
    store.schedules.enable("minutely", False)
    assert store.schedules.record(seen, [planned(1)], NOW + MINUTE) == []

    store.schedules.define([], origins=["builtin"])
    assert store.schedules.record(seen, [planned(1)], NOW + MINUTE) == []
    assert store.schedules.runs() == ([], None)


def test_a_run_that_replaces_others_cancels_them_first(store: Store) -> None:
    defined(store)
    running, waiting = recorded(store, planned(1), planned(2))
    claim = claim_of(store, running)
    other = submit(store)
    replaced = (job_of(store, running).id, job_of(store, waiting).id, other.id)

    (run,) = recorded(store, planned(3, replaces=replaced))

    assert [job.id for job in store.schedules.unfinished("minutely")] == [run.job_id]
    page = store.schedules.runs()[0]
    assert [(each.status, each.error_code) for each in page[1:]] == [
        (MaintenanceStatus.FAILED, "cancelled")
    ] * 2
    assert found(store, other.id).status is JobStatus.PENDING
    with pytest.raises(LeaseLostError):
        store.beat(claim, 60)


def test_a_manual_run_has_its_own_options_and_needs_no_enabled_schedule(store: Store) -> None:
    defined(store, options={"a": 1, "b": 2}, enabled=False)

    run = store.schedules.run_now("minutely", {"b": 3})

    assert (run.trigger, run.due_at, run.status) == (
        Trigger.MANUAL,
        NOW,
        MaintenanceStatus.PENDING,
    )
    assert job_of(store, run).spec["options"] == {"a": 1, "b": 3}
    assert current(store).considered_until == NOW


def test_manual_runs_of_one_moment_are_different_runs(store: Store) -> None:
    defined(store, overlap=Overlap.QUEUE)

    runs = [store.schedules.run_now("minutely") for _ in range(3)]

    assert len({run.due_at for run in runs}) == 3
    assert len({run.job_id for run in runs}) == 3


def test_a_manual_run_over_an_unfinished_one_is_refused_queued_or_replaces_it(
    store: Store,
) -> None:
    defined(store)
    first = store.schedules.run_now("minutely")
    with pytest.raises(UsageError, match="has not ended"):
        store.schedules.run_now("minutely")

    defined(store, overlap=Overlap.QUEUE)
    second = store.schedules.run_now("minutely")
    defined(store, overlap=Overlap.REPLACE)
    third = store.schedules.run_now("minutely")

    assert [status_of(store, run) for run in (first, second, third)] == [
        MaintenanceStatus.FAILED,
        MaintenanceStatus.FAILED,
        MaintenanceStatus.PENDING,
    ]


# -- Working on them -------------------------------------------------------------------------------


def test_of_each_schedule_only_the_longest_due_job_is_ready(store: Store) -> None:
    defined(store)
    store.schedules.define([replace(SCHEDULE, name="other")], origins=())
    first, second = recorded(store, planned(1), planned(2))
    other = store.schedules.record(current(store, "other"), [planned(3)], NOW + 3 * MINUTE)[0]

    assert [job.id for job in store.schedules.ready(9)] == [first.job_id, other.job_id]
    assert [job.id for job in store.schedules.ready(1)] == [first.job_id]
    claim = claim_of(store, first)
    assert [job.id for job in store.schedules.ready(9)] == [other.job_id]
    store.finish(claim, JobStatus.COMPLETED, summary={})
    assert [job.id for job in store.schedules.ready(9)] == [second.job_id, other.job_id]


def test_a_run_whose_worker_is_gone_is_ready_again(store: Store, clock: Clock) -> None:
    defined(store)
    dead, next_one = recorded(store, planned(1), planned(2))
    claim_of(store, dead, gone())

    assert [job.id for job in store.schedules.ready(9)] == [dead.job_id]

    claim_of(store, dead, elsewhere())
    assert store.schedules.ready(9) == []
    clock.advance(61)
    assert [job.id for job in store.schedules.ready(9)] == [dead.job_id]
    assert [job.id for job in store.schedules.unfinished("minutely")] == [
        dead.job_id,
        next_one.job_id,
    ]


def test_a_run_says_what_its_job_says(store: Store, clock: Clock) -> None:
    defined(store)
    (run,) = recorded(store, planned(1))
    claim = claim_of(store, run)
    assert status_of(store, run) is MaintenanceStatus.RUNNING
    clock.advance(5)
    faults = [{"name": "disk", "detail": "it is nearly full", "fix": "free some"}]
    summary: dict[str, object] = {"figures": {"bytes_free": 7}, "faults": faults, "lines": ["one"]}
    store.finish(claim, JobStatus.COMPLETED, summary=summary)

    (shown,) = store.schedules.runs()[0]

    assert (shown.status, shown.duration_seconds, shown.reason) == (
        MaintenanceStatus.COMPLETED,
        5.0,
        "",
    )
    assert shown.faults == faults
    assert shown.to_dict()["name"] == "minutely"
    assert store.schedules.last_completed("minutely") == shown


# -- Beside other jobs -----------------------------------------------------------------------------


def test_jobs_of_schedules_are_listed_and_counted_only_where_they_are_asked_for(
    store: Store,
) -> None:
    job = submit(store)
    defined(store)
    (run,) = recorded(store, planned(1))

    assert [each.id for each in store.list_jobs()[0]] == [job.id]
    assert [each.id for each in store.list_jobs(kind="ingest")[0]] == [job.id]
    assert [each.id for each in store.list_jobs(status=JobStatus.PENDING)[0]] == [job.id]
    assert [each.id for each in store.list_jobs(kind=MAINTENANCE)[0]] == [run.job_id]
    assert store.counts()[JobStatus.PENDING] == 1
    assert [each.id for each in store.ready(["ingest", "embed"], limit=9)] == [job.id]


def test_a_failed_run_is_no_dead_letter_and_is_run_again_rather_than_retried(
    store: Store, tmp_path: Path
) -> None:
    defined(store)
    (run,) = recorded(store, planned(1))
    store.finish(
        claim_of(store, run),
        JobStatus.FAILED,
        error="it took too long",
        error_code="timed_out",
        summary={},
    )

    (shown,) = store.schedules.runs(status=MaintenanceStatus.FAILED)[0]
    assert (shown.reason, shown.error_code) == ("it took too long", "timed_out")
    assert store.dead_letters.count(LetterFilter()) == 0
    with pytest.raises(UsageError) as caught:
        retry(store, [job_of(store, run)], failed_only=False, staged=tmp_path)
    assert caught.value.hint == "run it now with `lexigram-ray maintenance run minutely`"


# -- History ---------------------------------------------------------------------------------------


def test_pages_of_runs_hold_each_once_the_latest_due_first(store: Store) -> None:
    defined(store)
    store.schedules.define([replace(SCHEDULE, name="other")], origins=())
    recorded(store, *(planned(minute) for minute in range(1, 6)))
    store.schedules.record(current(store, "other"), [planned(3)], NOW + 3 * MINUTE)

    due: list[datetime] = []
    cursor = None
    while True:
        page, cursor = store.schedules.runs("minutely", limit=2, cursor=cursor)
        due += [run.due_at for run in page]
        if cursor is None:
            break

    assert due == [NOW + minute * MINUTE for minute in (5, 4, 3, 2, 1)]
    assert len(store.schedules.runs()[0]) == 6
    with pytest.raises(UsageError):
        store.schedules.runs(cursor="nonsense")
    with pytest.raises(UsageError):
        store.schedules.runs(limit=0)


def test_runs_are_found_by_their_status(store: Store) -> None:
    defined(store)
    skipped, pending, done = recorded(store, planned(1, skip_reason="so"), planned(2), planned(3))
    completed(store, done)

    by_status = {
        status: [run.id for run in store.schedules.runs(status=status)[0]]
        for status in MaintenanceStatus
    }

    assert by_status == {
        MaintenanceStatus.PENDING: [pending.id],
        MaintenanceStatus.RUNNING: [],
        MaintenanceStatus.COMPLETED: [done.id],
        MaintenanceStatus.FAILED: [],
        MaintenanceStatus.SKIPPED: [skipped.id],
    }


def test_old_runs_go_with_their_jobs_and_the_last_completed_one_stays(store: Store) -> None:
    defined(store)
    first, good, *others = recorded(store, *(planned(minute) for minute in range(1, 9)))
    completed(store, first, chunks=0)
    completed(store, good, chunks=1)
    *ended, unfinished = others
    for run in ended:
        store.finish(claim_of(store, run), JobStatus.FAILED, summary={})
    recorded(store, planned(9, skip_reason="so"))

    assert store.schedules.expire(2) == 5
    assert store.schedules.expire(2) == 0

    kept = [run.due_at for run in store.schedules.runs()[0]]
    assert kept == [NOW + minute * MINUTE for minute in (9, 8, 7, 2)]
    last = store.schedules.last_completed("minutely")
    assert last is not None
    assert last.figures == {"chunks": 1}
    assert store.get(job_of(store, unfinished).id) is not None
    assert first.job_id is not None
    assert store.get(first.job_id) is None
    assert store.attempts_of(first.job_id) == []
    assert store.events.of_job(first.job_id) == []


def test_a_backup_carries_schedules_runs_and_events(
    store: Store, store_url: str, tmp_path: Path
) -> None:
    defined(store)
    (run,) = recorded(store, planned(1))
    completed(store, run)
    expected = (store.schedules.list(), store.schedules.runs())
    events = store.events.of_job(job_of(store, run).id)
    backup, copy_url = tmp_path / "backup.db", f"sqlite:///{tmp_path / 'copy' / 'jobs.db'}"
    with Store.open(copy_url) as copy:
        defined(copy)

    back_up(store_url, backup)
    restore(backup, copy_url)

    with Store.open(copy_url) as copy:
        assert (copy.schedules.list(), copy.schedules.runs()) == expected
        assert copy.events.of_job(job_of(store, run).id) == events


# -- Several schedulers ----------------------------------------------------------------------------


@pytest.mark.slow
def test_schedulers_of_which_one_is_killed_decide_on_each_time_once(store_url: str) -> None:
    minutes = 60
    with Store.open(store_url) as store:
        defined(store)
        with ExitStack() as stack:
            processes = start_together(stack, 3, "record_runs", store_url, minutes)
            while len(store.schedules.runs(limit=100)[0]) < 10:
                pass
            processes[0].kill()
            made = [int(line_from(process)) for process in processes[1:]]

        runs = store.schedules.runs(limit=200)[0]
        times = [run.due_at for run in runs]
        begun = current(store).created_at
        assert begun is not None
        assert times == [begun + minute * MINUTE for minute in range(minutes, 0, -1)]
        assert sum(made) <= minutes
        assert len({run.job_id for run in runs}) == minutes
        assert current(store).considered_until == times[0]
