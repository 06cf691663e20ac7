"""A user's SQL condition: checked before a search, and refused in words."""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager

from lexigram_ray.core.errors import UsageError
from lexigram_ray.vectors.collection import Collection
from lexigram_ray.vectors.sql import enclosed
from lexigram_ray.vectors.translate import readable

CONDITION_REFUSED = "condition_refused"
"""Code of the error that refuses a condition."""

# What Lance says when a condition is well-formed but fails on a row, such as a cast of a word.
_FAILED_ON_A_ROW = "error applying filter expression"
_REASON = re.compile(
    r".*(Invalid user input|(Arrow|Schema|Cast|sql parser) error|Error during planning"
    r"|Error (parsing|tokenizing) statement): ",
    re.IGNORECASE,
)
# Lance quotes the whole statement, of which the user knows one part, and counts columns in it.
_STATEMENT = "SELECT 1 FROM t WHERE "
_PLACE = re.compile(r" at Line: \d+, Column: \d+")
_LANCE_COLUMNS = re.compile(r"\. Valid fields are .*$")


def checked_condition(collection: Collection, where: str | None) -> str | None:
    """Return the filter for a condition, planned once to see that Lance accepts it.

    Args:
        collection: Over whose columns.
        where: SQL; None or blank for no condition.

    Raises:
        UsageError: It is no condition over these columns.
    """
    if where is None or not where.strip():
        return None
    error = _planning_error(collection, where)
    if error is not None:
        raise _refused(collection, where, _reason(error, where)) from error
    condition = enclosed(where)
    # A closing parenthesis of the user's own could end the first form early, not the second.
    for form in (condition, f"CAST({where}\n AS BOOLEAN)"):
        error = _planning_error(collection, form)
        if error is not None:
            raise _refused(collection, where, "something follows the condition") from error
    return condition


@contextmanager
def condition_errors(collection: Collection, where: str | None) -> Generator[None]:
    """Raise a UsageError for a condition that fails only when it meets a row."""
    try:
        yield
    except (ValueError, OSError, RuntimeError) as error:
        if where is None or _FAILED_ON_A_ROW not in str(error).lower():
            raise
        raise _refused(collection, where, _reason(error, where)) from error


def _planning_error(collection: Collection, condition: str) -> Exception | None:
    try:
        collection.dataset.scanner(filter=condition).explain_plan()
    except (ValueError, OSError, RuntimeError, NotImplementedError) as error:
        return error
    return None


def _refused(collection: Collection, where: str, reason: str) -> UsageError:
    columns = ", ".join(name for name in collection.dataset.schema.names if name != "vector")
    return UsageError(
        f"the condition {where!r} cannot be used: {reason}",
        code=CONDITION_REFUSED,
        hint=f"columns: {columns}; for example --where \"page = 3 AND source LIKE '%.pdf'\"",
    )


def _reason(error: Exception, where: str) -> str:
    if isinstance(error, UnicodeEncodeError):
        return "it is not valid Unicode"
    text = readable(error).replace(f"{_STATEMENT}{where} (", "")
    text = _PLACE.sub("", _LANCE_COLUMNS.sub("", " ".join(text.split())))
    said = _REASON.sub("", text)
    return said.removesuffix(")") if "statement: " in text else said
