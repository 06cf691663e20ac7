"""Progress without a terminal: lines that are neither silence nor a flood."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import pytest

from lexigram_ray.cli.displays import JsonLines, Milestones, Silent, choose_display
from lexigram_ray.cli.ingest_progress import IngestMoment
from lexigram_ray.cli.moment import in_one_line
from lexigram_ray.cli.rate import Rate
from lexigram_ray.jobs.report import Progress

PROGRESS = Progress(
    phase="ingesting",
    job_id="0192",
    documents_done=10,
    documents_total=40,
    chunks_done=1500,
    chunks_cached=300,
    bytes_done=50,
    bytes_total=100,
    skipped=1,
    failed=2,
    current="/a/b.pdf",
    seconds_elapsed=12.34,
    seconds_remaining=75.0,
)
MOMENT = IngestMoment(PROGRESS)


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def run_for(display: Milestones, clock: Clock, seconds: int) -> None:
    for second in range(seconds):
        clock.now = float(second)
        display.update(IngestMoment(replace(PROGRESS, chunks_done=second * 50)))


def test_a_line_says_what_is_done_how_fast_and_how_long_still() -> None:
    assert in_one_line(MOMENT, 80.4, 62.0) == (
        "[1 min 2 s] ingesting: 50%, 10/40 documents, 1,500 chunks (80/s), 300 cached, "
        "1 skipped, 2 failed, about 1 min 15 s left"
    )


def test_before_anything_is_done_a_line_says_what_there_is_to_do() -> None:
    moment = IngestMoment(Progress(phase="starting", documents_total=40))

    assert in_one_line(moment, 0.0, 3.0) == "[3.0 s] starting: 40 documents to do"


def test_lines_come_every_few_seconds_and_rarer_in_a_long_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = Clock()
    run_for(Milestones(clock), clock, 60)
    first_minute = capsys.readouterr().err.splitlines()
    clock = Clock()
    run_for(Milestones(clock), clock, 3600)
    first_hour = capsys.readouterr().err.splitlines()

    assert 10 <= len(first_minute) <= 13
    assert 90 <= len(first_hour) <= 110


def test_a_new_phase_is_said_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    display = Milestones(Clock())
    display.update(IngestMoment(Progress(phase="scanning")))
    display.update(IngestMoment(Progress(phase="starting")))

    assert capsys.readouterr().err == "[0.0 s] looking for documents\n[0.0 s] starting\n"


def test_json_lines_have_the_promised_fields(capsys: pytest.CaptureFixture[str]) -> None:
    display = JsonLines(Clock())
    display.update(MOMENT)
    display.say("nothing was pruned", label="note")
    status, message = map(json.loads, capsys.readouterr().err.splitlines())

    assert status["message_type"] == "status"
    assert status["percent_done"] == 0.5
    assert status["documents_done"] == 10
    assert status["documents_total"] == 40
    assert status["chunks_done"] == 1500
    assert status["seconds_remaining"] == 75.0
    assert status["error_count"] == 2
    assert status["current"] == "/a/b.pdf"
    assert message["message_type"] == "message"


def test_work_is_counted_in_bytes_when_they_are_known() -> None:
    scanning = IngestMoment(Progress(phase="scanning", documents_done=7))

    assert MOMENT.fraction == 0.5
    assert IngestMoment(replace(PROGRESS, bytes_total=0)).fraction == 0.25
    assert scanning.fraction is None
    assert scanning.to_record()["percent_done"] == 0.0


def test_an_unknown_time_is_null() -> None:
    unknown = IngestMoment(replace(PROGRESS, seconds_remaining=None))

    assert unknown.to_record()["seconds_remaining"] is None


def test_without_a_terminal_there_is_no_live_display() -> None:
    assert type(choose_display(show=True, json_lines=False)) is Milestones
    assert type(choose_display(show=False, json_lines=False)) is Silent
    assert type(choose_display(show=False, json_lines=True)) is JsonLines


def test_a_steady_rate_is_told_from_the_start_and_a_pause_lowers_it_slowly() -> None:
    rate = Rate()
    for second in range(1, 31):
        rate.observe(100 * second, float(second))
    steady = rate.per_second
    rate.observe(3000, 32.0)

    assert steady == pytest.approx(100)
    assert 50 < rate.per_second < 100
