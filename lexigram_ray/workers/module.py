"""`WorkersModule`: the workers as a module of an application."""

from __future__ import annotations

from typing import Any

from lexigram_ray.workers.config import WorkersConfig
from lexigram_ray.workers.di._bases import DynamicModule, Module, contract, module
from lexigram_ray.workers.di._making import WORKERS
from lexigram_ray.workers.di._stub import StubWorkersProvider
from lexigram_ray.workers.di.provider import WorkersProvider

__all__ = ["WorkersModule"]


@module(providers=[WorkersProvider], exports=[WorkersConfig, *WORKERS])
class WorkersModule(Module):
    """The four workers, for an application that is made of modules.

    Where the framework is installed, this is one of its modules, and its `Application` boots it;
    any other application runs the module's providers: `register`, `boot`, `shutdown`.
    """

    @classmethod
    def configure(
        cls,
        config: WorkersConfig | None = None,
        enable_scheduler: bool = True,
        **kwargs: Any,
    ) -> DynamicModule:
        """Return the module with the workers as configured.

        Args:
            config: The configuration; else the application's section `ai_workers`, or that of
                application.yaml and the environment.
            enable_scheduler: Whether maintenance and dead-letter sweeps are started.
            kwargs: What else `WorkersProvider` takes.
        """
        return cls._with(WorkersProvider(config, enable_scheduler, **kwargs))

    @classmethod
    def stub(cls, config: WorkersConfig | None = None) -> DynamicModule:
        """Return the module for tests: real workers, whose state is gone when they are stopped.

        All state lies in a fresh temporary directory, unless `config` names another one below the
        system's directory for such. No scheduler is started.

        Args:
            config: The configuration; else the defaults, whatever files and environment say.
        """
        return cls._with(StubWorkersProvider(config))

    @classmethod
    def _with(cls, provider: WorkersProvider) -> DynamicModule:
        # The framework's own protocol for workers, where it is known: modules that see this one
        # see whatever the application has bound to it.
        others = [kind for kind in [contract("TaskWorkerProtocol")] if kind is not None]
        return DynamicModule(
            module=cls,
            providers=[provider],
            exports=[*others, WorkersConfig, *WORKERS],
        )
