"""A property that is worked out once, whatever comes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

T = TypeVar("T")


class once(Generic[T]):  # noqa: N801 - a decorator, like `property`
    """Like `functools.cached_property`, and a failure is kept too: it is not tried again."""

    def __init__(self, work_out: Callable[[Any], T]) -> None:
        self._work_out = work_out
        self.__doc__ = work_out.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> once[T]: ...

    @overload
    def __get__(self, instance: object, owner: type) -> T: ...

    def __get__(self, instance: object | None, owner: type) -> T | once[T]:
        if instance is None:
            return self
        failed: dict[str, Exception] = vars(instance).setdefault("failed", {})
        if self._name in failed:
            raise failed[self._name]
        try:
            value = self._work_out(instance)
        except Exception as error:
            failed[self._name] = error
            raise
        # From now on the instance's own entry is found first: there is no `__set__` here.
        vars(instance)[self._name] = value
        return value
