"""One dead letter in full: what failed, how often and why, and what to do about it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from lexigram_ray.cli.job_words import at, local_time
from lexigram_ray.cli.letter_words import ADVICE, RESOLUTIONS, STYLES, one_line
from lexigram_ray.cli.output import paint, print_tracebacks, printable, say, write_line
from lexigram_ray.jobs.letter_records import LetterStatus, Subject

if TYPE_CHECKING:
    from lexigram_ray.cli.invocation import Invocation
    from lexigram_ray.jobs.letter_records import DeadLetter, LetterAttempt
    from lexigram_ray.jobs.records import Job

LABEL_WIDTH = 11


def print_page(
    letter: DeadLetter,
    job: Job | None,
    now: datetime,
    *,
    max_retries: int,
    tracebacks: bool = False,
) -> None:
    """Print a letter on stdout.

    Args:
        job: The one in which it failed last; None where the store has it no more.
        max_retries: Automatic retries that a failure of its category gets.
    """
    status = paint(letter.status.value, STYLES[letter.status], sys.stdout)
    write_line(sys.stdout, f"{status}: {_subject(letter)}")
    for label, text in _lines(letter, job, now, max_retries):
        write_line(sys.stdout, f"  {label:<{LABEL_WIDTH}} {printable(text)}")
    if letter.attempts:
        write_line(sys.stdout, "")
        _print_attempts(letter.attempts)
    if tracebacks:
        of = len(letter.attempts)
        named = [(f"failure {n} of {of}", a.traceback) for n, a in enumerate(letter.attempts, 1)]
        print_tracebacks(named, "failure")


def say_next(
    letter: DeadLetter, invocation: Invocation, *, has_workers: bool, tracebacks: bool
) -> None:
    """Say on stderr what can be done now, in lines that can be copied.

    Args:
        has_workers: Whether something is up that works on recorded jobs.
        tracebacks: Whether they were shown.
    """
    for label, line in _steps(letter, invocation, has_workers=has_workers, tracebacks=tracebacks):
        say(printable(line), label=label, style="bold" if label == "note" else "cyan")


def _subject(letter: DeadLetter) -> str:
    where = f"collection {printable(letter.collection)}"
    match letter.subject:
        case Subject.DOCUMENT:
            return f"a document of {where}"
        case Subject.ROW:
            return f"a table's row of {where}"
        case Subject.JOB:
            return f"the {letter.kind} job of {where}, as a whole"


def _lines(
    letter: DeadLetter, job: Job | None, now: datetime, max_retries: int
) -> Iterator[tuple[str, str]]:
    yield "letter", letter.id
    yield "source", letter.source
    yield "error", one_line(letter.error)
    kind = f" ({letter.error_type})" if letter.error_type else ""
    yield "code", f"{letter.code}, {letter.category.value}{kind}"
    if letter.first_failed_at != letter.last_failed_at:
        yield "first", at(letter.first_failed_at, now)
    yield "failed", at(letter.last_failed_at, now)
    ended = f", {job.status.value}" if job is not None else ", which is no longer kept"
    yield "in job", f"{letter.job_id}{ended}"
    yield "retries", _retries(letter.retry_count, max_retries)
    if letter.next_retry_at is not None:
        asked = ", as was asked" if letter.asked else ""
        yield "next retry", f"{at(letter.next_retry_at, now)}{asked}"
    if letter.retry_job_id is not None:
        yield "retried by", letter.retry_job_id
    if letter.closed_at is not None:
        why = RESOLUTIONS.get(letter.resolution, letter.resolution)
        yield "closed", f"{at(letter.closed_at, now)}: {why}"
    yield "cause", letter.fingerprint


def _retries(failed: int, at_most: int) -> str:
    if at_most:
        return f"{failed:,} failed of {at_most:,} that are made by themselves"
    return f"{failed:,} failed; none is made by itself" if failed else "none is made by itself"


def _print_attempts(attempts: Sequence[LetterAttempt]) -> None:
    """Print the failures, two lines each: an error is too long for a column."""
    for number, attempt in enumerate(attempts, 1):
        what = paint(printable(attempt.code), "red", sys.stdout)
        where = f"in job {printable(attempt.job_id)}"
        when = local_time(attempt.at)
        write_line(sys.stdout, f"failure {number}: {when}, {what} ({attempt.category}) {where}")
        write_line(sys.stdout, f"  {printable(one_line(attempt.error))}")


def _steps(
    letter: DeadLetter, invocation: Invocation, *, has_workers: bool, tracebacks: bool
) -> Iterator[tuple[str, str]]:
    if not tracebacks and any(attempt.traceback for attempt in letter.attempts):
        yield "traceback with", invocation.suggest("dlq", "show", letter.id, "--traceback")
    match letter.status:
        case LetterStatus.OPEN:
            yield "note", ADVICE[letter.category]
            yield "retry with", invocation.suggest("dlq", "retry", letter.id)
            yield "or set it aside", invocation.suggest("dlq", "archive", letter.id)
        case LetterStatus.RETRYING:
            job_id = letter.retry_job_id or letter.job_id
            yield "watch with", invocation.suggest("jobs", "watch", job_id)
        case LetterStatus.ADDRESSED | LetterStatus.ARCHIVED:
            yield "its job", invocation.suggest("jobs", "show", letter.job_id)
            return
    if not has_workers:
        yield "note", "nothing works on retries yet: the next line starts what does"
        yield "try", invocation.suggest("up")
