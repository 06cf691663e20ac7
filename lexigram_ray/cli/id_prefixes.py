"""Things as users name them: by the beginning of an id, in any spelling of it."""

from __future__ import annotations

import itertools
import string
import uuid
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from lexigram_ray.core.errors import UsageError

SHORTEST_GIVEN = 6
NAMED = 10
COUNTED = 100
"""Some lists that are looked up end just behind that."""

ALL_DIGITS = 32
HEX_DIGITS = frozenset(string.hexdigits)
GROUPS = (0, 8, 12, 16, 20, None)
"""Where an id's digits are cut by hyphens."""


class HasId(Protocol):
    """What is named by an id."""

    @property
    def id(self) -> str:
        """A UUID with its hyphens, in small letters."""
        ...


T = TypeVar("T", bound=HasId)


def find_by_id(
    given: str,
    *,
    noun: str,
    listed_by: str,
    get: Callable[[str], T | None],
    beginning: Callable[[str], Sequence[T]],
) -> T:
    """Return the one thing whose id begins so.

    Args:
        noun: What it is, such as `job`.
        listed_by: The command that lists them, without the program: `jobs list`.
        get: Looks a whole id up.
        beginning: Looks the beginning of an id up, with its hyphens.

    Raises:
        UsageError: It is too short, names nothing, or more than one.
    """
    digits = _digits(given)
    if digits is None:
        raise _nothing(given, noun, listed_by)
    if len(digits) < SHORTEST_GIVEN:
        raise UsageError(
            f"{given!r} is too short to name a {noun}",
            hint=f"give {SHORTEST_GIVEN} or more characters of an id that `{listed_by}` shows",
        )
    whole = whole_id(given)
    if whole is not None:
        found = get(whole)
        candidates: Sequence[T] = [] if found is None else [found]
    else:
        candidates = beginning(_hyphenated(digits))
    if not candidates:
        raise _nothing(given, noun, listed_by)
    if len(candidates) > 1:
        shown = ", ".join(candidate.id for candidate in candidates[:NAMED])
        more = f" and {len(candidates) - NAMED} more" if len(candidates) > NAMED else ""
        count = str(len(candidates))
        if len(candidates) > COUNTED:
            more, count = ", ...", f"more than {COUNTED}"
        raise UsageError(
            f"{given!r} begins the ids of {count} {noun}s: {shown}{more}",
            hint="give more of the one that you mean",
        )
    return candidates[0]


def whole_id(given: str) -> str | None:
    """Return the id as it is kept, or None where it is only the beginning of one."""
    digits = _digits(given)
    return str(uuid.UUID(digits)) if digits is not None and len(digits) == ALL_DIGITS else None


def _digits(given: str) -> str | None:
    digits = given.strip().lower().replace("-", "")
    return digits if set(digits) <= HEX_DIGITS else None


def _nothing(given: str, noun: str, listed_by: str) -> UsageError:
    return UsageError(f"no {noun} {given!r}", hint=f"`lexigram-ray {listed_by}` shows them")


def _hyphenated(digits: str) -> str:
    groups = (digits[start:end] for start, end in itertools.pairwise(GROUPS))
    return "-".join(group for group in groups if group)
