"""`lexigram-ray ingest`: the main job."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lexigram_ray.cli.exit_codes import EXIT_DONE
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
from lexigram_ray.cli.output import printable, say
from lexigram_ray.cli.stray import stdout_is_for_results
from lexigram_ray.jobs.report import IngestReport, IngestRequest

if TYPE_CHECKING:
    import threading

    from lexigram_ray.cli.displays import Display
    from lexigram_ray.cli.shown_run import Show
    from lexigram_ray.core.config import WorkersConfig
    from lexigram_ray.jobs.records import Job
    from lexigram_ray.jobs.submitting import SubmitOptions


def ingest(
    ctx: typer.Context,
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH", help="Files and folders.", show_default=False)
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
    prune: Annotated[
        bool,
        typer.Option(
            "--prune", envvar=env("prune"), help="Remove documents that are no longer under PATH."
        ),
    ] = False,
    retry_failed: Annotated[
        bool,
        typer.Option(
            "--retry-failed",
            envvar=env("retry-failed"),
            help="Try remembered failures again although their files are unchanged.",
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", envvar=env("dry-run"), help="Say what would be done and what it costs."
        ),
    ] = False,
    address: AddressOption = None,
    model: ModelOption = None,
    precision: PrecisionOption = None,
    chunk_by: Annotated[
        Literal["tokens", "characters"] | None,
        typer.Option("--chunk-by", envvar=env("chunk-by"), help="What a chunk's size counts."),
    ] = None,
    chunk_size: Annotated[
        int | None,
        typer.Option(
            "--chunk-size",
            min=1,
            metavar="N",
            envvar=env("chunk-size"),
            help="Most tokens or characters in a chunk; the model's limit, or 1000.",
        ),
    ] = None,
    chunk_overlap: Annotated[
        int | None,
        typer.Option(
            "--chunk-overlap",
            min=0,
            metavar="N",
            envvar=env("chunk-overlap"),
            help="How many of them repeat the chunk before; 0, or 200.",
        ),
    ] = None,
    ocr: Annotated[
        bool | None,
        typer.Option("--ocr/--no-ocr", envvar=env("ocr"), help="Read pictures with tesseract."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            min=1,
            metavar="N",
            envvar=env("workers"),
            help="Ingestion workers; else from the CPUs.",
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
    """Put documents into a collection, so that they can be searched.

    Examples:
      lexigram-ray ingest ~/papers --collection papers
      lexigram-ray ingest report.pdf notes/ -c work --dry-run
      lexigram-ray ingest ~/papers -c papers --prune --json > report.json
      lexigram-ray ingest /data -c data --address ray-head:6379
      lexigram-ray ingest /data -c data --no-wait --priority 5 --delay 10m --deadline 8h
      lexigram-ray ingest /data/may -c data --no-wait --key may --json | jq -r .id

    Unchanged documents are not read again, and equal texts are embedded once. Ctrl-C stops within
    seconds; the same command goes on from there. Exit code 3: done, but some documents failed.
    With --no-wait the job is only recorded, and `lexigram-ray up` works on it.
    """
    invocation = Invocation.of(ctx, state, config, json=json, debug=debug)
    options = submit_options(
        no_wait=no_wait, priority=priority, key=key, delay=delay, deadline=deadline
    )
    if options is not None:
        refuse_beside_no_wait(ctx, dry_run=dry_run)
    check_paths(paths)
    settings = invocation.load_config(
        **_sections(
            embedding={"model": model, "precision": precision},
            chunking={"strategy": chunk_by, "size": chunk_size, "overlap": chunk_overlap},
            parser={"ocr": ocr},
            runtime={"workers": workers},
        )
    )
    request = IngestRequest(
        paths=tuple(path.expanduser() for path in paths),
        collection=collection,
        prune=prune,
        retry_failed=retry_failed,
        address=address,
    )
    if dry_run:
        return _dry_run(invocation, settings, request)
    from lexigram_ray.cli.displays import choose_display

    display = choose_display(show=not no_progress, json_lines=json_progress)
    if options is not None:
        return _submit(invocation, settings, request, display, options)
    return _run(invocation, settings, request, display)


def exit_code(report: IngestReport) -> int:
    """Return what a report means to a script; a run that is not over was interrupted."""
    from lexigram_ray.cli.shown_run import exit_code_of

    documents = report.documents
    return exit_code_of(report.status, failed=documents.failed, of=documents.found)


def _sections(**sections: dict[str, object]) -> dict[str, object]:
    given = {
        name: {key: value for key, value in fields.items() if value is not None}
        for name, fields in sections.items()
    }
    return {name: fields for name, fields in given.items() if fields}


def _dry_run(invocation: Invocation, config: WorkersConfig, request: IngestRequest) -> int:
    from lexigram_ray.cli.ingest_summary import print_dry_run
    from lexigram_ray.runtime.ingest import dry_run

    with stdout_is_for_results(lambda line: say(printable(line), label="output")):
        report = dry_run(config, request)
    if invocation.json:
        invocation.answer(report.to_dict())
    else:
        print_dry_run(report)
    return EXIT_DONE


def _submit(
    invocation: Invocation,
    config: WorkersConfig,
    request: IngestRequest,
    display: Display,
    options: SubmitOptions,
) -> int:
    from lexigram_ray.cli.submitted import submit_shown
    from lexigram_ray.jobs.submitting import left_out, submit_ingest

    def submit(_show: Show, _stop: threading.Event) -> tuple[Job, bool]:
        return submit_ingest(config, request, options=options)

    return submit_shown(
        submit,
        lambda job: left_out(job, options, request),
        invocation=invocation,
        config=config,
        display=display,
    )


def _run(
    invocation: Invocation, config: WorkersConfig, request: IngestRequest, display: Display
) -> int:
    from lexigram_ray.cli.ingest_progress import IngestMoment
    from lexigram_ray.cli.ingest_summary import print_summary, write_summary_lines
    from lexigram_ray.cli.shown_run import run_and_answer
    from lexigram_ray.jobs.run import Interrupted
    from lexigram_ray.runtime.ingest import run_ingest

    def work(show: Show, stop: threading.Event) -> IngestReport:
        try:
            return run_ingest(config, request, lambda now: show(IngestMoment(now)), stop)
        except Interrupted as interrupted:
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
