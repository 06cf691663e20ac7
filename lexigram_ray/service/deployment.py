"""The service on Ray Serve: what a replica is, and how many of them there are."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field
from ray import serve
from ray.serve.config import AutoscalingConfig, BackpressureConfig
from ray.serve.schema import LoggingConfig
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lexigram_ray.core.config import LoggingSettings, WorkersConfig, load_config
from lexigram_ray.core.errors import ConfigError, StoreUnreachableError
from lexigram_ray.jobs.store import Store
from lexigram_ray.runtime.ray_process import begin_ray_process
from lexigram_ray.service.app import build_app
from lexigram_ray.service.auth import check_may_start
from lexigram_ray.service.context import ServiceContext
from lexigram_ray.service.drain_note import EndingWatch
from lexigram_ray.service.problems import RETRY_SECONDS
from lexigram_ray.service.ray_embedders import RayEmbedders
from lexigram_ray.service.request_ids import HEADER

APPLICATION = "lexigram-ray"
REPLICA = "Service"

BUSY_SHARE = 0.3
"""Of the requests that a replica may work on: with more on average, another one is started."""

UP_SECONDS = 10.0
DOWN_SECONDS = 300.0
HEALTH_SECONDS = 2.0
"""Between two looks at a replica: one that was killed is replaced after so long."""

HEALTH_PATIENCE_SECONDS = 30.0
DRAIN_LOOK_SECONDS = 0.5

SERVE_ENVIRONMENT = {
    # Replicas: no handler of ours blocks the event loop, so that no second thread is needed.
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
    # Proxies: the same of the choice of a replica.
    "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "0",
    # The controller: a proxy that was killed is replaced at the third of these looks.
    "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "2",
    # Proxies: replicas have no port for calls past Ray's own, which ask for its token.
    "RAY_SERVE_USE_GRPC_BY_DEFAULT": "0",
}
"""Serve's own switches. The controller hands them on to all that it starts."""

logger = logging.getLogger("lexigram_ray.service")


@serve.ingress()  # pyright: ignore[reportUntypedClassDecorator]
class Service:
    """A replica: the application with a store and embedders of its own."""

    def __init__(self, config: WorkersConfig) -> None:
        begin_ray_process(config)
        _open_no_port_for_pickles()
        self._store = Store.open(config.paths.store_url)
        self._context = ServiceContext(
            config=config,
            store=self._store,
            embedders=RayEmbedders(config),
            is_draining=EndingWatch(config),
        )
        logger.info("a replica of the service begins")

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Return what answers; Serve calls this in the replica."""
        app = build_app(self._context)
        app.add_middleware(_OneRequestId)
        return app

    async def check_health(self) -> None:
        """Return once the store has answered: a replica whose calls hang is replaced.

        One whose store is away stays. Another would be no better off, and this one says so.
        """
        try:
            await asyncio.to_thread(self._store.counts)
        except StoreUnreachableError as error:
            logger.warning("the store does not answer: %s", error)

    def __del__(self) -> None:
        # Of a replica that could not open it, there is none.
        if store := getattr(self, "_store", None):
            store.close()


def application(config: WorkersConfig) -> serve.Application:
    """Return the service for Ray Serve to run.

    Args:
        config: With the host that it really listens at.

    Raises:
        ConfigError: The numbers of replicas do not fit each other.
    """
    service = config.service
    if service.min_replicas > service.max_replicas:
        raise ConfigError(
            f"service.min_replicas is {service.min_replicas}, and service.max_replicas is "
            f"{service.max_replicas}",
            hint="set service.max_replicas to the same or more",
        )
    deployed = serve.deployment(
        name=REPLICA,
        # As warm embedders: a bulk job's reads and workers keep all CPUs, and never wait for one.
        ray_actor_options={"num_cpus": 0, "runtime_env": {"env_vars": SERVE_ENVIRONMENT}},
        autoscaling_config=AutoscalingConfig(
            min_replicas=service.min_replicas,
            max_replicas=service.max_replicas,
            target_ongoing_requests=max(1.0, BUSY_SHARE * service.max_ongoing_requests),
            upscale_delay_s=UP_SECONDS,
            downscale_delay_s=DOWN_SECONDS,
        ),
        max_ongoing_requests=service.max_ongoing_requests,
        max_queued_requests=service.max_queued_requests,
        backpressure_config=BackpressureConfig(status_code=503, retry_after_s=RETRY_SECONDS),
        graceful_shutdown_timeout_s=service.grace_seconds,
        graceful_shutdown_wait_loop_s=DRAIN_LOOK_SECONDS,
        health_check_period_s=HEALTH_SECONDS,
        health_check_timeout_s=HEALTH_PATIENCE_SECONDS,
        logging_config=serve_logging(config.logging),
    )
    return deployed(Service).bind(config)


def serve_logging(settings: LoggingSettings) -> LoggingConfig:
    """Return how Serve's own processes log: each request is in our log already."""
    return LoggingConfig(
        encoding="JSON" if settings.format == "json" else "TEXT",
        log_level=settings.level.upper(),
        enable_access_log=False,
    )


class BuilderArgs(BaseModel):
    """`args` of the application in a file for `serve deploy`, such as configs/serve.yaml."""

    model_config = ConfigDict(extra="forbid")

    config_file: Path | None = Field(
        None, description="Configuration, on the node that builds; else ./application.yaml there"
    )
    settings: dict[str, Any] = Field(
        default_factory=dict, description="Settings over it, such as `state_dir`"
    )


def app(args: dict[str, Any]) -> serve.Application:
    """Return the service for `serve deploy` and `serve run`; `args` as in `BuilderArgs`.

    Raises:
        UsageError: Nobody would have to show a token, and it listens to more than this machine.
    """
    given = BuilderArgs.model_validate(args)
    config = load_config(given.config_file, **given.settings)
    host, port = listens_at() or (config.service.host, config.service.port)
    config = listening(config, host, port)
    with Store.open(config.paths.store_url) as store:
        check_may_start(config, store)
    return application(config)


def listens_at() -> tuple[str, int] | None:
    """Return host and port of the Serve on this process's cluster; None where it has none."""
    # The public calls tell which proxies there are, but not where they listen.
    from ray.serve.context import _get_global_client  # pyright: ignore[reportPrivateUsage]

    client = _get_global_client(raise_if_no_controller_running=False)
    return None if client is None else (str(client.http_config.host), int(client.http_config.port))


def listening(config: WorkersConfig, host: str, port: int) -> WorkersConfig:
    """Return a configuration with another place to listen at."""
    place = {"host": host, "port": port}
    return config.model_copy(update={"service": config.service.model_copy(update=place)})


def _open_no_port_for_pickles() -> None:
    # Each replica would listen on every address of its machine, ask for no token, and unpickle
    # what anybody sends. Nobody calls ours that way.
    from ray.serve._private import replica

    replica.add_port_to_grpc_server = _no_port  # pyright: ignore[reportPrivateImportUsage]


def _no_port(server: object, address: str) -> int:
    del server, address
    return 0


class _OneRequestId:
    """Leaves it to Serve to tell the request's id, where it would tell the same one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_without(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if headers.get(HEADER) == MutableHeaders(scope=scope).get(HEADER):
                    del headers[HEADER]
            await send(message)

        await self._app(scope, receive, send_without if scope["type"] == "http" else send)
