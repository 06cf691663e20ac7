"""Dead letters in words: how one stands, when it is retried, what its errors are."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from lexigram_ray.cli.job_words import age
from lexigram_ray.cli.output import duration
from lexigram_ray.core.types import FailureCategory
from lexigram_ray.jobs.letter_records import LetterStatus

if TYPE_CHECKING:
    from lexigram_ray.jobs.letter_records import DeadLetter

STYLES = {
    LetterStatus.OPEN: "red",
    LetterStatus.RETRYING: "cyan",
    LetterStatus.ADDRESSED: "green",
    LetterStatus.ARCHIVED: "dim",
}
RESOLUTIONS = {
    "succeeded": "it has succeeded since",
    "skipped": "it was skipped since: there is nothing in it to find",
    "removed": "the document was removed",
    "dropped": "the collection was dropped",
    "archived": "it was archived",
}
ADVICE: Mapping[FailureCategory, str] = {
    FailureCategory.INVALID_INPUT: "the input is at fault: mend it, then retry",
    FailureCategory.PERMANENT: "trying again does not help by itself: mend the cause, then retry",
    FailureCategory.THROTTLED: "a server asked to wait",
    FailureCategory.TRANSIENT: "it may pass by itself",
    FailureCategory.UNKNOWN: "nobody knows this error: it is tried again a few times",
}
RETRYING = "being retried"
DUE = "due"
NONE = "-"


def retries(letter: DeadLetter, max_retries: int) -> str:
    """Return `1/5`: how many retries have failed, of how many that are made by themselves.

    Only the first where none is made by itself. A dash stands for none of none: trying again does
    not help, or nobody wants it.
    """
    if not max_retries:
        return f"{letter.retry_count:,}" if letter.retry_count else NONE
    return f"{letter.retry_count:,}/{max_retries:,}"


def next_retry(letter: DeadLetter, now: datetime) -> str:
    """Return when a letter is tried again: `in 5 min 3 s`, `due`, `being retried` or a dash."""
    if letter.status is LetterStatus.RETRYING:
        return RETRYING
    if letter.status is not LetterStatus.OPEN or letter.next_retry_at is None:
        return NONE
    seconds = (letter.next_retry_at - now).total_seconds()
    return f"in {duration(seconds)}" if seconds > 0 else DUE


def one_line(error: str) -> str:
    """Return an error without its line breaks and what is repeated of blanks."""
    return " ".join(error.split())


def failed(letter: DeadLetter, now: datetime) -> str:
    """Return how long ago it failed last."""
    return f"{age(letter.last_failed_at, now)} ago"
