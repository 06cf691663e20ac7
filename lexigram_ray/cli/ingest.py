"""`lexigram-ray ingest`: the main job."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lexigram_ray.cli.exit_codes import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_SOME_FAILED,
)
from lexigram_ray.cli.invocation import (
    ConfigOption,
    DebugOption,
    Invocation,
    JsonOption,
    StateOption,
    env,
)
from lexigram_ray.cli.output import restore_terminal, say
from lexigram_ray.cli.stray import stdout_is_for_results
from lexigram_ray.core.errors import UsageError
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.report import IngestReport, IngestRequest, Progress

if TYPE_CHECKING:
    from lexigram_ray.cli.progress import Display
    from lexigram_ray.core.config import WorkersConfig


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
    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            metavar="HOST:PORT",
            envvar=env("address"),
            help="A running Ray cluster (or `auto`); else this machine.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", metavar="NAME", envvar=env("model"), help="Embedding model, or its folder."
        ),
    ] = None,
    precision: Annotated[
        Literal["auto", "fp32", "bf16"] | None,
        typer.Option("--precision", envvar=env("precision"), help="What the model computes in."),
    ] = None,
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
    no_progress: Annotated[
        bool,
        typer.Option("--no-progress", envvar=env("no-progress"), help="Show no progress."),
    ] = False,
    json_progress: Annotated[
        bool,
        typer.Option(
            "--json-progress",
            envvar=env("json-progress"),
            help="Progress as JSON Lines on stderr.",
        ),
    ] = False,
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

    Unchanged documents are not read again, and equal texts are embedded once. Ctrl-C stops within
    seconds; the same command goes on from there. Exit code 3: done, but some documents failed.
    """
    invocation = Invocation.of(ctx, state, config, json=json, debug=debug)
    _check_paths(paths)
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
    from lexigram_ray.cli.progress import choose_display

    display = choose_display(show=not no_progress, json_lines=json_progress)
    return _run(invocation, settings, request, display)


def exit_code(report: IngestReport) -> int:
    """Return what a report means to a script; a run that is not over was interrupted."""
    if report.status in (JobStatus.PENDING, JobStatus.RUNNING):
        return EXIT_INTERRUPTED
    if report.status is not JobStatus.COMPLETED:
        return EXIT_FAILED
    documents = report.documents
    if not documents.failed:
        return EXIT_DONE
    return EXIT_FAILED if documents.failed == documents.found else EXIT_SOME_FAILED


def _check_paths(paths: list[Path]) -> None:
    for path in paths:
        if not os.path.lexists(path.expanduser()):
            raise UsageError(f"no such file or folder: {path}", hint="check the path; see `ls`")


def _sections(**sections: dict[str, object]) -> dict[str, object]:
    given = {
        name: {key: value for key, value in fields.items() if value is not None}
        for name, fields in sections.items()
    }
    return {name: fields for name, fields in given.items() if fields}


def _dry_run(invocation: Invocation, config: WorkersConfig, request: IngestRequest) -> int:
    from lexigram_ray.cli.ingest_summary import print_dry_run
    from lexigram_ray.runtime.ingest import dry_run

    with stdout_is_for_results(lambda line: say(line, label="output")):
        report = dry_run(config, request)
    if invocation.json:
        invocation.answer(report.to_dict())
    else:
        print_dry_run(report)
    return EXIT_DONE


def _run(
    invocation: Invocation, config: WorkersConfig, request: IngestRequest, display: Display
) -> int:
    from lexigram_ray.cli.interrupts import Interrupts
    from lexigram_ray.cli.messages import log_to
    from lexigram_ray.jobs.run import Interrupted
    from lexigram_ray.runtime.ingest import run_ingest

    stop = threading.Event()
    latest = Progress(phase="starting")

    def on_progress(progress: Progress) -> None:
        nonlocal latest
        latest = progress
        interrupts.rearm()
        display.update(progress)

    def say_how_to_go_on() -> None:
        _say_how_to_go_on(invocation, display, latest)

    def say_log(text: str, label: str, style: str) -> None:
        display.say(text, label=label, style=style)

    def say_stray(line: str) -> None:
        display.say(line, label="output", style="dim")

    with (
        stdout_is_for_results(say_stray),
        display,
        log_to(say_log, debug=invocation.debug),
    ):
        interrupts = Interrupts(stop=stop, on_first=say_how_to_go_on, on_exit=restore_terminal)
        with interrupts:
            try:
                report = run_ingest(config, request, on_progress, stop)
            except Interrupted as interrupted:
                if interrupted.report is None:
                    raise
                report = interrupted.report
    _finish(invocation, display, report)
    return exit_code(report)


def _say_how_to_go_on(invocation: Invocation, display: Display, latest: Progress) -> None:
    done, total = latest.documents_done, latest.documents_total
    known = f"{done:,} of {total:,} documents are done" if total else "nothing was begun"
    job = f", job {latest.job_id}" if latest.job_id else ""
    display.say(f"{known} and kept{job}; once more ends it at once", label="stopping")
    display.say(invocation.command_line(), label="go on with", style="cyan")


def _finish(invocation: Invocation, display: Display, report: IngestReport) -> None:
    from lexigram_ray.cli.ingest_summary import print_summary, write_summary_lines

    for note in report.notes:
        display.say(note, label="note")
    if invocation.json:
        invocation.answer(report.to_dict())
    else:
        print_summary(report)
        invocation.answered = True
    if report.error:
        display.say(report.error, label="error", style="red")
        display.say(f"{invocation.command_line()} goes on from there", label="try", style="cyan")
    elif report.status is JobStatus.COMPLETED and report.rows and not invocation.json:
        line = invocation.suggest("search", "your question", "--collection", report.collection)
        display.say(line, label="search with", style="cyan")
    if invocation.json_lines:
        write_summary_lines(report)
