"""How many tokens a batch may have: settled once, less where memory ends."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

logger = logging.getLogger(__name__)


class TokenBudget:
    """The tokens of a batch, padding included. Safe to use from several threads.

    Attributes:
        tokens: The budget at this moment.
    """

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens
        self._settled = False
        self._settling = threading.Lock()
        self._changing = threading.Lock()
        self._was_halved = False

    def settle(self, find: Callable[[], int]) -> None:
        """Take over what `find` says, which is asked once; others wait for the answer."""
        with self._settling:
            if self._settled:
                return
            self._settled = True
            found = find()
            with self._changing:
                self.tokens = min(self.tokens, found) if self._was_halved else found

    def halve(self, failed: int) -> None:
        """Make every later batch at most half of `failed` tokens, which did not fit."""
        with self._changing:
            smaller = max(1, failed // 2)
            if smaller >= self.tokens:
                return
            say = logger.debug if self._was_halved else logger.warning
            say("the device has no memory for %d tokens at once: going on with less", failed)
            self.tokens = smaller
            self._was_halved = True
