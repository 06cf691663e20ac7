"""The process that makes a model int8, and ends.

Started as `python -m lexigram_ray.embedding.quantization_child SOURCE TARGET` by `quantization.py`,
and by nothing else. Reads the texts' tokens from stdin, as JSON; prints nncf's version last.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lexigram_ray.embedding.openvino_import import import_openvino

if TYPE_CHECKING:
    import openvino


def main() -> None:
    """Read the model at argv[1], write its int8 model to argv[2]."""
    source, target = (Path(argument) for argument in sys.argv[1:])
    tokens: list[list[int]] = json.load(sys.stdin)
    openvino = import_openvino()
    model = _quantised(openvino.Core().read_model(source), tokens)
    openvino.save_model(model, target, compress_to_fp16=False)


def _quantised(model: openvino.Model, tokens: Sequence[Sequence[int]]) -> openvino.Model:
    import nncf

    nncf.set_log_level(logging.ERROR)
    quantised = nncf.quantize(
        model,
        nncf.Dataset(tokens, _inputs),
        # Keeps attention's products apart from the layers' own, and smooths their inputs.
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(tokens),
        # CPUs without VNNI add products up in pairs of 16 bits, too few for weights of 8.
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            overflow_fix=nncf.OverflowFix.ENABLE
        ),
    )
    sys.stdout.write(f"\n{nncf.__version__}\n")
    return quantised


def _inputs(ids: Sequence[int]) -> list[NDArray[np.int64]]:
    row = np.asarray([ids], np.int64)
    return [row, np.ones_like(row)]


if __name__ == "__main__":
    main()
