"""Signing in and out: one-time link, local user, and the choice of theme and language."""

from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.concurrency import run_in_threadpool

from kemudi.console.access import accounts, once
from kemudi.console.access.gate import COOKIE, GatedRoute, Signed, public, signed_in
from kemudi.console.access.sessions import LIFETIME_SECONDS
from kemudi.console.languages import COOKIE as LANGUAGE_COOKIE
from kemudi.console.languages import NAMES
from kemudi.console.pages.frame import THEME_COOKIE, THEMES, fields, first_environment, local_path, plain
from kemudi.console.parts import Parts
from kemudi.console.problems import ProblemError
from kemudi.schema.sentences import sentence

_YEAR_SECONDS: Final = 365 * 86400


def routes(parts: Parts) -> APIRouter:
    """Everything that works without a session, and the way out of one."""
    router = APIRouter(route_class=GatedRoute, include_in_schema=False)
    _start_routes(router, parts)
    _password_routes(router, parts)
    _link_routes(router, parts)
    return router


def _start_routes(router: APIRouter, parts: Parts) -> None:

    @router.get("/")
    @signed_in
    def start(request: Request, caller: Signed) -> Response:
        env = first_environment(parts.board, caller)
        if env is None:
            return plain(request, parts, "no_access.html", status=403, caller=caller, board=parts.board)
        return RedirectResponse(f"/e/{env}/", status_code=303)

    @router.post("/sign-out")
    @signed_in
    def sign_out(request: Request, caller: Signed) -> Response:
        parts.sessions.end(caller.session)
        parts.note(request, "sign-out", "done")
        out = "?out=1" if parts.settings.oidc is not None else ""
        response = RedirectResponse(f"/sign-in{out}", status_code=303)
        response.delete_cookie(COOKIE, path="/")
        return response

    @router.post("/preferences")
    @public
    async def preferences(request: Request) -> Response:
        sent = fields(await request.form())
        response = RedirectResponse(local_path(sent.get("next", "/")), status_code=303)
        for name, cookie, known in (("theme", THEME_COOKIE, THEMES), ("language", LANGUAGE_COOKIE, NAMES)):
            if sent.get(name) in known:
                response.set_cookie(
                    cookie, sent[name], max_age=_YEAR_SECONDS, samesite="lax", secure=parts.settings.is_https
                )
        return response


def _password_routes(router: APIRouter, parts: Parts) -> None:
    @router.get("/sign-in")
    @public
    def form(request: Request) -> HTMLResponse:
        return form_page(request, parts)

    @router.post("/sign-in")
    @public
    async def sign_in(request: Request) -> Response:
        sent = fields(await request.form())
        login, address = sent.get("login", ""), address_of(request)
        parts.rates.check(address, login)
        person = await run_in_threadpool(
            accounts.check_password, parts.settings.state, login, sent.get("password", "")
        )
        if person is None:
            parts.audit.note(login, "sign-in", "refused", detail="wrong name or password", address=address)
            return form_page(request, parts, status=401, wrong=True, login=login)
        parts.rates.succeeded(login)
        parts.audit.note(person.login, "sign-in", "done", address=address)
        response = RedirectResponse(local_path(sent.get("next", "/")), status_code=303)
        begin_session(response, parts, parts.sessions.begin(person, "password"))
        return response


def _link_routes(router: APIRouter, parts: Parts) -> None:
    @router.get(once.PATH)
    @public
    def by_link(request: Request, code: str = "") -> Response:
        address = address_of(request)
        if "sec-purpose" in request.headers:  # a browser that loads ahead must not use the link up
            raise ProblemError(400, "not-signed-in", sentence("open the link itself"))
        parts.rates.check(address)
        person = once.take(parts.settings.state, code)
        if person is None:
            parts.audit.note("", "sign-in", "refused", detail="unknown or used link", address=address)
            return form_page(request, parts, status=401, used=True)
        parts.audit.note(person.login, "sign-in", "done", detail="one-time link", address=address)
        # A page of our own goes on: a redirect of a link from elsewhere would arrive without the strict cookie.
        response = plain(request, parts, "moved.html", to="/")
        begin_session(response, parts, parts.sessions.begin(person, "link"))
        return response


def form_page(request: Request, parts: Parts, *, status: int = 200, **said: object) -> HTMLResponse:
    """Every way of signing in, and what was wrong with the last try."""
    oidc = parts.settings.oidc
    provider = oidc.provider if oidc is not None else ""
    context = {"wrong": False, "used": False, "login": "", "failed": "", "provider": provider}
    context |= {"out": "out" in request.query_params, **said}
    to = local_path(request.query_params.get("next", "/"))
    has_users = accounts.has_users(parts.settings.state)
    return plain(request, parts, "sign_in.html", status=status, to=to, has_users=has_users, **context)


def begin_session(response: Response, parts: Parts, session: str) -> None:
    """Give a browser its session, in a cookie that no other site's request carries."""
    response.set_cookie(
        COOKIE,
        session,
        max_age=LIFETIME_SECONDS,
        path="/",
        httponly=True,
        secure=parts.settings.is_https,
        samesite="strict",
    )


def address_of(request: Request) -> str:
    """Where a request came from."""
    return request.client.host if request.client else ""
