"""The model on OpenVINO: asynchronous requests over the CPU's streams."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import defaultdict, deque
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
from lexigram_ray.embedding.compiled_forms import CompiledForms, Form
from lexigram_ray.embedding.openvino_import import import_openvino
from lexigram_ray.embedding.pooling import pool

if TYPE_CHECKING:
    import openvino

# Measured on 2 cores with MiniLM: larger batches leave the caches, smaller ones the kernels idle.
TOKEN_BUDGET = 1024
OTHER_BUDGETS = (512, 2048)
# Batches that wait beside those that run, one a stream, but no more than this in all: when one ends
# the next is there, however late Python sees that.
MOST_WAITING = 8
# By parts, the scores of all pairs of tokens are in memory at once: they grow with the square.
WIDEST_BY_PARTS = 512
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
        padding_only: Whether the model's attention `masks_padding_only`.
        summed: Whether, where pooling is `mean` and texts are only masked for padding, the model
            itself sums up their tokens, see `pooling.summed`.
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
        padding_only: bool = False,
        summed: bool = False,
        keep_compiled: bool = False,
    ) -> None:
        openvino = import_openvino()
        hint = _precision_hint(precision)
        settings: dict[str, object] = {
            "INFERENCE_PRECISION_HINT": hint,
            "INFERENCE_NUM_THREADS": threads,
            # Pinned, two processes on one machine would share the first cores and leave the rest.
            "ENABLE_CPU_PINNING": False,
        }
        self._core = openvino.Core()
        self._forms = CompiledForms(self._core, model, settings, keep=keep_compiled)
        self._padding_only = padding_only
        self._summed = summed
        # Measured in bf16 with AVX512: some 3 % faster than in one kernel. In fp32 it is no faster;
        # with AMX nobody has looked.
        self._by_parts = precision == "bf16" and not devices.cpu_has_amx()
        self._single: dict[Form, openvino.InferRequest] = {}
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
        running: deque[tuple[Form, openvino.InferRequest, TokenBatch]] = deque()
        idle: defaultdict[Form, list[openvino.InferRequest]] = defaultdict(list)

        def finish() -> None:
            form, request, batch = running.popleft()
            with _translated(batch):
                request.wait()
            done(batch, _pooled(request, form, batch, pooling))
            idle[form].append(request)

        try:
            for batch in batches:
                if len(running) >= self.streams + min(self.streams, MOST_WAITING):
                    finish()
                form = self._form(batch, pooling, alone=False)
                request = idle[form].pop() if idle[form] else self._new_request(form, batch)
                with _translated(batch):
                    request.start_async([batch.input_ids, batch.attention_mask])
                running.append((form, request, batch))
            while running:
                finish()
        finally:
            for _, request, _ in running:
                with contextlib.suppress(RuntimeError, MemoryError):
                    request.wait()

    def run_one(self, batch: TokenBatch, *, pooling: str) -> NDArray[np.float32]:
        """Run one batch at once, beside whatever else runs; return its pooled vectors.

        Raises:
            DeviceMemoryError: It did not fit.
            EmbeddingError: OpenVINO failed.
        """
        form = self._form(batch, pooling, alone=True)
        with self._single_use:
            if form not in self._single:
                self._single[form] = self._new_request(form, batch)
            request = self._single[form]
            with _translated(batch):
                request.infer([batch.input_ids, batch.attention_mask])
            return _pooled(request, form, batch, pooling)

    def _new_request(self, form: Form, batch: TokenBatch) -> openvino.InferRequest:
        compiled = self._forms.get(form)
        with _translated(batch):
            return compiled.create_infer_request()

    def _form(self, batch: TokenBatch, pooling: str, *, alone: bool) -> Form:
        # With a stream a core most texts are done in a second; one is done sooner by all cores.
        streams = 1 if alone else self.streams
        if not self._padding_only:
            return Form(
                alone=alone, streams=streams, attention="traced", by_parts=False, summed=False
            )
        # Another form takes memory and a moment: a few short texts are not worth either.
        worthwhile = alone or 4 * batch.input_ids.size >= self.token_budget
        width = batch.input_ids.shape[1]
        equal = worthwhile and int(batch.lengths.min()) == width
        return Form(
            alone=alone,
            streams=streams,
            attention="equal" if equal else "padded",
            by_parts=self._by_parts and not alone and width <= WIDEST_BY_PARTS,
            summed=self._summed and pooling == "mean",
        )


def _precision_hint(precision: str) -> str:
    if precision == "int8":  # for what of the model has stayed in floats
        precision = "bf16" if devices.cpu_has_bf16() else "fp32"
    return PRECISION_HINTS[precision]


def _pooled(
    request: openvino.InferRequest, form: Form, batch: TokenBatch, pooling: str
) -> NDArray[np.float32]:
    # Valid until the request is used again.
    answer = request.get_output_tensor(0).data
    if form.summed:
        return (answer[:, 0] / batch.lengths[:, None]).astype(np.float32)
    return pool(answer, batch.lengths, pooling)


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
