"""A new job for a cluster: what goes along, what is said about it, and its id."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import typer

from lexigram_ray import __version__
from lexigram_ray.cli.exit_codes import EXIT_DONE
from lexigram_ray.cli.invocation import Invocation
from lexigram_ray.cli.output import printable, write_line
from lexigram_ray.cli.submit_command import RemoteCommand, remote_command
from lexigram_ray.core.config import DEFAULT_CONFIG_FILE, ENV_PREFIX, default_state_dir
from lexigram_ray.core.errors import UsageError

if TYPE_CHECKING:
    from lexigram_ray.cli.displays import Display
    from lexigram_ray.core.config import WorkersConfig
    from lexigram_ray.runtime.job_submission import ClusterJobs, Submission

_SUCH_AS = 'such as \'{"env_vars": {"NAME": "value"}}\''
"""What --runtime-env-json may look like."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """What `submit` was given for a new job.

    Attributes:
        words: The command.
        working_dir: A folder, or a `.zip`, that goes along.
        id: None makes one.
        python: The interpreter on the cluster.
    """

    words: tuple[str, ...]
    working_dir: Path | None
    id: str | None
    runtime_env_json: str | None
    python: str


def submit_new(
    ctx: typer.Context,
    invocation: Invocation,
    new: NewJob,
    address: str | None,
    *,
    wait: bool,
) -> int:
    """Submit a job, follow it unless nobody waits, and return the exit code.

    Raises:
        WorkerError: It cannot be submitted.
    """
    # All that can be wrong here is said before a cluster is asked, and before Ray is imported.
    command = remote_command(ctx, new.words)
    invocation.json = invocation.json or command.json
    invocation.json_lines = invocation.json_lines or command.json_progress
    command.check_paths(new.working_dir)
    settings = invocation.load_config()
    runtime_env = _runtime_env(command, new)
    from lexigram_ray.cli.displays import choose_display
    from lexigram_ray.cli.submit_cluster import connect

    jobs, is_of_this_state = connect(settings, address)
    state = _state(invocation, settings, is_shared=is_of_this_state)
    display = choose_display(show=False, json_lines=command.json_progress)
    if new.working_dir is not None:
        from lexigram_ray.runtime.working_dir import check_working_dir

        check_working_dir(new.working_dir, cast("list[str]", runtime_env.get("excludes") or []))
    _warn(display, invocation, command, new, runtime_env, is_default=state is None)
    submission = _submission(invocation, command, new, runtime_env, state)

    from lexigram_ray.cli.submit_follow import follow_and_answer, say_submitted

    if wait:
        return follow_and_answer(
            invocation,
            jobs,
            submission.id,
            wants_result=invocation.json,
            display=display,
            submit=lambda: jobs.submit(submission),
        )
    jobs.submit(submission)
    say_submitted(jobs, submission.id, display)
    return _answer(invocation, jobs, submission.id, display)


def _submission(
    invocation: Invocation,
    command: RemoteCommand,
    new: NewJob,
    runtime_env: dict[str, object],
    state: Path | None,
) -> Submission:
    from lexigram_ray.runtime.job_submission import Submission

    return Submission(
        id=new.id or command.new_id(),
        entrypoint=command.entrypoint(
            python=new.python,
            state=state,
            config=_config(invocation, new),
            json=invocation.json,
        ),
        runtime_env=runtime_env,
        metadata={
            "job_name": f"{command.name} {command.collection}",
            "collection": command.collection,
            "command": command.name,
            "lexigram_ray": __version__,
        },
    )


def _answer(invocation: Invocation, jobs: ClusterJobs, job_id: str, display: Display) -> int:
    from lexigram_ray.cli.submit_follow import say_how_to_go_on

    if invocation.json:
        invocation.answer({"submission_id": job_id, "status": "PENDING", "address": jobs.url})
    else:
        write_line(sys.stdout, job_id)
    say_how_to_go_on(invocation, jobs, job_id, display)
    return EXIT_DONE


def _runtime_env(command: RemoteCommand, new: NewJob) -> dict[str, object]:
    env = _object(new.runtime_env_json)
    if new.working_dir is not None:
        if "working_dir" in env:
            raise UsageError(
                "--working-dir and the working_dir of --runtime-env-json are two",
                hint="leave one of them out",
            )
        env["working_dir"] = str(new.working_dir.absolute())
    variables = env.get("env_vars") or {}
    if not isinstance(variables, dict):
        raise UsageError("env_vars of --runtime-env-json holds no names and values", hint=_SUCH_AS)
    if merged := {**command.variables, **variables}:
        env["env_vars"] = merged
    return env


def _object(text: str | None) -> dict[str, object]:
    try:
        found: object = json.loads(text) if text else {}
    except ValueError as error:
        raise UsageError(f"--runtime-env-json is no JSON: {error}", hint=_SUCH_AS) from error
    if not isinstance(found, dict):
        raise UsageError("--runtime-env-json holds no object", hint=_SUCH_AS)
    return cast("dict[str, object]", found)


def _state(invocation: Invocation, settings: WorkersConfig, *, is_shared: bool) -> Path | None:
    """Return the state directory that the job is told; None for whatever the cluster's own is."""
    is_default = invocation.state is None and settings.state_dir == default_state_dir()
    return None if is_default and not is_shared else settings.state_dir


def _config(invocation: Invocation, new: NewJob) -> Path | None:
    file = invocation.config_file
    return file if file is None or new.working_dir is not None else file.absolute()


def _warn(
    display: Display,
    invocation: Invocation,
    command: RemoteCommand,
    new: NewJob,
    runtime_env: dict[str, object],
    *,
    is_default: bool,
) -> None:
    if is_default and "state" not in command.given:
        display.say(
            "no --state was given: the job keeps collections and jobs in the home of whoever runs "
            "the cluster; --state names a place that its nodes and you share",
            label="warning",
            style="yellow",
        )
    if unsent := _unsent(invocation, command, new, runtime_env):
        display.say(
            f"not sent to the cluster: {', '.join(unsent)} (--runtime-env-json sends variables)",
            label="note",
        )
    if new.working_dir is not None and any(not path.is_absolute() for path in command.paths):
        display.say(
            "documents that go along count as new whenever something in their folder has changed; "
            "those that are to be ingested again belong where the cluster's nodes see them",
            label="note",
        )


def _unsent(
    invocation: Invocation, command: RemoteCommand, new: NewJob, runtime_env: dict[str, object]
) -> list[str]:
    """Return the names of settings that hold here and not there."""
    sent = cast("dict[str, str]", runtime_env.get("env_vars") or {})
    names = [
        name
        for name in sorted(os.environ)
        if name.upper().startswith(ENV_PREFIX) and name not in sent and "STATE_DIR" not in name
    ]
    is_read_there = new.working_dir or invocation.config_file or "config" in command.given
    if Path(DEFAULT_CONFIG_FILE).is_file() and not is_read_there:
        names.append(f"./{DEFAULT_CONFIG_FILE}")
    return [printable(name) for name in names]
