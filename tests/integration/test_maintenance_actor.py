"""The maintenance actor of `up`: what is due runs once, whoever is killed."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from lexigram_ray.core.types import MaintenanceStatus
from lexigram_ray.jobs.schedule_records import Trigger
from lexigram_ray.jobs.store import Store
from tests.integration.up_site import SETTINGS, Site

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.chaos]

TASKS = """
import os, time
from pathlib import Path

HERE = Path(__file__).parent

def often():
    return {"at": time.time()}

def long():
    with (HERE / "began").open("a") as file:
        file.write(f"{os.getpid()}\\n")
    while not (HERE / "go").exists():
        time.sleep(0.05)
    return {"went": True}
"""


@pytest.fixture
def site(state: Path, tmp_path: Path) -> Iterator[Site]:
    (tmp_path / "my_tasks.py").write_text(TASKS)
    tasks = {
        "often": {"task": "my_tasks:often", "interval_seconds": 2},
        "long": {"task": "my_tasks:long", "cron": "@yearly"},
    }
    # Only those are to run: the built-in ones have tests of their own.
    quiet = {name: {"enabled": False} for name in ("health_check", "metrics_rollup")}
    own = {
        "LEX_AI_WORKERS__MAINTENANCE__TASKS": json.dumps(tasks),
        "LEX_AI_WORKERS__MAINTENANCE__SCHEDULES": json.dumps(quiet),
        "PYTHONPATH": str(tmp_path),
    }
    found = Site(state, SETTINGS | own)
    yield found
    found.close()


def actor_pid(site: Site) -> int | None:
    pids = [pid for name, pid in site.actor_pids().items() if name.startswith("maintenance:")]
    return pids[0] if pids else None


def completed(store: Store, name: str) -> int:
    return len(store.schedules.runs(name, status=MaintenanceStatus.COMPLETED)[0])


def test_what_is_due_and_what_is_asked_for_runs_once_though_the_actor_is_killed(
    site: Site, tmp_path: Path
) -> None:
    begun, again = site.done("up"), site.done("up")
    assert (begun["started_maintenance"], again["started_maintenance"]) == (True, False)
    assert again["maintenance"] == begun["maintenance"]
    assert site.done("status")["cluster"]["has_maintenance"] is True

    # Defined by the actor; run by a child of it, which dies with it.
    site.wait_for("the schedules", lambda store: store.schedules.get("long") is not None)
    with site.store() as store:
        asked = store.schedules.run_now("long")
    began = tmp_path / "began"
    site.wait_for("the run", lambda _: began.exists() and began.read_text().endswith("\n"))
    killed = begun["maintenance"]["pid"]
    child = int(began.read_text())
    assert psutil.Process(child).ppid() == killed
    os.kill(killed, signal.SIGKILL)

    # Another actor takes it over, and goes on with what is due.
    site.wait_for("the second attempt", lambda _: len(began.read_text().split()) == 2)
    assert actor_pid(site) not in (None, killed)
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE
    (tmp_path / "go").touch()
    site.wait_for_status(asked.job_id or "", "completed")
    with site.store() as store:
        outcomes = [each.outcome for each in store.attempts_of(asked.job_id or "")]
        before = completed(store, "often")
    assert outcomes == ["lost", "completed"]
    site.wait_for("what is due", lambda store: completed(store, "often") >= before + 2)

    assert site.done("down")["ended_head"]
    with site.store() as store:
        runs, _ = store.schedules.runs("often", limit=500)
        assert len(store.schedules.runs("long")[0]) == 1
    assert len({run.due_at for run in runs}) == len(runs)
    assert {run.trigger for run in runs} <= {Trigger.SCHEDULE, Trigger.MISSED}
    assert all(run.due_at.timestamp() % 2 == 0 for run in runs)
