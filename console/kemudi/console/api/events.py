"""The event stream: which rows look different now. A browser holds one for all its tabs."""

import json
from collections.abc import AsyncIterator
from typing import Annotated, Final

from fastapi import APIRouter, Header, Request
from fastapi.responses import StreamingResponse

from kemudi.console.access.gate import GatedRoute, Signed, signed_in
from kemudi.console.access.people import Caller
from kemudi.console.events import Event
from kemudi.console.parts import Parts
from kemudi.console.problems import ProblemError
from kemudi.schema.sentences import sentence

MOST_STREAMS: Final = 200
LastEvent = Annotated[
    str, Header(alias="Last-Event-ID", description="The id of the last event that was seen.")
]
_RETRY_MS: Final = 1000
_HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


def routes(parts: Parts) -> APIRouter:
    """One address."""
    router = APIRouter(route_class=GatedRoute, prefix="/api/v1", tags=["events"])

    stream_of = {
        "description": "A stream that ends with its session or token.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }

    @router.get("/events", response_class=StreamingResponse, responses={200: stream_of})
    @signed_in
    async def events(request: Request, caller: Signed, last_event_id: LastEvent = "") -> StreamingResponse:
        """Server-sent events, never with a value; `Last-Event-ID` resumes.

        `hello` comes first; a page of an older `serial` reads everything again. `row` names a setting to read again,
        `frame` says that the rest changed, `refresh` that too much was missed.
        """
        if parts.hub.watchers >= MOST_STREAMS:
            raise ProblemError(
                503, "unavailable", sentence("too many streams are open"), headers={"Retry-After": "5"}
            )
        stream = _stream(parts, request, caller, last_event_id)
        return StreamingResponse(stream, media_type="text/event-stream", headers=_HEADERS)

    return router


async def _stream(parts: Parts, request: Request, caller: Caller, last: str) -> AsyncIterator[str]:
    seen = last.partition("-")[0]
    number = int(seen) if seen.isascii() and seen.isdigit() and len(seen) < 16 else parts.hub.last
    hello = json.dumps({"serial": parts.hub.serial})
    yield f"retry: {_RETRY_MS}\nevent: hello\ndata: {hello}\n\n"

    def alive() -> bool:
        return parts.gate.still_valid(caller)

    async for batch in parts.hub.follow(number, alive):
        if await request.is_disconnected():
            return
        if batch is None:
            yield f"event: refresh\nid: {parts.hub.last}-\ndata: {{}}\n\n"
        elif not batch:
            yield ": alive\n\n"
        else:
            yield "".join(_written(event) for event in batch if _may_see(caller, event))


def _may_see(caller: Caller, event: Event) -> bool:
    if event.places:
        return all(caller.role(env, category or None) is not None for env, category in event.places)
    return not event.key or caller.role(event.env, event.category) is not None


def _written(event: Event) -> str:
    name = "row" if event.key else "frame"
    data = json.dumps(
        {"key": event.key, "env": event.env, "revision": event.revision, "serial": event.serial}
    )
    return f"event: {name}\nid: {event.number}-{event.revision[:12]}\ndata: {data}\n\n"
