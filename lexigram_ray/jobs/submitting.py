"""Recording a job without working on it: checked first, durable when its id is returned."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.errors import UsageError
from lexigram_ray.core.tracing import span
from lexigram_ray.jobs.embed_report import EmbedRequest
from lexigram_ray.jobs.job_context import traced
from lexigram_ray.jobs.recipes import Recipe, read_text_recipe
from lexigram_ray.jobs.records import Job, Owner, Submission
from lexigram_ray.jobs.report import IngestRequest
from lexigram_ray.jobs.requests import (
    EMBED,
    INGEST,
    embed_spec,
    ingest_request_of,
    ingest_spec,
    spec_key_of,
)
from lexigram_ray.jobs.staged import StagedTable
from lexigram_ray.jobs.staged_files import (
    OnRead,
    are_kept,
    staged_rows,
    still_staged,
    turn_name,
    turn_of,
)
from lexigram_ray.jobs.store import Store
from lexigram_ray.jobs.toolbox import check_request
from lexigram_ray.vectors.collections import Collections, validate_name


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitOptions:
    """When a job is worked on, and what it is known by.

    Attributes:
        priority: Higher is worked on earlier.
        unique_key: Answers the same request with the same job for ever, finished or not.
        run_after: Not before this time.
        deadline: The job fails if it has not ended by then.
    """

    priority: int = 0
    unique_key: str | None = None
    run_after: datetime | None = None
    deadline: datetime | None = None


NOW = SubmitOptions()
LEFT_ALONE = timedelta(minutes=1)


def submit_ingest(
    config: WorkersConfig, request: IngestRequest, *, options: SubmitOptions = NOW
) -> tuple[Job, bool]:
    """Record an ingestion, for `lexigram-ray up` to work on.

    Returns:
        The job, and whether it was made now; False for the unfinished one that asks for the same.

    Raises:
        UsageError: Name, path, model or collection do not fit, or the key belongs to another
            request; nothing was recorded.
    """
    if request.only_here:
        raise _only_here(request.only_here)
    recipe = check_request(config, request).recipe
    with Store.open(config.paths.store_url) as store:
        return record_ingest(store, config, request, recipe, options)


def submit_embed(
    config: WorkersConfig,
    request: EmbedRequest,
    *,
    options: SubmitOptions = NOW,
    on_read: OnRead = lambda _: None,
    stop: threading.Event | None = None,
) -> tuple[Job, bool]:
    """Record an embedding job, its rows staged: the table is needed no more.

    Args:
        on_read: Is given the rows read so far.
        stop: Ends the reading when set.

    Returns:
        The job, and whether it was made now; False for the unfinished one that asks for the same.

    Raises:
        UsageError: Name, table, model or collection do not fit, the vectors are to be made by an
            object of this program, or the key belongs to another request; nothing was recorded.
        EmbedInterrupted: `stop` was set; nothing was recorded.
    """
    _refuse_object(request)
    stop = stop or threading.Event()
    recipe = check_embed(config, request)
    staged = staged_rows(config, request.table, on_read, stop)
    with Store.open(config.paths.store_url) as store:
        return record_embed(
            store,
            config,
            request,
            recipe,
            staged,
            on_read=on_read,
            stop=stop,
            options=options,
        )


def left_out(job: Job, options: SubmitOptions, request: IngestRequest | None = None) -> list[str]:
    """Return the options of a submission that the unfinished job found for it was made without."""
    if job.status.is_final:
        return []
    missed: set[str] = set()
    if options.priority not in (0, job.priority):
        missed.add("--priority")
    if options.run_after is not None and job.run_after is None:
        missed.add("--delay")
    if options.deadline is not None and job.deadline is None:
        missed.add("--deadline")
    recorded = ingest_request_of(job)
    if request is not None and recorded is not None:
        missed |= _options_of(request) - _options_of(recorded)
    return sorted(missed)


def left_undone(job: Job, request: IngestRequest) -> list[str]:
    """Return the options of a job that a command does without, which goes on with that job."""
    recorded = ingest_request_of(job)
    return sorted(_options_of(recorded) - _options_of(request)) if recorded is not None else []


def check_embed(
    config: WorkersConfig, request: EmbedRequest, *, recipe: Recipe | None = None
) -> Recipe:
    """Check the name, the model and the collection's settings.

    Args:
        recipe: Of this request, where it has been read already; else it is read here.

    Raises:
        UsageError: One of them does not fit.
    """
    validate_name(request.collection)
    recipe = recipe or read_text_recipe(config, request.provider)
    collections = Collections(config.paths.lancedb)
    if collections.exists(request.collection):
        collections.open(request.collection).check_settings(recipe.settings)
    return recipe


def record_ingest(
    store: Store,
    config: WorkersConfig,
    request: IngestRequest,
    recipe: Recipe,
    options: SubmitOptions = NOW,
) -> tuple[Job, bool]:
    """Record a checked ingestion; see `submit_ingest`."""
    spec = ingest_spec(config, request, recipe)
    if request.only_here:
        # Whoever submits it takes it at once; others, who could not work on it, leave it alone.
        later = datetime.now(UTC) + LEFT_ALONE
        options = replace(options, run_after=later)
    with span("submit", kind=INGEST, collection=request.collection):
        return _submit(store, _submission(INGEST, request.collection, spec, options))


def record_embed(
    store: Store,
    config: WorkersConfig,
    request: EmbedRequest,
    recipe: Recipe,
    staged: StagedTable,
    *,
    on_read: OnRead,
    stop: threading.Event,
    options: SubmitOptions = NOW,
) -> tuple[Job, bool]:
    """Record a checked embedding job over staged rows, staged again if they are gone.

    See `submit_embed`.
    """
    spec = embed_spec(config, request, recipe, staged)
    with span("submit", kind=EMBED, collection=request.collection):
        asked = _submission(EMBED, request.collection, spec, options)
        # Whoever clears rows away does so in this turn, and then sees the job that needs them.
        name = turn_name(staged.digest)
        found = store.submit_if_free(name, asked, lambda: are_kept(store, staged))
        if found is not None:
            return found
        with turn_of(store, staged.digest, Owner.current()):
            still_staged(store, config, request.table, staged, on_read=on_read, stop=stop)
            return _submit(store, asked)


def _refuse_object(request: EmbedRequest) -> None:
    if request.provider is not None:
        raise UsageError(
            f"an object of this program ({request.provider.spec.name}) cannot make the vectors of "
            "a job that is recorded for others: they do not have it",
            hint="embed in this program, or name a model or an embedding server in the settings",
        )


def _only_here(objects: Mapping[str, str]) -> UsageError:
    named = ", ".join(f"{what} {name}" for what, name in objects.items())
    return UsageError(
        f"objects of this program ({named}) cannot work on a job that is recorded for others: they "
        "do not have them",
        hint="ingest in this program, or leave the objects out",
    )


def _options_of(request: IngestRequest) -> set[str]:
    options = {"--prune": request.prune, "--retry-failed": request.retry_failed}
    return {option for option, is_asked in options.items() if is_asked}


def _submission(
    kind: str, collection: str, spec: dict[str, object], options: SubmitOptions
) -> Submission:
    return Submission(
        kind=kind,
        collection=collection,
        spec=traced(spec),
        spec_key=spec_key_of(spec),
        priority=options.priority,
        unique_key=options.unique_key,
        run_after=options.run_after,
        deadline=options.deadline,
    )


def _submit(store: Store, submission: Submission) -> tuple[Job, bool]:
    return store.submit(
        kind=submission.kind,
        collection=submission.collection,
        spec=submission.spec,
        spec_key=submission.spec_key,
        priority=submission.priority,
        unique_key=submission.unique_key,
        run_after=submission.run_after,
        deadline=submission.deadline,
    )
