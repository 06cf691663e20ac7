"""What the engine asks of whatever runs a transformer: OpenVINO or torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lexigram_ray.embedding.batching import TokenBatch


class DeviceMemoryError(Exception):
    """A batch did not fit in the device's memory. Never leaves the engine.

    Attributes:
        batch: The batch, which may be tried again in parts.
    """

    def __init__(self, batch: TokenBatch) -> None:
        super().__init__(f"{batch.input_ids.shape} tokens do not fit in the device's memory")
        self.batch = batch

    @property
    def reason(self) -> str:
        """Why a text that was run alone has no vector."""
        return f"its {self.batch.lengths[0]} tokens do not fit in the device's memory"


class Backend(Protocol):
    """Runs token batches on a model.

    Attributes:
        token_budget: Tokens of a batch that suit most models on this device.
        other_budgets: What may suit this model better.
        streams: Batches that run side by side.
        clock: Seconds of the device's work, from any beginning, in the calling process.
    """

    token_budget: int
    other_budgets: tuple[int, ...]
    streams: int
    clock: Callable[[], float]

    @property
    def device(self) -> str:
        """What computes: the device's name, the threads, the library's version."""
        ...

    def run(
        self,
        batches: Iterable[TokenBatch],
        done: Callable[[TokenBatch, NDArray[np.float32]], None],
        *,
        pooling: str,
    ) -> None:
        """Run batches; `done` gets each with its pooled vectors, in order.

        The vectors are float32, shape `(n, dim)`, not normalised.

        Raises:
            DeviceMemoryError: A batch did not fit; nothing of this call still runs, and batches
                that `done` has not seen must be run again.
            EmbeddingError: The backend failed. Errors of `batches` and `done` pass unchanged.
        """
        ...

    def run_one(self, batch: TokenBatch, *, pooling: str) -> NDArray[np.float32]:
        """Run one batch, ahead of whatever else runs; return what `done` would get.

        Raises:
            DeviceMemoryError: It did not fit.
            EmbeddingError: The backend failed.
        """
        ...
