"""The model on OpenVINO: asynchronous requests over the CPU's streams."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lexigram_ray.core.errors import EmbeddingError
from lexigram_ray.embedding import devices
from lexigram_ray.embedding.backend import DeviceMemoryError
from lexigram_ray.embedding.batching import TokenBatch
from lexigram_ray.embedding.compiled_models import GRAPH_ONLY, CompiledModels, first_answer
from lexigram_ray.embedding.openvino_import import import_openvino
from lexigram_ray.embedding.pooling import pool

if TYPE_CHECKING:
    import openvino

# Measured on 2 cores with MiniLM: larger batches leave the caches, smaller ones the kernels idle.
TOKEN_BUDGET = 1024
OTHER_BUDGETS = (512, 2048)
PRECISION_HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}
# It has no class for this error, and says it in the words of whichever part of it failed.
OUT_OF_MEMORY = ("bad_alloc", "bad alloc", "allocat", "out of memory", "not enough memory")


class OpenVinoBackend:
    """Runs token batches on a converted model.

    Args:
        model: The model's .xml file, or the model itself. A file is read where something is to be
            compiled of it, at the first use.
        precision: `fp32`, `bf16`, `fp16` or `int8`.
        threads: Cores to compute on, each a stream of its own.
        keep_compiled: Keep beside the model's file what is compiled of it, and use it again.
    """

    token_budget = TOKEN_BUDGET
    other_budgets: tuple[int, ...] = OTHER_BUDGETS
    # Processor time: what other processes do on these cores must not look like a bad batch.
    clock = staticmethod(time.process_time)

    def __init__(
        self,
        model: Path | openvino.Model,
        *,
        precision: str,
        threads: int,
        keep_compiled: bool = False,
    ) -> None:
        openvino = import_openvino()
        self._settings: dict[str, object] = {
            "INFERENCE_PRECISION_HINT": _precision_hint(precision),
            "INFERENCE_NUM_THREADS": threads,
            # Pinned, two processes on one machine would share the first cores and leave the rest.
            "ENABLE_CPU_PINNING": False,
        }
        self._core = openvino.Core()
        self._source = model
        self._kept = CompiledModels(model) if keep_compiled and isinstance(model, Path) else None
        self._compiling = threading.Lock()
        self._many: openvino.CompiledModel | None = None
        self._single: openvino.InferRequest | None = None
        self._single_use = threading.Lock()
        self.streams = threads

    @property
    def device(self) -> str:
        """The CPU's name, the streams, OpenVINO's version."""
        name = self._core.get_property("CPU", "FULL_DEVICE_NAME")
        return f"{name} x{self.streams}, openvino {metadata.version('openvino')}"

    def run(
        self,
        batches: Iterable[TokenBatch],
        done: Callable[[TokenBatch, NDArray[np.float32]], None],
        *,
        pooling: str,
    ) -> None:
        """Run batches side by side; `done` gets each with its pooled vectors, in order.

        The next batches are made while earlier ones run.

        Raises:
            DeviceMemoryError: A batch did not fit.
            EmbeddingError: OpenVINO failed. Errors of `batches` and `done` pass unchanged.
        """
        # No callbacks: OpenVINO's threads would still be dropping references to Python's objects
        # after the last wait, and a process that ends just then is aborted (seen in 41 of 60).
        running: deque[tuple[openvino.InferRequest, TokenBatch]] = deque()
        compiled = self._for_many()

        def finish() -> openvino.InferRequest:
            request, batch = running.popleft()
            with _translated(batch):
                request.wait()
            done(batch, pool(_hidden(request), batch.lengths, pooling))
            return request

        try:
            for batch in batches:
                request = finish() if len(running) > self.streams else None
                with _translated(batch):
                    request = request or compiled.create_infer_request()
                    request.start_async([batch.input_ids, batch.attention_mask])
                running.append((request, batch))
            while running:
                finish()
        finally:
            for request, _ in running:
                with contextlib.suppress(RuntimeError, MemoryError):
                    request.wait()

    def run_one(self, batch: TokenBatch, *, pooling: str) -> NDArray[np.float32]:
        """Run one batch at once, beside whatever else runs; return its pooled vectors.

        Raises:
            DeviceMemoryError: It did not fit.
            EmbeddingError: OpenVINO failed.
        """
        with self._single_use:
            request = self._for_one()
            with _translated(batch):
                request.infer([batch.input_ids, batch.attention_mask])
            return pool(_hidden(request), batch.lengths, pooling)

    def _for_many(self) -> openvino.CompiledModel:
        """Return the model with a stream a core: most texts a second."""
        with self._compiling:
            if self._many is None:
                self._many = self._compile(streams=self.streams)
            return self._many

    def _for_one(self) -> openvino.InferRequest:
        """Return a request that has all cores: one text is done in some half of the time."""
        with self._compiling:
            if self._single is None:
                self._single = self._compile(streams=1).create_infer_request()
            return self._single

    def _compile(self, *, streams: int) -> openvino.CompiledModel:
        # A search needs only the one, a bulk job only the other: each is made when it is wanted.
        settings = {**self._settings, "NUM_STREAMS": streams}
        found = self._kept.read(self._core, settings) if self._kept is not None else None
        if found is not None:
            return found
        with _loading():
            # Read only now: what was compiled and kept is had without it.
            if isinstance(self._source, Path):
                self._source = self._core.read_model(str(self._source))
            compiled = self._core.compile_model(self._source, "CPU", {**settings, **GRAPH_ONLY})
            answer = first_answer(compiled)
        if self._kept is not None:
            self._kept.keep(self._core, compiled, settings, answer)
        return compiled


@contextlib.contextmanager
def _loading() -> Generator[None]:
    try:
        yield
    except RuntimeError as error:
        raise EmbeddingError(f"OpenVINO cannot load the model: {error}") from error


def _precision_hint(precision: str) -> str:
    if precision == "int8":  # for what of the model has stayed in floats
        precision = "bf16" if devices.cpu_has_bf16() else "fp32"
    return PRECISION_HINTS[precision]


def _hidden(request: openvino.InferRequest) -> NDArray[np.float32]:
    # Valid until the request is used again.
    return request.get_output_tensor(0).data


def is_lack_of_memory(error: BaseException) -> bool:
    """Whether this error, or the one that it was made of, says that memory has run out."""
    if error.__cause__ is not None and is_lack_of_memory(error.__cause__):
        return True
    if isinstance(error, RuntimeError):
        return any(words in str(error).lower() for words in OUT_OF_MEMORY)
    return isinstance(error, MemoryError)


@contextlib.contextmanager
def _translated(batch: TokenBatch) -> Generator[None]:
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if is_lack_of_memory(error):
            raise DeviceMemoryError(batch) from error
        raise EmbeddingError(f"OpenVINO failed: {error}") from error
