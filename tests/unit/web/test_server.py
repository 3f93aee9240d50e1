"""The HTTP thread that daemon, graph service and console share."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from starlette.responses import PlainTextResponse

from kemudi.web.server import HttpServer, listen

MOST = 3


@pytest.fixture
def server() -> Iterator[HttpServer]:
    listener = listen("127.0.0.1", 0, who="the test")
    made = HttpServer(PlainTextResponse("here"), listener, name="test-http", most_connections=MOST)
    made.start()
    yield made
    made.close()


def test_above_its_connections_it_answers_with_a_problem_until_there_is_room(
    server: HttpServer, until: Any
) -> None:
    """503 as RFC 9457 has it, with the time to come back, on a connection that is closed then."""
    address = server.url.removeprefix("http://").split(":")
    assert httpx.get(server.url).text == "here"
    with ExitStack() as stack:
        held = [
            stack.enter_context(socket.create_connection((address[0], int(address[1])))) for _ in range(MOST)
        ]
        until(lambda: httpx.get(server.url).status_code == 503, "the limit")
        answer = httpx.get(server.url)
        assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
        assert answer.json() == {
            "type": "about:blank",
            "title": "Service Unavailable",
            "status": 503,
            "detail": "too many connections at once",
        }
        assert answer.headers["retry-after"] == "1"
        assert answer.headers["connection"] == "close"
        held[0].close()
        until(lambda: httpx.get(server.url).status_code == 200, "room")
