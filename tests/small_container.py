"""A container with the two protocols' methods, and nothing else."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any


class SmallContainer:
    """Keeps objects by their type, and makes those that have a factory, once.

    Args:
        objects: What is bound beforehand; a later registration of the same type is ignored.
    """

    def __init__(self, objects: dict[Any, Any] | None = None) -> None:
        self.objects = dict(objects or {})
        self.factories: dict[Any, Callable[..., Any]] = {}
        self.registered: list[Any] = []

    def singleton(
        self,
        service_type: Any,
        instance: Any = None,
        *,
        name: str | None = None,
        factory: Any | None = None,
        validate: bool = True,
    ) -> None:
        self.registered.append(service_type)
        if service_type in self.objects:
            return
        if factory is not None:
            self.factories[service_type] = factory
        else:
            self.objects[service_type] = instance

    def has(self, service_type: Any) -> bool:
        return service_type in self.objects or service_type in self.factories

    async def resolve(self, service_type: Any, *, bypass_visibility: bool = False) -> Any:
        if service_type not in self.objects:
            made = self.factories[service_type](self)
            self.objects[service_type] = await made if inspect.isawaitable(made) else made
        return self.objects[service_type]
