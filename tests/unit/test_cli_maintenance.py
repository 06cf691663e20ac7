"""Maintenance in words: when a schedule is due, how a run has ended, and what its options mean."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from lexigram_ray.cli.app import app
from lexigram_ray.cli.exit_codes import EXIT_DONE, EXIT_FAILED, EXIT_SOME_FAILED
from lexigram_ray.cli.invocation import Invocation
from lexigram_ray.cli.maintenance_page import print_page, print_result, say_failure, say_faults
from lexigram_ray.cli.maintenance_run import exit_code, given_options
from lexigram_ray.cli.maintenance_table import print_runs, print_schedules
from lexigram_ray.cli.maintenance_words import outcome, when
from lexigram_ray.core.errors import UsageError
from lexigram_ray.core.types import MaintenanceStatus
from lexigram_ray.jobs.schedule_records import CANCELLED_CODE, Run, Schedule, Trigger
from lexigram_ray.maintenance import duties
from lexigram_ray.maintenance.known_schedules import Listed
from lexigram_ray.maintenance.supervising import TIMED_OUT

NOW = datetime(2026, 11, 24, 13, 0, tzinfo=UTC)
FAULT = {"name": "disk", "detail": "\x1b[31m1 GB is free", "fix": "free some space"}
RUN = Run(
    id="0193579e-1c2d-7abc-8def-0123456789ab",
    schedule="health_check",
    task="health_check",
    due_at=NOW - timedelta(minutes=5),
    trigger=Trigger.SCHEDULE,
    created_at=NOW - timedelta(minutes=5),
    job_id="0193579e-1c2e-7abc-8def-0123456789ab",
    status=MaintenanceStatus.COMPLETED,
    started_at=NOW - timedelta(minutes=5),
    finished_at=NOW - timedelta(minutes=4, seconds=58),
    result={"figures": {"disk": {"free_bytes": 7}}, "faults": [], "lines": ["ok  store"]},
)
FAULTY = replace(RUN, result={**RUN.result, "faults": [FAULT]})
FAILED = replace(RUN, status=MaintenanceStatus.FAILED, reason="the moon is down", result={})
SCHEDULE = Schedule(
    name="cache_cleanup", task="cache_cleanup", cron="23 3 * * *", interval_seconds=None
)


def cron(text: str, zone: str = "UTC") -> Schedule:
    return replace(SCHEDULE, cron=text, timezone=zone)


def every(seconds: float) -> Schedule:
    return replace(SCHEDULE, cron=None, interval_seconds=seconds)


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        (cron("17 * * * *"), "hourly at :17"),
        (cron("*/15 * * * *"), "every 15 min"),
        (cron("*/7 * * * *"), "*/7 * * * *"),
        (cron("23 3 * * *"), "daily at 03:23 UTC"),
        (cron("3 4 * * 0", "Europe/Berlin"), "Sundays at 04:03 Europe/Berlin"),
        (cron("3 4 * * 7"), "Sundays at 04:03 UTC"),
        (cron("0 0 1 * *"), "monthly on day 1 at 00:00 UTC"),
        (cron("30 4 * * 1-5"), "30 4 * * 1-5 UTC"),
        (cron("0 4 1 1 *"), "0 4 1 1 * UTC"),
        (every(60), "every minute"),
        (every(300), "every 5 min"),
        (every(90), "every 90 s"),
        (every(86400), "every day"),
    ],
)
def test_when_a_schedule_is_due_is_said_in_words_or_as_its_expression(
    schedule: Schedule, words: str
) -> None:
    assert when(schedule) == words


@pytest.mark.parametrize(
    ("run", "word", "code"),
    [
        (RUN, "completed", EXIT_DONE),
        (FAULTY, "1 fault", EXIT_SOME_FAILED),
        (FAILED, "failed", EXIT_FAILED),
        (replace(FAILED, error_code=CANCELLED_CODE), "cancelled", EXIT_FAILED),
        (replace(FAILED, error_code=TIMED_OUT), "timed out", EXIT_FAILED),
    ],
)
def test_how_a_run_has_ended_is_a_word_and_an_exit_code(run: Run, word: str, code: int) -> None:
    assert outcome(run) == word
    assert exit_code(run) == code


def test_options_are_json_where_they_can_be_and_texts_else() -> None:
    options = given_options(["days=30", "embedder=false", "name=papers", "expression=a=b"])

    assert options == {"days": 30, "embedder": False, "name": "papers", "expression": "a=b"}


@pytest.mark.parametrize("given", [["days"], ["=30"], ["days=1", "days=2"]])
def test_an_option_that_is_none_or_comes_twice_is_refused(given: list[str]) -> None:
    with pytest.raises(UsageError) as refused:
        given_options(given)

    assert refused.value.hint


def test_a_result_is_data_and_its_faults_are_words_beside_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_result(FAULTY)
    say_faults(FAULTY, Invocation(argv=()))
    shown = capsys.readouterr()

    assert shown.out == "completed with 1 fault: health_check (2.0 s)\n  ok  store\n"
    assert shown.err == "fault: disk: \\x1b[31m1 GB is free\ntry: free some space\n"


def test_commands_that_help_look_at_the_state_that_the_command_was_told_of(
    capsys: pytest.CaptureFixture[str],
) -> None:
    fix = (
        "end it (`lexigram-ray down`), then lexigram-ray dlq groups; see /opt/lexigram-ray up there"
    )
    fault = {"name": "store", "detail": "it does not answer", "fix": fix}
    invocation = Invocation(argv=(), state=Path("/a b"), config_file=Path("c.yaml"))

    say_faults(replace(RUN, result={"faults": [fault]}), invocation)

    place = "--state '/a b' --config c.yaml"
    assert capsys.readouterr().err == (
        "fault: store: it does not answer\n"
        f"try: end it (`lexigram-ray {place} down`), then lexigram-ray {place} dlq groups; "
        "see /opt/lexigram-ray up there\n"
    )


def test_commands_that_help_are_commands() -> None:
    command = get_command(app)
    assert isinstance(command, TyperGroup)
    named: set[str] = set()
    for file in Path(duties.__file__).parent.glob("*.py"):
        named |= set(re.findall(r"lexigram-ray ([a-z_]+)", file.read_text()))

    assert {"maintenance", "ingest", "dlq"} <= named
    assert named <= set(command.commands)


def test_a_result_without_words_shows_its_figures(capsys: pytest.CaptureFixture[str]) -> None:
    print_result(replace(RUN, result={"figures": {"disk": {"free_bytes": 7}}}))

    assert "  disk.free_bytes: 7\n" in capsys.readouterr().out


def test_a_failed_run_says_why_and_which_line_shows_more(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_page(FAILED, NOW)
    say_failure(FAILED, Invocation(argv=()))
    shown = capsys.readouterr()

    assert shown.out.startswith("failed: health_check (2.0 s)\n  run      0193579e-1c2d")
    assert "why      its time had come" in shown.out
    assert shown.err.startswith("error: the moon is down\nmore with: ")
    assert shown.err.endswith(f" jobs show {FAILED.job_id}\n")


def test_a_list_says_when_each_ran_last_and_that_one_is_switched_off(
    capsys: pytest.CaptureFixture[str],
) -> None:
    off = replace(SCHEDULE, enabled=False)
    listed = [
        Listed(schedule=SCHEDULE, last_run=FAULTY, next_due=NOW + timedelta(minutes=12)),
        Listed(schedule=off, last_run=None, next_due=None),
    ]

    print_schedules(listed, NOW)

    first, second = capsys.readouterr().out.splitlines()[1:]
    assert "daily at 03:23 UTC  4 min ago  1 fault" in first
    assert first.rstrip().endswith("(in 12 min)")
    assert second.rstrip().endswith("-          -        disabled")


def test_a_list_of_runs_says_why_there_was_none(capsys: pytest.CaptureFixture[str]) -> None:
    skipped = replace(
        RUN, status=MaintenanceStatus.SKIPPED, job_id=None, started_at=None, finished_at=None,
        reason="the run before it has not ended", result={},
    )  # fmt: skip

    print_runs([skipped, FAULTY], NOW)

    first, second = capsys.readouterr().out.splitlines()[1:]
    assert "skipped" in first
    assert "the run before it has not ended" in first
    assert second.rstrip().endswith("disk")
