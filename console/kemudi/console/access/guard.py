"""What every answer carries and every request must satisfy, before any route: headers, origin, host and size."""

import re
from collections.abc import Mapping
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.typing import FilteringBoundLogger

from kemudi.console.problems import ProblemError
from kemudi.console.settings import ConsoleSettings
from kemudi.schema.sentences import sentence

CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; font-src 'self'; "
    "worker-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types kemudi"
)
MAX_BODY: Final = 1024 * 1024
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_LOCAL_HOST: Final = re.compile(r"(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?", re.IGNORECASE)
_TOKEN_IN_QUERY: Final = re.compile(rb"(?:^|&)(?:access_)?token=")
_HEADERS: Final = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class BodyTooLargeError(HTTPException):
    """More was sent than a request may have. Of the kind that whoever reads the body passes on."""

    def __init__(self) -> None:
        super().__init__(413)


class Guard:
    """ASGI middleware around the application."""

    def __init__(self, app: ASGIApp, settings: ConsoleSettings, log: FilteringBoundLogger) -> None:
        self._app = app
        self._settings = settings
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse what is never right; add the headers to what is answered."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._response_headers().items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        problem = self._judge(scope, Headers(scope=scope))
        if problem is not None:
            await problem.as_response(scope["path"])(scope, receive, with_headers)
            return
        try:
            await self._app(scope, _limited(receive), with_headers)
        except Exception:  # noqa: BLE001  # answered with 500 already; the trace is logged without what messages may quote
            self._log.exception("request failed", method=scope["method"], path=scope["path"])

    def _response_headers(self) -> Mapping[str, str]:
        if self._settings.is_https:
            return {**_HEADERS, "Strict-Transport-Security": "max-age=31536000"}
        return _HEADERS

    def _judge(self, scope: Scope, headers: Headers) -> ProblemError | None:
        if not self._is_our_host(headers.get("host", "")):
            return ProblemError(421, "cross-site", sentence("this console does not answer to that name"))
        if _TOKEN_IN_QUERY.search(scope["query_string"]):
            return ProblemError(
                400,
                "not-signed-in",
                sentence("a token goes into the Authorization header, never into an address"),
            )
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > MAX_BODY:
            return ProblemError(413, "too-large", sentence("the request is too large"))
        if scope["method"] in _SAFE:
            return None
        return self._judge_unsafe(scope["path"], headers)

    def _judge_unsafe(self, path: str, headers: Headers) -> ProblemError | None:
        """A browser says where a request comes from; a program with a token says nothing, and need not."""
        by_token = headers.get("authorization", "").lower().startswith("bearer ")
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if (origin is not None and not self._is_our_origin(origin, headers.get("host", ""))) or (
            site is not None and site != "same-origin"
        ):
            return ProblemError(403, "cross-site", sentence("the request came from another site"))
        if origin is None and site is None and not by_token:
            return ProblemError(403, "cross-site", sentence("the request does not say where it comes from"))
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        empty = headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers
        if path.startswith("/api/") and kind != "application/json" and not (empty and not kind):
            return ProblemError(415, "media-type", sentence("send JSON (Content-Type: application/json)"))
        return None

    def _is_our_host(self, host: str) -> bool:
        # A page that rebinds its own name to this address sends that name.
        if self._settings.public_url:
            return host.lower() == self._settings.public_url.partition("://")[2].lower() or bool(
                _LOCAL_HOST.fullmatch(host)
            )
        return not self._settings.loopback or bool(_LOCAL_HOST.fullmatch(host))

    def _is_our_origin(self, origin: str, host: str) -> bool:
        if self._settings.public_url:
            return origin.lower() == self._settings.public_url.lower()
        return origin.lower() == f"http://{host}".lower()


def _limited(receive: Receive) -> Receive:
    """The body, never more of it than the limit, also when no length was declared."""
    seen = 0

    async def limited() -> Message:
        nonlocal seen
        message = await receive()
        if message["type"] == "http.request":
            seen += len(message.get("body", b""))
            if seen > MAX_BODY:
                raise BodyTooLargeError
        return message

    return limited
