"""A value or an error, and how each is taken out."""

from __future__ import annotations

import pickle

import pytest

from lexigram_ray.core.result import Err, Ok, Result, UnwrapError

GOOD: Result[int, str] = Ok(1)
BAD: Result[int, str] = Err("full")


def test_each_variant_knows_what_it_is() -> None:
    assert (GOOD.is_ok(), GOOD.is_err()) == (True, False)
    assert (BAD.is_ok(), BAD.is_err()) == (False, True)


def test_a_value_is_taken_out_of_one_and_an_error_of_the_other() -> None:
    assert GOOD.unwrap() == GOOD.expect("a number") == 1
    assert BAD.unwrap_err() == "full"


def test_a_default_stands_in_for_an_error() -> None:
    assert (GOOD.unwrap_or(9), BAD.unwrap_or(9)) == (1, 9)
    assert (GOOD.unwrap_or_else(len), BAD.unwrap_or_else(len)) == (1, 4)


def test_functions_are_applied_to_what_is_there() -> None:
    assert (GOOD.map_sync(str), BAD.map_sync(str)) == (Ok("1"), Err("full"))
    assert (GOOD.map_err(len), BAD.map_err(len)) == (Ok(1), Err(4))
    assert (GOOD.match(str, len), BAD.match(str, len)) == ("1", 4)


def test_taking_out_what_is_not_there_is_an_error_with_its_cause() -> None:
    cause = ValueError("full")

    with pytest.raises(UnwrapError, match="full") as caught:
        Err(cause).unwrap()
    with pytest.raises(UnwrapError, match="a number"):
        BAD.expect("a number")
    with pytest.raises(UnwrapError):
        GOOD.unwrap_err()

    assert caught.value.__cause__ is cause


def test_a_result_can_be_matched_compared_and_pickled() -> None:
    match BAD:
        case Ok(value):
            pytest.fail(f"{value} is no error")
        case Err(error):
            assert error == "full"
    assert pickle.loads(pickle.dumps(GOOD)) == GOOD
