"""Conditions in SQL from strangers: a small language, checked word by word before Lance sees it.

Lance can only read, but a function that makes texts out of nothing takes all the memory of a
replica, and an expression of many thousand terms its stack.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import NamedTuple

from lexigram_ray.service.problems import Refusal
from lexigram_ray.vectors.condition import CONDITION_REFUSED

LONGEST = 2_000
MOST_TOKENS = 400
"""Of one condition: with many more, planning it takes longer than any search."""
DEEPEST = 20

FUNCTIONS = frozenset(
    {
        "abs",
        "array_contains",
        "array_has",
        "array_has_all",
        "array_has_any",
        "array_length",
        "btrim",
        "cardinality",
        "cast",
        "ceil",
        "char_length",
        "character_length",
        "coalesce",
        "contains",
        "date_part",
        "date_trunc",
        "ends_with",
        "extract",
        "floor",
        "length",
        "lower",
        "ltrim",
        "now",
        "nullif",
        "octet_length",
        "regexp_like",
        "regexp_match",
        "round",
        "rtrim",
        "starts_with",
        "strpos",
        "substr",
        "substring",
        "to_timestamp",
        "trim",
        "try_cast",
        "upper",
    }
)

_BEFORE_PARENTHESIS = frozenset({"and", "any", "between", "in", "is", "like", "not", "or", "when"})
"""Words that a parenthesis may follow although they are no functions."""

_TOKEN = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<text>'(?:[^']|'')*')
  | (?P<name>"(?:[^"])+"|`[^`]+`)
  | (?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
  | (?P<word>[^\W\d]\w*)
  | (?P<operator><=|>=|<>|!=|\|\||::|[=<>+\-*/%,.()\[\]])
    """,
    re.VERBOSE,
)


def check_condition(where: str | None) -> None:
    """Refuse what is more than a plain condition; whether it fits the columns, Lance says.

    Raises:
        Refusal: It is too long, or uses what is not offered.
    """
    if where is None or not where.strip():
        return
    if len(where) > LONGEST:
        raise _refused(f"it has more than {LONGEST:,} characters")
    tokens = list(_tokens(where))
    depth = 0
    for before, token in itertools.pairwise([_Token("", "", 0), *tokens]):
        if token.kind == "text" and before.end == token.start and before.kind in ("word", "number"):
            # E'...', say, whose end is found by other rules.
            raise _refused("a text stands right behind a word: put a blank between them")
        if token.text == "(":
            depth += 1
            _check_call(before)
        elif token.text == ")":
            depth -= 1
        if depth > DEEPEST:
            raise _refused(f"it has more than {DEEPEST} parentheses in each other")
    if len(tokens) > MOST_TOKENS:
        raise _refused(f"it has more than {MOST_TOKENS} words and signs")


class _Token(NamedTuple):
    kind: str
    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)


def _tokens(where: str) -> Iterator[_Token]:
    position = 0
    while position < len(where):
        found = None if where.startswith(("--", "/*"), position) else _TOKEN.match(where, position)
        if found is None:
            raise _refused(f"{where[position : position + 10]!r} cannot be used in it")
        position = found.end()
        if found.lastgroup != "space":
            yield _Token(found.lastgroup or "", found.group(), found.start())


def _check_call(before: _Token) -> None:
    if before.kind not in ("word", "name"):
        return
    name = before.text.strip('"`').lower()
    if name not in FUNCTIONS and name not in _BEFORE_PARENTHESIS:
        raise _refused(
            f"the function {name!r} is not offered; these are: {', '.join(sorted(FUNCTIONS))}"
        )


def _refused(reason: str) -> Refusal:
    return Refusal(
        422,
        f"the condition cannot be used: {reason}",
        code=CONDITION_REFUSED,
        hint="compare columns with values, such as: page = 3 AND source LIKE '%.pdf'",
        param="where",
    )
