"""`lexigram-ray up` and `down`: who works on jobs, retries failures, and does maintenance."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from lexigram_ray.cli.invocation import (
    ConfigOption,
    DebugOption,
    Invocation,
    JsonOption,
    StateOption,
)
from lexigram_ray.cli.job_options import AddressOption
from lexigram_ray.cli.output import count, printable, say, say_note, say_stray, write_line
from lexigram_ray.cli.stray import stdout_is_for_results

if TYPE_CHECKING:
    from lexigram_ray.runtime.down import DownReport
    from lexigram_ray.runtime.own_actors import ActorState
    from lexigram_ray.runtime.up import UpReport


def up(
    ctx: typer.Context,
    *,
    address: AddressOption = None,
    state: StateOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Start what works on jobs, retries failures and does maintenance, and let it go on by itself.

    Examples:
      lexigram-ray up
      lexigram-ray up --address ray-head:6379
      lexigram-ray ingest ~/papers --collection papers --no-wait
      lexigram-ray status

    Without --address, Ray is started on this machine. What is up already is left as it is, and
    jobs that were left unfinished go on. Commands that need a cluster attach to this one.
    """
    invocation = Invocation.of(ctx, state, config, json=json, debug=debug)
    settings = invocation.load_config()
    with stdout_is_for_results(say_stray):
        from lexigram_ray.runtime.up import up as start

        report = start(settings, address, say_note)
    if invocation.json:
        invocation.answer(report.to_dict())
    else:
        _print_up(report, invocation)


def down(
    ctx: typer.Context,
    *,
    state: StateOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """End what `up` has started. Running jobs stop at a safe point, and go on at the next `up`.

    Examples:
      lexigram-ray down
      lexigram-ray down --json | jq .given_back

    A cluster that was there before `up` stays; only the actors of this state are ended on it. The
    HTTP service ends first, where `serve` has started it: requests under way have their time.
    """
    invocation = Invocation.of(ctx, state, config, json=json, debug=debug)
    settings = invocation.load_config()
    with stdout_is_for_results(say_stray):
        from lexigram_ray.runtime.down import down as end
        from lexigram_ray.service.service_note import noted_service

        if noted_service(settings) is not None:
            from lexigram_ray.service.ending import end_service

            end_service(settings, say_note, keep_cluster=True)
        report = end(settings, say_note)
    if invocation.json:
        invocation.answer(report.to_dict())
    else:
        _print_down(report, invocation)


def _print_up(report: UpReport, invocation: Invocation) -> None:
    size = f"{count(report.nodes, 'node')}, {report.cpus:g} CPUs"
    if report.gpus:
        size += f", {report.gpus:g} GPUs"
    began = "started" if report.started_head else "attached"
    lines = {
        "cluster": f"{report.address} ({began}; {size})",
        "dashboard": report.dashboard or "none",
        "queue": _actor(report.queue, started=report.started_queue),
        "dlq": _actor(report.dead_letters, started=report.started_dead_letters),
        "maintenance": _actor(report.maintenance, started=report.started_maintenance),
        "jobs": f"{report.pending:,} waiting, {report.running:,} running",
    }
    for label, text in lines.items():
        write_line(sys.stdout, f"{label:<11}  {printable(text)}")
    submit = invocation.suggest("ingest", "PATH", "--collection", "NAME", "--no-wait")
    say(submit, label="try", style="cyan")
    say(invocation.suggest("status"), label="try", style="cyan")


def _actor(actor: ActorState | None, *, started: bool) -> str:
    if actor is None:
        return "turned off (enable_maintenance)"
    began = "started" if started else "already running"
    return f"{actor.name} ({began}; process {actor.pid})"


def _print_down(report: DownReport, invocation: Invocation) -> None:
    if not report.was_up:
        say("nothing was up", label="note")
        return
    where = report.address or "a head that had not started"
    if report.ended_head:
        write_line(sys.stdout, f"ended {where} and its {report.processes} processes")
    else:
        write_line(sys.stdout, f"ended our actors on {where}; the cluster stays")
    for job_id in report.given_back:
        write_line(sys.stdout, f"job {job_id} stopped at a safe point and waits")
    for job_id in report.killed:
        write_line(sys.stdout, f"job {job_id} did not stop in time and was ended; it waits")
    if report.given_back or report.killed:
        say(f"{invocation.suggest('up')} goes on with them", label="try", style="cyan")
