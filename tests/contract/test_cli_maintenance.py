"""`lexigram-ray maintenance`: real runs in processes of their own, on stores that are new."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import cast

import pytest

from lexigram_ray.core.types import MaintenanceStatus
from lexigram_ray.jobs.store import Store
from lexigram_ray.maintenance.duties import DUTIES
from tests.command_line import Result, run_cli, start_cli

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

RUN_FIELDS = {
    "id", "name", "task", "due_at", "trigger", "status", "job_id", "created_at", "started_at",
    "finished_at", "duration_seconds", "reason", "error_code", "faults", "result",
}  # fmt: skip
TASKS = """
import time


def greet(context):
    context.tell("greeting")
    return {"greeted": context.options["who"]}


def fail():
    raise ValueError("the moon is down")


def sleep(context):
    open(context.options["began"], "w").close()
    time.sleep(600)
"""
CONFIG = """
ai_workers:
  maintenance:
    tasks:
      greet: {task: "tasks_of_ours:greet", interval_seconds: 3600, options: {who: moon}}
      fail: {task: "tasks_of_ours:fail", cron: "30 4 * * 1-5"}
      sleep: {task: "tasks_of_ours:sleep", interval_seconds: 3600}
"""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state that is not there yet, beside a configuration with tasks of one's own."""
    (tmp_path / "tasks_of_ours.py").write_text(TASKS)
    (tmp_path / "application.yaml").write_text(CONFIG)
    return tmp_path / "state"


def maintenance(state: Path, *arguments: str) -> Result:
    paths = os.pathsep.join(filter(None, (str(state.parent), os.environ.get("PYTHONPATH"))))
    return run_cli("maintenance", *arguments, state=state, env={"PYTHONPATH": paths})


def items(result: Result) -> list[dict[str, object]]:
    assert result.code == 0, result.stderr
    return cast("list[dict[str, object]]", result.object["items"])


def test_a_fresh_state_lists_what_would_run_and_is_not_made_by_that(state: Path) -> None:
    plain = maintenance(state, "list")
    listed = items(maintenance(state, "list", "--json"))

    assert plain.code == 0
    assert "daily at 03:23 UTC" in plain.stdout
    assert "lexigram-ray up" in plain.stderr or "-m lexigram_ray up" in plain.stderr
    assert [each["name"] for each in listed] == [*DUTIES, "greet", "fail", "sleep"]
    assert all(each["next_run_at"] and each["last_run"] is None for each in listed)
    assert not state.exists()


def test_a_run_ends_with_its_figures_and_is_found_again(state: Path) -> None:
    ended = maintenance(state, "run", "greet", "--option", "who=sun", "--json")
    runs = items(maintenance(state, "runs", "greet", "--json"))
    shown = maintenance(state, "show", "greet")

    assert ended.code == 0, ended.stderr
    assert set(ended.object) == RUN_FIELDS
    assert cast("dict[str, object]", ended.object["result"])["figures"] == {"greeted": "sun"}
    assert runs == [ended.object]
    assert shown.stdout.startswith("completed: greet")
    assert "greeted: sun" in shown.stdout


def test_faults_are_named_with_their_fix_and_have_an_exit_code_of_their_own(state: Path) -> None:
    ended = maintenance(state, "run", "health_check", "-o", f"disk_fail_bytes={10**18}")

    assert ended.code == 3
    assert ended.stdout.startswith("completed with 1 fault: health_check")
    assert "fail  disk: " in ended.stdout
    assert "fault: disk: " in ended.stderr
    assert "try: free some space" in ended.stderr


def test_a_task_that_fails_says_why_without_a_traceback(state: Path) -> None:
    ended = maintenance(state, "run", "fail")

    assert ended.code == 1
    assert ended.stdout.startswith("failed: fail")
    assert "ValueError: the moon is down" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_run_that_takes_too_long_is_ended_and_leaves_no_process(
    state: Path, tmp_path: Path
) -> None:
    began = f"began={tmp_path / 'began'}"
    ended = maintenance(state, "run", "sleep", "-o", began, "--timeout", "1s", "--json")

    assert ended.code == 1
    assert ended.object["error_code"] == "timed_out"
    assert (tmp_path / "began").exists()


@pytest.mark.parametrize(
    ("arguments", "way_out"),
    [
        (("run", "helth_check"), "did you mean health_check?"),
        (("run", "health_check", "-o", "disk_fail_byte=1"), "did you mean disk_fail_bytes?"),
        (("run", "health_check", "-o", "disk_fail_bytes"), "key=value"),
        (("run", "greet", "--no-wait"), "leave --no-wait out"),
        (("disable", "gret"), "did you mean greet?"),
    ],
)
def test_wrong_use_names_the_way_out_and_records_nothing(
    state: Path, arguments: tuple[str, ...], way_out: str
) -> None:
    refused = maintenance(state, *arguments)

    assert refused.code == 2
    assert way_out in refused.stderr
    assert not runs_of(state)


def runs_of(state: Path) -> list[MaintenanceStatus]:
    store = Store.open_existing(f"sqlite:///{state / 'jobs.db'}")
    if store is None:
        return []
    with store:
        return [run.status for run in store.schedules.runs()[0]]


def test_what_is_disabled_stays_so_and_can_still_be_run(state: Path) -> None:
    disabled = maintenance(state, "disable", "greet")
    ended = maintenance(state, "run", "greet")
    listed = items(maintenance(state, "list", "--json"))
    enabled = maintenance(state, "enable", "greet", "--json")

    assert (disabled.code, disabled.stdout) == (0, "greet is disabled\n")
    assert ended.code == 0
    greet = next(each for each in listed if each["name"] == "greet")
    assert (greet["enabled"], greet["next_run_at"]) == (False, None)
    assert cast("dict[str, object]", greet["last_run"])["status"] == "completed"
    assert enabled.object["enabled"] is True


def test_ctrl_c_cancels_the_run_and_what_a_killed_command_has_left_is_run_anew(
    state: Path, tmp_path: Path
) -> None:
    interrupted_with = begun(state, tmp_path / "first", signal.SIGINT)
    begun(state, tmp_path / "second", signal.SIGKILL)
    again = maintenance(
        state, "run", "sleep", "-o", f"began={tmp_path / 'third'}", "--timeout", "1s"
    )

    assert interrupted_with == 130
    assert "an earlier run was left unfinished" in again.stderr
    assert again.stdout.startswith("timed out: sleep")
    assert runs_of(state) == [MaintenanceStatus.FAILED] * 3


def begun(state: Path, began: Path, number: signal.Signals) -> int:
    """Begin a run, send the command a signal once the task works, and return how it ended."""
    paths = os.pathsep.join(filter(None, (str(state.parent), os.environ.get("PYTHONPATH"))))
    command = start_cli(
        "maintenance", "run", "sleep", "-o", f"began={began}",
        state=state, env={"PYTHONPATH": paths},
    )  # fmt: skip
    with command:
        while not began.exists():
            assert command.poll() is None, command.communicate()[1]
        command.send_signal(number)
        command.communicate(timeout=60)
    return command.returncode
