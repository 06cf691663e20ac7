"""An answer that is a value or an error: `Ok(value)` or `Err(error)`, for those who ask by shape.

Queues and adapters of the reference's shape return one instead of raising. Both variants are told
apart by `is_ok()`, by `isinstance`, or by `match`:

    match await adapter.ingest_to_rag(documents):
        case Ok(report): ...
        case Err(error): ...
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from lexigram_ray.core.errors import WorkerError

T_co = TypeVar("T_co", covariant=True)
E_co = TypeVar("E_co", covariant=True)
U = TypeVar("U")


class UnwrapError(WorkerError):
    """A value was taken out of an `Err`, or an error out of an `Ok`."""


class Result(Generic[T_co, E_co]):
    """Base of the two variants, `Ok` and `Err`; never made by itself."""

    __slots__ = ()

    def is_ok(self) -> bool:
        """Return whether this is a value."""
        return isinstance(self, Ok)

    def is_err(self) -> bool:
        """Return whether this is an error."""
        return isinstance(self, Err)

    def unwrap(self) -> T_co:
        """Return the value.

        Raises:
            UnwrapError: This is an error; an exception in it is the cause.
        """
        if isinstance(self, Ok):
            return self.value
        raise _no_value(self)

    def unwrap_err(self) -> E_co:
        """Return the error.

        Raises:
            UnwrapError: This is a value.
        """
        if isinstance(self, Err):
            return self.error
        raise UnwrapError(f"there is no error in {self!r}")

    def unwrap_or(self, default: U) -> T_co | U:
        """Return the value, or a default in place of an error."""
        return self.value if isinstance(self, Ok) else default

    def unwrap_or_else(self, op: Callable[[E_co], U]) -> T_co | U:
        """Return the value, or what a function makes of the error."""
        return self.value if isinstance(self, Ok) else op(self.unwrap_err())

    def expect(self, message: str) -> T_co:
        """Return the value, or raise with a message of one's own.

        Raises:
            UnwrapError: This is an error.
        """
        if isinstance(self, Ok):
            return self.value
        raise _no_value(self, message)

    def map_sync(self, op: Callable[[T_co], U]) -> Result[U, E_co]:
        """Return a result whose value went through a function; an error stays as it is."""
        return Ok(op(self.value)) if isinstance(self, Ok) else Err(self.unwrap_err())

    def map_err(self, op: Callable[[E_co], U]) -> Result[T_co, U]:
        """Return a result whose error went through a function; a value stays as it is."""
        return Ok(self.value) if isinstance(self, Ok) else Err(op(self.unwrap_err()))

    def match(self, ok: Callable[[T_co], U], err: Callable[[E_co], U]) -> U:
        """Return what the function for the variant at hand makes of its content."""
        return ok(self.value) if isinstance(self, Ok) else err(self.unwrap_err())


@dataclass(frozen=True, slots=True)
class Ok(Result[T_co, E_co]):
    """It went well; `value` came of it."""

    value: T_co


@dataclass(frozen=True, slots=True)
class Err(Result[T_co, E_co]):
    """It failed; `error` says why: an exception, or an object or text of the caller's."""

    error: E_co


def _no_value(result: Result[object, object], message: str = "") -> UnwrapError:
    failed, error = UnwrapError(message or f"there is no value in {result!r}"), result.unwrap_err()
    failed.__cause__ = error if isinstance(error, BaseException) else None
    return failed
