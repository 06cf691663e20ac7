"""The provider of `WorkersModule.stub`: the workers, with all their state in a temporary place."""

from __future__ import annotations

import tempfile
from pathlib import Path

from lexigram_ray.workers.config import WorkersConfig
from lexigram_ray.workers.di.provider import WorkersProvider
from lexigram_ray.workers.protocols import ContainerRegistrarProtocol

__all__ = ["StubWorkersProvider"]


class StubWorkersProvider(WorkersProvider):
    """Runs the workers without a scheduler, and leaves nothing behind.

    Args:
        config: The configuration; its places are not used, unless they are temporary ones.
    """

    def __init__(self, config: WorkersConfig | None = None) -> None:
        # Neither files nor environment are read: what a test does must not depend on them.
        chosen = WorkersConfig.model_construct() if config is None else config
        super().__init__(chosen, enable_scheduler=False)
        self._chosen = chosen
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    async def register(self, container: ContainerRegistrarProtocol) -> None:
        """See `WorkersProvider.register`; makes the temporary directory."""
        config = self._chosen
        if not _is_temporary(config):
            self._folder = tempfile.TemporaryDirectory(prefix="lexigram-ray-stub-")
            self._config = config.model_copy(
                update={
                    "state_dir": Path(self._folder.name),
                    "store_url": None,
                    "data_uri": None,
                    "scratch_dir": None,
                }
            )
        await super().register(container)

    async def shutdown(self) -> None:
        """See `WorkersProvider.shutdown`; removes the temporary directory."""
        try:
            await super().shutdown()
        finally:
            if self._folder is not None:
                self._folder.cleanup()


def _is_temporary(config: WorkersConfig) -> bool:
    """Whether all state lies below the system's directory for temporary files."""
    if config.store_url is not None:
        return False
    places = [config.state_dir, config.scratch_dir, config.data_uri]
    temporary = Path(tempfile.gettempdir()).resolve()
    return all(
        Path(str(place).removeprefix("file://")).resolve().is_relative_to(temporary)
        for place in places
        if place is not None
    )
