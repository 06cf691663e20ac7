"""Log records that say which job they belong to, and lines of text or JSON made of them.

The job is a context variable: several jobs may run in threads of one process. A thread begins
without it, so that whoever starts one for a job wraps its function in `in_this_context`. A process
that works for one job alone says so once, with `all_is_of_job`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Literal, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobTag:
    """The job that something is done for; all is empty where there is none.

    Attributes:
        trace: That it belongs to, as a `traceparent`; see `tracing`.
    """

    job_id: str = ""
    collection: str = ""
    trace: str = ""


_NO_JOB = JobTag()
_TAG: ContextVar[JobTag | None] = ContextVar("job", default=None)
_of_process: list[JobTag] = [_NO_JOB]


@contextmanager
def logged_as(job_id: str, collection: str, trace: str = "") -> Generator[None]:
    """Have all records of this context say that they belong to a job."""
    token = _TAG.set(JobTag(job_id=job_id, collection=collection, trace=trace))
    try:
        yield
    finally:
        _TAG.reset(token)


def all_is_of_job(job_id: str, collection: str, trace: str = "") -> None:
    """Have all records of this process that are in no job's context belong to this one."""
    _of_process[0] = JobTag(job_id=job_id, collection=collection, trace=trace)


def current_job() -> JobTag:
    """Return the job that a record of this moment belongs to."""
    return _TAG.get() or _of_process[0]


def in_this_context(function: Callable[P, T]) -> Callable[P, T]:
    """Return a function that runs in a copy of the context of now, for one new thread."""
    return partial(copy_context().run, function)


class JobFilter(logging.Filter):
    """Lets every record pass, with `job_id` and `collection` set.

    For a handler: a logger's own filter does not see the records of the loggers below it.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Set what the record says of its job."""
        tag = current_job()
        record.job_id, record.collection = tag.job_id, tag.collection
        return True


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message, job_id, collection, exception.

    What a record was given as `facts`, such as a request's id, is added to it.

    Args:
        redact: Takes secrets out of text.
    """

    def __init__(self, redact: Callable[[str], str]) -> None:
        super().__init__()
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line."""
        said: dict[str, object] = {
            "time": _moment(record).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self._redact(record.getMessage()),
            "job_id": getattr(record, "job_id", "") or None,
            "collection": getattr(record, "collection", "") or None,
            "exception": self._exception(record),
            **self._facts(record),
        }
        return json.dumps(said, ensure_ascii=False)

    def _facts(self, record: logging.LogRecord) -> dict[str, object]:
        facts: dict[str, object] = getattr(record, "facts", {})
        return {
            name: self._redact(fact) if isinstance(fact, str) else fact
            for name, fact in facts.items()
        }

    def _exception(self, record: logging.LogRecord) -> str | None:
        if record.exc_info and record.exc_info[0] is not None:
            return self._redact(self.formatException(record.exc_info))
        return None


class TextLines(logging.Formatter):
    """`2026-11-24T13:00:00.000+00:00 WARNING [job 0193… papers] …`, with tracebacks below.

    Args:
        redact: Takes secrets out of text.
    """

    def __init__(self, redact: Callable[[str], str]) -> None:
        super().__init__("%(moment)s %(levelname)s %(about)s%(message)s")
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as text."""
        record.moment = _moment(record).isoformat(timespec="milliseconds")
        job_id, collection = getattr(record, "job_id", ""), getattr(record, "collection", "")
        record.about = f"[job {' '.join(filter(None, (job_id, collection)))}] " if job_id else ""
        return self._redact(super().format(record))


def formatter(kind: Literal["text", "json"], redact: Callable[[str], str]) -> logging.Formatter:
    """Return what makes lines of records."""
    return JsonLines(redact) if kind == "json" else TextLines(redact)


def _moment(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)
