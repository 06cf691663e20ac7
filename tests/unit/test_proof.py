"""What `make chaos` counts as proof, and what it does not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos import proof
from tests.chaos.faults import SCENARIOS, load
from tests.chaos.proof_table import Line, print_table, summary
from tests.chaos.proof_types import Outcome, Trial


def outcome(
    *, fault: str = "SIGKILL of it", times: int = 3, notes: tuple[str, ...] = ()
) -> Outcome:
    return Outcome(fault=fault, times=times, lost=0, duplicated=0, notes=notes)


def line(of: Outcome) -> Line:
    return Line(scenario="one", outcome=of, seconds=1.0)


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    return Trial(seed=1, long=False, root=tmp_path, models=tmp_path)


@pytest.mark.parametrize(
    "bad",
    [
        Outcome(fault="f", times=1, lost=1, duplicated=0),
        Outcome(fault="f", times=1, lost=0, duplicated=1),
        outcome(notes=("it was blamed",)),
        outcome(times=0),
    ],
)
def test_a_loss_a_double_a_note_and_a_fault_never_made_are_all_wrong(bad: Outcome) -> None:
    assert not bad.is_clean
    assert "1 of 2 lines wrong" in summary([line(outcome()), line(bad)])


def test_kills_are_counted_apart_from_other_faults(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [line(outcome()), line(outcome(fault="a full disk", times=2))]

    print_table(lines, 7.0)

    shown = capsys.readouterr().out
    assert "| a full disk | 2 | 0 | 0 | 1 |" in shown
    assert "5 faults, 3 of them SIGKILL: 0 lost, 0 duplicated, 0 of 2 lines wrong, 7 s" in shown


def test_a_scenario_that_breaks_off_is_wrong_whatever_it_has_proved_before(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A run of all tests has processes of its own, which are not to be ended here.
    monkeypatch.setattr(proof, "left_behind", list)

    def breaks(_: Trial) -> Iterator[Outcome]:
        yield outcome()
        raise TimeoutError("no end")

    first, last = proof.run("one", breaks, trial)

    assert first.outcome.is_clean
    assert last.outcome.notes == ("it broke off: TimeoutError: no end",)


def test_the_exit_code_says_whether_everything_is_as_it_should_be(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = [outcome(), outcome(times=0)]
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr(proof, "adopt_orphans", lambda: None)
    monkeypatch.setattr(proof, "left_behind", list)
    monkeypatch.setattr(proof, "_converted", lambda folder: folder)
    monkeypatch.setattr(proof, "load", lambda name: lambda trial: [found.pop()])
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["proof", "--seed", "1", "--only", "restart"])

    assert [proof.main(), proof.main()] == [1, 0]


def test_chance_follows_from_the_seed_and_the_name(trial: Trial) -> None:
    again = Trial(seed=1, long=False, root=trial.root, models=trial.models)

    assert trial.chance("a").random() == again.chance("a").random()
    assert trial.chance("a").random() != trial.chance("b").random()


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_scenario_named_is_there(name: str) -> None:
    assert callable(load(name))
