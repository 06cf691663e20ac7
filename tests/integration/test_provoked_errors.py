"""Each listed error happens again, and is of the class and category that the list says."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from lexigram_ray.jobs.classifier import ErrorClassifier
from tests.command_line import REPOSITORY
from tests.integration.local_ray import local_ray  # noqa: F401 - a fixture
from tests.integration.provoking.catalog import LIST, Case, all_cases, provoked, written
from tests.postgres_server import (
    end_all_servers,
    postgres_ends_with_the_session,  # noqa: F401 - a fixture
)

# These are known to be wrong: what the file is for cannot be told from its parser's words, and Ray
# says of an actor that never was that it may have died.
KNOWN_WRONG = frozenset({"tokenizer_bad", "ray_no_actor"})


@pytest.mark.slow
def test_errors_of_libraries_are_still_what_the_list_says():
    # In a process of its own: what other tests have imported or used up changes some errors.
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.test_provoked_errors"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_errors_of_ray_are_still_what_the_list_says():
    from tests.integration.provoking import ray_faults

    assert _changes(ray_faults.CASES) == []


def _changes(cases: list[Case]) -> list[str]:
    listed: dict[str, dict[str, Any]] = {
        case["name"]: case for case in json.loads(LIST.read_text())
    }
    found: list[str] = []
    for case in cases:
        error = provoked(case)
        now, before = written(case, error), listed[case.name]
        classes = [[link["mro"][0] for link in each["chain"]] for each in (before, now)]
        if classes[0] != classes[1]:
            found.append(f"{case.name}: {classes[0]} is now {classes[1]}")
        if (now["expected"], now["says_nothing"]) != (before["expected"], before["says_nothing"]):
            found.append(f"{case.name}: the list has another judgement")
        category = ErrorClassifier.classify_exception(error)
        if (category != case.expected) != (case.name in KNOWN_WRONG):
            found.append(f"{case.name}: {category} instead of {case.expected}")
    return found


if __name__ == "__main__":
    try:
        print("\n".join(_changes(all_cases(with_ray=False))), end="")
    finally:
        end_all_servers()
