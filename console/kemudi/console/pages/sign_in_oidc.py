"""Signing in by an identity provider: there, back again, and out of it."""

from typing import Final
from urllib.parse import quote, unquote

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from kemudi.console.access.gate import GatedRoute, public
from kemudi.console.access.oidc import Attempt, NotBelievedError, Provider, ProviderAwayError
from kemudi.console.pages.frame import local_path, plain
from kemudi.console.pages.sign_in import address_of, begin_session, form_page
from kemudi.console.parts import Parts
from kemudi.console.problems import not_found

PATH: Final = "/sign-in/oidc"
BACK: Final = f"{PATH}/back"
COOKIE: Final = "kemudi_sign_in"
_MINUTES: Final = 10


def routes(parts: Parts) -> APIRouter:
    """The way to the provider, the way back, and its own sign-out; not there without a provider."""
    router = APIRouter(route_class=GatedRoute, include_in_schema=False)
    provider = Provider(parts.settings.oidc) if parts.settings.oidc is not None else None
    ways = _Ways(parts, provider)
    router.add_api_route(PATH, ways.there, methods=["GET"])
    router.add_api_route(BACK, ways.back, methods=["GET"])
    router.add_api_route(f"{PATH}/end", ways.end, methods=["GET"])
    return router


class _Ways:
    """What the routes do. The provider is asked in a thread of its own, so other pages never wait for it."""

    def __init__(self, parts: Parts, provider: Provider | None) -> None:
        self._parts = parts
        self._provider = provider

    @public
    def there(self, request: Request) -> Response:
        """Send the browser to the provider."""
        self._parts.rates.check(f"{address_of(request)} on its way")
        attempt, to = Attempt.new(), local_path(request.query_params.get("next", "/"))
        try:
            address = self._known().begin(attempt, self._ours(request, BACK))
        except ProviderAwayError as error:
            return self._failed(request, "away", str(error))
        response = RedirectResponse(address, status_code=303)
        # Lax: the way back is a link from elsewhere.
        response.set_cookie(
            COOKIE,
            f"{attempt.known_by}.{quote(to, safe='')}",
            max_age=_MINUTES * 60,
            path=PATH,
            httponly=True,
            secure=self._parts.settings.is_https,
            samesite="lax",
        )
        return response

    @public
    def back(self, request: Request) -> Response:
        """Let in whom the provider names."""
        provider = self._known()
        self._parts.rates.check(address_of(request))
        known_by, _, to = request.cookies.get(COOKIE, "").partition(".")
        try:
            person = provider.finish(Attempt(known_by), self._ours(request, BACK), request.query_params)
        except ProviderAwayError as error:
            return self._failed(request, "away", str(error))
        except NotBelievedError as error:
            return self._failed(request, "denied" if str(error) == "denied" else "not-believed", str(error))
        self._parts.audit.note(
            person.login, "sign-in", "done", detail="identity provider", address=address_of(request)
        )
        # A page of our own goes on: a redirect of a link from elsewhere would arrive without the strict cookie.
        response = plain(request, self._parts, "moved.html", to=local_path(unquote(to)))
        response.delete_cookie(COOKIE, path=PATH)
        begin_session(response, self._parts, self._parts.sessions.begin(person, "oidc"))
        return response

    @public
    def end(self, request: Request) -> Response:
        """Send the browser to where the session at the provider is ended."""
        try:
            address = self._known().end(self._ours(request, "/sign-in"))
        except ProviderAwayError as error:
            return self._failed(request, "away", str(error))
        return RedirectResponse(address or "/sign-in", status_code=303)

    def _known(self) -> Provider:
        if self._provider is None:
            raise not_found()
        return self._provider

    def _ours(self, request: Request, path: str) -> str:
        """An address of this console, as its people know it."""
        base = self._parts.settings.public_url or f"http://{request.headers['host']}"
        return base.rstrip("/") + path

    def _failed(self, request: Request, why: str, detail: str) -> Response:
        """The other ways of signing in, under a sentence that says what failed."""
        self._parts.audit.note(
            "",
            "sign-in",
            "failed" if why == "away" else "refused",
            detail=detail,
            address=address_of(request),
        )
        status = 503 if why == "away" else 401
        response = form_page(request, self._parts, status=status, failed=why)
        response.delete_cookie(COOKIE, path=PATH)
        return response
