"""From an exception to the record of it."""

from __future__ import annotations

import errno
import traceback

from lexigram_ray.core.errors import (
    DiskFullError,
    EmbedderDiedError,
    ParserStartError,
    UnreachableError,
    UsageError,
    WorkerError,
)
from lexigram_ray.core.types import Failure
from lexigram_ray.jobs.classifier import ErrorClassifier

TRACEBACK_CHARACTERS = 8_000
MACHINE_WIDE = (
    DiskFullError,
    EmbedderDiedError,
    ParserStartError,
    UsageError,
    UnreachableError,
    MemoryError,
)


def failure_of(error: BaseException) -> Failure:
    """Describe an error as the record of one document."""
    trace = "".join(traceback.format_exception(error))[-TRACEBACK_CHARACTERS:]
    verdict = ErrorClassifier.verdict(error)
    if isinstance(error, WorkerError):
        reason = error.message if error.hint is None else f"{error.message} ({error.hint})"
        error_type = type(error).__qualname__
    else:
        reason = f"{type(error).__name__}: {error}"
        error_type = f"{type(error).__module__}.{type(error).__qualname__}"
    return Failure(
        category=verdict.category,
        code=verdict.code,
        reason=reason,
        error_type=error_type,
        traceback=trace,
        retry_after=verdict.retry_after,
    )


def raise_if_machine_wide(error: BaseException) -> None:
    """Re-raise what is no document's fault: it would fail all the others as well.

    Raises:
        DiskFullError: No space is left.
        EmbedderDiedError: The process that holds the model died.
        ParserStartError: No parser process can be started.
        UsageError: The model or a setting is wrong.
        UnreachableError: Something that all need does not answer.
        MemoryError: The worker itself is out of memory.
    """
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        raise DiskFullError(
            f"no space left on the device: {error.filename or error}",
            hint="free some space and run the same command again",
        ) from error
    if isinstance(error, MACHINE_WIDE):
        raise error
