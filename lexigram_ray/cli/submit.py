"""`lexigram-ray submit`: the main job sent to a cluster through Ray's job API, and followed."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from lexigram_ray.cli.invocation import (
    PROGRAM,
    ConfigOption,
    DebugOption,
    Invocation,
    JsonOption,
    StateOption,
    env,
)
from lexigram_ray.core.errors import UsageError

_IDS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def submit(
    ctx: typer.Context,
    command: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="COMMAND",
            help="`ingest` or `embed` with its own options; `--` may stand before it.",
            show_default=False,
        ),
    ] = None,
    *,
    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            metavar="URL",
            envvar=env("address"),
            help="The cluster's dashboard, http://HOST:8265; else Ray's own variables, else the "
            "cluster of `lexigram-ray up`.",
        ),
    ] = None,
    wait: Annotated[
        bool,
        typer.Option(
            "--wait/--no-wait",
            envvar=env("wait"),
            help="Follow the job to its end, or print its id and end.",
        ),
    ] = True,
    working_dir: Annotated[
        Path | None,
        typer.Option(
            "--working-dir",
            metavar="DIR",
            envvar=env("working-dir"),
            help="A folder, or a .zip, that goes along: the job's paths begin in it.",
        ),
    ] = None,
    submission_id: Annotated[
        str | None,
        typer.Option(
            "--submission-id",
            metavar="ID",
            envvar=env("submission-id"),
            help="Of the job on the cluster, which takes each once; else one is made.",
        ),
    ] = None,
    runtime_env_json: Annotated[
        str | None,
        typer.Option(
            "--runtime-env-json",
            metavar="JSON",
            envvar=env("runtime-env-json"),
            help="Ray's runtime environment of the job, such as its env_vars.",
        ),
    ] = None,
    python: Annotated[
        str | None,
        typer.Option(
            "--python",
            metavar="PATH",
            envvar=env("python"),
            help="The interpreter on the cluster that has lexigram_ray; else this one's path.",
        ),
    ] = None,
    attach: Annotated[
        str | None,
        typer.Option("--attach", metavar="ID", help="Follow a job that was submitted."),
    ] = None,
    stop: Annotated[
        str | None,
        typer.Option("--stop", metavar="ID", help="Stop a job that was submitted."),
    ] = None,
    state: StateOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> int:
    """Send `ingest` or `embed` to a Ray cluster, and follow it to its end.

    Examples:
      lexigram-ray submit --address http://ray-head:8265 -- ingest /data -c data
      lexigram-ray submit --no-wait --state /shared/lexigram -- ingest /data -c data
      lexigram-ray submit --json -- embed /data/may.parquet -c reviews > report.json
      lexigram-ray submit --working-dir . -- ingest notes -c notes
      lexigram-ray submit --attach ingest-data-5e0c91d2
      lexigram-ray submit --stop ingest-data-5e0c91d2

    The same command line runs on the cluster, and its paths are the cluster's. --state and
    --config of `submit` hold here and there; other settings of this machine do not reach the
    cluster (--runtime-env-json sends some). What the job prints comes on stderr, its --json object
    on stdout, and its exit code is this one's. Ctrl-C lets go of the job, which goes on. Documents
    of a --working-dir count as new whenever something in it has changed.
    """
    invocation = Invocation.of(ctx, state, config, json=json, debug=debug)
    _refuse_more_than_one(command, attach, stop)
    if command:
        from lexigram_ray.cli.submit_new import NewJob, submit_new

        new = NewJob(
            words=tuple(command),
            working_dir=working_dir,
            id=None if submission_id is None else _id("--submission-id", submission_id),
            runtime_env_json=runtime_env_json,
            python=python or sys.executable,
        )
        return submit_new(ctx, invocation, new, address, wait=wait)
    from lexigram_ray.cli.submit_cluster import connect

    jobs, _ = connect(invocation.load_config(), address)
    if stop is not None:
        from lexigram_ray.cli.submit_follow import stop_and_tell

        return stop_and_tell(invocation, jobs, _id("--stop", stop))
    from lexigram_ray.cli.submit_follow import follow_and_answer

    job_id = _id("--attach", attach or "")
    jobs.get(job_id)
    return follow_and_answer(invocation, jobs, job_id, wants_result=invocation.json)


def _refuse_more_than_one(command: list[str] | None, attach: str | None, stop: str | None) -> None:
    given = [bool(command), attach is not None, stop is not None]
    if sum(given) != 1:
        raise UsageError(
            "submit takes one of these: a command, --attach, --stop"
            if any(given)
            else "there is nothing to submit",
            hint=f"{PROGRAM} submit -- ingest PATH... --collection NAME",
        )


def _id(option: str, value: str) -> str:
    if not _IDS.fullmatch(value):
        raise UsageError(
            f"{option} {value!r} is no id of a job",
            hint="letters, digits, `.`, `_` and `-`, at most 128 of them",
        )
    return value
