"""What a scenario of `make chaos` is given, and what it answers."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

SIGKILL = "SIGKILL"
"""Faults whose names begin with it are counted together as kills."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a fault has done: one line of the table.

    Attributes:
        fault: What was done to what, such as `SIGKILL of the embedder`.
        times: How often it was really done.
        lost: Rows or records that should be there and are not.
        duplicated: Those that are there once too often, or should not be there at all.
        notes: Whatever else is wrong; any of them makes the proof fail.
    """

    fault: str
    times: int
    lost: int
    duplicated: int
    notes: tuple[str, ...] = ()

    @property
    def is_clean(self) -> bool:
        """Whether the fault was really made and nothing is wrong after it."""
        return self.times > 0 and not (self.lost or self.duplicated or self.notes)

    @property
    def kills(self) -> int:
        """How many processes were ended by SIGKILL."""
        return self.times if self.fault.startswith(SIGKILL) else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """The conditions of one scenario.

    Attributes:
        seed: Of all that is left to chance.
        long: Whether to make twice as many faults, of some more, and 1,000 kills at least.
        root: A fresh folder of this scenario.
        models: Converted models; each state links to them as its folder `models`.
    """

    seed: int
    long: bool
    root: Path
    models: Path

    def chance(self, name: str) -> random.Random:
        """Return a source of chance that depends on the seed and on nothing but the name."""
        return random.Random(f"{self.seed}:{name}")

    def state(self, name: str) -> Path:
        """Make a state directory whose model is ready."""
        folder = self.root / name
        folder.mkdir(parents=True)
        (folder / "models").symlink_to(self.models)
        return folder


Scenario = Callable[[Trial], Iterable[Outcome]]
