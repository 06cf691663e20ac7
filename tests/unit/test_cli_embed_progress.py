"""Progress of an embedding job: counted in texts, its end foreseen from characters."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, replace

import pytest
from rich.console import Console

from lexigram_ray.cli.displays import JsonLines, Milestones, Silent, choose_display
from lexigram_ray.cli.embed_progress import EmbedMoment
from lexigram_ray.cli.live_moment import LiveMoment
from lexigram_ray.cli.moment import in_one_line
from lexigram_ray.jobs.embed_report import EmbedProgress

PROGRESS = EmbedProgress(
    phase="embedding",
    job_id="0192",
    texts_read=4000,
    texts_done=1000,
    texts_total=4000,
    cached=300,
    failed=2,
    characters_done=50_000,
    characters_total=100_000,
    seconds_elapsed=12.34,
    seconds_remaining=75.0,
)
MOMENT = EmbedMoment(PROGRESS)


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def moment(phase: str, **changes: int) -> EmbedMoment:
    return EmbedMoment(EmbedProgress(phase=phase, **changes))


def run_for(display: Milestones, clock: Clock, seconds: int) -> None:
    for second in range(seconds):
        clock.now = float(second)
        display.update(EmbedMoment(replace(PROGRESS, texts_done=second * 80)))


def test_a_line_says_what_is_done_how_fast_and_how_long_still() -> None:
    assert in_one_line(MOMENT, 80.4, 62.0) == (
        "[1 min 2 s] embedding: 50%, 1,000/4,000 texts, 80 texts/s, 300 cached, 2 failed, "
        "about 1 min 15 s left"
    )


@pytest.mark.parametrize(
    ("early", "line"),
    [
        (moment("reading"), "[3.0 s] reading texts"),
        (moment("reading", texts_read=1), "[3.0 s] reading texts: 1 text"),
        (moment("starting", texts_total=40), "[3.0 s] starting: 40 texts to do"),
    ],
)
def test_before_anything_is_done_a_line_says_what_is_known(early: EmbedMoment, line: str) -> None:
    assert in_one_line(early, 0.0, 3.0) == line


def test_work_is_counted_in_characters_when_they_are_known() -> None:
    assert MOMENT.fraction == 0.5
    assert EmbedMoment(replace(PROGRESS, characters_total=0)).fraction == 0.25
    assert moment("reading", texts_read=100).fraction is None


def test_json_lines_have_the_promised_fields(capsys: pytest.CaptureFixture[str]) -> None:
    display = JsonLines(Clock())
    display.update(MOMENT)
    display.say("the index was built", label="note")
    status, message = map(json.loads, capsys.readouterr().err.splitlines())

    promised = {
        "message_type": "status",
        "percent_done": 0.5,
        "texts_done": 1000,
        "texts_total": 4000,
        "texts_cached": 300,
        "seconds_remaining": 75.0,
        "error_count": 2,
        "job_id": "0192",
    }
    assert {key: status[key] for key in promised} == promised
    assert message["message_type"] == "message"


def test_lines_are_neither_silence_nor_a_flood(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    run_for(Milestones(clock), clock, 60)
    first_minute = capsys.readouterr().err.splitlines()
    clock = Clock()
    run_for(Milestones(clock), clock, 3600)
    first_hour = capsys.readouterr().err.splitlines()

    assert 10 <= len(first_minute) <= 13
    assert 90 <= len(first_hour) <= 110
    assert "80 texts/s" in first_minute[-1]


def test_without_a_terminal_there_is_no_live_display() -> None:
    assert type(choose_display(show=True, json_lines=False)) is Milestones
    assert type(choose_display(show=False, json_lines=False)) is Silent
    assert type(choose_display(show=False, json_lines=True)) is JsonLines


def test_the_live_display_is_a_bar_and_a_line_of_counts() -> None:
    shown = _drawn(MOMENT)

    assert shown[0].startswith("embedding")
    assert " 50%" in shown[0]
    assert "ETA 1 min 1" in shown[0]
    assert shown[1].startswith("1,000/4,000 texts · ")
    assert len(shown) == 2


def test_the_live_display_has_no_bar_while_the_total_is_unknown() -> None:
    shown = _drawn(moment("reading", texts_read=5000))

    assert shown[0].startswith("reading texts 0.0 s")
    assert shown[1] == "5,000 texts"


def _drawn(shown: EmbedMoment) -> list[str]:
    display = LiveMoment()
    display.update(shown)
    out = Console(file=io.StringIO(), width=100, height=10)
    with out.capture() as captured:
        out.print(display)
    return [line.rstrip() for line in captured.get().splitlines()]
