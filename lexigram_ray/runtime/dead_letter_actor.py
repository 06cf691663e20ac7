"""The actor that retries dead letters in their time, and tells of those that nobody retries."""

from __future__ import annotations

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.jobs.letter_duties import keep_retrying, keep_telling
from lexigram_ray.jobs.store import Store
from lexigram_ray.runtime.kept_actor import KeptActor


class DeadLetterActor(KeptActor):
    """Looks into the store once a second. It holds nothing that the store does not."""

    def __init__(self, config: WorkersConfig, name: str, settings_key: str) -> None:
        super().__init__(config, name, settings_key)
        # Two threads: a webhook that does not answer delays no retry.
        self._keep_doing(self._retry)
        self._keep_doing(self._tell)

    def _retry(self, store: Store) -> None:
        keep_retrying(self._config, store, self._ending)

    def _tell(self, store: Store) -> None:
        keep_telling(self._config, store, self._ending)
