"""The model on torch: for GPUs, and for what OpenVINO does not support."""

from __future__ import annotations

import contextlib
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lexigram_ray.core.errors import ConfigError, EmbeddingError
from lexigram_ray.embedding import devices
from lexigram_ray.embedding.backend import DeviceMemoryError
from lexigram_ray.embedding.batching import TokenBatch
from lexigram_ray.embedding.openvino_import import import_openvino

if TYPE_CHECKING:
    import openvino
    import torch

CPU_BUDGETS = (2048, (1024, 4096))
GPU_BUDGETS = (32_768, (16_384, 65_536, 131_072))
# Batches that a GPU is given ahead of the one whose result is awaited.
GPU_AHEAD = 2

# Of torch's own errors only its allocator on a GPU has a class of its own.
OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")


class TorchBackend:
    """Runs token batches on the model as transformers loads it.

    Args:
        folder: config.json and the weights.
        precision: `fp32`, `bf16` or `fp16`.
        threads: CPU cores to compute on.
    """

    streams = 1

    def __init__(self, folder: Path, *, precision: str, threads: int) -> None:
        import torch

        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._on_gpu = self._device.type == "cuda"
        self.token_budget, self.other_budgets = GPU_BUDGETS if self._on_gpu else CPU_BUDGETS
        # On a CPU other processes' work must not look like a bad batch; a GPU's work is not in it.
        self.clock = time.perf_counter if self._on_gpu else time.process_time
        # Inside Ray's workers OMP_NUM_THREADS is 1: torch must be told.
        torch.set_num_threads(threads)
        number = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
        module = load_module(folder)
        try:
            self._model = module.to(self._device, number)
        except RuntimeError as error:
            raise EmbeddingError(
                f"the model cannot be loaded on {self._device}: {error}",
                hint="free the device's memory, or set CUDA_VISIBLE_DEVICES= to use the CPU",
            ) from error
        self._threads = threads
        self._use = threading.Lock()

    @property
    def device(self) -> str:
        """The GPU's name or the CPU's threads, torch's version."""
        import torch

        name = (
            torch.cuda.get_device_name(self._device)
            if self._on_gpu
            else f"{devices.cpu_name()} x{self._threads}"
        )
        return f"{name}, torch {torch.__version__}"

    def run(
        self,
        batches: Iterable[TokenBatch],
        done: Callable[[TokenBatch, NDArray[np.float32]], None],
        *,
        pooling: str,
    ) -> None:
        """Run batches in order; `done` gets each with its pooled vectors.

        A GPU computes the next batches while `done` has this one.

        Raises:
            DeviceMemoryError: A batch did not fit.
            EmbeddingError: torch failed. Errors of `batches` and `done` pass unchanged.
        """
        running: deque[tuple[TokenBatch, torch.Tensor]] = deque()
        for batch in batches:
            running.append((batch, self._start(batch, pooling)))
            if len(running) > (GPU_AHEAD if self._on_gpu else 0):
                started, pooled = running.popleft()
                done(started, _fetched(started, pooled))
        for started, pooled in running:
            done(started, _fetched(started, pooled))

    def run_one(self, batch: TokenBatch, *, pooling: str) -> NDArray[np.float32]:
        """Run one batch; return its pooled vectors, float32, shape `(n, dim)`.

        Raises:
            DeviceMemoryError: It did not fit.
            EmbeddingError: torch failed.
        """
        return _fetched(batch, self._start(batch, pooling))

    def _start(self, batch: TokenBatch, pooling: str) -> torch.Tensor:
        import torch

        with self._use, torch.inference_mode(), _translated(batch):
            mask = self._moved(batch.attention_mask)
            hidden = self._model(
                input_ids=self._moved(batch.input_ids), attention_mask=mask
            ).last_hidden_state
            return pooled_on_device(hidden, mask, pooling)

    def _moved(self, array: NDArray[np.int64]) -> torch.Tensor:
        import torch

        tensor = torch.from_numpy(array)
        if not self._on_gpu:
            return tensor
        return tensor.pin_memory().to(self._device, non_blocking=True)

    def traced(self) -> openvino.Model:
        """Convert the model to OpenVINO, in memory: from ids and mask to hidden states.

        Raises:
            RuntimeError: It cannot be traced, or has an operation that OpenVINO does not know.
        """
        import torch

        openvino = import_openvino()

        class HiddenStates(torch.nn.Module):
            def __init__(self, model: Any) -> None:
                super().__init__()
                self.model = model

            def forward(self, input_ids: Any, attention_mask: Any) -> Any:
                return self.model(
                    input_ids=input_ids, attention_mask=attention_mask
                ).last_hidden_state

        # With padding: a trace of full rows only would leave the mask out.
        mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
        with quiet_transformers(), torch.inference_mode(False), torch.no_grad():
            model = openvino.convert_model(
                HiddenStates(self._model.cpu()),
                example_input={"input_ids": torch.ones_like(mask), "attention_mask": mask},
            )
        self._model.to(self._device)
        return model


def pooled_on_device(hidden: torch.Tensor, mask: torch.Tensor, pooling: str) -> torch.Tensor:
    """Pool as `pooling.pool` does, where the hidden states are, so that only vectors are copied.

    Args:
        hidden: Shape `(n, longest, dim)`, of any precision; what padding holds does not matter.
        mask: Shape `(n, longest)`: 1 for a token, 0 for padding.
        pooling: `mean` or `cls`.

    Returns:
        float32, shape `(n, dim)`.
    """
    if pooling == "cls":
        return hidden[:, 0].float()
    summed = hidden.float().masked_fill(mask[:, :, None] == 0, 0).sum(1)
    return summed / mask.sum(1, keepdim=True)


def _fetched(batch: TokenBatch, pooled: torch.Tensor) -> NDArray[np.float32]:
    with _translated(batch):
        return pooled.cpu().numpy()


@contextlib.contextmanager
def _translated(batch: TokenBatch) -> Generator[None]:
    import torch

    try:
        yield
        return
    except (torch.OutOfMemoryError, MemoryError) as error:
        # The frames of the traceback hold the tensors of the batch: they must be let go of.
        error.__traceback__ = None
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        if not any(words in str(error) for words in OUT_OF_MEMORY):
            raise EmbeddingError(f"torch failed: {error}") from error
        error.__traceback__ = None
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    raise DeviceMemoryError(batch)


def load_module(folder: Path) -> torch.nn.Module:
    """Load a model's float32 module by transformers; code that comes with a model is never run.

    Raises:
        ConfigError: transformers cannot load it.
    """
    import torch
    from safetensors import SafetensorError

    try:
        from transformers import AutoConfig, AutoModel, AutoModelForTextEncoding

        with quiet_transformers():
            config: Any = AutoConfig.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
            # Of T5 and its like, only the encoder makes vectors.
            kind: Any = AutoModelForTextEncoding if config.is_encoder_decoder else AutoModel
            model: Any = kind.from_pretrained(
                folder, dtype=torch.float32, local_files_only=True, trust_remote_code=False
            )
    except SafetensorError as error:
        raise ConfigError(
            f"the weights of the model in {folder} are damaged: {error}",
            hint="fetch the model again",
        ) from error
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        raise ConfigError(
            f"transformers cannot load the model in {folder}: {error}",
            hint="use an encoder that transformers supports",
        ) from error
    return model.eval()


@contextlib.contextmanager
def quiet_transformers() -> Generator[None]:
    """Keep transformers' progress bars and advice off the terminal, for a while."""
    from transformers.utils import logging as transformers_logging

    bars = transformers_logging.is_progress_bar_enabled()
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()
