"""Runners are started as their jobs' turns come, and one that never claims its job is ended."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from lexigram_ray.core.config import WorkersConfig, load_config
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.records import Job
from lexigram_ray.jobs.requests import REQUEST
from lexigram_ray.jobs.store import Store
from lexigram_ray.runtime import queue_actor
from lexigram_ray.runtime.actor_names import runner_name
from lexigram_ray.runtime.queue_actor import AGAIN_SECONDS, CLAIM_SECONDS, LOOK_AHEAD, RunnerStarter
from tests.job_data import claimed, ingest_spec, submitted


class Actors:
    """The names of a cluster: what is started is there at once, and claims nothing by itself."""

    def __init__(self) -> None:
        self.names = set[str]()
        self.started: list[str] = []
        self.killed: list[str] = []
        self.now = 1000.0

    def start(self, _config: WorkersConfig, job: Job) -> None:
        self.started.append(runner_name(job))
        self.names.add(runner_name(job))

    def kill(self, name: str) -> None:
        self.killed.append(name)
        self.names.discard(name)


@pytest.fixture
def actors(monkeypatch: pytest.MonkeyPatch) -> Actors:
    found = Actors()
    monkeypatch.setattr(queue_actor, "names_in_use", lambda: set(found.names))
    monkeypatch.setattr(queue_actor, "kill_actor", found.kill)
    monkeypatch.setattr(queue_actor, "start_runner", found.start)
    monkeypatch.setattr(queue_actor, "time", SimpleNamespace(monotonic=lambda: found.now))
    return found


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path / 'jobs.db'}") as opened:
        yield opened


@pytest.fixture
def starter(store: Store, tmp_path: Path) -> RunnerStarter:
    config = load_config(state_dir=tmp_path, jobs={"concurrency": {"ingest": 1}})
    return RunnerStarter(config, store)


def job_of(store: Store, name: str) -> Job:
    return submitted(store, ingest_spec(Path("/papers") / name))


def test_no_more_runners_are_started_than_jobs_may_run_at_once(
    store: Store, starter: RunnerStarter, actors: Actors
) -> None:
    first, second = job_of(store, "a"), job_of(store, "b")
    starter.look()
    starter.look()
    assert actors.started == [runner_name(first)]

    claim = claimed(store, first)
    starter.look()
    assert actors.started == [runner_name(first)]

    store.finish(claim, JobStatus.COMPLETED, summary={})
    starter.look()
    assert actors.started == [runner_name(first), runner_name(second)]


def test_a_runner_without_a_claim_is_ended_after_its_time_and_its_job_begun_anew(
    store: Store, starter: RunnerStarter, actors: Actors
) -> None:
    name = runner_name(job_of(store, "a"))
    starter.look()
    starter.look()
    actors.now += CLAIM_SECONDS
    starter.look()
    assert actors.killed == []

    actors.now += 1
    starter.look()
    assert actors.killed == [name]
    actors.now += AGAIN_SECONDS
    starter.look()
    assert actors.started == [name, name]


def test_a_runner_that_was_not_looked_at_for_a_while_has_its_time_anew(
    store: Store, starter: RunnerStarter, actors: Actors
) -> None:
    name = runner_name(job_of(store, "a"))
    starter.look()
    starter.look()
    # Somebody else's job takes the only place, so that the looks end early.
    claim = claimed(store, job_of(store, "b"))
    actors.now += CLAIM_SECONDS + 1
    starter.look()
    store.finish(claim, JobStatus.COMPLETED, summary={})

    starter.look()
    assert actors.killed == []
    actors.now += CLAIM_SECONDS
    starter.look()
    assert actors.killed == []
    actors.now += 1
    starter.look()
    assert actors.killed == [name]


def test_a_job_that_needs_an_object_of_its_program_is_left_to_it_however_many_there_are(
    store: Store, starter: RunnerStarter, actors: Actors
) -> None:
    for number in range(LOOK_AHEAD + 2):
        spec = ingest_spec(Path("/papers") / str(number))
        request = cast("dict[str, object]", spec[REQUEST])
        submitted(store, {**spec, REQUEST: {**request, "provider": "mine"}})
    other = job_of(store, "other")

    starter.look()

    assert actors.started == [runner_name(other)]
    assert store.counts()[JobStatus.FAILED] == 0
