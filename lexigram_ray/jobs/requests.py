"""What a job records of what was asked, so that any process can do it later, and how it is read.

A job's `spec` has its identity, which is what makes two commands the same job, and under `request`
all else that a process needs to work on it. Nothing secret is recorded.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.errors import UsageError
from lexigram_ray.core.ids import hash_text, source_name, source_path
from lexigram_ray.jobs.embed_report import EmbedRequest
from lexigram_ray.jobs.given_document import GivenDocument
from lexigram_ray.jobs.recipes import Recipe
from lexigram_ray.jobs.recorded_config import (
    absolute,
    mapping,
    recorded_config,
    restored_config,
)
from lexigram_ray.jobs.records import Job
from lexigram_ray.jobs.report import IngestRequest
from lexigram_ray.jobs.schedule_records import MAINTENANCE

if TYPE_CHECKING:
    from lexigram_ray.ingestion.table_rows import TextRows, TextTable
    from lexigram_ray.jobs.staged import StagedTable

INGEST = "ingest"
EMBED = "embed"
REQUEST = "request"
RETRY_FAILED = "retry_failed"
DOCUMENT = "document"
"""Of an ingestion of one file that its caller has named."""

NOT_REPEATABLE = "not_repeatable"
"""Code of the error that refuses to do a job again of a kind with which that cannot be done."""

_OBJECTS = {"provider": "embeds", "parser": "parses"}
"""What a request records of objects of the program that submitted it; see `only_here`."""


def ingest_spec(config: WorkersConfig, request: IngestRequest, recipe: Recipe) -> dict[str, object]:
    """Return what an ingestion's job records. `prune` and `retry_failed` are no part of its key."""
    recorded: dict[str, object] = {
        "paths": [source_name(absolute(path)) for path in request.paths],
        "prune": request.prune,
        RETRY_FAILED: request.retry_failed,
        "config": recorded_config(config),
        **request.only_here,
    }
    spec: dict[str, object] = {
        "paths": paths_identity(request.paths),
        "collection": request.collection,
        "model": recipe.model_key,
        "chunker": recipe.chunker.name,
        REQUEST: recorded,
    }
    if request.document is not None:
        spec[DOCUMENT] = request.document.identity
        recorded[DOCUMENT] = request.document.recorded()
    return spec


def embed_spec(
    config: WorkersConfig, request: EmbedRequest, recipe: Recipe, staged: StagedTable
) -> dict[str, object]:
    """Return what an embedding job records."""
    given = request.provider
    return {
        "source": request.table.source,
        "rows": staged.digest,
        "collection": request.collection,
        "model": recipe.model_key,
        "dimension": recipe.model.spec.dimension,
        REQUEST: {
            "table": _recorded_table(request.table),
            "rows": staged.read,
            "provider": None if given is None else given.spec.name,
            "config": recorded_config(config),
        },
    }


def paths_identity(paths: Iterable[Path]) -> list[str]:
    """Return what of an ingestion's paths makes it the same job: their real places, in order."""
    return sorted(source_name(Path(os.path.realpath(path))) for path in paths)


def spec_key_of(spec: Mapping[str, object]) -> str:
    """Return what is equal for jobs that ask for the same: a hash of the spec's identity."""
    identity = {name: value for name, value in spec.items() if name != REQUEST}
    return hash_text(json.dumps(identity, sort_keys=True))


def request_of(job: Job) -> Mapping[str, object]:
    """Return what a job has recorded for whoever works on it.

    Raises:
        UsageError: It has recorded nothing, or it is a schedule's.
    """
    if job.kind == MAINTENANCE:
        name = job.spec.get("schedule")
        raise UsageError(
            f"job {job.id} is maintenance ({name}), which its schedule repeats",
            hint=f"run it now with `lexigram-ray maintenance run {name}`",
            code=NOT_REPEATABLE,
        )
    request = mapping(job.spec.get(REQUEST))
    if not request:
        raise UsageError(
            f"job {job.id} does not say how it is to be done: an older version recorded it "
            "without its request",
            hint=f"run its {job.kind} command again (`lexigram-ray {job.kind} ...`): what is done "
            "already is not done twice",
            code=NOT_REPEATABLE,
        )
    return request


def refuse_object_of(job: Job, request: Mapping[str, object]) -> None:
    """Refuse a job whose vectors, or whose text, only the program that submitted it can make.

    Args:
        request: What the job has recorded.

    Raises:
        UsageError: They were made by an object of that program.
    """
    for what, verb in _OBJECTS.items():
        if request.get(what) is None:
            continue
        raise UsageError(
            f"job {job.id} {verb} with an object of the program that submitted it "
            f"({request[what]}), which only that program has",
            hint="run that program's call again: rows that stand are not embedded again",
            code=NOT_REPEATABLE,
        )


def needs_object(spec: Mapping[str, object]) -> bool:
    """Whether only the program that submitted a job of this spec can work on it."""
    request = mapping(spec.get(REQUEST))
    return any(request.get(what) is not None for what in _OBJECTS)


def retries_failed(spec: Mapping[str, object]) -> bool:
    """Whether a job of this spec tries again what is remembered to have failed."""
    return bool(mapping(spec.get(REQUEST)).get(RETRY_FAILED))


def config_of(base: WorkersConfig, job: Job) -> WorkersConfig:
    """Return the configuration that a job is to be worked on with.

    Raises:
        UsageError: The job has recorded none.
        ConfigError: See `restored_config`.
    """
    return restored_config(base, mapping(request_of(job).get("config")))


def ingest_request_of(job: Job) -> IngestRequest | None:
    """Return the request that an ingestion's job has recorded; None where there is none."""
    request = mapping(job.spec.get(REQUEST))
    if job.kind != INGEST or not request:
        return None
    paths = cast("list[str]", request["paths"])
    return IngestRequest(
        paths=tuple(Path(source_path(path)) for path in paths),
        collection=job.collection,
        prune=bool(request["prune"]),
        retry_failed=bool(request[RETRY_FAILED]),
        document=GivenDocument.of_recorded(mapping(request.get(DOCUMENT))),
    )


def embed_request_of(job: Job, config: WorkersConfig) -> EmbedRequest | None:
    """Return the request that an embedding job has recorded; None where there is none.

    Its table is opened when its rows are asked for: the staged ones may be all that is needed.

    Args:
        config: Says which paths may be read.

    Raises:
        UsageError: Its vectors were made by an object of the program that submitted it.
    """
    request = mapping(job.spec.get(REQUEST))
    if job.kind != EMBED or not request:
        return None
    refuse_object_of(job, request)
    table = mapping(request.get("table"))
    recorded = RecordedTable(
        source=str(job.spec["source"]),
        text_column=str(table.get("text_column", "")),
        id_column=cast("str | None", table.get("id_column")),
        path=source_path(str(table["path"])) if table else None,
        allowed_roots=config.allowed_roots,
        job_id=job.id,
    )
    return EmbedRequest(table=recorded, collection=job.collection)


def require_same(job: Job, found: Mapping[str, object]) -> None:
    """Refuse to work on a job with another model, or another chunker, than it was recorded with.

    Args:
        found: What this process has, by its name in the spec.

    Raises:
        UsageError: One of them is another one.
    """
    if all(job.spec.get(name) == value for name, value in found.items()):
        return
    was = ", ".join(f"{name} {job.spec.get(name)}" for name in found)
    here = ", ".join(f"{name} {value}" for name, value in found.items())
    raise UsageError(
        f"job {job.id} was submitted with {was}, and this process would work with {here}",
        hint="submit the same command again, or bring back the model's earlier files",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedTable:
    """The table of a recorded job, opened when its rows are asked for.

    Attributes:
        path: None where the rows came from no file, such as those of stdin.
    """

    source: str
    text_column: str
    id_column: str | None
    path: str | None
    allowed_roots: tuple[Path, ...] | None
    job_id: str

    def rows(self) -> Iterator[TextRows]:
        """Read the rows; see `TextTable`.

        Raises:
            UsageError: There is no such table any more.
        """
        if self.path is None:
            raise UsageError(
                f"the rows of job {self.job_id} are gone, and {self.source} was no file that "
                "could be read again",
                hint="submit the texts again: those that are embedded already cost nothing",
            )
        from lexigram_ray.ingestion.tables import open_table

        table = open_table(
            self.path,
            text_column=self.text_column,
            id_column=self.id_column,
            allowed_roots=self.allowed_roots,
        )
        return table.rows()


def _recorded_table(table: TextTable) -> dict[str, object] | None:
    # Tables of files are called by their resolved paths; what a program has at hand is not.
    path = source_path(table.source)
    if not os.path.isabs(path) or not os.path.lexists(path):
        return None
    return {
        "path": table.source,
        "text_column": table.text_column,
        "id_column": table.id_column,
    }
