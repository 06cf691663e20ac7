"""Compiled models on disk: what OpenVINO makes of a model for a processor, made once.

Compiling takes three times as long as reading what was compiled, and a search from the command
line waits for it. Only the model's graph is kept; its weights are read from the model's own file.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import threading
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lexigram_ray.embedding.json_file import write_bytes

if TYPE_CHECKING:
    import openvino

FOLDER = "compiled"
DIGEST_BYTES = 16
# What makes an exported model leave its weights out.
GRAPH_ONLY = {"CACHE_MODE": "OPTIMIZE_SIZE"}
# The model's own precision is far finer; another model's answer is farther off.
TOLERANCE = 0.01

FIRST_INFERENCE = threading.Lock()
"""Held by whatever may be the first inference of a process, see `first_answer`."""

logger = logging.getLogger(__name__)


class CompiledModels:
    """The compiled forms of one model, in a folder beside it.

    One is for a processor, a version of OpenVINO, the size of the weights and the settings. What
    is for others is left where it is, some 0.4 MB each.

    Args:
        model: The model's .xml file, with its .bin file.
    """

    def __init__(self, model: Path) -> None:
        self._weights = model.with_suffix(".bin")
        self._folder = model.parent / FOLDER

    def read(
        self, core: openvino.Core, settings: Mapping[str, object], form: str
    ) -> openvino.CompiledModel | None:
        """Return what was kept for these settings, if it still answers as it did.

        Args:
            form: A name for what was made of the model before it was compiled.

        Returns:
            None where nothing was kept, or what was is damaged or no longer understood.
        """
        try:
            file = self._file(core, settings, form)
            digest, content = _cut(file.read_bytes(), DIGEST_BYTES)
            if digest != _digest(content):
                logger.info("compiled model %s is damaged", file)
                return None
            size, content = _cut(content, 4)
            answer, graph = _cut(content, int.from_bytes(size, "big"))
            compiled = self._imported(core, graph, settings)
            if _agree(np.frombuffer(answer, np.float32), first_answer(compiled)):
                return compiled
            logger.info("compiled model %s answers otherwise than it did", file)
        except FileNotFoundError:
            pass
        except (OSError, RuntimeError, MemoryError) as error:
            logger.info("what was compiled of %s is not used: %s", self._weights, error)
        return None

    def keep(
        self,
        core: openvino.Core,
        compiled: openvino.CompiledModel,
        settings: Mapping[str, object],
        form: str,
        answer: NDArray[np.float32],
    ) -> None:
        """Keep a model that was compiled with `GRAPH_ONLY`, if it can be kept.

        Args:
            form: As for `read`.
            answer: Its `first_answer`.
        """
        try:
            graph = compiled.export_model().getvalue()
            raw = answer.tobytes()
            content = len(raw).to_bytes(4, "big") + raw + graph
            write_bytes(self._file(core, settings, form), _digest(content) + content)
        except (OSError, RuntimeError, MemoryError) as error:
            logger.info("what was compiled of %s is not kept: %s", self._weights, error)

    def _imported(
        self, core: openvino.Core, graph: bytes, settings: Mapping[str, object]
    ) -> openvino.CompiledModel:
        extra = {"WEIGHTS_PATH": str(self._weights), **GRAPH_ONLY}
        return core.import_model(io.BytesIO(graph), "CPU", {**settings, **extra})

    def _file(self, core: openvino.Core, settings: Mapping[str, object], form: str) -> Path:
        made_for = [
            metadata.version("openvino"),
            core.get_property("CPU", "FULL_DEVICE_NAME"),
            sorted(core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")),
            self._weights.stat().st_size,
            dict(settings),
            form,
        ]
        name = _digest(json.dumps(made_for, sort_keys=True).encode()).hex()
        return self._folder / f"{name}.blob"


def first_answer(compiled: openvino.CompiledModel) -> NDArray[np.float32]:
    """Run a model for the first time, on tokens that are always the same.

    OpenVINO's bindings make objects at the first inference of a process, and wait for the
    interpreter's lock while they do: two threads that begin at once wait for each other for ever
    (seen).

    Raises:
        RuntimeError: It does not run.
    """
    tokens = np.arange(1, 5, dtype=np.int64)[np.newaxis]
    inputs = [tokens, np.ones_like(tokens)]
    with FIRST_INFERENCE:
        request = compiled.create_infer_request()
        request.start_async(inputs)
        request.wait()
        request.infer(inputs)
        return request.get_output_tensor(0).data.astype(np.float32).ravel()


def _agree(kept: NDArray[np.float32], now: NDArray[np.float32]) -> bool:
    return kept.shape == now.shape and np.allclose(kept, now, atol=TOLERANCE, equal_nan=True)


def _cut(content: bytes, size: int) -> tuple[bytes, bytes]:
    return content[:size], content[size:]


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest()
