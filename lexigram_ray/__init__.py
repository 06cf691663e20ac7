"""Documents and texts into searchable vectors on a Ray cluster.

`embed` and `search` do from Python what the commands of these names do. All names are looked up
when they are first used: importing the package imports nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lexigram_ray.core.config import WorkersConfig, load_config
    from lexigram_ray.core.errors import WorkerError
    from lexigram_ray.notebook.calls import embed, search
    from lexigram_ray.notebook.results import EmbedResult, SearchResult

__version__ = "0.1.0"

__all__ = [
    "EmbedResult",
    "SearchResult",
    "WorkerError",
    "WorkersConfig",
    "__version__",
    "embed",
    "load_config",
    "search",
]

_HOMES = {
    "EmbedResult": "lexigram_ray.notebook.results",
    "SearchResult": "lexigram_ray.notebook.results",
    "WorkerError": "lexigram_ray.core.errors",
    "WorkersConfig": "lexigram_ray.core.config",
    "embed": "lexigram_ray.notebook.calls",
    "load_config": "lexigram_ray.core.config",
    "search": "lexigram_ray.notebook.calls",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
