"""Spans of requests, queries and cache look-ups: in one trace, below the caller's, and without anybody's name."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from kemudi.client.testing import InMemoryClient
from kemudi.graph import GraphService
from kemudi.graph.cache import DataVersion, MemoryCache
from kemudi.graph.http import Parts, build_app
from kemudi.graph.stores.base import GraphStore
from kemudi.graph.sync.checkpoint import Checkpoints
from kemudi.graph.tracing import TracedCache, TracedStore, Tracing, tracing_from
from kemudi.schema.errors import UsageError
from kemudi.web.server import HttpServer, listen

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def http(config: InMemoryClient, store: GraphStore, spans: InMemorySpanExporter) -> Iterator[httpx.Client]:
    """A client of the application, whose spans are kept in memory."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    tracing = Tracing(provider)
    version = DataVersion(Checkpoints(store).data_version, 0)
    service = GraphService(config, TracedStore(store, tracing), TracedCache(MemoryCache(version), tracing))
    parts = Parts(config, service, store, version=version, tracing=tracing)
    server = HttpServer(build_app(parts), listen("127.0.0.1", 0, who="the test"), name="graph-http")
    server.start()
    with httpx.Client(base_url=server.url) as client:
        yield client
    server.close()
    tracing.close()


def ended(spans: InMemorySpanExporter, until: Any, number: int) -> dict[str, Any]:
    """The spans by name, once the last one, that of the request, has ended."""
    until(lambda: len(spans.get_finished_spans()) >= number, "the spans")
    return {each.name: each for each in spans.get_finished_spans()}


def test_a_request_its_look_up_and_its_query_are_one_trace(
    http: httpx.Client, spans: InMemorySpanExporter, until: Any
) -> None:
    """Below the caller's span (W3C traceparent), with the route, the outcome and the number of records."""
    http.get("/students/1/classmates", headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
    found = ended(spans, until, 3)
    request, cache, query = found["GET /students/{nim}/classmates"], found["cache"], found["query classmates"]
    assert f"{request.context.trace_id:032x}" == TRACE
    assert f"{request.parent.span_id:016x}" == PARENT
    assert cache.parent.span_id == request.context.span_id
    assert query.parent.span_id == cache.context.span_id
    assert request.kind is SpanKind.SERVER
    assert query.kind is SpanKind.CLIENT
    assert dict(request.attributes) == {
        "http.request.method": "GET",
        "url.scheme": "http",
        "http.route": "/students/{nim}/classmates",
        "http.response.status_code": 200,
    }
    assert dict(query.attributes) == {
        "db.system.name": "ladybug",
        "db.operation.name": "classmates",
        "db.response.returned_rows": 2,
    }
    assert dict(cache.attributes) == {"kemudi.cache.hit": False}
    spans.clear()
    http.get("/students/1/classmates")
    found = ended(spans, until, 2)
    assert dict(found["cache"].attributes) == {"kemudi.cache.hit": True}
    assert "query classmates" not in found
    assert found["GET /students/{nim}/classmates"].parent is None


def test_no_span_names_anybody(
    http: httpx.Client, spans: InMemorySpanExporter, config: InMemoryClient, until: Any
) -> None:
    """Neither students nor parameters nor messages of errors, whatever fails; only the kind of error."""
    for address in ("/students/s3cr3t/classmates?limit=2", "/s3cr3t", "/students?cursor=s3cr3t"):
        http.get(address, headers={"tracestate": "vendor=1", "authorization": "s3cr3t"})
    config.publish(API_RATE_LIMIT=1)
    http.get("/students/s3cr3t")
    config.publish(GRAPH_FEATURE_ENABLED=False, API_RATE_LIMIT=100)
    http.get("/students/s3cr3t")
    until(lambda: sum(each.kind is SpanKind.SERVER for each in spans.get_finished_spans()) == 5, "the spans")
    for span in spans.get_finished_spans():
        assert "s3cr3t" not in span.to_json()
        assert span.events == ()
    by_status = {
        each.attributes["http.response.status_code"]: each
        for each in spans.get_finished_spans()
        if each.kind is SpanKind.SERVER
    }
    assert sorted(by_status) == [404, 422, 429, 503]
    assert by_status[503].status.status_code is StatusCode.ERROR
    assert by_status[422].status.status_code is StatusCode.UNSET
    failed = next(each for each in spans.get_finished_spans() if each.name == "cache")
    assert failed.attributes["error.type"] == "StudentNotFoundError"


@pytest.mark.parametrize(
    "env",
    [
        {},
        {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
        {"OTEL_SDK_DISABLED": "true", "OTEL_TRACES_EXPORTER": "otlp"},
    ],
)
def test_without_an_exporter_there_is_no_tracing(env: dict[str, str]) -> None:
    """Nothing is wrapped, so nothing is paid."""
    assert tracing_from(env) is None


@pytest.mark.parametrize(
    "env",
    [
        {"OTEL_TRACES_EXPORTER": "console"},
        {"OTEL_TRACES_EXPORTER": "otlp"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
        {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1/v1/traces", "OTEL_SERVICE_NAME": "mine"},
    ],
)
def test_the_standard_variables_turn_it_on(env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """And name the service, unless another name is given."""
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    tracing = tracing_from()
    assert tracing is not None
    wanted = env.get("OTEL_SERVICE_NAME", "kemudi-graph")
    assert tracing._provider.resource.attributes["service.name"] == wanted
    tracing.close()


def test_an_exporter_that_there_is_not_is_named() -> None:
    """With those that there are."""
    with pytest.raises(UsageError, match="otlp, console, none"):
        tracing_from({"OTEL_TRACES_EXPORTER": "zipkin"})
