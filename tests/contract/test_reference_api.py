"""Every public name of the reference's package is here, under the same name, and works alike.

The reference is installed for tests. It is walked with `inspect`: whatever it has and we lack, or
have with other parameters, kinds, defaults, values or properties, is a difference. What we have
beyond it is none; a parameter that it demands and that has a default here is an addition.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterator
from types import ModuleType

import pytest

import lexigram_ray
from lexigram_ray import workers
from tests.api_differences import (
    counterpart,
    differences_of,
    module_names,
    of_classes,
    public_names,
)

OURS = "lexigram_ray.workers"
THEIRS = "lexigram.ai.workers"
# Fewer would mean that the walk no longer sees the reference.
LEAST_MODULES = 30
LEAST_NAMES = 110


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    import lexigram.ai.workers

    return lexigram.ai.workers


def all_differences(reference: ModuleType) -> Iterator[str]:
    for name in module_names(reference):
        theirs = counterpart(name, THEIRS)
        try:
            ours = counterpart(name, OURS)
        except ModuleNotFoundError as error:
            yield f"{THEIRS}{name}: {error}"
            continue
        yield from differences_of(theirs, ours, THEIRS)


def test_every_public_name_is_here_and_alike(reference: ModuleType) -> None:
    assert list(all_differences(reference)) == []


def test_the_walk_sees_the_whole_reference(reference: ModuleType) -> None:
    modules = module_names(reference)
    names = [found for name in modules for found in public_names(counterpart(name, THEIRS), THEIRS)]

    assert len(modules) >= LEAST_MODULES
    assert len(names) >= LEAST_NAMES
    assert {".dlq.classifier", ".adapters.loader_worker", ".di.provider"} <= {*modules}


def test_the_root_and_the_workers_have_every_name_of_its_root(reference: ModuleType) -> None:
    assert {*reference.__all__} <= {*workers.__all__}
    assert {*reference.__all__} <= {*lexigram_ray.__all__}


def test_both_roots_give_the_very_same_objects() -> None:
    for name in workers.__all__:
        assert getattr(lexigram_ray, name) is getattr(workers, name), name


def test_every_submodule_name_is_at_both_roots(reference: ModuleType) -> None:
    modules = module_names(reference)
    found = {
        name
        for module in modules
        for name in public_names(counterpart(module, THEIRS), THEIRS)
        # A flag of the reference's own set-up, which means nothing to whoever uses it.
        if name != "HAS_TASK_WORKER"
    }

    assert found <= {*workers.__all__}


class Theirs:
    size: int = 3

    def plain(self, name: str, count: int = 3) -> None: ...

    async def waits(self) -> None: ...

    @property
    def state(self) -> str: ...  # type: ignore[empty-body]

    @classmethod
    def made(cls) -> None: ...


class Renamed(Theirs):
    def plain(self, name: str, number: int = 3) -> None: ...  # type: ignore[override]


class OtherDefault(Theirs):
    def plain(self, name: str, count: int = 4) -> None: ...


class KeywordOnly(Theirs):
    def plain(self, name: str, *, count: int = 3) -> None: ...


class OtherOrder(Theirs):
    def plain(self, count: int = 3, name: str = "") -> None: ...


class Demanding(Theirs):
    def plain(self, name: str, count: int = 3, *, key: str) -> None: ...


class NotAsync(Theirs):
    def waits(self) -> None: ...  # type: ignore[override]


class NoProperty(Theirs):
    def state(self) -> str: ...  # type: ignore[override, empty-body]


class NoClassmethod(Theirs):
    def made(self) -> None: ...  # type: ignore[override]


class OtherConstant(Theirs):
    size = 4


class Incomplete:
    size = 3


@pytest.mark.parametrize(
    "ours",
    [
        Renamed,
        OtherDefault,
        KeywordOnly,
        OtherOrder,
        Demanding,
        NotAsync,
        NoProperty,
        NoClassmethod,
        OtherConstant,
        Incomplete,
    ],
)
def test_the_walk_sees_a_difference(ours: type) -> None:
    assert list(of_classes(Theirs, ours, "Theirs"))


class Adding(Theirs):
    def plain(self, name: str = "", count: int = 3, *, key: str = "") -> None: ...

    def more(self) -> None: ...


def test_additions_are_no_difference() -> None:
    assert list(of_classes(Theirs, Adding, "Theirs")) == []


class Colour(enum.StrEnum):
    RED = "red"


class OtherColour(enum.StrEnum):
    RED = "rouge"


@dataclasses.dataclass
class Point:
    x: int
    labels: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class OtherPoint:
    x: int
    labels: tuple[str, ...] = dataclasses.field(default_factory=tuple)


def test_the_walk_sees_other_values_and_other_fields() -> None:
    assert list(of_classes(Colour, OtherColour, "Colour"))
    assert list(of_classes(Point, OtherPoint, "Point"))
