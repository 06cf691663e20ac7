"""The base classes of the framework where it is installed, else those of `_standalone`.

With the framework's, its `Application` takes the workers' module and provider for its own.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from lexigram_ray.workers.di import _standalone

__all__ = [
    "DynamicModule",
    "Module",
    "Provider",
    "ProviderPriority",
    "contract",
    "module",
]

_HOMES = {
    "DynamicModule": "lexigram.di.module.dynamic",
    "Module": "lexigram.di.module.base",
    "Provider": "lexigram.di.provider",
    "ProviderPriority": "lexigram.contracts.core.provider",
    "module": "lexigram.di.module.decorator",
}

_CONTRACTS = {
    "LexigramConfig": "lexigram.config.main",
    "EmbeddingClientProtocol": "lexigram.contracts.ai.llm.protocols",
    "TaskQueueProtocol": "lexigram.contracts.infra.tasks.protocols.queue",
    "TaskWorkerProtocol": "lexigram.contracts.infra.tasks.protocols.queue",
    "VectorStoreProtocol": "lexigram.contracts.data.vector.protocols",
}


def contract(name: str) -> type | None:
    """Return a type of the framework's, if this process has imported it.

    Whoever has bound something to it has imported it; so nothing is imported here.
    """
    return getattr(sys.modules.get(_CONTRACTS[name]), name, None)


def _chosen() -> dict[str, Any]:
    """Return all of them from the framework, or all of them from here: never a mixture."""
    if find_spec("lexigram") is not None:
        try:
            return {name: getattr(import_module(home), name) for name, home in _HOMES.items()}
        except ModuleNotFoundError as error:
            # Another package of that name.
            if not (error.name or "").startswith("lexigram"):
                raise
    return {name: getattr(_standalone, name) for name in _HOMES}


if TYPE_CHECKING:
    from lexigram_ray.workers.di._standalone import (
        DynamicModule,
        Module,
        Provider,
        ProviderPriority,
        module,
    )
else:
    globals().update(_chosen())
