"""The model on OpenVINO: asynchronous requests over the CPU's streams."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lexigram_ray.core.errors import EmbeddingError
from lexigram_ray.embedding.batching import TokenBatch

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
        import openvino

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
        """Run batches side by side; `done` gets each with its hidden states, in any order.

        The hidden states, shape `(n, longest, dim)`, are valid only within `done`. The next
        batches are made (tokenised) while earlier ones run.

        Raises:
            EmbeddingError: OpenVINO failed. What `done` raises comes out unchanged.
        """
        import openvino

        failures: list[BaseException] = []

        def finished(request: openvino.InferRequest, batch: TokenBatch) -> None:
            try:
                done(batch, request.get_output_tensor(0).data)
            except BaseException as error:  # noqa: BLE001 - raised below, out of OpenVINO's thread
                failures.append(error)

        requests = openvino.AsyncInferQueue(self._compiled, self._streams + 1)
        requests.set_callback(finished)
        try:
            try:
                for batch in batches:
                    if failures:
                        break
                    requests.start_async([batch.input_ids, batch.attention_mask], batch)
            finally:
                # Even when a text cannot be tokenised: running requests call `done`.
                requests.wait_all()
        except RuntimeError as error:
            raise EmbeddingError(f"OpenVINO failed: {error}") from error
        if failures:
            raise failures[0]

    def run_one(self, batch: TokenBatch) -> NDArray[np.float32]:
        """Run one batch at once, beside whatever else runs; return a copy of its hidden states."""
        with self._single_use:
            try:
                self._single.infer([batch.input_ids, batch.attention_mask])
            except RuntimeError as error:
                raise EmbeddingError(f"OpenVINO failed: {error}") from error
            return np.array(self._single.get_output_tensor(0).data, np.float32)
