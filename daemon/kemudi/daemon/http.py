"""The daemon over HTTP: status, waiting, pause, reconcile, webhooks, health and metrics.

Reads answer from what the last reconcile left; whatever changes something is handed to the thread that reconciles.
"""

import asyncio
import json
import time
from typing import Any, Final

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from kemudi.daemon.auth import Gatekeeper, is_signed
from kemudi.daemon.desk import Desk
from kemudi.daemon.pause import parse_until
from kemudi.schema.errors import (
    ConflictError,
    KemudiError,
    RefusedError,
    UnavailableError,
    UsageError,
)

MAX_BODY: Final = 64 * 1024
MAX_WEBHOOK: Final = 256 * 1024
MAX_WAIT_SECONDS: Final = 3600.0
MAX_LOG: Final = 10_000
DEFAULT_LOG: Final = 100
_FIRST_LOOK: Final = 0.02
_LONGEST_LOOK: Final = 0.25
_BY_ERROR: Final[tuple[tuple[type[KemudiError], int], ...]] = (
    (UsageError, 400),
    (ConflictError, 409),
    (RefusedError, 403),
    (UnavailableError, 503),
)


class TooLargeError(Exception):
    """The body is larger than the handler reads."""


def make_app(desk: Desk, gatekeeper: Gatekeeper, webhook_secret: bytes | None) -> ASGIApp:
    """The application; every route is behind the gatekeeper."""
    handlers = _Handlers(desk, webhook_secret)
    routes = [
        Route("/healthz", handlers.healthz),
        Route("/readyz", handlers.readyz),
        Route("/metrics", handlers.metrics),
        Route("/status", handlers.status),
        Route("/wait", handlers.wait),
        Route("/drift", handlers.drift),
        Route("/log", handlers.log),
        Route("/reconcile", handlers.reconcile, methods=["POST"]),
        Route("/accept-rewrite", handlers.accept_rewrite, methods=["POST"]),
        Route("/pause", handlers.pause, methods=["PUT"]),
        Route("/pause", handlers.resume, methods=["DELETE"]),
        Route("/overrides", handlers.overrides, methods=["GET"]),
        Route("/overrides", handlers.override, methods=["PUT"]),
        Route("/overrides", handlers.end_override, methods=["DELETE"]),
        Route("/hooks/git", handlers.webhook, methods=["POST"]),
    ]
    return Starlette(
        routes=routes,
        middleware=[Middleware(_Gate, gatekeeper=gatekeeper)],
        exception_handlers={
            KemudiError: _explain,
            TooLargeError: _too_large,
            404: _not_found,
            405: _not_found,
        },
    )


class _Gate:
    """Asks the gatekeeper before anything of a request is read."""

    def __init__(self, app: ASGIApp, gatekeeper: Gatekeeper) -> None:
        self._app = app
        self._gatekeeper = gatekeeper

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        refusal = self._gatekeeper.judge(request.method, scope["path"], request.headers)
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await _problem(refusal.status, refusal.detail)(scope, receive, send)


class _Handlers:
    def __init__(self, desk: Desk, webhook_secret: bytes | None) -> None:
        self._desk = desk
        self._webhook_secret = webhook_secret

    async def healthz(self, _request: Request) -> Response:
        """The process is alive. Touches neither Redis nor git."""
        return JSONResponse({"alive": True})

    async def readyz(self, _request: Request) -> Response:
        """Every environment is served and Redis answers; the reason says what is not as git wants it."""
        ready, reason = await run_in_threadpool(self._desk.readiness)
        return JSONResponse({"ready": ready, "reason": reason}, 200 if ready else 503)

    async def metrics(self, _request: Request) -> Response:
        """For Prometheus."""
        text = await run_in_threadpool(self._desk.metrics)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def status(self, _request: Request) -> Response:
        """Every environment."""
        return JSONResponse(await run_in_threadpool(self._desk.status))

    async def drift(self, request: Request) -> Response:
        """Compare Redis with what is applied, now."""
        env = request.query_params.get("env")
        return JSONResponse(await run_in_threadpool(self._desk.drift, env))

    async def log(self, request: Request) -> Response:
        """What was applied, refused and repaired, and when."""
        asked = request.query_params
        limit = _count(asked.get("limit", str(DEFAULT_LOG)))
        return JSONResponse(await run_in_threadpool(self._desk.log, asked.get("env"), limit))

    async def wait(self, request: Request) -> Response:
        """Long poll: until a revision runs everywhere, cannot, or the time is up."""
        asked = request.query_params
        env, revision = asked.get("env", ""), asked.get("revision", "")
        ends = time.monotonic() + _seconds(asked.get("timeout", "0"))
        pause = _FIRST_LOOK
        waiting = await run_in_threadpool(self._desk.begin_wait, env, revision)
        while True:
            found = await run_in_threadpool(waiting.look)
            left = ends - time.monotonic()
            if found.state != "timeout" or left <= 0 or self._desk.closing:
                return JSONResponse((await run_in_threadpool(waiting.at_the_end, found)).as_json())
            if await request.is_disconnected():
                return Response(status_code=499)
            await asyncio.sleep(min(pause, left))
            pause = min(_LONGEST_LOOK, pause * 1.5)

    async def reconcile(self, request: Request) -> Response:
        """Look at git now."""
        await _json_body(request)
        self._desk.request_reconcile()
        return JSONResponse({"scheduled": True}, 202)

    async def accept_rewrite(self, request: Request) -> Response:
        """Serve a rewritten history from now on, in a new era."""
        body = await _json_body(request)
        env, reason = _text(body, "env"), _text(body, "reason")
        return JSONResponse(await run_in_threadpool(self._desk.accept_rewrite, env, reason))

    async def pause(self, request: Request) -> Response:
        """Stop publishing to an environment."""
        body = await _json_body(request)
        env, reason, until = _text(body, "env"), _text(body, "reason"), parse_until(body.get("until"))
        return JSONResponse(await run_in_threadpool(self._desk.pause, env, reason, until))

    async def resume(self, request: Request) -> Response:
        """Publish again."""
        env = _text(await _json_body(request), "env")
        return JSONResponse(await run_in_threadpool(self._desk.resume, env))

    async def overrides(self, request: Request) -> Response:
        """What stands above git for a while."""
        env = request.query_params.get("env")
        return JSONResponse(await run_in_threadpool(self._desk.overrides, env))

    async def override(self, request: Request) -> Response:
        """Put a value above every layer, with reason, author and end."""
        body = await _json_body(request)
        words = [_text(body, name) for name in ("env", "key", "reason", "author")]
        until = parse_until(_text(body, "until"))
        if "value" not in body or until is None:
            raise UsageError("`value` is missing")
        env, key, reason, author = words
        told = (env, key, body["value"], reason, author, until)
        return JSONResponse(await run_in_threadpool(self._desk.override, *told))

    async def end_override(self, request: Request) -> Response:
        """End an override before its time."""
        body = await _json_body(request)
        told = [_text(body, name) for name in ("env", "key", "reason")]
        return JSONResponse(await run_in_threadpool(self._desk.end_override, *told))

    async def webhook(self, request: Request) -> Response:
        """A git host says that something was pushed: only a hint, whatever the body says."""
        if self._webhook_secret is None:
            return _problem(404, "webhooks are off; start the daemon with a webhook secret")
        body = await _read(request, MAX_WEBHOOK)
        if not is_signed(self._webhook_secret, request.headers, body):
            return _problem(401, "the signature does not fit the body")
        self._desk.webhook()
        return JSONResponse({"scheduled": True}, 202)


async def _read(request: Request, limit: int) -> bytes:
    """The body, never more of it than the limit. Raises TooLargeError."""
    declared = request.headers.get("content-length", "0")
    if not declared.isdigit() or int(declared) > limit:
        raise TooLargeError
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise TooLargeError
        parts.append(part)
    return b"".join(parts)


async def _json_body(request: Request) -> dict[str, Any]:
    body = await _read(request, MAX_BODY)
    if not body:
        return {}
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise UsageError("the body is not JSON") from None
    if not isinstance(document, dict):
        raise UsageError("the body is not a JSON object")
    return document


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value.strip():
        raise UsageError(f"`{name}` is missing")
    return value


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        raise UsageError("`timeout` is a number of seconds") from None
    if not 0 <= seconds <= MAX_WAIT_SECONDS:
        raise UsageError(f"`timeout` is between 0 and {MAX_WAIT_SECONDS:.0f} seconds")
    return seconds


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MAX_LOG):
        raise UsageError(f"`limit` is a number from 1 to {MAX_LOG}")
    return int(text)


def _problem(status: int, detail: str) -> JSONResponse:
    return JSONResponse(
        {"type": "about:blank", "status": status, "detail": detail},
        status,
        media_type="application/problem+json",
    )


async def _explain(_request: Request, error: Exception) -> Response:
    status = next((code for kind, code in _BY_ERROR if isinstance(error, kind)), 500)
    return _problem(status, str(error))


async def _too_large(_request: Request, _error: Exception) -> Response:
    return _problem(413, "the body is too large")


async def _not_found(_request: Request, error: Exception) -> Response:
    status = int(getattr(error, "status_code", 404))
    return _problem(status, "no such resource" if status == 404 else "this resource does not do that")
