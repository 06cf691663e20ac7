"""The ruler of the store's bench: rates, ratios, and the jobs that it fills a store with."""

from __future__ import annotations

from pathlib import Path

import pytest

from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.store import Store
from tests.benchmarks.finished_jobs import add_finished_jobs
from tests.benchmarks.peers.queue_timing import CLAIMS_IN_A_BLOCK, claims_per_second, per_second
from tests.benchmarks.queue_rates import QueueRate, figures_of


def test_a_slow_moment_of_the_disk_does_not_change_a_rate():
    quiet = [0.01] * CLAIMS_IN_A_BLOCK * 3
    disturbed = [*quiet, *[5.0] * CLAIMS_IN_A_BLOCK]

    assert claims_per_second(disturbed) == pytest.approx(100)
    assert per_second(500, [1.0, 2.0, 60.0]) == pytest.approx(250)


def test_claims_are_held_against_the_same_claims_beside_few_finished_jobs():
    rate = QueueRate(
        name="ours",
        database="sqlite",
        single=400.0,
        batches={"100": 1_500.0, "1000": 2_500.0},
        claims={"1000": 260.0, "1000000": 100.0},
    )

    by_name = {figure.name: figure for figure in figures_of(rate, 1_000_000)}

    ratio = by_name["a claim beside 1,000,000 to one beside 1,000"]
    assert (ratio.value, ratio.ok) == (pytest.approx(2.6), False)
    assert by_name["durable submissions, 1,000 at once"].ok is True
    # One goal for batches, held by the best of them.
    assert by_name["durable submissions, 100 at once"].ok is None


def test_goals_of_submitting_are_set_for_sqlite_alone():
    rate = QueueRate(name="ours", database="postgresql", single=1.0, batches={"1000": 1.0})

    submitting = [each for each in figures_of(rate, 10) if "submissions" in each.name]

    assert [each.ok for each in submitting] == [None, None]


def test_a_queue_that_could_not_be_measured_misses_its_goals():
    rate = QueueRate(name="ours", database="sqlite", note="failed: no such module")

    single, *_ = figures_of(rate, 10)

    assert (single.ok, single.note) == (False, "failed: no such module")


def test_a_store_is_filled_with_jobs_that_have_ended_and_still_works(tmp_path: Path):
    url = f"sqlite:///{tmp_path / 'jobs.db'}"

    add_finished_jobs(url, 300)

    with Store.open(url) as store:
        assert store.counts()[JobStatus.COMPLETED] == 300
        jobs, _ = store.list_jobs(limit=300)
        assert len({job.spec_key for job in jobs}) == 300
        assert [each.outcome for each in store.attempts_of(jobs[-1].id)] == ["completed"]
        assert store.ready(["ingest"], limit=10) == []
