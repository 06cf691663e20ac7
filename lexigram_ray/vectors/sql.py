"""Lance's SQL filters: the one place where a value is put into SQL text."""

from __future__ import annotations

from collections.abc import Iterable


def literal(value: str) -> str:
    """Return `value` as a SQL string literal, whatever it holds."""
    return "'" + value.replace("'", "''") + "'"


def is_any_of(column: str, values: Iterable[str]) -> str:
    """Return the filter that holds where `column` is one of `values`; false for no values."""
    items = ", ".join(literal(value) for value in values)
    return f"{column} IN ({items})" if items else "false"


def enclosed(condition: str) -> str:
    """Return a user's condition so that it can only be one condition.

    Lance pastes a filter behind `WHERE` and ignores what follows a complete condition
    (`page = 1; drop table x`, `page = 1 LIMIT 5`): within parentheses, these are errors. The line
    break ends a comment.
    """
    return f"({condition}\n)"
