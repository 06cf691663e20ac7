"""From an error to its category: by its class, by its code, by its words, in this order.

A class says what its author meant, words change with each release. Users' own rules go first.
Nothing here imports the libraries whose errors it knows.
"""

from __future__ import annotations

import builtins
import re
import threading
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import ClassVar, NamedTuple

from lexigram_ray.core.errors import WorkerError
from lexigram_ray.core.types import FailureCategory
from lexigram_ray.embedding.server_pace import retry_after_seconds
from lexigram_ray.jobs.classifier_codes import Coded, code_in, code_of, headers_of
from lexigram_ray.jobs.classifier_rules import BROAD_TYPES, LAST_TYPES, TEXTS, TYPES
from lexigram_ray.jobs.classifier_user_rules import Rule, short_name

UNEXPECTED = "unexpected"
"""The code of an error of which nothing is known."""

MOST_CAUSES = 32
MOST_OF_A_TEXT = 20_000

# Of several errors at once the first of these decides: what never passes outweighs what does.
_WORST_FIRST = (
    FailureCategory.PERMANENT,
    FailureCategory.INVALID_INPUT,
    FailureCategory.UNKNOWN,
    FailureCategory.THROTTLED,
    FailureCategory.TRANSIENT,
)
_TYPE_IN_TEXT = re.compile(r"^\s*(?:[\w.]+\.)?([A-Z]\w*|timeout): ", re.MULTILINE)
_WAIT_IN_TEXT = re.compile(
    r"(?:try again|retry)(?:ing)? (?:in|after)[: ]+(?:(\d+)m)?(\d+(?:\.\d+)?) ?(ms|s\b|sec|$)", re.I
)
_CREATION_FAILED = "raised in its creation task"


class Verdict(NamedTuple):
    """What an error is: its category, a code to group by, and the least seconds to wait."""

    category: FailureCategory
    code: str
    retry_after: float | None = None


class ErrorClassifier:
    """Sorts errors into categories; all methods work on the class and on an instance.

    Rules that are registered hold in this process, for all threads: a program that starts workers
    registers them there as well.
    """

    _rules: ClassVar[tuple[Rule, ...]] = ()
    _changing: ClassVar[threading.Lock] = threading.Lock()

    @staticmethod
    def classify(error: str, _job: object = None) -> FailureCategory:
        """Classify an error of which only the words are left.

        Args:
            error: Its message, with or without its class before it, or its whole traceback.
            _job: Does not matter.
        """
        return ErrorClassifier.verdict(error).category

    @staticmethod
    def classify_exception(error: BaseException) -> FailureCategory:
        """Classify an exception."""
        return ErrorClassifier.verdict(error).category

    @staticmethod
    def verdict(error: BaseException | str) -> Verdict:
        """Return an error's category, its code, and how long it asks to wait.

        Args:
            error: An exception, or its words.
        """
        if isinstance(error, str):
            return _verdict_of_text(error[-MOST_OF_A_TEXT:], ErrorClassifier._rules)
        return _verdict_of(error, ErrorClassifier._rules, depth=0)

    @classmethod
    def register(cls, rule: Rule) -> Rule:
        """Let a rule go before all others; the newest one goes first."""
        with ErrorClassifier._changing:
            ErrorClassifier._rules = (rule, *ErrorClassifier._rules)
        return rule

    @classmethod
    def unregister(cls, rule: Rule) -> None:
        """Take a rule back; one that is not registered does not matter."""
        with ErrorClassifier._changing:
            kept = tuple(each for each in ErrorClassifier._rules if each is not rule)
            ErrorClassifier._rules = kept

    @classmethod
    @contextmanager
    def registered(cls, rule: Rule) -> Generator[Rule]:
        """Let a rule hold inside a `with`."""
        cls.register(rule)
        try:
            yield rule
        finally:
            cls.unregister(rule)


def _verdict_of(error: BaseException, rules: tuple[Rule, ...], *, depth: int) -> Verdict:
    chain = list(_chain(error))
    wait = _wait(chain)
    for rule in rules:
        if any(rule.fits(each) for each in chain):
            return Verdict(rule.category, rule.name, wait)
    group = next((each for each in chain if isinstance(each, BaseExceptionGroup)), None)
    own = _own(chain)
    if own is not None and own.category is not FailureCategory.UNKNOWN:
        return Verdict(own.category, own.code, wait)
    if group is not None and depth < MOST_CAUSES:
        return _worst([_verdict_of(each, rules, depth=depth + 1) for each in group.exceptions])
    found = _by_type(chain, TYPES) or _by_code(chain) or _by_type(chain, BROAD_TYPES)
    found = found or _by_text(chain) or _by_type(chain, LAST_TYPES)
    if found is None and _is_ray_wrapper(error):
        # Pickling drops `__cause__`; Ray's own words still have it.
        named = _named_in(str(error))
        found = None if named is None else named[0]
    category, code = found or (FailureCategory.UNKNOWN, UNEXPECTED)
    return Verdict(category, code if own is None else own.code, wait)


def _own(chain: list[BaseException]) -> WorkerError | None:
    ours = [each for each in chain if isinstance(each, WorkerError)]
    told = (each for each in ours if each.category is not FailureCategory.UNKNOWN)
    return next(told, ours[0] if ours else None)


def _verdict_of_text(text: str, rules: tuple[Rule, ...]) -> Verdict:
    for rule in rules:
        if rule.fits(text):
            return Verdict(rule.category, rule.name, _wait_in(text))
    category, code = _category_of_text(text) or (FailureCategory.UNKNOWN, UNEXPECTED)
    return Verdict(category, code, _wait_in(text))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its causes, outermost first; Ray's wrappers only as what they wrap."""
    seen: set[int] = set()
    next_one: BaseException | None = error
    while next_one is not None and id(next_one) not in seen and len(seen) < MOST_CAUSES:
        seen.add(id(next_one))
        wrapped = _wrapped(next_one)
        if not (isinstance(wrapped, BaseException) and _is_ray_wrapper(next_one)):
            yield next_one
        next_one = wrapped or next_one.__cause__


def _wrapped(error: BaseException) -> BaseException | None:
    # RayTaskError has `cause`, SQLAlchemy `orig`, urllib `reason`, urllib3's errors all three ways.
    for name in ("cause", "orig", "reason"):
        inner = getattr(error, name, None)
        if isinstance(inner, BaseException) and inner is not error:
            return inner
    # requests keeps what it wraps as its only argument.
    first = error.args[0] if len(error.args) == 1 else None
    return first if isinstance(first, BaseException) else None


def _is_ray_wrapper(error: BaseException) -> bool:
    # It takes the class of what it wraps as a second base, but not what its instance says.
    return any(short_name(cls) == "ray.RayTaskError" for cls in type(error).__mro__)


def _by_type(chain: list[BaseException], table: Mapping[str, FailureCategory]) -> Coded | None:
    for error in chain:
        for cls in type(error).__mro__:
            category = table.get(short_name(cls))
            if category is not None and not _failed_to_start(error):
                return category, cls.__name__
    return None


def _failed_to_start(error: BaseException) -> bool:
    # An actor whose constructor raised is dead as well, and will be each time: the words decide.
    return type(error).__name__ == "ActorDiedError" and _CREATION_FAILED in str(error)


def _by_code(chain: list[BaseException]) -> Coded | None:
    return next((coded for each in chain if (coded := code_of(each)) is not None), None)


def _by_text(chain: list[BaseException]) -> Coded | None:
    texts = (str(each)[-MOST_OF_A_TEXT:] for each in chain)
    return next((found for text in texts if (found := _category_of_text(text))), None)


def _category_of_text(text: str) -> Coded | None:
    of_type = _named_in(text)
    if of_type is not None and of_type[1]:
        return of_type[0]
    if (coded := code_in(text)) is not None:
        return coded
    for category, code, pattern in TEXTS:
        if pattern.search(text):
            return category, code
    return None if of_type is None else of_type[0]


def _named_in(text: str) -> tuple[Coded, bool] | None:
    """Return what the last class that is known of those in a traceback or message means."""
    named = [_by_bare_name(found[1]) for found in _TYPE_IN_TEXT.finditer(text)]
    return next((found for found in reversed(named) if found is not None), None)


def _by_bare_name(name: str) -> tuple[Coded, bool] | None:
    """Return what the class of that name means, and whether it says more than a code does."""
    known = getattr(builtins, name, None)
    names = [cls.__name__ for cls in known.__mro__] if isinstance(known, type) else [name]
    for table, is_strong in ((_BARE_TYPES, True), (_BARE_BROAD_TYPES, False)):
        for each in names:
            if each in table:
                return (table[each], each), is_strong
    return None


def _bare(table: Mapping[str, FailureCategory]) -> dict[str, FailureCategory]:
    """Return a table without packages, and without the names on which packages differ."""
    named: dict[str, set[FailureCategory]] = {}
    for name, category in table.items():
        named.setdefault(name.rpartition(".")[2], set()).add(category)
    return {name: next(iter(found)) for name, found in named.items() if len(found) == 1}


def _worst(verdicts: list[Verdict]) -> Verdict:
    waits = [each.retry_after for each in verdicts if each.retry_after is not None]
    worst = min(verdicts, key=lambda each: _WORST_FIRST.index(each.category))
    return worst._replace(retry_after=max(waits, default=None))


def _wait(chain: list[BaseException]) -> float | None:
    for error in chain:
        own = getattr(error, "retry_after", None)
        if isinstance(own, (int, float)) and not isinstance(own, bool) and own >= 0:
            return float(own)
        asked = retry_after_seconds(headers_of(error), time.time())
        if asked is not None:
            return asked
    return next((wait for each in chain if (wait := _wait_in(str(each))) is not None), None)


def _wait_in(text: str) -> float | None:
    found = _WAIT_IN_TEXT.search(text)
    if found is None:
        return None
    return float(found[1] or 0) * 60 + float(found[2]) / (1000 if found[3] == "ms" else 1)


_BARE_TYPES = _bare(TYPES)
_BARE_BROAD_TYPES = _bare(BROAD_TYPES)
