"""The application: routes, limits and errors, put together around a context."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from fastapi import FastAPI

import lexigram_ray
from lexigram_ray.service.body_limit import BodyLimit
from lexigram_ray.service.context import ServiceContext
from lexigram_ray.service.models.problem import Problem
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

    app = _Service(
        title="lexigram_ray",
        summary="Documents and texts into searchable vectors.",
        version=lexigram_ray.__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.state.context = context
    install_handlers(app)
    # The last one added sees a request first.
    app.add_middleware(BodyLimit, settings=context.config.service)
    app.add_middleware(RequestIds, on_error=unforeseen)
    for name in ROUTERS:
        module = f"lexigram_ray.service.routers.{name}"
        if find_spec(module) is not None:
            app.include_router(import_module(module).router)
    return app


class _Service(FastAPI):
    """An application whose description names problems as what they are."""

    def openapi(self) -> dict[str, Any]:
        """Return openapi.json, with the schema that all problems refer to."""
        if not self.openapi_schema:
            described = super().openapi()
            problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas = described.setdefault("components", {}).setdefault("schemas", {})
            schemas |= problem.pop("$defs", {}) | {"Problem": problem}
        return self.openapi_schema or {}
