"""Runs of tasks by processes of their own: what they report, and that they can really be ended."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import cloudpickle
import psutil
import pytest

from lexigram_ray.core.config import WorkersConfig, load_config
from lexigram_ray.core.types import JobStatus, MaintenanceStatus
from lexigram_ray.jobs.owner import Owner
from lexigram_ray.jobs.schedule_records import Run, Schedule, Trigger
from lexigram_ray.jobs.store import Store
from lexigram_ray.maintenance.duty import DutyContext, DutyReport
from lexigram_ray.maintenance.fire_times import next_due
from lexigram_ray.maintenance.scheduler import Scheduler
from lexigram_ray.maintenance.supervising import supervise

pytestmark = [pytest.mark.slow, pytest.mark.chaos]

TASKS = """
import os, re, signal, subprocess, sys, time
from pathlib import Path
from lexigram_ray.maintenance.duty import DutyReport, Fault

HERE = Path(__file__).parent

def begin(name):
    with (HERE / f"{name}.began").open("a") as file:
        file.write(f"{os.getpid()}\\n")

def report(context):
    print("printed by the task")
    context.tell("now counting")
    figures = {"rows": 3, "dry_run": context.dry_run, "deep": context.options.get("deep")}
    return DutyReport(figures=figures, lines=["3 rows"], faults=[Fault(name="disk", detail="full")])

def fail():
    raise ValueError("no answer from https://me:hunter2@host/")

def leave():
    sys.exit(4)

def loop():
    begin("loop")
    while True:
        try:
            while True:
                pass
        except BaseException:
            pass

def stubborn():
    ignore = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    child = subprocess.Popen([sys.executable, "-c", ignore])
    apart = subprocess.Popen([sys.executable, "-c", ignore], start_new_session=True)
    begin("stubborn")
    (HERE / "stubborn.children").write_text(f"{child.pid} {apart.pid}")
    child.wait()

def in_c():
    begin("in_c")
    re.match(r"(a+)+$", "a" * 64 + "b")

def wait(context):
    begin("wait")
    while not (HERE / "go").exists():
        time.sleep(0.02)
    return {"went": True}

def die():
    begin("die")
    os.kill(os.getpid(), signal.SIGSEGV)
"""

SUPERVISOR = """
import sys
from pathlib import Path
from lexigram_ray.core.config import load_config
from lexigram_ray.maintenance.supervising import supervise
sys.path.insert(0, sys.argv[2])
supervise(load_config(state_dir=Path(sys.argv[1])), sys.argv[3],
          tell=lambda line: None, should_stop=lambda: False)
"""


class Place:
    """A state directory, a folder of tasks, and their runs."""

    def __init__(self, state: Path, tasks: Path) -> None:
        self.config: WorkersConfig = load_config(state_dir=state)
        self.tasks = tasks
        self.store = Store.open(self.config.paths.store_url)
        self.told: list[str] = []
        self.stop = threading.Event()

    def recorded(self, task: str, *, timeout_seconds: float = 60.0, **options: object) -> Run:
        """Record a run of a function of the tasks, under a schedule of its name."""
        schedule = Schedule(
            name=task,
            task=f"lexigram_tasks_of_tests:{task}",
            cron="@yearly",
            interval_seconds=None,
            timeout_seconds=timeout_seconds,
            origin=task,
        )
        self.store.schedules.define([schedule], origins=[task])
        return self.store.schedules.run_now(task, options)

    def supervised(self, run: Run, function: bytes | None = None) -> Run:
        assert run.job_id is not None
        return supervise(
            self.config,
            run.job_id,
            tell=self.told.append,
            should_stop=self.stop.is_set,
            function=function,
        )

    def began(self, task: str) -> list[int]:
        """Return the processes in which a task has begun, in order."""
        noted = self.tasks / f"{task}.began"
        return [int(pid) for pid in noted.read_text().split()] if noted.exists() else []

    def attempts(self, run: Run) -> list[str | None]:
        assert run.job_id is not None
        return [attempt.outcome for attempt in self.store.attempts_of(run.job_id)]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    tasks = tmp_path / "tasks"
    tasks.mkdir()
    (tasks / "lexigram_tasks_of_tests.py").write_text(TASKS)
    monkeypatch.syspath_prepend(tasks)
    made = Place(tmp_path / "state", tasks)
    with made.store:
        yield made


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_run_keeps_what_its_task_reports_and_nothing_that_it_prints(
    place: Place, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="lexigram_ray")
    run = place.supervised(place.recorded("report", deep=True, dry_run=True))

    assert run.status is MaintenanceStatus.COMPLETED, run.reason
    assert run.figures == {"rows": 3, "dry_run": True, "deep": True}
    assert run.faults == [{"name": "disk", "detail": "full", "fix": ""}]
    assert run.result["lines"] == ["3 rows"]
    assert place.told == ["now counting"]
    assert capfd.readouterr().out == ""
    wait_until(lambda: "printed by the task" in caplog.text)


def test_a_task_that_raises_fails_with_its_reason_and_without_secrets(place: Place) -> None:
    failed = place.recorded("fail")
    run = place.supervised(failed)

    assert run.status is MaintenanceStatus.FAILED
    assert "no answer from" in run.reason
    (attempt,) = place.store.attempts_of(failed.job_id or "")
    assert attempt.category is not None
    assert "in fail" in (attempt.traceback or "")
    assert "hunter2" not in run.reason + (attempt.traceback or "")
    assert sum(place.store.dead_letters.counts().values()) == 0


def test_a_task_that_leaves_by_itself_has_failed(place: Place) -> None:
    run = place.supervised(place.recorded("leave"))

    assert run.status is MaintenanceStatus.FAILED
    assert "exit code 4" in run.reason


def test_whatever_a_task_does_it_is_ended_at_its_time_limit(
    place: Place, threads: ThreadPoolExecutor
) -> None:
    names = ("loop", "stubborn", "in_c")
    recorded = [place.recorded(name, timeout_seconds=2.0) for name in names]

    runs = list(threads.map(place.supervised, recorded))

    assert [(run.status.value, run.error_code) for run in runs] == [("failed", "timed_out")] * 3
    assert all("longer than 2 s" in run.reason for run in runs)
    started = [pid for name in names for pid in place.began(name)]
    children = [int(pid) for pid in (place.tasks / "stubborn.children").read_text().split()]
    assert len(started) == 3
    wait_until(lambda: not any(map(is_running, (*started, *children))))


def test_a_cancelled_run_and_one_that_is_to_stop_are_ended(
    place: Place, threads: ThreadPoolExecutor
) -> None:
    cancelled, stopped = place.recorded("loop"), place.recorded("wait")
    working: list[Future[Run]] = [
        threads.submit(place.supervised, run) for run in (cancelled, stopped)
    ]
    wait_until(lambda: bool(place.began("loop") and place.began("wait")))

    place.store.cancel(cancelled.job_id or "", Owner.current(), turn_seconds=5)
    ended = working[0].result(30)
    place.stop.set()
    left = working[1].result(30)

    assert (ended.status.value, ended.error_code) == ("failed", "cancelled")
    assert left.status is MaintenanceStatus.PENDING
    assert place.attempts(stopped) == ["interrupted"]
    assert not any(map(is_running, place.began("loop") + place.began("wait")))


def test_when_the_supervisor_is_killed_its_task_dies_and_the_next_one_runs_it_again(
    place: Place,
) -> None:
    run = place.recorded("wait")
    arguments = (place.config.state_dir, place.tasks, run.job_id or "")
    with subprocess.Popen([sys.executable, "-c", SUPERVISOR, *map(str, arguments)]) as supervisor:
        wait_until(lambda: bool(place.began("wait")))
        supervisor.kill()
    (orphan,) = place.began("wait")
    wait_until(lambda: not is_running(orphan))

    (place.tasks / "go").touch()
    done = place.supervised(run)

    assert (done.status, done.figures) == (MaintenanceStatus.COMPLETED, {"went": True})
    assert place.attempts(run) == ["lost", "completed"]


def test_a_task_whose_process_dies_three_times_fails(place: Place) -> None:
    recorded = place.recorded("die")
    run = place.supervised(recorded)

    assert (run.status.value, run.error_code) == ("failed", "runner_died")
    assert "SIGSEGV" in run.reason
    assert len(place.began("die")) == 3


def test_two_supervisors_of_one_run_have_it_done_once(
    place: Place, threads: ThreadPoolExecutor
) -> None:
    run = place.recorded("wait")
    working = [threads.submit(place.supervised, run) for _ in range(2)]
    wait_until(lambda: bool(place.began("wait")))
    (place.tasks / "go").touch()

    assert {each.result(60).status for each in working} == {MaintenanceStatus.COMPLETED}
    assert len(place.began("wait")) == 1


def test_a_function_may_come_pickled_instead_of_by_its_path(place: Place) -> None:
    doubled = 21

    async def task(context: DutyContext) -> DutyReport:
        return DutyReport(figures={"doubled": 2 * doubled, "state": context.config.name})

    run = place.supervised(place.recorded("no_such_function"), function=cloudpickle.dumps(task))

    assert run.status is MaintenanceStatus.COMPLETED, run.reason
    assert run.figures == {"doubled": 42, "state": "ai_workers"}


def test_two_schedulers_make_one_run_of_a_due_time_and_the_job_waits_for_its_jitter(
    place: Place,
) -> None:
    schedule = Schedule(
        name="often",
        task="health_check",
        cron=None,
        interval_seconds=60.0,
        jitter_seconds=3000.0,
        origin="api",
    )
    place.store.schedules.define([schedule], origins=["api"])
    now = [datetime.now(UTC)]
    first, second = (Scheduler(place.store, lambda: now[0]) for _ in range(2))
    assert first.look() == second.look() == []

    now[0] = next_due(schedule, now[0]) or now[0]
    made = [*first.look(), *second.look(), *first.look()]

    assert [run.trigger for run in made] == [Trigger.SCHEDULE]
    job = place.store.get(made[0].job_id or "")
    assert job is not None
    assert job.status is JobStatus.PENDING
    assert made[0].due_at <= (job.run_after or made[0].due_at)


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
