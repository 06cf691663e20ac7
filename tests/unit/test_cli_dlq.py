"""Dead letters in words: which are meant, how they are shown, and what is said to try next."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import typer
from typer.testing import CliRunner

from lexigram_ray.cli.dlq_page import print_page, say_next
from lexigram_ray.cli.dlq_table import print_groups, print_letters
from lexigram_ray.cli.id_prefixes import find_by_id
from lexigram_ray.cli.invocation import Invocation
from lexigram_ray.cli.letter_filters import AllOption, Asked, CodeOption, LettersArgument
from lexigram_ray.cli.letter_refusals import exit_code, say_refusals
from lexigram_ray.cli.letter_words import next_retry
from lexigram_ray.core.errors import UsageError
from lexigram_ray.core.types import FailureCategory
from lexigram_ray.core.written_times import parse_past
from lexigram_ray.jobs.letter_records import (
    DeadLetter,
    LetterAttempt,
    LetterGroup,
    LetterStatus,
    Subject,
)
from lexigram_ray.jobs.letter_refusals import Refusals

NOW = datetime(2026, 11, 24, 13, 0, tzinfo=UTC)
ATTEMPT = LetterAttempt(
    job_id="0193579e-1c2d-7abc-8def-0123456789ab",
    at=NOW - timedelta(hours=2),
    category=FailureCategory.INVALID_INPUT,
    code="corrupt",
    error="it is \x1b[31mtruncated\nat byte 400",
    error_type="kreuzberg.exceptions.ParsingError",
    traceback="Traceback\n  File x",
)
LETTER = DeadLetter(
    id="0193579f-2222-7abc-8def-0123456789ab",
    kind="ingest",
    collection="papers",
    subject=Subject.DOCUMENT,
    subject_id="0" * 32,
    source="/home/somebody/papers/of-the-harbour/broken.pdf",
    origin="/home/somebody/papers/of-the-harbour/broken.pdf",
    job_id=ATTEMPT.job_id,
    category=ATTEMPT.category,
    code=ATTEMPT.code,
    error=ATTEMPT.error,
    error_type=ATTEMPT.error_type,
    fingerprint="5ca1ab1e",
    status=LetterStatus.OPEN,
    retry_count=0,
    retry_after=None,
    next_retry_at=None,
    asked=False,
    retry_job_id=None,
    first_failed_at=ATTEMPT.at,
    last_failed_at=ATTEMPT.at,
    closed_at=None,
    resolution="",
    attempts=(ATTEMPT,),
)
GROUP = LetterGroup(
    fingerprint="5ca1ab1e",
    count=1_204,
    category=FailureCategory.INVALID_INPUT,
    code="corrupt",
    example="it is truncated",
    letter_id=LETTER.id,
    first_failed_at=NOW - timedelta(hours=2),
    last_failed_at=NOW - timedelta(minutes=3),
    collections=("a", "b", "c", "d"),
)
INVOCATION = Invocation(argv=("dlq", "list"))


@pytest.fixture(autouse=True)
def program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/bin/lexigram-ray"])


def five_retries(_: FailureCategory) -> int:
    return 5


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", NOW - timedelta(seconds=90)),
        ("30m", NOW - timedelta(minutes=30)),
        ("12h", NOW - timedelta(hours=12)),
        ("7d", NOW - timedelta(days=7)),
        ("2w", NOW - timedelta(weeks=2)),
        ("2026-05-04", datetime(2026, 5, 4).astimezone()),
        ("2026-05-04T12:30+00:00", datetime(2026, 5, 4, 12, 30, tzinfo=UTC)),
    ],
)
def test_an_age_is_a_time_that_has_passed_or_a_date(text: str, expected: datetime) -> None:
    assert parse_past("--older-than", text, NOW) == expected


@pytest.mark.parametrize("text", ["", "soon", "7", "-7d", "7y", "2026-13-01", "9999999d"])
def test_what_is_no_age_is_refused_with_examples(text: str) -> None:
    with pytest.raises(UsageError, match="is no age") as refused:
        parse_past("--older-than", text, NOW)

    assert "90s, 30m, 12h, 7d or 2w, or a date such as" in str(refused.value.hint)


def test_a_date_that_lies_ahead_would_mean_everything_and_is_refused() -> None:
    with pytest.raises(UsageError, match="2027-01-01 is still to come"):
        parse_past("--older-than", "2027-01-01", NOW)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("0193", "is too short to name a dead letter"),
        ("zebra-zebra", "no dead letter 'zebra-zebra'"),
        ("fffffff", "no dead letter 'fffffff'"),
        ("0193579f", "begins the ids of 2 dead letters: 0193579f-2222"),
    ],
)
def test_an_id_that_names_no_letter_or_two_is_refused(given: str, reason: str) -> None:
    twin = replace(LETTER, id=LETTER.id.replace("2222", "2223"))

    with pytest.raises(UsageError, match=reason):
        find_by_id(
            given,
            noun="dead letter",
            listed_by="dlq list",
            get=lambda _: None,
            beginning=lambda prefix: [
                each for each in (LETTER, twin) if each.id.startswith(prefix)
            ],
        )


def test_a_letter_is_found_by_the_beginning_of_its_id_in_any_spelling() -> None:
    def find(given: str) -> DeadLetter:
        return find_by_id(
            given,
            noun="dead letter",
            listed_by="dlq list",
            get={LETTER.id: LETTER}.get,
            beginning=lambda prefix: [LETTER] if LETTER.id.startswith(prefix) else [],
        )

    assert find(LETTER.id[:13]) == LETTER
    assert find("0193579F 2222".replace(" ", "")) == LETTER
    assert find(LETTER.id.replace("-", "").upper()) == LETTER


def asked_by(*arguments: str, **environment: str) -> Asked:
    """What a command makes of its arguments and of the environment."""
    seen: list[Asked] = []
    app = typer.Typer()

    @app.command()
    def delete(
        ctx: typer.Context,
        ids: LettersArgument = None,
        *,
        all_letters: AllOption = False,
        code: CodeOption = None,
    ) -> None:
        asked = Asked(ids=tuple(ids or ()), all=all_letters, code=code)
        seen.append(asked.checked("delete", ctx))

    result = CliRunner().invoke(app, list(arguments), env=environment)
    if result.exception is not None:
        raise result.exception
    return seen[0]


@pytest.mark.parametrize("arguments", [[], ["0193579f", "--all"], ["0193579f", "--code", "x"]])
def test_nothing_is_changed_where_it_is_not_clear_which_letters_are_meant(
    arguments: list[str],
) -> None:
    with pytest.raises(UsageError) as refused:
        asked_by(*arguments)

    assert "delete" in str(refused.value.hint)


def test_ids_or_options_or_all_say_which_letters_are_meant() -> None:
    assert asked_by("0193579f") == Asked(ids=("0193579f",))
    assert asked_by("--all", "--code", "x") == Asked(all=True, code="x")
    assert asked_by(LEXIGRAM_RAY_CODE="x") == Asked(code="x")


def test_ids_go_before_what_the_environment_says() -> None:
    assert asked_by("0193579f", LEXIGRAM_RAY_CODE="x") == Asked(ids=("0193579f",))


def test_a_table_of_letters_says_what_failed_why_and_when_it_is_retried(
    capsys: pytest.CaptureFixture[str],
) -> None:
    waiting = replace(
        LETTER,
        id="0193579f-3333-7abc-8def-0123456789ab",
        category=FailureCategory.TRANSIENT,
        retry_count=2,
        next_retry_at=NOW + timedelta(seconds=90),
    )
    print_letters([LETTER, waiting], five_retries, NOW)
    header, first, second = capsys.readouterr().out.splitlines()

    assert " ".join(header.split()) == (
        "ID STATUS CATEGORY CODE COLLECTION FAILED RETRIES NEXT RETRY SOURCE ERROR"
    )
    assert first.startswith("0193579f-2222  open    invalid_input  corrupt")
    assert LETTER.source in first
    assert r"it is \x1b[31mtruncated at byte 400" in first
    assert "2 h ago  0/5" in first
    assert "2/5      in 1 min 30 s" in second


@pytest.mark.parametrize(
    ("letter", "said"),
    [
        (LETTER, "-"),
        (replace(LETTER, next_retry_at=NOW - timedelta(seconds=1)), "due"),
        (replace(LETTER, status=LetterStatus.RETRYING, next_retry_at=NOW), "being retried"),
        (replace(LETTER, status=LetterStatus.ARCHIVED, next_retry_at=NOW), "-"),
    ],
)
def test_the_next_retry_is_told_only_of_letters_that_get_one(letter: DeadLetter, said: str) -> None:
    assert next_retry(letter, NOW) == said


def test_a_cause_is_shown_with_the_line_that_retries_it_and_nothing_else(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_groups([GROUP, replace(GROUP, count=3)], Asked(collection="a b"), INVOCATION, NOW)
    lines = capsys.readouterr().out.splitlines()

    assert lines[:4] == [
        "1,204  corrupt (invalid_input) in a, b, c and 1 more; the newest 3 min ago",
        "       it is truncated",
        "       retry with: /bin/lexigram-ray dlq retry --collection 'a b' --fingerprint 5ca1ab1e",
        "",
    ]
    assert lines[4].startswith("    3  corrupt")


def test_a_page_tells_the_chain_of_failures_and_tracebacks_only_when_asked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    second = replace(ATTEMPT, at=NOW, traceback="", job_id="0193579e-9999-7abc-8def-0123456789ab")
    letter = replace(LETTER, attempts=(ATTEMPT, second), last_failed_at=NOW, retry_count=1)
    print_page(letter, None, NOW, max_retries=5)
    page = capsys.readouterr().out

    assert page.startswith("open: a document of collection papers\n")
    assert "  error       it is \\x1b[31mtruncated at byte 400\n" in page
    assert "  code        corrupt, invalid_input (kreuzberg.exceptions.ParsingError)\n" in page
    assert "which is no longer kept\n" in page
    assert "  retries     1 failed of 5 that are made by themselves\n" in page
    first, _, last, error = page.splitlines()[-4:]
    assert first.startswith("failure 1: 2026-11-24 ")
    assert last.endswith(f"corrupt (invalid_input) in job {second.job_id}")
    assert error == r"  it is \x1b[31mtruncated at byte 400"
    assert "Traceback" not in page

    print_page(letter, None, NOW, max_retries=5, tracebacks=True)
    assert "traceback of failure 1 of 2:\n  Traceback\n    File x\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("letter", "has_workers", "said"),
    [
        (
            LETTER,
            False,
            [
                "traceback with: /bin/lexigram-ray dlq show " + LETTER.id,
                "note: the input is at fault: mend it, then retry",
                "retry with: /bin/lexigram-ray dlq retry " + LETTER.id,
                "or set it aside: /bin/lexigram-ray dlq archive " + LETTER.id,
                "note: nothing works on retries yet",
                "try: /bin/lexigram-ray up",
            ],
        ),
        (
            replace(LETTER, status=LetterStatus.RETRYING, attempts=(), retry_job_id="0193-next"),
            True,
            ["watch with: /bin/lexigram-ray jobs watch 0193-next"],
        ),
        (
            replace(LETTER, status=LetterStatus.ADDRESSED, attempts=()),
            True,
            ["its job: /bin/lexigram-ray jobs show " + LETTER.job_id],
        ),
    ],
)
def test_what_to_try_next_fits_the_letters_state(
    letter: DeadLetter, has_workers: bool, said: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    say_next(letter, INVOCATION, has_workers=has_workers, tracebacks=False)

    lines = capsys.readouterr().err.splitlines()
    assert [line[: len(begun)] for line, begun in zip(lines, said, strict=True)] == said


def test_what_is_left_out_is_counted_by_reason_and_named_by_its_first_ids(
    capsys: pytest.CaptureFixture[str],
) -> None:
    refusals = Refusals()
    refusals.add([(LETTER, "its table is gone")])
    refusals.add(
        (replace(LETTER, id=f"0193579f-{number:04d}"), "its file is gone") for number in range(7)
    )
    say_refusals(refusals)

    first, second = refusals.to_list()
    assert (first["reason"], first["count"], second["count"]) == ("its file is gone", 7, 1)
    assert first["ids"] == [f"0193579f-{number:04d}" for number in range(5)]
    assert capsys.readouterr().err.splitlines()[1] == (
        "left out: 1, because its table is gone (0193579f-2222)"
    )
    assert [
        exit_code(refusals, 0, are_named=True),
        exit_code(refusals, 1, are_named=True),
        exit_code(refusals, 0, are_named=False),
    ] == [1, 3, 0]
