"""`lexigram-ray serve`: the HTTP service, in the foreground or left to go on by itself."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from lexigram_ray.cli.help_text import help_of
from lexigram_ray.cli.invocation import (
    ConfigOption,
    DebugOption,
    Invocation,
    JsonOption,
    StateOption,
    env,
)
from lexigram_ray.cli.job_options import AddressOption
from lexigram_ray.cli.output import (
    printable,
    restore_terminal,
    say,
    say_note,
    say_stray,
    write_line,
)
from lexigram_ray.cli.stray import stdout_is_for_results
from lexigram_ray.core.errors import UsageError

if TYPE_CHECKING:
    from lexigram_ray.core.config import WorkersConfig
    from lexigram_ray.service.ending import ServiceEnd
    from lexigram_ray.service.serving import ServiceReport

END_SECONDS = 120.0
"""What Ray's own end may take, beside what is configured for requests."""

serve_app = typer.Typer(rich_markup_mode=None, invoke_without_command=True)

HostOption = Annotated[
    str | None,
    typer.Option(
        "--host",
        metavar="ADDRESS",
        envvar=env("host"),
        help="Where to listen; else `service.host`. All but loopback needs tokens.",
    ),
]
PortOption = Annotated[
    int | None,
    typer.Option(
        "--port",
        min=0,
        max=65535,
        metavar="N",
        envvar=env("port"),
        help="The port; 0 for one that is free. Else `service.port`.",
    ),
]


def serve(
    ctx: typer.Context,
    *,
    host: HostOption = None,
    port: PortOption = None,
    address: AddressOption = None,
    detach: Annotated[
        bool,
        typer.Option(
            "--detach", envvar=env("detach"), help="Return once it is ready; it goes on by itself."
        ),
    ] = False,
    state: StateOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Serve documents, jobs, search and embeddings over HTTP, until Ctrl-C or SIGTERM.

    Examples:
      lexigram-ray serve
      lexigram-ray serve --host 0.0.0.0 --port 8080
      lexigram-ray serve --address ray-head:6379 --detach
      lexigram-ray serve down

    What `up` starts is started too, where it is not there, and ends with the service. At the end,
    /readyz says so first, for `service.drain_seconds`; then requests under way have
    `service.grace_seconds`. A second Ctrl-C ends at once.
    """
    invocation = Invocation.of(ctx, state, config, json=json, debug=debug)
    if ctx.invoked_subcommand is not None:
        _refuse_options_before(ctx, ctx.invoked_subcommand)
        return
    if detach:
        _start_detached(invocation, host, port, address)
    else:
        _serve_in_view(invocation, host, port, address)


def deploy(
    ctx: typer.Context,
    *,
    host: HostOption = None,
    port: PortOption = None,
    address: AddressOption = None,
    state: StateOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Start the service and return once it is ready; it goes on by itself.

    Examples:
      lexigram-ray serve deploy
      lexigram-ray serve deploy --address ray-head:6379 --json | jq -r .url

    On a cluster that is run with Ray's own tools, `serve deploy configs/serve.yaml` does the same.
    """
    invocation = Invocation.of(ctx, state, config, json=json, debug=debug)
    _start_detached(invocation, host, port, address)


def end(
    ctx: typer.Context,
    *,
    state: StateOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """End the service: not ready first, then requests under way, then what was started for it.

    Examples:
      lexigram-ray serve down
      lexigram-ray serve down --json | jq .ended_cluster

    What `lexigram-ray up` had started before the service stays.
    """
    invocation = Invocation.of(ctx, state, config, json=json, debug=debug)
    settings = invocation.load_config()
    ended = _ended(settings, say_note)
    if invocation.json:
        invocation.answer(ended.to_dict())
    else:
        _print_end(ended, invocation)


def _refuse_options_before(ctx: typer.Context, command: str) -> None:
    for name in ("host", "port", "address", "detach"):
        source = ctx.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise UsageError(
                f"--{name} stands before `{command}`, where it means nothing",
                hint=f"lexigram-ray serve {command} --help",
            )


def _start_detached(
    invocation: Invocation, host: str | None, port: int | None, address: str | None
) -> None:
    settings = invocation.load_config()
    report = _started(settings, host, port, address, say_note, is_watched=False)
    _answer(report, invocation)
    if not invocation.json:
        say(f"{invocation.suggest('serve', 'down')} ends it", label="try", style="cyan")


def _serve_in_view(
    invocation: Invocation, host: str | None, port: int | None, address: str | None
) -> None:
    from lexigram_ray.cli.interrupts import Interrupts

    settings = invocation.load_config()
    service = settings.service
    stop = threading.Event()

    def say_ending() -> None:
        say("the service ends; once more, and it ends at once", label="ending", style="yellow")

    def tell(text: str) -> None:
        interrupts.rearm()
        say_note(text)

    interrupts = Interrupts(
        stop=stop,
        on_first=say_ending,
        on_exit=restore_terminal,
        grace_seconds=service.drain_seconds + service.grace_seconds + END_SECONDS,
    )
    with interrupts:
        report = _started(settings, host, port, address, tell, is_watched=True)
        interrupts.rearm()
        _answer(report, invocation)
        if report.watched_elsewhere:
            say("another `lexigram-ray serve` stays with it", label="note")
            return
        from lexigram_ray.service.watching import watch

        watch(settings, stop, say_note)
        if stop.is_set():
            _print_end(_ended(settings, tell), invocation)


def _started(
    settings: WorkersConfig,
    host: str | None,
    port: int | None,
    address: str | None,
    tell: Callable[[str], None],
    *,
    is_watched: bool,
) -> ServiceReport:
    with stdout_is_for_results(say_stray):
        from lexigram_ray.service.serving import Wanted, start_service

        wanted = Wanted(host=host, port=port, address=address, is_watched=is_watched)
        return start_service(settings, wanted, tell)


def _ended(settings: WorkersConfig, tell: Callable[[str], None]) -> ServiceEnd:
    with stdout_is_for_results(say_stray):
        from lexigram_ray.service.ending import end_service

        return end_service(settings, tell)


def _answer(report: ServiceReport, invocation: Invocation) -> None:
    if invocation.json:
        invocation.answer(report.to_dict())
        return
    began = "it is up already" if report.was_up else "ready"
    lines = {
        "service": f"{report.url} ({began})",
        "cluster": report.address,
        "dashboard": report.dashboard or "none",
    }
    for label, text in lines.items():
        write_line(sys.stdout, f"{label:<11}  {printable(text)}")
    for line in (
        f"curl -F file=@paper.pdf -F collection=papers {report.url}/v1/documents",
        f'curl --json \'{{"query": "how are leases renewed"}}\' '
        f"{report.url}/v1/collections/papers/search",
    ):
        say(line, label="try", style="cyan")


def _print_end(ended: ServiceEnd, invocation: Invocation) -> None:
    # With --json, stdout has had its one object when the service was ready.
    stream = sys.stderr if invocation.answered else sys.stdout
    if not ended.was_up:
        say("no service was up", label="note")
        return
    kept = "" if ended.ended_cluster else "; what works on jobs stays up"
    write_line(stream, f"ended {ended.url}{kept}")
    for job_id in ended.given_back:
        write_line(stream, f"job {job_id} stopped at a safe point and waits")
    if not ended.ended_cluster:
        say(f"{invocation.suggest('down')} ends that too", label="try", style="cyan")


serve_app.callback(help=help_of(serve))(serve)
serve_app.command("deploy", help=help_of(deploy), short_help="Start it, and return when ready.")(
    deploy
)
serve_app.command("down", help=help_of(end), short_help="End it.")(end)
