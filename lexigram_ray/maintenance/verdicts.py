"""What one look at a part of the system finds, and how each look keeps to its time."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar

from lexigram_ray.core.errors import WorkerError

Status = Literal["ok", "warn", "fail"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How a part of the system is.

    Attributes:
        detail: What was seen, in words.
        fix: What to do about it; empty where there is nothing to do.
        is_alarming: Whether a person should be told although nothing has failed yet.
        figures: JSON, with units in the names.
    """

    status: Status
    detail: str
    fix: str = ""
    is_alarming: bool = False
    figures: Mapping[str, object] = field(default_factory=dict[str, object])


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A look that is to be taken.

    Attributes:
        name: What is looked at, such as `disk` or `collection docs`.
        seconds: How long that may take.
        look: Takes the look; whatever it raises is what it has found.
        fix: What to do where it fails, and says no other way out.
    """

    name: str
    seconds: float
    look: Callable[[], Verdict]
    fix: str = "lexigram-ray doctor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A look that was taken.

    Attributes:
        name: Of the check.
        seconds: How long it took.
    """

    name: str
    verdict: Verdict
    seconds: float

    @property
    def is_fault(self) -> bool:
        """Whether a person should know of it."""
        return self.verdict.status == "fail" or self.verdict.is_alarming

    @property
    def line(self) -> str:
        """What a person reads."""
        return f"{self.verdict.status:<4}  {self.name}: {self.verdict.detail}"

    def to_dict(self) -> dict[str, object]:
        """Return the contract's object."""
        return {
            "name": self.name,
            "status": self.verdict.status,
            "detail": self.verdict.detail,
            "fix": self.verdict.fix,
            "seconds": round(self.seconds, 3),
        }


class NoAnswerError(WorkerError):
    """A look was not over in its time; it may still go on, in a thread that nobody waits for."""

    code = "no_answer"


def take(check: Check, seconds_left: float) -> Finding:
    """Take a look, and return what it has found within its time, or that it has not ended.

    Args:
        check: The look to take.
        seconds_left: Of the time of all looks; with none left, this one is not begun.
    """
    began = time.monotonic()
    if seconds_left <= 0:
        verdict = Verdict(
            status="fail",
            detail="not looked at: the looks before it took all the time there was",
            fix="see to what does not answer first",
        )
    else:
        verdict = _verdict(check, min(check.seconds, seconds_left))
    return Finding(name=check.name, verdict=verdict, seconds=time.monotonic() - began)


def answer_within(seconds: float, ask: Callable[[], T]) -> T:
    """Return what `ask` returns.

    It runs in a thread of its own, because nothing else bounds a file system that does not answer,
    or a call into native code.

    Raises:
        NoAnswerError: It has not ended in this time. Nobody waits for it any more.
    """
    ended: queue.SimpleQueue[tuple[T | None, Exception | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            ended.put((ask(), None))
        except Exception as error:  # noqa: BLE001 - handed to the caller, which raises it
            ended.put((None, error))

    threading.Thread(target=run, name="health-look", daemon=True).start()
    try:
        answer, error = ended.get(timeout=seconds)
    except queue.Empty:
        raise NoAnswerError(
            f"no answer within {seconds:g} s", hint="see whether its disk or server hangs"
        ) from None
    if error is not None:
        raise error
    return answer  # pyright: ignore[reportReturnType] - it is what `ask` has returned


def failed(error: Exception) -> Verdict:
    """Return what an error says of the part that was looked at."""
    if isinstance(error, WorkerError):
        return Verdict(status="fail", detail=error.message, fix=error.hint or "")
    said = str(error)
    name = type(error).__name__
    return Verdict(status="fail", detail=f"{name}: {said}" if said else name)


def _verdict(check: Check, seconds: float) -> Verdict:
    try:
        return answer_within(seconds, check.look)
    except Exception as error:  # noqa: BLE001 - what breaks a look is what it has found
        found = failed(error)
        detail = found.detail.removeprefix(f"{check.name}: ")
        return replace(found, detail=detail, fix=found.fix or check.fix)
