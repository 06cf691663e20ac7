"""`stats`: what was done, in words, tables and plots that fit their screen."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lexigram_ray.cli.app import run
from lexigram_ray.cli.stats_page import PIPE_COLUMNS, print_page
from lexigram_ray.cli.stats_plots import ROWS, Axis, draw, plots
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.metrics_records import Resolution, Value
from lexigram_ray.jobs.store import Store
from lexigram_ray.jobs.work_summary import Interval, WorkSummary, resolution_for
from tests.contract.store_data import claimed, result

NOW = datetime(2026, 11, 24, 13, 30, tzinfo=UTC)
BEGIN = datetime(2026, 11, 23, 13, 0, tzinfo=UTC)
SUMMARY = WorkSummary(
    since=BEGIN,
    until=NOW,
    resolution=Resolution.HOUR,
    documents={"done": 1200, "failed": 3, "unchanged": 40},
    chunks=4800,
    computed=3600,
    cached=1200,
    jobs={"completed": 5, "failed": 1},
    attempts={"completed": 5, "failed": 1, "lost": 2},
    seconds={
        "document": Value.measured([0.2] * 99 + [8.0]),
        "job": Value.measured([240.0]),
        "job_wait": Value(),
    },
    failures={("invalid_input", "encrypted"): 2, ("transient", "parser_killed"): 1},
    job_failures={"integrity": 1},
    intervals=[
        Interval(at=BEGIN, documents=400, failed=3, chunks=1600, computed=1600),
        Interval(
            at=BEGIN + timedelta(hours=2), documents=800, chunks=3200, computed=2000, cached=1200
        ),
    ],
)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A store in which one job of three documents has just ended."""
    with Store.open(f"sqlite:///{tmp_path / 'jobs.db'}") as store:
        claim = claimed(store)
        store.finish_units(claim, [result(number) for number in range(3)])
        store.finish(claim, JobStatus.COMPLETED, error=None, summary={})
    return tmp_path


def stats(*arguments: str, state: Path) -> int:
    return run(["stats", *arguments, "--state", str(state)])


def test_a_page_says_how_much_how_fast_and_what_failed(capsys: pytest.CaptureFixture[str]) -> None:
    print_page(SUMMARY)

    page = capsys.readouterr().out
    assert "1,200 done, 40 unchanged, 3 failed" in page
    assert "49 an hour; at most 800 in one hour" in page
    assert "3,600 computed, 1,200 found in the cache (25.0%)" in page
    assert "5 completed, 1 failed, 2 lost" in page
    assert re.search(r"document +100 +0\.28 +0\.20 +0\.20 +0\.20 +8\.00", page)
    assert "job's wait" not in page
    assert re.search(r"document +invalid_input +encrypted +2", page)
    assert re.search(r"job +- +integrity +1", page)


def test_without_a_terminal_a_page_has_no_colour_and_only_plain_characters(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_page(SUMMARY)

    page = capsys.readouterr().out
    assert page.isascii()
    assert "\x1b" not in page
    assert max(map(len, page.splitlines())) <= PIPE_COLUMNS


def test_many_causes_are_shortened(capsys: pytest.CaptureFixture[str]) -> None:
    failures = {("permanent", f"code-{number}"): 1 for number in range(30)}

    print_page(replace(SUMMARY, failures=failures))

    assert "and 21 more causes: see --json" in capsys.readouterr().out


@pytest.mark.parametrize("width", [20, 40, 72, 100, 250])
@pytest.mark.parametrize("resolution", list(Resolution))
def test_plots_fit_their_screen(width: int, resolution: Resolution) -> None:
    summary = replace(SUMMARY, resolution=resolution)

    drawn = plots(summary, Axis.of(summary, width), blocks=True)

    assert [each.title for each in drawn] == [
        "documents",
        "documents that failed",
        "chunks",
        "found in the cache, %",
    ]
    assert max(len(line) for each in drawn for line in each.lines) <= max(width, 32)


def test_every_interval_is_in_one_column() -> None:
    axis = Axis.of(replace(SUMMARY, resolution=Resolution.MINUTE), 72)
    minutes = [
        Interval(at=BEGIN + timedelta(minutes=number), documents=1) for number in range(1470)
    ]

    columns = axis.gathered(minutes)

    assert sum(len(column) for column in columns) == 1470
    assert axis.step == timedelta(minutes=24)
    assert [len(column) for column in columns] == [24] * 61 + [6]


def test_a_plot_shows_eighths_and_whatever_is_there_at_all() -> None:
    lines = draw([None, 0, 1, 500, 1000], blocks=True)

    columns = ["".join(line[10:15].ljust(5)[place] for line in lines[:ROWS]) for place in range(5)]
    assert columns == ["     ", "     ", "    ▁", "  ▄██", "█████"]
    assert lines[0].startswith("   1,000 │")


def test_nothing_is_drawn_of_nothing() -> None:
    summary = replace(SUMMARY, intervals=[])

    assert plots(summary, Axis.of(summary, 80), blocks=True) == []


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        (timedelta(hours=6), Resolution.MINUTE),
        (timedelta(hours=24), Resolution.HOUR),
        (timedelta(days=7), Resolution.HOUR),
        (timedelta(days=30), Resolution.DAY),
    ],
)
def test_a_time_is_divided_so_that_it_can_be_seen(span: timedelta, expected: Resolution) -> None:
    assert resolution_for(span) is expected


def test_a_job_that_has_just_ended_is_counted_without_anybody_rolling_up(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stats("--json", state=state) == 0

    answer = json.loads(capsys.readouterr().out)
    assert answer["documents"]["done"] == 3
    assert answer["embeddings"] == {"computed": 6, "cached": 3, "cache_hit_rate": 0.3333}
    assert answer["jobs"] == {"completed": 1}
    assert answer["seconds"]["document"]["count"] == 3
    assert [point["documents"] for point in answer["series"]] == [3]


def test_a_store_without_jobs_says_so_and_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stats(state=tmp_path) == 0

    written = capsys.readouterr()
    assert written.out == ""
    assert "note: no job has ended yet" in written.err
    assert "try: " in written.err
    assert list(tmp_path.iterdir()) == []


def test_a_time_in_which_nothing_ended_suggests_a_longer_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    three_days_ago = time.time() - 3 * 86_400
    with Store.open(f"sqlite:///{tmp_path / 'jobs.db'}", clock=lambda: three_days_ago) as store:
        store.finish(claimed(store), JobStatus.COMPLETED, error=None, summary={})

    assert stats("--collection", "docs", state=tmp_path) == 0

    told = capsys.readouterr().err
    assert "note: no job of collection docs has ended since" in told
    assert "stats --since 30d --collection docs" in told
    assert stats("--since", "30d", state=tmp_path) == 0
    assert "1 completed" in capsys.readouterr().out


def test_a_collection_that_never_was_is_wrong_use(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stats("--collection", "doks", state=state) != 0

    assert "there is no collection doks" in capsys.readouterr().err


def test_minutes_that_are_not_kept_are_missed_aloud(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stats("--since", "7d", "--resolution", "minute", state=state) == 0

    assert "note: minutes are kept since" in capsys.readouterr().err


def test_figures_that_cannot_be_written_are_shown_as_they_are(
    state: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from lexigram_ray.core.errors import StoreUnreachableError
    from lexigram_ray.jobs.metrics_store import Metrics

    def refuse(_: Metrics) -> int:
        raise StoreUnreachableError("the job store is read-only")

    stats("--json", state=state)
    capsys.readouterr()
    monkeypatch.setattr(Metrics, "roll_up", refuse)

    assert stats("--json", state=state) == 0
    written = capsys.readouterr()
    assert json.loads(written.out)["documents"]["done"] == 3
    assert "the newest jobs are not counted yet: the job store is read-only" in written.err
