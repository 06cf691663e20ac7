"""The application: routes, limits and errors, put together around a context."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute

import lexigram_ray
from lexigram_ray.core.tracing import begin_tracing
from lexigram_ray.service.audit import Audit
from lexigram_ray.service.auth import Admission
from lexigram_ray.service.body_limit import BodyLimit
from lexigram_ray.service.context import ServiceContext
from lexigram_ray.service.gate import Gate
from lexigram_ray.service.methods import Methods
from lexigram_ray.service.models.problem import Problem, schema_of
from lexigram_ray.service.problems import install_handlers, unforeseen
from lexigram_ray.service.request_ids import RequestIds

ROUTERS = (
    "health",
    "metrics",
    "documents",
    "embedding_jobs",
    "jobs",
    "job_events",
    "dead_letters",
    "maintenance",
    "collections",
    "search",
    "embeddings",
)


def build_app(context: ServiceContext) -> FastAPI:
    """Return the service as an ASGI application; the context is closed by whoever made it."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        yield
        await context.embedders.close()

    begin_tracing()
    app = _Service(
        title="lexigram_ray",
        summary="Documents and texts into searchable vectors.",
        version=lexigram_ray.__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        # A request is one span of the trace that its job goes on with.
        telemetry={"metrics": False, "logs": False, "operation_spans": False},
        # They would be told in full, as http behind a proxy for https, and take tokens along.
        redirect_slashes=False,
    )
    app.state.context = context
    app.state.gate = Gate(context.config.service, context.store.tokens)
    install_handlers(app)
    # Imported here: whoever only starts the service needs none of them.
    routers: list[APIRouter] = [
        import_module(f"lexigram_ray.service.routers.{name}").router for name in ROUTERS
    ]
    routes = [each for router in routers for each in router.routes if isinstance(each, APIRoute)]
    # The last one added sees a request first.
    app.add_middleware(Methods, routes=routes)
    app.add_middleware(Audit, log=context.store.audit)
    app.add_middleware(Admission)
    app.add_middleware(BodyLimit, settings=context.config.service)
    app.add_middleware(RequestIds, on_error=unforeseen)
    for router in routers:
        app.include_router(router)
    return app


class _Service(FastAPI):
    """An application whose description names problems as what they are."""

    def openapi(self) -> dict[str, Any]:
        """Return openapi.json, with the schemas that the framework has not found by itself."""
        if not self.openapi_schema:
            described = super().openapi()
            schemas = described.setdefault("components", {}).setdefault("schemas", {})
            for schema in (*_own_bodies(described), problem := schema_of(Problem)):
                schemas |= schema.pop("$defs", {})
            schemas["Problem"] = problem
        return self.openapi_schema or {}


def _own_bodies(described: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the schemas of bodies that routes read, and describe, themselves."""
    for operations in described["paths"].values():
        for operation in operations.values():
            for content in operation.get("requestBody", {}).get("content", {}).values():
                yield content["schema"]
