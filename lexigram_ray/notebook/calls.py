"""`embed` and `search` as functions: what the commands of these names do, from Python."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lexigram_ray.cli.embed_progress import EmbedMoment
from lexigram_ray.core.call_settings import settings_of
from lexigram_ray.core.errors import UsageError
from lexigram_ray.notebook.data import as_table
from lexigram_ray.notebook.hints import hints_shown
from lexigram_ray.notebook.results import EmbedResult, SearchResult
from lexigram_ray.notebook.shown_run import GO_ON, kept, run_of_call

if TYPE_CHECKING:
    from lexigram_ray.core.config import WorkersConfig
    from lexigram_ray.core.protocols import EmbeddingProvider
    from lexigram_ray.jobs.embed import EmbedInterrupted
    from lexigram_ray.vectors.search import SearchMode


def embed(
    data: object,
    *,
    collection: str,
    text_column: str = "text",
    id_column: str | None = None,
    model: str | None = None,
    provider: object | None = None,
    precision: Literal["auto", "fp32", "bf16", "fp16", "int8"] | None = None,
    dimensions: int | None = None,
    address: str | None = None,
    state: Path | str | None = None,
    config: WorkersConfig | Path | str | None = None,
    progress: bool | None = None,
) -> EmbedResult:
    """Embed texts into a collection, so that they can be searched.

    Equal texts are embedded once, and a row that cannot be embedded fails alone: look at the
    result's `problems`. A call that was interrupted, or whose process was killed, is gone on with
    by the same call.

    Args:
        data: A path to a table (Parquet, JSONL, CSV, Arrow, Lance), texts, dictionaries, chunks,
            an Arrow table or reader, a pandas or polars frame, or a Ray Dataset.
        collection: Name of the collection; it is made when it does not exist.
        text_column: The column that is embedded.
        id_column: The column of the rows' ids; else `id` if there is one, else rows are numbered.
        model: Name of the embedding model, or its folder.
        provider: Makes the vectors instead of a model: an object with `embed_texts(texts)` or
            `embed(texts)`. Only with a `revision` or a `spec` does the cache keep its vectors.
        precision: What the model computes in.
        dimensions: Keep only the first numbers of each vector, normalised again.
        address: A running Ray cluster (or `auto`); else this machine.
        state: Where collections and jobs are kept.
        config: The configuration, or its file instead of ./application.yaml.
        progress: Whether to show progress; None shows it in a notebook or a terminal.

    Raises:
        UsageError: Name, table, model or collection do not fit; nothing was done.
        KeyboardInterrupt: It was interrupted. What was done is kept.
        IntegrityError: The collection does not hold what was written.
        WorkerError: The run failed; the same call goes on from where it stopped.
    """
    from lexigram_ray.jobs.embed import EmbedInterrupted
    from lexigram_ray.jobs.embed_report import EmbedRequest
    from lexigram_ray.runtime.embed import run_embed

    with hints_shown():
        chosen = {"model": model, "precision": precision, "dimensions": dimensions}
        made_by = _provider(provider, chosen)
        settings = settings_of(config, state, embedding=chosen)
        table = as_table(
            data,
            text_column=text_column,
            id_column=id_column,
            allowed_roots=settings.allowed_roots,
        )
        request = EmbedRequest(
            table=table, collection=collection, provider=made_by, address=address
        )
        report = run_of_call(
            lambda on_progress, stop: run_embed(settings, request, on_progress, stop),
            EmbedMoment,
            progress=progress,
            stopped=EmbedInterrupted,
            how_far=_how_far,
        )
        return EmbedResult(report, settings, made_by)


def search(
    query: str,
    *,
    collection: str,
    limit: int = 10,
    mode: SearchMode = "hybrid",
    where: str | None = None,
    provider: object | None = None,
    state: Path | str | None = None,
    config: WorkersConfig | Path | str | None = None,
) -> SearchResult:
    """Find the passages of a collection that answer a question.

    Args:
        query: Words or a question.
        collection: The collection's name.
        limit: Most hits.
        mode: By meaning (`vector`), by words (`text`), or both.
        where: A condition in SQL over the collection's columns.
        provider: What made the collection's vectors, where no model did.
        state: Where collections are kept.
        config: The configuration, or its file instead of ./application.yaml.

    Raises:
        UsageError: The query is empty, the condition is wrong, there is no such collection, or
            its model is not at hand.
    """
    from lexigram_ray.jobs.searching import search_collection

    with hints_shown():
        report = search_collection(
            settings_of(config, state),
            query,
            collection=collection,
            limit=limit,
            mode=mode,
            where=where,
            provider=_provider(provider, {}),
        )
        return SearchResult(report)


def _provider(given: object | None, chosen: Mapping[str, object]) -> EmbeddingProvider | None:
    if given is None:
        return None
    for name, value in chosen.items():
        if value is not None:
            raise UsageError(
                f"{name}={value!r} is of a model, and `provider` makes the vectors instead of one",
                hint=f"leave out {name} or provider",
            )
    from lexigram_ray.embedding.adapters import as_provider

    return as_provider(given)


def _how_far(interrupted: EmbedInterrupted) -> str:
    report = interrupted.report
    if report is None:
        return f"interrupted: {GO_ON}"
    texts = report.texts
    done = texts.embedded + texts.cached + texts.failed
    return kept(report.job_id, done, texts.read, "texts")
