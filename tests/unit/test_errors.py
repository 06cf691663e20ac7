"""Every error survives pickling, as Ray demands, and stands in the tree that is documented."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from lexigram_ray.core import errors
from lexigram_ray.core.errors import DocumentSkipped, TextsRefusedError, WorkerError


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


def test_codes_are_unique() -> None:
    codes = [cls.code for cls in CORE_CLASSES if cls is not DocumentSkipped]
    assert len(codes) == len(set(codes))


def test_refused_texts_keep_their_reasons_and_the_others_vectors_after_pickling() -> None:
    error = TextsRefusedError({1: "too long"}, np.ones((2, 3), np.float32))
    again = pickle.loads(pickle.dumps(error))
    assert again.reasons == {1: "too long"}
    assert (again.vectors == error.vectors).all()
