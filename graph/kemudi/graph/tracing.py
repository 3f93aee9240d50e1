"""Traces of requests, queries and cache look-ups, for OpenTelemetry. Without an exporter there is none of it.

The standard `OTEL_*` variables steer it. Spans carry routes, names of queries, counts and types of errors: never a
student, a class, a parameter or a message.
"""

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any, Final

from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter
from opentelemetry.trace import Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.types import Scope

from kemudi.graph.cache import Compute, Name, ResultCache
from kemudi.graph.stores.base import GraphStore, Parameters, Record, Step
from kemudi.schema.errors import UsageError

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_END_SECONDS: Final = 1.0
_CARRIED: Final = (b"traceparent", b"tracestate")


class Tracing:
    """Makes spans. `provider` says where they go."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("kemudi.graph")
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def request(self, scope: Scope) -> Iterator[Span]:
        """The span of an HTTP request, below that of its `traceparent`; `answered` completes it."""
        carrier = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in scope["headers"]
            if name in _CARRIED
        }
        with self._span(
            scope["method"],
            {"http.request.method": scope["method"], "url.scheme": scope.get("scheme", "http")},
            kind=SpanKind.SERVER,
            context=self._propagator.extract(carrier),
        ) as span:
            yield span

    @staticmethod
    def answered(span: Span, method: str, route: str, status: int) -> None:
        """Name the span by the route, which is known only now, and note the outcome."""
        span.update_name(f"{method} {route}")
        span.set_attribute("http.route", route)
        span.set_attribute("http.response.status_code", status)
        if status >= 500:
            span.set_status(StatusCode.ERROR)

    @contextmanager
    def query(self, store: str, names: Sequence[str]) -> Iterator[Span]:
        """The span of one or several named queries on a store."""
        name = " ".join(dict.fromkeys(names))
        attributes = {"db.system.name": store, "db.operation.name": name}
        with self._span(f"query {name}", attributes, kind=SpanKind.CLIENT) as span:
            yield span

    @contextmanager
    def cache(self) -> Iterator[Span]:
        """The span of a look-up in the cache, with what it takes to compute what is not there."""
        with self._span("cache", {}) as span:
            yield span

    def close(self) -> None:
        """Send what is left, for a second at most: the SDK would wait half a minute for a collector that is away."""
        sending = threading.Thread(target=self._provider.shutdown, name="graph-traces", daemon=True)
        sending.start()
        sending.join(_END_SECONDS)

    @contextmanager
    def _span(self, name: str, attributes: Mapping[str, str], **options: Any) -> Iterator[Span]:
        # Not by the library's own means: they would note the message of an error, and it may name a student.
        with self._tracer.start_as_current_span(
            name, attributes=attributes, record_exception=False, set_status_on_exception=False, **options
        ) as span:
            try:
                yield span
            except BaseException as error:
                span.set_status(StatusCode.ERROR)
                span.set_attribute("error.type", type(error).__name__)
                raise


class TracedStore:
    """A graph store whose reads and writes are spans."""

    def __init__(self, inner: GraphStore, tracing: Tracing) -> None:
        self._inner = inner
        self._tracing = tracing
        self.name = inner.name
        self.parallel_writers = inner.parallel_writers
        self.exclusive = inner.exclusive

    def prepare(self) -> None:
        """See `GraphStore`."""
        self._inner.prepare()

    def read(self, query: str, parameters: Parameters, *, timeout: float | None = None) -> list[Record]:
        """See `GraphStore`."""
        with self._tracing.query(self.name, [query]) as span:
            records = self._inner.read(query, parameters, timeout=timeout)
            span.set_attribute("db.response.returned_rows", len(records))
            return records

    def write(self, steps: Sequence[Step], *, fence: Step | None = None) -> None:
        """See `GraphStore`."""
        with self._tracing.query(self.name, [name for name, _ in [*steps, *([fence] if fence else [])]]):
            self._inner.write(steps, fence=fence)

    def end_writes(self, epoch: int) -> None:
        """See `GraphStore`."""
        self._inner.end_writes(epoch)

    def ping(self) -> None:
        """See `GraphStore`."""
        self._inner.ping()

    def close(self) -> None:
        """See `GraphStore`."""
        self._inner.close()


class TracedCache:
    """A cache whose look-ups are spans."""

    def __init__(self, inner: ResultCache, tracing: Tracing) -> None:
        self._inner = inner
        self._tracing = tracing

    def through(self, name: Name, ttl: int, compute: Compute) -> list[Record]:
        """See `ResultCache`."""
        with self._tracing.cache() as span:
            hit = True

            def computed() -> list[Record]:
                nonlocal hit
                hit = False
                return compute()

            result = self._inner.through(name, ttl, computed)
            span.set_attribute("kemudi.cache.hit", hit)
            return result

    def close(self) -> None:
        """See `ResultCache`."""
        self._inner.close()


def tracing_from(env: Mapping[str, str] = os.environ) -> Tracing | None:
    """The tracing that the `OTEL_*` variables ask for; None when they ask for none.

    On when OTEL_TRACES_EXPORTER is `otlp` or `console`, or when an OTEL_EXPORTER_OTLP_ENDPOINT is set. Sampling,
    resource and batches are the SDK's, by its own variables. Raises UsageError for another exporter, and where the
    one for OTLP is not installed.
    """
    if env.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    default = "otlp" if any(env.get(each) for each in _ENDPOINTS) else "none"
    chosen = (env.get("OTEL_TRACES_EXPORTER") or default).strip().lower()
    if chosen == "none":
        return None
    attributes = {"service.version": version("kemudi")}
    if "OTEL_SERVICE_NAME" not in env and "service.name=" not in env.get("OTEL_RESOURCE_ATTRIBUTES", ""):
        attributes[SERVICE_NAME] = "kemudi-graph"
    provider = TracerProvider(resource=Resource.create(attributes), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(_exporter(chosen)))
    return Tracing(provider)


def _exporter(name: str) -> SpanExporter:
    if name == "console":
        return ConsoleSpanExporter()
    if name != "otlp":
        raise UsageError(f"OTEL_TRACES_EXPORTER is {name!r}; there are: otlp, console, none")
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ModuleNotFoundError as error:
        raise UsageError("the exporter for OTLP is not installed", hint="Install kemudi[tracing].") from error
    return OTLPSpanExporter()
