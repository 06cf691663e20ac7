"""Errors and their categories: those that real libraries raised, and the rules of a user.

`provoked_errors.json` is written by `python -m tests.integration.provoking`, which provokes each
error; the category in it was given by a person.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from email.utils import formatdate
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lexigram_ray.core.errors import (
    EmbeddingServerError,
    UsageError,
    WorkerError,
    WriteConflictError,
)
from lexigram_ray.core.types import FailureCategory
from lexigram_ray.jobs.classifier import ErrorClassifier
from lexigram_ray.jobs.classifier_user_rules import Rule
from lexigram_ray.jobs.failures import failure_of

LISTED: list[dict[str, Any]] = json.loads(
    Path(__file__).with_name("provoked_errors.json").read_text()
)
CATEGORY = FailureCategory


@pytest.fixture(autouse=True)
def no_rule_is_left() -> Iterator[None]:
    yield
    assert ErrorClassifier._rules == ()


def test_real_errors_get_the_category_that_a_person_gave_them(capsys: pytest.CaptureFixture[str]):
    by_exception = [case for case in LISTED if _verdict(case) != case["expected"]]
    telling = [case for case in LISTED if not case["says_nothing"]]
    by_text = [case for case in telling if _of_text(case) != case["expected"]]
    right = 1 - len(by_exception) / len(LISTED)
    right_of_text = 1 - len(by_text) / len(telling)
    with capsys.disabled():
        print(f"\n{len(LISTED)} provoked errors: by exception {right:.1%} right, by text alone")
        print(f"{right_of_text:.1%} of the {len(telling)} whose text says anything")
    assert len(LISTED) >= 120
    assert len(LISTED) - len(telling) < 0.15 * len(LISTED)
    assert right >= 0.98, [case["name"] for case in by_exception]
    assert right_of_text >= 0.95, [case["name"] for case in by_text]


def test_a_wrapped_cause_decides_where_its_wrapper_says_nothing():
    error = RuntimeError("the batch failed")
    error.__cause__ = TimeoutError()
    assert ErrorClassifier.classify_exception(error) is CATEGORY.TRANSIENT


def test_a_group_is_as_bad_as_its_worst_member():
    group = ExceptionGroup("two", [TimeoutError(), TypeError("no")])
    assert ErrorClassifier.classify_exception(group) is CATEGORY.PERMANENT
    assert (
        ErrorClassifier.classify_exception(ExceptionGroup("one", [TimeoutError()]))
        is CATEGORY.TRANSIENT
    )


def test_a_chain_that_bites_its_tail_ends():
    one, two = RuntimeError("one"), RuntimeError("two")
    one.__cause__, two.__cause__ = two, one
    assert ErrorClassifier.classify_exception(one) is CATEGORY.UNKNOWN


def test_our_own_errors_say_what_they_are():
    assert ErrorClassifier.verdict(WriteConflictError("late"))[:2] == (
        CATEGORY.TRANSIENT,
        "write_conflict",
    )
    vague = WorkerError("it stopped")
    vague.__cause__ = ConnectionResetError("peer")
    assert ErrorClassifier.verdict(vague)[:2] == (CATEGORY.TRANSIENT, WorkerError.code)


@pytest.mark.parametrize(
    ("header", "seconds"), [("7", 7.0), ("0.5", 0.5), ("soon", None), (None, None)]
)
def test_what_a_server_asks_to_wait_is_read_from_its_headers(header: str | None, seconds: Any):
    headers = {} if header is None else {"Retry-After": header}
    error = _HTTPStatusError(429, headers)
    assert ErrorClassifier.verdict(error).retry_after == seconds
    assert ErrorClassifier.verdict(error).category is CATEGORY.THROTTLED


def test_a_date_to_wait_for_is_read_as_well():
    import time

    error = _HTTPStatusError(503, {"retry-after": formatdate(time.time() + 60, usegmt=True)})
    category, code, wait = ErrorClassifier.verdict(error)
    assert (category, code) == (CATEGORY.TRANSIENT, "http_503")
    assert wait == pytest.approx(60, abs=2)


def test_a_wait_is_read_from_words_and_from_our_own_errors():
    said = "Rate limit reached. Please try again in 1m2s."
    assert ErrorClassifier.verdict(said) == (CATEGORY.THROTTLED, "throttled", 62.0)
    error = EmbeddingServerError("busy")
    error.retry_after = 9
    assert ErrorClassifier.verdict(error).retry_after == 9.0


def test_an_account_without_credit_is_no_limit_that_passes():
    error = _HTTPStatusError(429, {}, body='{"error": {"code": "insufficient_quota"}}')
    assert ErrorClassifier.verdict(error)[:2] == (CATEGORY.PERMANENT, "no_credit")


def test_a_recorded_traceback_is_judged_by_its_last_class():
    text = 'Traceback (most recent call last):\n  File "a.py", line 1\nbuiltins.TimeoutError: 3\n'
    assert ErrorClassifier().classify(text, None) is CATEGORY.TRANSIENT
    assert ErrorClassifier.classify("TypeError: odd", object()) is CATEGORY.PERMANENT
    assert ErrorClassifier.classify("", None) is CATEGORY.UNKNOWN


def test_a_users_rule_goes_first_and_only_inside_its_with():
    error = TypeError("shard 7 is cold")
    rule = Rule(category=CATEGORY.TRANSIENT, pattern="SHARD .* cold", name="cold_shard")
    with ErrorClassifier.registered(rule):
        assert ErrorClassifier.verdict(error)[:2] == (CATEGORY.TRANSIENT, "cold_shard")
        assert ErrorClassifier.classify(str(error), None) is CATEGORY.TRANSIENT
    assert ErrorClassifier.classify_exception(error) is CATEGORY.PERMANENT


@pytest.mark.parametrize(
    "given",
    [
        {"type_name": "builtins.LookupError"},
        {"type_name": "KeyError"},
        {"pattern": "Nine"},
        {"function": lambda error: isinstance(error, KeyError)},
        {"type_name": "KeyError", "pattern": "nine"},
    ],
)
def test_a_rule_fits_by_class_words_or_function(given: dict[str, Any]):
    rule = ErrorClassifier.register(Rule(category=CATEGORY.THROTTLED, **given))
    try:
        assert ErrorClassifier.classify_exception(KeyError("nine")) is CATEGORY.THROTTLED
        assert ErrorClassifier.classify_exception(OSError("ten")) is not CATEGORY.THROTTLED
    finally:
        ErrorClassifier.unregister(rule)


def test_a_rule_fits_by_code():
    with ErrorClassifier.registered(Rule(category=CATEGORY.TRANSIENT, code=404)):
        assert ErrorClassifier.classify_exception(_HTTPStatusError(404)) is CATEGORY.TRANSIENT
        assert ErrorClassifier.classify_exception(_HTTPStatusError(401)) is CATEGORY.PERMANENT


def test_a_rule_without_a_condition_or_with_a_broken_pattern_is_refused():
    with pytest.raises(UsageError, match="without a condition") as refused:
        Rule(category=CATEGORY.TRANSIENT)
    assert refused.value.hint
    with pytest.raises(UsageError, match="no regular expression"):
        Rule(category=CATEGORY.TRANSIENT, pattern="(")


def test_a_failed_record_carries_the_category_and_the_code():
    failure = failure_of(PermissionError(13, "Permission denied", "/a"))
    assert (failure.category, failure.code) == (CATEGORY.PERMANENT, "errno_eacces")
    assert failure.error_type == "builtins.PermissionError"


def test_an_error_that_cannot_be_read_is_still_judged():
    class Odd(Exception):
        @property
        def response(self) -> object:
            raise RuntimeError("not set")

        headers = property(lambda self: 1 / 0)

    assert ErrorClassifier.classify_exception(Odd("timed out")) is CATEGORY.TRANSIENT


class _HTTPStatusError(Exception):
    """As httpx, requests and openai have it."""

    def __init__(self, status: int, headers: dict[str, str] | None = None, body: str = "") -> None:
        super().__init__("no words")
        self.response = SimpleNamespace(status_code=status, headers=headers or {}, text=body)


def _verdict(case: dict[str, Any]) -> str:
    error = _rebuilt(case["chain"])
    if case["whole"]:
        error = _ray_wrapper(error, case["whole"])
    return ErrorClassifier.classify_exception(error).value


def _of_text(case: dict[str, Any]) -> str:
    return ErrorClassifier.classify(case["chain"][0]["message"], None).value


def _ray_wrapper(cause: BaseException, said: str) -> BaseException:
    """As `ray.get` raises it."""
    module = {"__module__": "ray.exceptions", "__str__": lambda _: said}
    error = type("RayTaskError", (Exception,), module)()
    error.cause = cause
    return error


def _rebuilt(chain: list[dict[str, Any]]) -> BaseException:
    """An error like the one that was provoked, without the library that raised it."""
    error: BaseException | None = None
    for link in reversed(chain):
        outer = _rebuilt_one(link)
        outer.__cause__, error = error, outer
    assert error is not None
    return error


def _rebuilt_one(link: dict[str, Any]) -> BaseException:
    module, _, name = link["mro"][0].rpartition(".")
    if module.startswith("lexigram_ray"):
        ours = getattr(import_module(module), name)
        own = ours.__new__(ours)
        Exception.__init__(own, link["message"])
        own.message, own.hint = link["message"], None
        own.category, own.code = CATEGORY(link["category"]), link["code"]
        return own
    made: type[BaseException] = BaseException
    for full in reversed(link["mro"]):
        module, _, qualified = full.rpartition(".")
        made = type(qualified, (made,), {"__module__": module, "__qualname__": qualified})
    message = link["message"]
    error = type(made.__name__, (made,), {"__str__": lambda _: message, **_names(made)})()
    for name in ("errno", "sqlstate", "sqlite_errorname"):
        if name in link:
            setattr(error, name, link[name])
    if "grpc" in link:
        error.code = lambda: SimpleNamespace(name=link["grpc"])
    if "status_code" in link:
        error.response = SimpleNamespace(
            status_code=link["status_code"], headers=link["headers"], text=link["body"]
        )
    return error


def _names(made: type) -> dict[str, str]:
    return {"__module__": made.__module__, "__qualname__": made.__qualname__}
