"""`lexigram-ray embed`: a table of texts into a collection."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lexigram_ray.cli.given_paths import check_paths
from lexigram_ray.cli.invocation import (
    ConfigOption,
    DebugOption,
    Invocation,
    JsonOption,
    StateOption,
    env,
)
from lexigram_ray.cli.job_options import (
    AddressOption,
    DeadlineOption,
    DelayOption,
    JsonProgressOption,
    KeyOption,
    ModelOption,
    NoProgressOption,
    NoWaitOption,
    PrecisionOption,
    PriorityOption,
    refuse_beside_no_wait,
    submit_options,
)

if TYPE_CHECKING:
    import threading

    from lexigram_ray.cli.displays import Display
    from lexigram_ray.cli.shown_run import Show
    from lexigram_ray.core.config import WorkersConfig
    from lexigram_ray.jobs.embed_report import EmbedProgress, EmbedReport, EmbedRequest
    from lexigram_ray.jobs.records import Job
    from lexigram_ray.jobs.submitting import SubmitOptions

STDIN = Path("-")


def embed(
    ctx: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="Parquet, JSONL, CSV, Arrow or Lance; `-` reads JSONL from stdin.",
            show_default=False,
        ),
    ],
    *,
    collection: Annotated[
        str,
        typer.Option(
            "--collection",
            "-c",
            metavar="NAME",
            envvar=env("collection"),
            help="The collection; made when it does not exist.",
        ),
    ],
    text_column: Annotated[
        str,
        typer.Option(
            "--text-column",
            metavar="NAME",
            envvar=env("text-column"),
            help="The column that is embedded.",
        ),
    ] = "text",
    id_column: Annotated[
        str | None,
        typer.Option(
            "--id-column",
            metavar="NAME",
            envvar=env("id-column"),
            help="The column of the rows' ids; else `id`, else rows are numbered.",
        ),
    ] = None,
    address: AddressOption = None,
    model: ModelOption = None,
    precision: PrecisionOption = None,
    dimensions: Annotated[
        int | None,
        typer.Option(
            "--dimensions",
            min=1,
            metavar="N",
            envvar=env("dimensions"),
            help="Keep only the first N numbers of each vector.",
        ),
    ] = None,
    no_wait: NoWaitOption = False,
    priority: PriorityOption = None,
    key: KeyOption = None,
    delay: DelayOption = None,
    deadline: DeadlineOption = None,
    no_progress: NoProgressOption = False,
    json_progress: JsonProgressOption = False,
    state: StateOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> int:
    """Embed a table of texts into a collection, so that they can be searched.

    Examples:
      lexigram-ray embed reviews.parquet --collection reviews
      lexigram-ray embed faq.csv -c faq --text-column answer --id-column key
      jq -c '.items[]' dump.json | lexigram-ray embed - -c items --json > report.json
      lexigram-ray embed reviews.parquet -c reviews --address ray-head:6379
      lexigram-ray embed reviews.parquet -c reviews --no-wait --priority 5 --delay 10m
      lexigram-ray embed may.csv -c reviews --no-wait --key may --deadline 2026-05-31T20:00

    A row becomes one passage; the columns beside text and id are kept as its metadata. Equal texts
    are embedded once, and a row that cannot be embedded fails alone. Ctrl-C stops within seconds;
    the same command goes on from there. Exit code 3: done, but some rows failed. With --no-wait
    the rows are read and the job is only recorded: the file is needed no more, and `lexigram-ray
    up` works on it.
    """
    invocation = Invocation.of(ctx, state, config, json=json, debug=debug)
    options = submit_options(
        no_wait=no_wait, priority=priority, key=key, delay=delay, deadline=deadline
    )
    if options is not None:
        refuse_beside_no_wait(ctx)
    if file != STDIN:
        check_paths([file])
    given = {"model": model, "precision": precision, "dimensions": dimensions}
    embedding = {key: value for key, value in given.items() if value is not None}
    settings = invocation.load_config(**({"embedding": embedding} if embedding else {}))
    from lexigram_ray.cli.displays import choose_display
    from lexigram_ray.ingestion.tables import open_table
    from lexigram_ray.jobs.embed_report import EmbedRequest

    with ExitStack() as stack:
        if file == STDIN:
            from lexigram_ray.cli.standard_input import spooled

            table = stack.enter_context(
                spooled(settings.paths.scratch, text_column=text_column, id_column=id_column)
            )
        else:
            table = open_table(
                file.expanduser(),
                text_column=text_column,
                id_column=id_column,
                allowed_roots=settings.allowed_roots,
            )
        request = EmbedRequest(table=table, collection=collection, address=address)
        display = choose_display(show=not no_progress, json_lines=json_progress)
        if options is not None:
            return _submit(invocation, settings, request, display, options)
        return _run(invocation, settings, request, display)


def exit_code(report: EmbedReport) -> int:
    """Return what a report means to a script; a run that is not over was interrupted."""
    from lexigram_ray.cli.shown_run import exit_code_of

    texts = report.texts
    return exit_code_of(report.status, failed=texts.failed, of=texts.read)


def _submit(
    invocation: Invocation,
    config: WorkersConfig,
    request: EmbedRequest,
    display: Display,
    options: SubmitOptions,
) -> int:
    from lexigram_ray.cli.embed_progress import EmbedMoment
    from lexigram_ray.cli.submitted import submit_shown
    from lexigram_ray.jobs.submitting import left_out, submit_embed
    from lexigram_ray.jobs.text_tracker import TextTracker

    def submit(show: Show, stop: threading.Event) -> tuple[Job, bool]:
        def tell(progress: EmbedProgress) -> None:
            show(EmbedMoment(progress))

        read = TextTracker(tell).read
        return submit_embed(config, request, options=options, on_read=read, stop=stop)

    return submit_shown(
        submit,
        lambda job: left_out(job, options),
        invocation=invocation,
        config=config,
        display=display,
    )


def _run(
    invocation: Invocation, config: WorkersConfig, request: EmbedRequest, display: Display
) -> int:
    from lexigram_ray.cli.embed_progress import EmbedMoment
    from lexigram_ray.cli.embed_summary import print_summary, write_summary_lines
    from lexigram_ray.cli.shown_run import run_and_answer
    from lexigram_ray.jobs.embed import EmbedInterrupted
    from lexigram_ray.runtime.embed import run_embed

    def work(show: Show, stop: threading.Event) -> EmbedReport:
        try:
            return run_embed(config, request, lambda now: show(EmbedMoment(now)), stop)
        except EmbedInterrupted as interrupted:
            if interrupted.report is None:
                raise
            return interrupted.report

    report = run_and_answer(
        work,
        invocation=invocation,
        config=config,
        display=display,
        print_summary=print_summary,
        write_summary_lines=write_summary_lines,
    )
    return exit_code(report)
