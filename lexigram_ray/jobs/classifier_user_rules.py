"""A user's own rule for the category of an error."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from lexigram_ray.core.errors import UsageError
from lexigram_ray.core.types import FailureCategory
from lexigram_ray.jobs.classifier_codes import code_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A user's own rule: every condition that is given must hold.

    Attributes:
        category: What an error is that it fits.
        type_name: A class of the error or of one of its causes, or a class above it: its full
            name (`httpx.ConnectError`), or its last part.
        code: The error's own code: our `code`, an HTTP status or an errno.
        pattern: Is searched for in the error's words, whatever their case.
        function: Is given the exception, or its text where there is no more of it.
        name: The code that failures show.
    """

    category: FailureCategory
    type_name: str | None = None
    code: str | int | None = None
    pattern: str | re.Pattern[str] | None = None
    function: Callable[[BaseException | str], bool] | None = None
    name: str = "user_rule"

    def __post_init__(self) -> None:
        if (self.type_name, self.code, self.pattern, self.function) == (None,) * 4:
            raise UsageError(
                "a rule without a condition would fit every error",
                hint="give it type_name, code, pattern or function",
            )
        if isinstance(self.pattern, str):
            try:
                compiled = re.compile(self.pattern, re.IGNORECASE)
            except re.error as error:
                raise UsageError(
                    f"a rule's pattern {self.pattern!r} is no regular expression: {error}",
                    hint="escape what is meant literally with re.escape",
                ) from error
            object.__setattr__(self, "pattern", compiled)

    def fits(self, error: BaseException | str) -> bool:
        """Whether it is about this error; a text alone has neither class nor code."""
        if isinstance(error, str):
            known = self.type_name is None and self.code is None
        else:
            known = self._fits_type(error) and self._fits_code(error)
        if not known:
            return False
        pattern = cast("re.Pattern[str] | None", self.pattern)
        if pattern is not None and pattern.search(str(error)) is None:
            return False
        return self.function is None or bool(self.function(error))

    def _fits_type(self, error: BaseException) -> bool:
        if self.type_name is None:
            return True
        full = f"{type(error).__module__}.{type(error).__qualname__}"
        return self.type_name == full or any(
            self.type_name
            in (f"{cls.__module__}.{cls.__qualname__}", short_name(cls), cls.__name__)
            for cls in type(error).__mro__
        )

    def _fits_code(self, error: BaseException) -> bool:
        if self.code is None:
            return True
        coded = code_of(error)
        known = {getattr(error, "code", None), getattr(error, "errno", None)}
        if coded is not None:
            known |= {coded[1], coded[1].rpartition("_")[2]}
        return self.code in known or str(self.code) in known


def short_name(cls: type) -> str:
    """Return a class's name by its package alone: private modules move between releases."""
    return f"{cls.__module__.partition('.')[0]}.{cls.__qualname__}"
