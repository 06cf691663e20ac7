"""How a job is to be recorded: times as people write them, and what means nothing at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from lexigram_ray.cli.job_options import submit_options
from lexigram_ray.core.errors import UsageError
from lexigram_ray.core.written_times import parse_duration, parse_time
from lexigram_ray.jobs.submitting import SubmitOptions

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("10m", 600),
        ("2h", 7_200),
        ("1h30m", 5_400),
        ("1.5h", 5_400),
        (" 2 H ", 7_200),
        ("3d", 259_200),
        ("1w", 604_800),
        ("0s", 0),
    ],
)
def test_a_duration_is_a_number_and_a_unit(text: str, seconds: float) -> None:
    assert parse_duration("--delay", text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "10", "m", "ten minutes", "-5m", "10 years", "5m!", "1e9d"])
def test_what_is_no_duration_is_named_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="is no duration") as refused:
        parse_duration("--delay", text)
    assert "--delay 10m" in str(refused.value.hint)


@pytest.mark.parametrize("text", ["999999999w", "5000d"])
def test_nothing_waits_for_more_than_ten_years(text: str) -> None:
    with pytest.raises(UsageError, match="more than ten years"):
        parse_duration("--delay", text)
    with pytest.raises(UsageError, match="more than ten years"):
        parse_time("--deadline", text, NOW)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2h", NOW + timedelta(hours=2)),
        ("2026-05-04T18:00Z", datetime(2026, 5, 4, 18, tzinfo=UTC)),
        ("2026-05-04 18:00+02:00", datetime(2026, 5, 4, 16, tzinfo=UTC)),
        ("2026-05-05T09:30", datetime(2026, 5, 5, 9, 30).astimezone()),
    ],
)
def test_a_deadline_is_a_duration_or_a_time(text: str, moment: datetime) -> None:
    assert parse_time("--deadline", text, NOW) == moment


@pytest.mark.parametrize("text", ["soon", "", "2026-13-01T00:00", "18:00"])
def test_what_is_no_time_is_named(text: str) -> None:
    with pytest.raises(UsageError, match=r"is no time"):
        parse_time("--deadline", text, NOW)


@pytest.mark.parametrize("text", ["0s", "2020-01-01T00:00Z"])
def test_a_deadline_that_is_over_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is over"):
        parse_time("--deadline", text, NOW)


def test_all_options_of_a_recorded_job() -> None:
    options = submit_options(
        no_wait=True, priority=-3, key="may", delay="10m", deadline="2h", now=NOW
    )

    assert options == SubmitOptions(
        priority=-3,
        unique_key="may",
        run_after=NOW + timedelta(minutes=10),
        deadline=NOW + timedelta(hours=2),
    )


@pytest.mark.parametrize(
    "given", [{"priority": 0}, {"key": "may"}, {"delay": "10m"}, {"deadline": "2h"}]
)
def test_without_no_wait_they_are_wrong_use(given: dict[str, object]) -> None:
    options: dict[str, object] = {"priority": None, "key": None, "delay": None, "deadline": None}
    (name,) = given

    with pytest.raises(UsageError, match=f"--{name} is for jobs that are recorded") as refused:
        submit_options(no_wait=False, **{**options, **given})  # type: ignore[arg-type]
    assert "--no-wait" in str(refused.value.hint)
    assert submit_options(no_wait=False, **options) is None  # type: ignore[arg-type]
