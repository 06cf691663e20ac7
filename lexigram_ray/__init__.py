"""Documents and texts into searchable vectors on a Ray cluster.

`ingest`, `embed` and `search` do from Python what the commands of these names do, and `attach`
finds a job again; the workers, their types and their hooks are those of `lexigram_ray.workers`.
All names are looked up when they are first used: importing the package imports nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lexigram_ray.core.config import load_config as load_config
    from lexigram_ray.notebook.calls import embed as embed
    from lexigram_ray.notebook.calls import search as search
    from lexigram_ray.notebook.ingest_call import ingest as ingest
    from lexigram_ray.notebook.ingest_result import IngestResult as IngestResult
    from lexigram_ray.notebook.job_handle import JobHandle as JobHandle
    from lexigram_ray.notebook.job_handle import JobProgress as JobProgress
    from lexigram_ray.notebook.job_handle import attach as attach
    from lexigram_ray.notebook.results import EmbedResult as EmbedResult
    from lexigram_ray.notebook.results import SearchResult as SearchResult
    from lexigram_ray.workers import *  # noqa: F403

__version__ = "0.1.0"

# Besides those of the workers, which `lexigram_ray.workers` lists.
_HOMES = {
    "EmbedResult": "lexigram_ray.notebook.results",
    "IngestResult": "lexigram_ray.notebook.ingest_result",
    "JobHandle": "lexigram_ray.notebook.job_handle",
    "JobProgress": "lexigram_ray.notebook.job_handle",
    "SearchResult": "lexigram_ray.notebook.results",
    "attach": "lexigram_ray.notebook.job_handle",
    "embed": "lexigram_ray.notebook.calls",
    "ingest": "lexigram_ray.notebook.ingest_call",
    "load_config": "lexigram_ray.core.config",
    "search": "lexigram_ray.notebook.calls",
}


def __getattr__(name: str) -> object:
    from lexigram_ray._lazy import looked_up

    if name == "__all__":
        return _public_names()
    of_workers = dict.fromkeys(_names_of_workers(), "lexigram_ray.workers")
    return looked_up(__name__, of_workers | _HOMES, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_public_names()})


def _public_names() -> list[str]:
    return sorted({"__version__", *_HOMES, *_names_of_workers()})


def _names_of_workers() -> list[str]:
    from lexigram_ray.workers import __all__ as names

    return names
