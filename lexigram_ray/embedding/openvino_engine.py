"""The model on OpenVINO: asynchronous requests over the CPU's streams."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lexigram_ray.core.errors import EmbeddingError
from lexigram_ray.embedding.batching import TokenBatch
from lexigram_ray.embedding.openvino_import import import_openvino

if TYPE_CHECKING:
    import openvino

# Measured on 2 cores with MiniLM: larger batches leave the caches, smaller ones the kernels idle.
TOKEN_BUDGET = 1024
PRECISION_HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}


class OpenVinoBackend:
    """Runs token batches on a converted model.

    Args:
        model: The model's .xml file, or the model itself.
        precision: `fp32`, `bf16` or `fp16`.
        threads: Cores to compute on, each a stream of its own.
    """

    token_budget = TOKEN_BUDGET

    def __init__(self, model: Path | openvino.Model, *, precision: str, threads: int) -> None:
        openvino = import_openvino()
        settings: dict[str, object] = {
            "INFERENCE_PRECISION_HINT": PRECISION_HINTS[precision],
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": threads,
            # Pinned, two processes on one machine would share the first cores and leave the rest.
            "ENABLE_CPU_PINNING": False,
        }
        source = str(model) if isinstance(model, Path) else model
        try:
            self._compiled = openvino.Core().compile_model(source, "CPU", settings)
        except RuntimeError as error:
            raise EmbeddingError(f"OpenVINO cannot load the model: {error}") from error
        self._single = self._compiled.create_infer_request()
        self._single_use = threading.Lock()
        self._streams = threads

    def run(
        self,
        batches: Iterable[TokenBatch],
        done: Callable[[TokenBatch, NDArray[np.float32]], None],
    ) -> None:
        """Run batches side by side; `done` gets each with its hidden states, in order.

        The hidden states, shape `(n, longest, dim)`, are valid only within `done`. The next
        batches are made (tokenised) while earlier ones run.

        Raises:
            EmbeddingError: OpenVINO failed. Other errors of `batches` and `done` pass unchanged.
        """
        # No callbacks: OpenVINO's threads would still be dropping references to Python's objects
        # after the last wait, and a process that ends just then is aborted (seen in 41 of 60).
        running: deque[tuple[openvino.InferRequest, TokenBatch]] = deque()
        try:
            for batch in batches:
                full = len(running) > self._streams
                request = _finish(running, done) if full else self._compiled.create_infer_request()
                request.start_async([batch.input_ids, batch.attention_mask])
                running.append((request, batch))
            while running:
                _finish(running, done)
        except RuntimeError as error:
            raise EmbeddingError(f"OpenVINO failed: {error}") from error
        finally:
            for request, _ in running:
                with contextlib.suppress(RuntimeError):
                    request.wait()

    def run_one(self, batch: TokenBatch) -> NDArray[np.float32]:
        """Run one batch at once, beside whatever else runs; return a copy of its hidden states."""
        with self._single_use:
            try:
                self._single.infer([batch.input_ids, batch.attention_mask])
            except RuntimeError as error:
                raise EmbeddingError(f"OpenVINO failed: {error}") from error
            return np.array(self._single.get_output_tensor(0).data, np.float32)


def _finish(
    running: deque[tuple[openvino.InferRequest, TokenBatch]],
    done: Callable[[TokenBatch, NDArray[np.float32]], None],
) -> openvino.InferRequest:
    """Wait for the oldest request, hand its result on, and return it for another use."""
    request, batch = running.popleft()
    request.wait()
    done(batch, request.get_output_tensor(0).data)
    return request
