"""Every error survives pickling, as Ray demands, and stands in the tree that is documented."""

from __future__ import annotations

import pickle
import threading

import numpy as np
import pytest

from lexigram_ray.core import errors
from lexigram_ray.core.errors import DLQError, DocumentSkipped, TextsRefusedError, WorkerError


def _every_class(base: type[WorkerError] = WorkerError) -> list[type[WorkerError]]:
    return [base, *(found for child in base.__subclasses__() for found in _every_class(child))]


CORE_CLASSES = [cls for cls in _every_class() if cls.__module__ == errors.__name__]


def _made(cls: type[WorkerError]) -> WorkerError:
    if cls is DocumentSkipped:
        return DocumentSkipped("a.pdf is empty", code="empty", hint="nothing to do")
    if cls is TextsRefusedError:
        return TextsRefusedError({1: "too long"}, np.zeros((2, 3), np.float32))
    return cls("a.pdf is broken", hint="mend it")


@pytest.mark.parametrize("cls", CORE_CLASSES)
def test_an_error_is_the_same_after_pickling(cls: type[WorkerError]) -> None:
    error = _made(cls)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is cls
    assert (again.message, again.hint, again.code, again.category, again.exit_code) == (
        error.message,
        error.hint,
        error.code,
        error.category,
        error.exit_code,
    )
    assert str(again) == str(error)


@pytest.mark.parametrize("cls", CORE_CLASSES)
def test_the_module_docstring_names_every_error_with_its_code(cls: type[WorkerError]) -> None:
    lines = [
        line for line in (errors.__doc__ or "").splitlines() if f" {cls.__name__} " in f" {line}"
    ]
    assert len(lines) == 1
    assert cls is DocumentSkipped or cls.code in lines[0]


def test_an_error_takes_a_code_details_and_a_cause_of_its_own() -> None:
    cause = ValueError("y")
    error = WorkerError("x", code="mine", details={"k": 1}, cause=cause, hint="mend it", row=7)

    assert (error.code, WorkerError.code) == ("mine", "LEX_ERR_AIWORK_001")
    assert error.__cause__ is cause
    assert error.to_dict() == {
        "code": "mine",
        "message": "x",
        "details": {"k": 1, "row": 7},
        "hint": "mend it",
        "cause": {"type": "ValueError", "message": "y"},
    }
    assert WorkerError("x").to_dict() == {
        "code": "LEX_ERR_AIWORK_001",
        "message": "x",
        "details": {},
    }


def test_code_details_and_cause_survive_pickling() -> None:
    error = DLQError("x", code="mine", details={"k": 1}, cause=ValueError("y"))
    again = pickle.loads(pickle.dumps(error))

    assert (again.code, again.details, repr(again.cause)) == ("mine", {"k": 1}, "ValueError('y')")
    assert again.__cause__ is again.cause


class Unpicklable(Exception):
    def __init__(self) -> None:
        super().__init__("holds a lock")
        self.lock = threading.Lock()


class NotMadeAgain(Exception):
    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"{status}: {body}")


@pytest.mark.parametrize("cause", [Unpicklable(), NotMadeAgain(503, "busy")])
def test_a_cause_that_cannot_be_pickled_is_kept_in_words(cause: Exception) -> None:
    again = pickle.loads(pickle.dumps(WorkerError("x", cause=cause)))

    assert again.message == "x"
    assert type(cause).__name__ in str(again.cause)
    assert str(cause) in str(again.cause)


def test_codes_are_unique() -> None:
    codes = [cls.code for cls in CORE_CLASSES if cls is not DocumentSkipped]
    assert len(codes) == len(set(codes))


def test_refused_texts_keep_their_reasons_and_the_others_vectors_after_pickling() -> None:
    error = TextsRefusedError({1: "too long"}, np.ones((2, 3), np.float32))
    again = pickle.loads(pickle.dumps(error))
    assert again.reasons == {1: "too long"}
    assert (again.vectors == error.vectors).all()
