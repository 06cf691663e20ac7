"""What schemathesis is told of this service: what to wait for, and what no schema can promise."""

from __future__ import annotations

import itertools
import os
from typing import Any

import schemathesis
from schemathesis.core.failures import AcceptedNegativeData, Failure
from schemathesis.openapi.checks import RejectedPositiveData

from lexigram_ray.service.idempotency import EXAMPLE_KEY
from lexigram_ray.service.models.common import EXAMPLE_ID

LONGEST_WAIT = 0.2
LETTERS = "LEXIGRAM_SCHEMA_LETTERS"
"""Environment variable: ids of dead letters."""
_COUNTER = itertools.count()
_LETTERS = itertools.cycle(os.environ[LETTERS].split(","))

BEYOND_SCHEMA = {
    "idempotency_key_reused": "whether a key is new, the requests before it say",
    "condition_refused": "`where` is a text in a language of its own",
    "invalid_age": "whether a date is one, and has passed, the calendar says",
    "invalid_dimensions": "how many numbers a vector has, the model says",
    "invalid_option": "the options of a task are those of its section of the configuration",
    "invalid_tokens": "which token ids there are, the model says",
    "no_time_left": "of two times, which one comes first",
    "too_many_sources": "service.max_files may allow less than openapi.json",
}
"""Codes of problems with requests that fit openapi.json, and why it cannot say so."""


@schemathesis.hook
def before_call(
    context: schemathesis.HookContext, case: schemathesis.Case, kwargs: dict[str, Any]
) -> None:
    """Have requests come through: to dead letters that there are, and under keys of their own.

    None waits a minute for what nobody works on.
    """
    del context, kwargs
    headers = case.headers or {}
    # What is changed in a request that is meant to be wrong counts as what makes it right.
    is_meant = case.meta is not None and case.meta.generation.mode.is_positive
    if is_meant and headers.get("Idempotency-Key") == EXAMPLE_KEY:
        # Now and then the same key comes twice, and its request may be another one.
        headers["Idempotency-Key"] = f"{EXAMPLE_KEY}-{next(_COUNTER) * 2 // 3}"
    if case.path_parameters.get("letter_id") == EXAMPLE_ID:
        case.path_parameters["letter_id"] = next(_LETTERS)
    query = case.query
    if not query or "wait" not in query:
        return
    wait = query["wait"]
    if isinstance(wait, int | float) and not isinstance(wait, bool) and LONGEST_WAIT < wait <= 60:
        query["wait"] = LONGEST_WAIT


@schemathesis.hook
def filter_failure(
    context: schemathesis.HookContext,
    failure: Failure,
    case: schemathesis.Case,
    response: schemathesis.Response,
) -> bool:
    """Leave out that a request was refused for what no schema can say; all else is a failure."""
    del context, case
    if isinstance(failure, AcceptedNegativeData):
        # Whatever bytes there are, they are a file.
        return "violates `contentMediaType`" not in failure.message
    if not isinstance(failure, RejectedPositiveData):
        return True
    body = response.json()
    return body.get("error", body)["code"] not in BEYOND_SCHEMA
