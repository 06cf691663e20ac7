"""The model on torch: for GPUs, and for what OpenVINO does not support."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lexigram_ray.core.errors import ConfigError, EmbeddingError
from lexigram_ray.embedding.batching import TokenBatch
from lexigram_ray.embedding.openvino_import import import_openvino

if TYPE_CHECKING:
    import openvino
    import torch

CPU_TOKEN_BUDGET = 2048
GPU_TOKEN_BUDGET = 32_768


class TorchBackend:
    """Runs token batches on the model as transformers loads it.

    Args:
        folder: config.json and the weights.
        precision: `fp32`, `bf16` or `fp16`.
        threads: CPU cores to compute on.
    """

    def __init__(self, folder: Path, *, precision: str, threads: int) -> None:
        import torch

        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.token_budget = GPU_TOKEN_BUDGET if self._device.type == "cuda" else CPU_TOKEN_BUDGET
        # Inside Ray's workers OMP_NUM_THREADS is 1: torch must be told.
        torch.set_num_threads(threads)
        number = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
        self._model = load_module(folder).to(self._device, number)
        self._use = threading.Lock()

    def run(
        self,
        batches: Iterable[TokenBatch],
        done: Callable[[TokenBatch, NDArray[np.float32]], None],
    ) -> None:
        """Run batches one after another; `done` gets each with its hidden states.

        Raises:
            EmbeddingError: torch failed. What `done` raises comes out unchanged.
        """
        for batch in batches:
            done(batch, self.run_one(batch))

    def run_one(self, batch: TokenBatch) -> NDArray[np.float32]:
        """Run one batch; return its hidden states, float32, shape `(n, longest, dim)`."""
        import torch

        with self._use, torch.inference_mode():
            try:
                hidden = self._model(
                    input_ids=torch.from_numpy(batch.input_ids).to(self._device),
                    attention_mask=torch.from_numpy(batch.attention_mask).to(self._device),
                ).last_hidden_state
            except RuntimeError as error:
                raise EmbeddingError(f"torch failed: {error}") from error
            return hidden.float().cpu().numpy()

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


def load_module(folder: Path) -> torch.nn.Module:
    """Load a model's float32 module by transformers; code that comes with a model is never run.

    Raises:
        ConfigError: transformers cannot load it.
    """
    import torch
    from transformers import AutoModel

    try:
        with quiet_transformers():
            model: Any = AutoModel.from_pretrained(
                folder, dtype=torch.float32, local_files_only=True, trust_remote_code=False
            )
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
