"""`ingest` as a function: what the command of this name does, from Python."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lexigram_ray.cli.given_paths import check_paths
from lexigram_ray.cli.ingest_progress import IngestMoment
from lexigram_ray.core.call_settings import settings_of
from lexigram_ray.core.errors import UsageError
from lexigram_ray.notebook.hints import hints_shown
from lexigram_ray.notebook.ingest_result import IngestResult
from lexigram_ray.notebook.shown_run import GO_ON, kept, run_of_call

if TYPE_CHECKING:
    from lexigram_ray.core.config import WorkersConfig
    from lexigram_ray.jobs.run import Interrupted


def ingest(
    paths: Path | str | Iterable[Path | str],
    *,
    collection: str,
    prune: bool = False,
    retry_failed: bool = False,
    model: str | None = None,
    precision: Literal["auto", "fp32", "bf16", "fp16", "int8"] | None = None,
    chunk_by: Literal["tokens", "characters"] | None = None,
    chunk_size: int | None = None,
    chunk_overlap: int | None = None,
    ocr: bool | None = None,
    address: str | None = None,
    state: Path | str | None = None,
    config: WorkersConfig | Path | str | None = None,
    progress: bool | None = None,
) -> IngestResult:
    """Put documents into a collection, so that they can be searched.

    Unchanged documents are not read again, equal texts are embedded once, and a document that
    cannot be read fails alone: look at the result's `problems`. A call that was interrupted, or
    whose process was killed, is gone on with by the same call.

    Args:
        paths: A file or folder, or several of them.
        collection: Name of the collection; it is made when it does not exist.
        prune: Remove documents that are no longer under `paths`.
        retry_failed: Try remembered failures again although their files are unchanged.
        model: Name of the embedding model, or its folder.
        precision: What the model computes in.
        chunk_by: What a chunk's size counts.
        chunk_size: Most tokens or characters in a chunk; the model's limit, or 1000.
        chunk_overlap: How many of them repeat the chunk before; 0, or 200.
        ocr: Whether pictures are read with tesseract.
        address: A running Ray cluster (or `auto`); else this machine.
        state: Where collections and jobs are kept.
        config: The configuration, or its file instead of ./application.yaml.
        progress: Whether to show progress; None shows it in a notebook or a terminal.

    Raises:
        UsageError: Name, path, model or collection do not fit; nothing was done.
        KeyboardInterrupt: It was interrupted. What was done is kept.
        IntegrityError: The collection does not hold what was written.
        WorkerError: The run failed; the same call goes on from where it stopped.
    """
    from lexigram_ray.jobs.report import IngestRequest
    from lexigram_ray.jobs.run import Interrupted
    from lexigram_ray.runtime.ingest import run_ingest

    with hints_shown():
        given = _as_paths(paths)
        check_paths(given)
        settings = settings_of(
            config,
            state,
            embedding={"model": model, "precision": precision},
            chunking={"strategy": chunk_by, "size": chunk_size, "overlap": chunk_overlap},
            parser={"ocr": ocr},
        )
        request = IngestRequest(
            paths=tuple(path.expanduser() for path in given),
            collection=collection,
            prune=prune,
            retry_failed=retry_failed,
            address=address,
        )
        report = run_of_call(
            lambda on_progress, stop: run_ingest(settings, request, on_progress, stop),
            IngestMoment,
            progress=progress,
            stopped=Interrupted,
            how_far=_how_far,
        )
        return IngestResult(report, settings)


def _as_paths(paths: Path | str | Iterable[Path | str]) -> list[Path]:
    several = [paths] if isinstance(paths, (str, Path)) else paths
    given = [Path(path) for path in several]
    if not given:
        raise UsageError("no path was given", hint="give a file or folder, or several of them")
    return given


def _how_far(interrupted: Interrupted) -> str:
    report = interrupted.report
    if report is None:
        return f"interrupted: {GO_ON}"
    documents = report.documents
    done = documents.ingested + documents.unchanged + documents.skipped + documents.failed
    return kept(report.job_id, done, documents.found, "documents")
