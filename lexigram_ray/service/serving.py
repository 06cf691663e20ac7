"""Starting the service on a cluster: what is refused, what is adopted, when it is ready."""

from __future__ import annotations

import errno
import logging
import socket
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import httpx
from ray import serve
from ray.exceptions import RayError
from ray.serve.config import ControllerOptions, HTTPOptions, ProxyLocation
from ray.serve.exceptions import RayServeException
from ray.serve.schema import ApplicationStatus

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.environment_checks import is_loopback
from lexigram_ray.core.errors import UsageError, WorkerError
from lexigram_ray.jobs.owner import Owner
from lexigram_ray.jobs.store import Store
from lexigram_ray.runtime.cluster_file import asked_address, noted_cluster
from lexigram_ray.runtime.down import down
from lexigram_ray.runtime.own_actors import settings_key
from lexigram_ray.runtime.up import UpReport, attached_up
from lexigram_ray.service.auth import check_may_start
from lexigram_ray.service.deployment import (
    APPLICATION,
    SERVE_ENVIRONMENT,
    application,
    listening,
    listens_at,
    serve_logging,
)
from lexigram_ray.service.drain_note import forget_ending
from lexigram_ray.service.ending import end_on_cluster
from lexigram_ray.service.haproxy import haproxy_environment
from lexigram_ray.service.service_note import (
    NotedService,
    forget_service,
    note_service,
    noted_service,
    url_at,
)

READY_SECONDS = 60.0
ASK_SECONDS = 5.0
_GONE = {ApplicationStatus.NOT_STARTED, ApplicationStatus.DELETING}
_SERVE_ERRORS = (RayServeException, RayError, RuntimeError, TimeoutError, ValueError)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceReport:
    """A service that answers.

    Attributes:
        url: Where, as seen from this machine.
        address: Of its cluster.
        dashboard: Of Ray; None where the cluster has none.
        was_up: Whether it was left as it was.
        started_serve: Whether Ray Serve was started for it, and ends with it.
        started_cluster: Whether the actors, and Ray where it was not there, were started for it.
        watched_elsewhere: Whether another `serve` stays with it.
    """

    url: str
    address: str
    dashboard: str | None
    was_up: bool
    started_serve: bool
    started_cluster: bool
    watched_elsewhere: bool

    def to_dict(self) -> dict[str, object]:
        """Return what `serve --json` prints."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is asked of a start.

    Attributes:
        host: Where to listen; else as configured.
        port: The same; 0 for one that is free.
        address: Of a running cluster; else as for `up`.
        is_watched: Whether this process stays with the service.
    """

    host: str | None = None
    port: int | None = None
    address: str | None = None
    is_watched: bool = False


def start_service(
    config: WorkersConfig, wanted: Wanted, tell: Callable[[str], None]
) -> ServiceReport:
    """Have the service run; what runs already, with these settings, is left as it is.

    Args:
        tell: Is given what takes its time.

    Raises:
        UsageError: It may not listen there without a token, the port is in use, or a service runs
            on the cluster that is another state's or listens elsewhere.
        ConfigError: The settings cannot be worked with.
        ClusterUnreachableError: The cluster does not answer, or does not start.
        WorkerError: The service does not start; what was started for it has ended again.
    """
    host = wanted.host or config.service.host
    port = config.service.port if wanted.port is None else wanted.port
    served = listening(config, host, port)
    with Store.open(config.paths.store_url) as store:
        check_may_start(served, store)
    before = noted_cluster(config)
    if before is None:
        # What is noted then is of a cluster that is gone.
        forget_service(config)
        if asked_address(wanted.address) is None:
            # Before Ray is started for nothing.
            _free_place(served)
    try:
        with attached_up(config, wanted.address, tell) as up:
            is_new = before is None or up.started_head
            return _Start(config, served, wanted, up, tell).run(is_new=is_new)
    except BaseException:
        if before is None and noted_service(config) is None:
            down(config, tell)
        raise


@dataclass(frozen=True, slots=True)
class _Start:
    """One start, on the cluster that this process is attached to.

    Attributes:
        served: The configuration, with where to listen.
    """

    config: WorkersConfig
    served: WorkersConfig
    wanted: Wanted
    up: UpReport
    tell: Callable[[str], None]

    def run(self, *, is_new: bool) -> ServiceReport:
        logging.getLogger("ray.serve").setLevel(logging.WARNING)
        place = listens_at()
        is_running = place is not None and _is_running()
        found = noted_service(self.config) if is_running else None
        if is_running and found is None:
            raise UsageError(
                f"a service of another state directory runs on {self.up.address}",
                hint="one cluster has one service: `lexigram-ray serve down` with that --state, or "
                "a cluster of its own",
            )
        self._refuse_elsewhere(place, found)
        # Where it listens cannot change, and is compared by itself.
        key = settings_key(listening(self.config, "", 0))
        if found is not None and found.settings_key == key:
            return self._adopted(found)
        host, port = place or _free_place(self.served)
        noted = NotedService(
            host=host,
            port=port,
            settings_key=key,
            started_serve=found.started_serve if found else place is None,
            started_cluster=found.started_cluster if found else is_new,
            watcher=Owner.current() if self.wanted.is_watched else None,
        )
        # Before it runs, so that it is found whatever becomes of this process.
        note_service(self.config, noted)
        try:
            self._run(noted, starts_serve=place is None)
        except BaseException:
            if found is None:
                end_on_cluster(self.config, noted, seconds=0.0)
                forget_service(self.config)
            else:
                # Else the next one would take what runs on for what was asked for now.
                note_service(self.config, found)
            raise
        return self._report(noted, was_up=False)

    def _refuse_elsewhere(self, place: tuple[str, int] | None, found: NotedService | None) -> None:
        service = self.served.service
        if place is None or (service.host == place[0] and service.port in (0, place[1])):
            return
        if found is not None:
            raise UsageError(
                f"the service is up already, at {found.url}",
                hint="`lexigram-ray serve down` first; then it can listen elsewhere",
            )
        raise UsageError(
            f"Ray Serve runs on this cluster already, and listens at {url_at(*place)}",
            hint=f"`--host {place[0]} --port {place[1]}`; or end it with `serve shutdown`",
        )

    def _adopted(self, found: NotedService) -> ServiceReport:
        # Of an end that was killed on its way: it would keep it from ever being ready.
        forget_ending(self.config)
        if self.wanted.is_watched and not found.is_watched:
            note_service(self.config, replace(found, watcher=Owner.current()))
        _wait_until_ready(found.url)
        return self._report(found, was_up=True)

    def _run(self, noted: NotedService, *, starts_serve: bool) -> None:
        self.tell("starting the service")
        # Left behind by one that was killed while it ended.
        forget_ending(self.config)
        try:
            if starts_serve:
                serve.start(
                    # With loopback alone, proxies on other nodes would be of no use to anybody.
                    proxy_location=ProxyLocation.HeadOnly
                    if is_loopback(noted.host)
                    else ProxyLocation.EveryNode,
                    http_options=HTTPOptions(host=noted.host, port=noted.port),
                    controller_options=ControllerOptions(
                        runtime_env={
                            "env_vars": SERVE_ENVIRONMENT
                            | haproxy_environment(self.config.paths.root, noted.host)
                        }
                    ),
                    logging_config=serve_logging(self.served.logging),
                )
            serve.run(application(self.served), name=APPLICATION, route_prefix="/")
        except _SERVE_ERRORS as error:
            raise WorkerError(
                f"the service does not start: {_last_line(error)}",
                hint=f"the replica's log has more: {self.up.dashboard or 'Ray logs'}, under Serve",
            ) from error
        _wait_until_ready(noted.url)

    def _report(self, noted: NotedService, *, was_up: bool) -> ServiceReport:
        return ServiceReport(
            url=noted.url,
            address=self.up.address,
            dashboard=self.up.dashboard,
            was_up=was_up,
            started_serve=noted.started_serve,
            started_cluster=noted.started_cluster,
            watched_elsewhere=was_up and noted.is_watched,
        )


def _free_place(config: WorkersConfig) -> tuple[str, int]:
    service = config.service
    # Serve's proxies would share the port with whoever has it.
    family = socket.AF_INET6 if ":" in service.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((service.host.strip("[]"), service.port))
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            raise UsageError(
                f"cannot listen at {service.host}, port {service.port}: {error.strerror}",
                hint="`--port` with another one, or 0 for any that is free"
                if taken
                else "`--host` with an address of this machine, or a port above 1023",
            ) from error
        return service.host, int(probe.getsockname()[1])


def _is_running() -> bool:
    found = serve.status().applications.get(APPLICATION)
    return found is not None and found.status not in _GONE


def _wait_until_ready(url: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    said = "it does not answer"
    while time.monotonic() < deadline:
        try:
            answer = httpx.get(f"{url}/readyz", timeout=ASK_SECONDS)
            if answer.status_code == 200:
                return
            said = f"it answers {answer.status_code}"
        except httpx.TransportError as error:
            said = str(error) or type(error).__name__
        time.sleep(0.1)
    raise WorkerError(
        f"the service at {url} is not ready after {READY_SECONDS:.0f} s: {said}",
        hint="check the store with `lexigram-ray doctor`",
    )


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
