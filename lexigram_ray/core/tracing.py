"""Traces of a job's way, from its submission to its commits, for OpenTelemetry.

Nothing happens unless an exporter is set, by OpenTelemetry's own variables
(`OTEL_EXPORTER_OTLP_ENDPOINT` or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`). A job is worked on by other
processes than the one that submitted it: what it records has the trace that it belongs to.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

from lexigram_ray.core.job_logging import current_job

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Tracer

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
DISABLED = "OTEL_SDK_DISABLED"
SERVICE_NAME = "OTEL_SERVICE_NAME"
PROGRAM = "lexigram_ray"
DELAY_MILLISECONDS = 500
"""Between two exports: a worker may be ended soon after its last unit."""

logger = logging.getLogger("lexigram_ray")


@contextmanager
def span(name: str, *, parent: str = "", **attributes: str | int | float) -> Generator[None]:
    """Trace what the block does, if anybody is to hear of it.

    It belongs to the span around it; where there is none, to `parent`, or else to the trace of the
    job that this context works for.

    Args:
        name: Such as `parse`.
        parent: A `traceparent` of W3C's Trace Context.
        attributes: Of the span, under the prefix `lexigram.`.
    """
    tracer = _tracer()
    if tracer is None:
        yield
        return
    named = {f"lexigram.{key}": value for key, value in attributes.items()}
    context = _context_of(parent)
    with tracer.start_as_current_span(f"lexigram.{name}", context=context, attributes=named):
        yield


def traceparent() -> str:
    """Return the span of this moment as a `traceparent`; empty where there is none."""
    if _tracer() is None:
        return ""
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get("traceparent", "") or current_job().trace


def begin_tracing() -> None:
    """Have spans exported, also those that others make, if an exporter is set."""
    _tracer()


def _context_of(parent: str) -> Context | None:
    from opentelemetry import trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    given = parent or current_job().trace
    if not given or trace.get_current_span().get_span_context().is_valid:
        return None
    return TraceContextTextMapPropagator().extract({"traceparent": given})


@cache
def _tracer() -> Tracer | None:
    """Return what makes spans; None where no exporter is set or none is installed."""
    if os.environ.get(DISABLED, "").lower() == "true":
        return None
    if not any(os.environ.get(name) for name in ENDPOINTS):
        return None
    try:
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        logger.warning("no traces are exported: %s; pip install 'lexigram-ray[tracing]'", error)
        return None
    if not isinstance(trace.get_tracer_provider(), TracerProvider):
        name = os.environ.get(SERVICE_NAME, PROGRAM)
        provider = TracerProvider(resource=Resource.create({"service.name": name}))
        processor = BatchSpanProcessor(OTLPSpanExporter(), schedule_delay_millis=DELAY_MILLISECONDS)
        provider.add_span_processor(processor)
        trace.set_tracer_provider(provider)
    return trace.get_tracer(PROGRAM)
