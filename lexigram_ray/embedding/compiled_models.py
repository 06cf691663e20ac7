"""Compiled models on disk: what OpenVINO makes of a model for a processor, made once.

Compiling takes three times as long as reading what was compiled, and a search from the command
line waits for it. Only the model's graph is kept; its weights are read from the model's own file.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
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
# Its graph with no weights in it.
GRAPH_ONLY = {"CACHE_MODE": "OPTIMIZE_SIZE"}
CHECKED_TOKENS = (3, 11)

logger = logging.getLogger(__name__)


class CompiledModels:
    """The compiled forms of one model, in a folder beside it.

    Args:
        model: The model's .xml file, with its .bin file.
    """

    def __init__(self, model: Path) -> None:
        self._weights = model.with_suffix(".bin")
        self._folder = model.parent / FOLDER

    def read(
        self, core: openvino.Core, settings: Mapping[str, object]
    ) -> openvino.CompiledModel | None:
        """Return what was kept for this processor, version of OpenVINO and settings.

        None where nothing was kept, or what was is damaged or no longer understood.
        """
        file = self._file(core, settings)
        try:
            content = file.read_bytes()
            digest, graph = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
            return self._imported(core, graph, settings) if digest == _digest(graph) else None
        except FileNotFoundError:
            return None
        except (OSError, RuntimeError) as error:
            logger.info("compiled model %s is not used: %s", file, error)
            return None

    def keep(
        self,
        core: openvino.Core,
        compiled: openvino.CompiledModel,
        settings: Mapping[str, object],
    ) -> None:
        """Keep a model that was compiled with `GRAPH_ONLY`, if it can be kept and works again."""
        file = self._file(core, settings)
        try:
            graph = compiled.export_model().getvalue()
            again = self._imported(core, graph, settings)
            if not np.array_equal(_answer(compiled), _answer(again)):
                logger.info("compiled model is not kept: read again, it answers otherwise")
                return
            write_bytes(file, _digest(graph) + graph)
        except (OSError, RuntimeError, MemoryError) as error:
            logger.info("compiled model is not kept in %s: %s", file, error)

    def _imported(
        self, core: openvino.Core, graph: bytes, settings: Mapping[str, object]
    ) -> openvino.CompiledModel:
        places = {"WEIGHTS_PATH": str(self._weights), **GRAPH_ONLY}
        return core.import_model(io.BytesIO(graph), "CPU", {**settings, **places})

    def _file(self, core: openvino.Core, settings: Mapping[str, object]) -> Path:
        made_for = [
            metadata.version("openvino"),
            core.get_property("CPU", "FULL_DEVICE_NAME"),
            sorted(core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")),
            self._weights.stat().st_size if self._weights.exists() else None,
            dict(settings),
        ]
        name = _digest(json.dumps(made_for, sort_keys=True).encode()).hex()
        return self._folder / f"{name}.blob"


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest()


def _answer(compiled: openvino.CompiledModel) -> NDArray[np.float32]:
    tokens = np.ones(CHECKED_TOKENS, np.int64)
    request = compiled.create_infer_request()
    request.infer([tokens, tokens])
    return request.get_output_tensor(0).data.copy()
