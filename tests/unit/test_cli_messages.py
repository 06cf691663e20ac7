"""Logs reach users as messages, and only those that are for them."""

from __future__ import annotations

import logging
import warnings

import pytest

from lexigram_ray.cli.messages import log_to

Said = list[tuple[str, str, str]]


@pytest.fixture
def said() -> Said:
    return []


def write_logs(said: Said, *, debug: bool) -> None:
    with log_to(lambda *message: said.append(message), debug=debug):
        logging.getLogger("lexigram_ray.jobs").warning("%s is gone", "docs")
        logging.getLogger("lexigram_ray.jobs").info("detail")
        logging.getLogger("transformers").warning("noise")
        logging.getLogger("transformers").error("broken")


def test_our_warnings_and_others_errors_are_shown(said: Said) -> None:
    write_logs(said, debug=False)

    assert said == [("docs is gone", "warning", "yellow"), ("broken", "error", "red")]


def test_debug_shows_everything(said: Said) -> None:
    write_logs(said, debug=True)

    assert [text for text, _, _ in said] == ["docs is gone", "detail", "noise", "broken"]


def test_python_s_warnings_do_not_reach_users(
    said: Said, capsys: pytest.CaptureFixture[str]
) -> None:
    with warnings.catch_warnings(), log_to(lambda *message: said.append(message), debug=False):
        warnings.warn("not for users", UserWarning, stacklevel=1)

    assert said == []
    assert capsys.readouterr().err == ""
