"""`lexigram-ray status`: what is up, and what it works on."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, cast

import typer

from lexigram_ray.cli.exit_codes import EXIT_DONE, EXIT_UNREACHABLE
from lexigram_ray.cli.invocation import (
    ConfigOption,
    DebugOption,
    Invocation,
    JsonOption,
    StateOption,
    env,
)
from lexigram_ray.cli.output import (
    byte_size,
    paint,
    print_table,
    printable,
    say,
    say_stray,
    write_line,
)
from lexigram_ray.cli.stray import stdout_is_for_results
from lexigram_ray.core.errors import UsageError

if TYPE_CHECKING:
    from lexigram_ray.jobs.records import Job
    from lexigram_ray.runtime.status import ClusterState, Status
    from lexigram_ray.service.service_state import ServiceState

EVERY_SECONDS = 2.0

WatchOption = Annotated[
    bool,
    typer.Option("--watch", "-w", envvar=env("watch"), help="Look again and again, until Ctrl-C."),
]
IntervalOption = Annotated[
    float | None,
    typer.Option(
        min=0.1,
        max=3600,
        metavar="SECONDS",
        envvar=env("interval"),
        help=f"Between two looks of a watch; else {EVERY_SECONDS:g}.",
    ),
]


def status(
    ctx: typer.Context,
    *,
    state: StateOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
    watch: WatchOption = False,
    interval: IntervalOption = None,
    debug: DebugOption = False,
) -> int:
    """Show the cluster that `up` has started or found, our actors, the service, and the jobs.

    Examples:
      lexigram-ray status
      lexigram-ray status --watch
      lexigram-ray status --json | jq .jobs.pending
      lexigram-ray status --watch --json | jq -c .chunks_per_second

    It starts nothing. Exit code 4: nothing is up, or the cluster does not answer. A watch goes on
    whatever it sees, until Ctrl-C, and ends with 0; with --json it prints an object a line.
    """
    invocation = Invocation.of(ctx, state, config, json=json, debug=debug)
    settings = invocation.load_config()
    if watch:
        from lexigram_ray.cli.status_watch import watch_status

        return watch_status(settings, invocation, interval or EVERY_SECONDS)
    if interval is not None:
        raise UsageError("--interval is for --watch", hint=invocation.suggest("status", "--watch"))
    with stdout_is_for_results(say_stray):
        from lexigram_ray.runtime.status import read_status
        from lexigram_ray.service.service_state import read_service

        found, service = read_status(settings), read_service(settings)
    if invocation.json:
        shown = None if service is None else service.to_dict()
        invocation.answer({**found.to_dict(), "service": shown})
    else:
        _print(found, service, invocation)
    return EXIT_DONE if found.is_up else EXIT_UNREACHABLE


def _print(found: Status, service: ServiceState | None, invocation: Invocation) -> None:
    _print_cluster(found.cluster, invocation)
    if service is not None:
        _print_service(service, invocation)
    counts = [f"{number:,} {name.value}" for name, number in found.jobs.items() if number]
    write_line(sys.stdout, f"jobs       {', '.join(counts) or 'none'}")
    if found.running:
        write_line(sys.stdout, "")
        headers = ("RUNNING", "KIND", "COLLECTION", "PROGRESS", "FAILED", "ATTEMPT")
        print_table(headers, [_job_row(job) for job in found.running])


def _print_cluster(cluster: ClusterState | None, invocation: Invocation) -> None:
    if cluster is None:
        write_line(sys.stdout, "cluster    none is up")
        say(invocation.suggest("up"), label="try", style="cyan")
        return
    if cluster.problem is not None:
        word = paint("does not answer", "red", sys.stdout)
        where = cluster.address or "a head"
        write_line(sys.stdout, f"cluster    {where} {word}: {printable(cluster.problem)}")
        again = invocation.suggest("up") if cluster.started_here else invocation.suggest("down")
        say(again, label="try", style="cyan")
        return
    began = "started by `up`" if cluster.started_here else "was there before `up`"
    write_line(sys.stdout, f"cluster    {cluster.address} ({began})")
    write_line(sys.stdout, f"dashboard  {cluster.dashboard or 'none'}")
    for node in cluster.nodes:
        gpus = f", {node.gpus:g} GPUs" if node.gpus else ""
        size = f"{node.cpus:g} CPUs{gpus}, {byte_size(node.memory_bytes)}"
        write_line(sys.stdout, f"node       {printable(node.name)} ({node.address}): {size}")
    for actor in cluster.actors:
        where = "does not answer" if actor.pid is None else f"process {actor.pid} on {actor.node}"
        write_line(sys.stdout, f"actor      {printable(actor.name)}: {where}")
    missing: list[str] = []
    if not cluster.has_queue:
        missing.append("no queue runs there: submitted jobs wait")
    if not cluster.has_dead_letters:
        missing.append("no dead-letter actor runs there: failures are not retried by themselves")
    if cluster.has_maintenance is False:
        missing.append("no maintenance actor runs there: nothing is kept in order by itself")
    for what in missing:
        say(what, label="warning", style="yellow")
    if missing:
        say(invocation.suggest("up"), label="try", style="cyan")


def _print_service(service: ServiceState, invocation: Invocation) -> None:
    from lexigram_ray.service.service_state import Readiness

    style = service.style
    word = paint(service.in_words, style, sys.stdout) if style else service.in_words
    write_line(sys.stdout, f"service    {service.url} {word}")
    if service.readiness is Readiness.SILENT:
        say(invocation.suggest("serve"), label="try", style="cyan")


def _job_row(job: Job) -> tuple[str, ...]:
    shown = cast("dict[str, float]", job.to_dict()["progress"])
    progress = f"{shown['done']:,}/{shown['total']:,} ({shown['percent']:g} %)"
    return job.id, job.kind, job.collection, progress, f"{shown['failed']:,}", str(job.attempt)
