"""The forms in which OpenVINO runs one model: for many texts or for one, padded or not.

Each is compiled when it is first wanted: a search needs one of them, a bulk job two others.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lexigram_ray.core.errors import EmbeddingError
from lexigram_ray.embedding.attention import VERSION, written_out
from lexigram_ray.embedding.compiled_models import GRAPH_ONLY, CompiledModels, first_answer
from lexigram_ray.embedding.pooling import summed

if TYPE_CHECKING:
    import openvino

# No public property: OpenVINO's compiler of several operations, such as an attention, into one.
FUSING_COMPILER = "SNIPPETS_MODE"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """One way to compile a model.

    Attributes:
        alone: For one batch at a time, which must not wait for the others of a bulk job.
        streams: Batches that run side by side, a core each; one batch has all cores.
        attention: As it was traced, or written out for batches with padding or without.
        by_parts: The attention's products and its softmax by kernels of their own.
        summed: Its answer is the sum of each text's tokens, not the tokens.
    """

    alone: bool
    streams: int
    attention: Literal["traced", "padded", "equal"]
    by_parts: bool
    summed: bool


class CompiledForms:
    """A model's forms. Safe to use from several threads.

    Args:
        core: OpenVINO.
        source: The model's .xml file, or the model itself. A file is read where something is to be
            compiled of it.
        settings: Of all forms.
        keep: Keep beside the model's file what is compiled of it, and use it again.
    """

    def __init__(
        self,
        core: openvino.Core,
        source: Path | openvino.Model,
        settings: Mapping[str, object],
        *,
        keep: bool,
    ) -> None:
        self._core = core
        self._source = source
        self._settings = settings
        self._kept = CompiledModels(source) if keep and isinstance(source, Path) else None
        self._compiled: dict[Form, openvino.CompiledModel] = {}
        self._compiling = threading.Lock()

    def get(self, form: Form) -> openvino.CompiledModel:
        """Return the model in this form.

        Raises:
            EmbeddingError: OpenVINO cannot load it.
        """
        with self._compiling:
            if form not in self._compiled:
                self._compiled[form] = self._had(form)
            return self._compiled[form]

    def _had(self, form: Form) -> openvino.CompiledModel:
        if form.attention != "equal":
            return self._made(form)
        try:
            return self._made(form)
        except (EmbeddingError, MemoryError) as error:
            # The padded form does the same work, and may be there already.
            logger.info("the model runs with masks throughout: %s", error)
            padded = replace(form, attention="padded")
            return self._compiled.get(padded) or self._made(padded)

    def _made(self, form: Form) -> openvino.CompiledModel:
        settings = {**self._settings, "NUM_STREAMS": form.streams}
        if not form.by_parts:
            return self._with(settings, form)
        try:
            return self._with({**settings, FUSING_COMPILER: "DISABLE"}, form)
        except EmbeddingError as error:
            logger.debug("attention stays with OpenVINO's compiler: %s", error)
            return self._with(settings, form)

    def _with(self, settings: Mapping[str, object], form: Form) -> openvino.CompiledModel:
        kept = self._kept
        name = f"{form.attention} {VERSION}{' summed' if form.summed else ''}"
        found = kept.read(self._core, settings, name) if kept is not None else None
        if found is not None:
            return found
        with _loading():
            # Read only now: what was compiled and kept is had without it.
            if isinstance(self._source, Path):
                self._source = self._core.read_model(str(self._source))
            model = self._source
            if form.attention != "traced":
                model = written_out(model, padded=form.attention == "padded")
            if form.summed:
                model = summed(model)
            compiled = self._core.compile_model(model, "CPU", {**settings, **GRAPH_ONLY})
            answer = first_answer(compiled)
        if kept is not None:
            kept.keep(self._core, compiled, settings, name, answer)
        return compiled


@contextlib.contextmanager
def _loading() -> Generator[None]:
    try:
        yield
    except RuntimeError as error:
        raise EmbeddingError(f"OpenVINO cannot load the model: {error}") from error
