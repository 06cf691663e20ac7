"""Base classes for where the framework is not installed: small ones of its shape."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any, ClassVar, Self, TypeVar

from lexigram_ray.workers._health import HealthCheckResult

__all__ = ["DynamicModule", "Module", "Provider", "ProviderPriority", "ProviderState", "module"]

logger = logging.getLogger("lexigram_ray")

C = TypeVar("C", bound=type)


class ProviderPriority(IntEnum):
    """When a provider boots: lower ones first."""

    CRITICAL = 0
    INFRASTRUCTURE = 10
    SECURITY = 20
    NORMAL = 30
    APPLICATION = 40
    DOMAIN = 50
    PRESENTATION = 80
    COMMS = 90
    LOW = 100


class ProviderState(StrEnum):
    """How far whoever runs a provider has come with it."""

    CREATED = "created"
    REGISTERED = "registered"
    BOOTED = "booted"
    SHUTDOWN = "shutdown"


class Provider:
    """Brings services into a container, starts them, and stops them.

    Args:
        name: What it is known by, instead of the class's.
        priority: When it boots.
        dependencies: Names of the providers that must boot before it.
        optional_dependencies: The same, where they are there.
        boot_timeout: Seconds for `boot`; None for no limit.
        required: Whether the application may not go on without it.
    """

    name: str = ""
    priority: ProviderPriority = ProviderPriority.NORMAL
    dependencies: tuple[str, ...] = ()
    optional_dependencies: tuple[str, ...] = ()
    boot_timeout: float | None = None
    required: bool = True
    config_key: str | None = None
    config_model: type[Any] | None = None

    def __init__(
        self,
        *,
        name: str | None = None,
        priority: ProviderPriority | None = None,
        dependencies: tuple[str, ...] | None = None,
        optional_dependencies: tuple[str, ...] | None = None,
        boot_timeout: float | None = None,
        required: bool | None = None,
    ) -> None:
        given = {
            "name": name,
            "priority": priority,
            "dependencies": dependencies,
            "optional_dependencies": optional_dependencies,
            "boot_timeout": boot_timeout,
            "required": required,
        }
        for attribute, value in given.items():
            if value is not None:
                setattr(self, attribute, value)
        self._state = ProviderState.CREATED
        self._config: Any = None
        self._config_from_factory = False

    @property
    def state(self) -> ProviderState:
        """How far it is; whoever runs it says so."""
        return self._state

    @property
    def is_booted(self) -> bool:
        """Whether it has booted and not been shut down."""
        return self._state == ProviderState.BOOTED

    @property
    def config(self) -> Any:
        """Its configuration."""
        return self._config

    @config.setter
    def config(self, value: Any) -> None:
        self._config = value

    @classmethod
    def from_config(cls, config: Any, **context: Any) -> Self:
        """Return a provider with this configuration."""
        made = cls(**context)
        made.config = config
        made._config_from_factory = True
        return made

    async def register(self, container: Any) -> None:
        """Tell the container of its services."""

    async def boot(self, container: Any) -> None:
        """Start its services."""

    async def shutdown(self) -> None:
        """Stop its services."""

    async def on_error(self, error: Exception, phase: str) -> None:
        """Take note that `boot` or `shutdown` has failed."""
        logger.error("provider %s: %s failed: %s", self.name, phase, error)

    async def health_check(self, timeout: float = 5.0) -> HealthCheckResult:
        """Say how it is, within `timeout` seconds."""
        del timeout
        return HealthCheckResult(component=self.name)


class Module:
    """A set of providers that belong together, and what others may use of them."""

    name: ClassVar[str | None] = None
    providers: ClassVar[list[Any]] = []
    imports: ClassVar[list[Any]] = []
    exports: ClassVar[list[type]] = []
    controllers: ClassVar[list[type]] = []
    is_global: ClassVar[bool] = False


@dataclass
class DynamicModule:
    """A module with its providers made: what `configure` and `stub` return.

    Attributes:
        module: The class that it configures.
        providers: Provider objects, or classes that take no arguments.
        imports: Modules whose exports it uses.
        exports: Types that others may resolve.
        controllers: Classes for the web layer.
        is_global: Whether others may resolve its exports without importing it.
        name: Instead of the class's.
        health_providers: Whose health is the module's; None for that of all its providers.
    """

    module: type
    providers: list[Any] = field(default_factory=list[Any])
    imports: list[Any] = field(default_factory=list[Any])
    exports: list[type] = field(default_factory=list[type])
    controllers: list[type] = field(default_factory=list[type])
    is_global: bool = False
    name: str | None = None
    health_providers: list[Any] | None = None

    @property
    def resolved_name(self) -> str:
        """Its name, or that of its class."""
        return self.name or self.module.__name__


def module(*, providers: list[Any], exports: list[type]) -> Callable[[C], C]:
    """Declare what a module has without being configured."""

    def declare(declared: C) -> C:
        declared.providers, declared.exports = providers, exports
        return declared

    return declare
