"""The gate in front of every route: nobody passes a route that does not say whom it lets in."""

import hmac
import secrets
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Any, Final, Literal, TypeVar

from fastapi import Depends, Request, Response
from fastapi.routing import APIRoute

from kemudi.console.access import accounts
from kemudi.console.access.people import OWNER, Caller, Person, at_least, grants_of, holders
from kemudi.console.access.sessions import Sessions, is_csrf_token
from kemudi.console.audit import Audit
from kemudi.console.problems import ProblemError, not_found
from kemudi.console.settings import ConsoleSettings
from kemudi.schema.manifest import Role, RoleGrant
from kemudi.schema.sentences import sentence

COOKIE: Final = "kemudi_session"
CSRF_FIELD: Final = "csrf"
CSRF_HEADER: Final = "x-kemudi-csrf"
API: Final = "/api/"
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_DEMAND: Final = "__kemudi_demand__"

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Demand:
    """Whom a route lets in: everybody, everybody who is signed in, or a role in the environment of its address."""

    kind: Literal["public", "signed-in", "role"]
    role: Role | None = None


def public(endpoint: Endpoint) -> Endpoint:
    """Let everybody in."""
    return _marked(endpoint, Demand("public"))


def signed_in(endpoint: Endpoint) -> Endpoint:
    """Let everybody in who is known. What they see or do is decided inside, by environment."""
    return _marked(endpoint, Demand("signed-in"))


def needs(role: Role) -> Callable[[Endpoint], Endpoint]:
    """Let in who has the role for something in the environment `env` of the address; inside, by category."""
    return lambda endpoint: _marked(endpoint, Demand("role", role))


def demand_of(endpoint: Callable[..., Any]) -> Demand | None:
    """Whom an endpoint lets in; None when it does not say."""
    found: Demand | None = getattr(endpoint, _DEMAND, None)
    return found


class GatedRoute(APIRoute):
    """A route behind the gate. It is asked before anything of the request is parsed."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler with the gate before it."""
        handle, demand = super().get_route_handler(), demand_of(self.endpoint)

        async def gated(request: Request) -> Response:
            gate: Gate = request.app.state.gate
            try:
                await gate.admit(request, demand)
                return await handle(request)
            finally:
                await request.close()  # files of a form

        return gated


def current_caller(request: Request) -> Caller:
    """Whom the gate let in."""
    caller: Caller = request.state.caller
    return caller


Signed = Annotated[Caller, Depends(current_caller)]
"""Parameter type of an endpoint that works for somebody."""


class Gate:
    """Finds out who asks, and whether they may.

    Args:
        settings: Of the console.
        sessions: Of browsers.
        audit: Told what was refused.
        roles: The roles file of the served branch, as it is now.
        environments: The names there are.
    """

    def __init__(
        self,
        settings: ConsoleSettings,
        sessions: Sessions,
        audit: Audit,
        roles: Callable[[], tuple[RoleGrant, ...]],
        environments: Callable[[], tuple[str, ...]],
    ) -> None:
        self._settings = settings
        self._sessions = sessions
        self._audit = audit
        self._roles = roles
        self._environments = environments
        self._proxy_key = secrets.token_bytes(32)

    async def admit(self, request: Request, demand: Demand | None) -> None:
        """Put the caller into `request.state.caller`. Raises ProblemError."""
        caller = self.identify(request)
        request.state.caller = caller
        if demand is None:
            raise ProblemError(500, "internal", sentence("this address does not say whom it lets in"))
        if demand.kind == "public":
            return
        if caller is None:
            self._refused(request, "", "sign-in needed")
            raise not_signed_in()
        await self._check_form(request, caller)
        if demand.kind == "role" and demand.role is not None:
            self._check_role(request, caller, demand.role)

    def identify(self, request: Request) -> Caller | None:
        """Who asks: by bearer token, by session cookie, or by what a trusted proxy says."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if token and scheme.lower() == "bearer":
            return self._by_token(token.strip())
        session = request.cookies.get(COOKIE, "")
        found = self._by_session(session) if session else None
        return found or self._by_proxy(request)

    def still_valid(self, caller: Caller) -> bool:
        """Whether somebody with an open stream is still signed in."""
        if caller.via == "token":
            return accounts.token_works(self._settings.state, caller.person.login.removeprefix("token:"))
        return caller.via == "proxy" or self._by_session(caller.session) is not None

    def require(self, request: Request, role: Role, env: str, category: str | None) -> None:
        """Raise ProblemError unless the caller has a role for a category; for None, for the whole environment."""
        caller = current_caller(request)
        if caller.may(role, env, category):
            return
        self._refused(request, caller.person.login, f"{role} needed in {env}")
        raise read_only(role, env, holders(self._roles(), role, env, category))

    def _by_token(self, token: str) -> Caller | None:
        found = accounts.find_token(self._settings.state, token)
        if found is None:
            return None
        name = f"token:{found.name}"
        return Caller(
            Person(name, f"{found.name} (token)", f"{found.name}@token.invalid"), (found.grant,), "token"
        )

    def _by_session(self, session: str) -> Caller | None:
        found = self._sessions.find(session)
        if found is None:
            return None
        if found.source == "password" and not accounts.user_exists(self._settings.state, found.person.login):
            return None
        grants = OWNER if found.source == "link" else grants_of(found.person, self._roles())
        return Caller(found.person, grants, "session", session)

    def _by_proxy(self, request: Request) -> Caller | None:
        header, peer = self._settings.proxy_header, request.client.host if request.client else ""
        if not header or peer not in self._settings.proxies:
            return None
        login = request.headers.get(header, "").strip()
        if not login:
            return None
        email = login if "@" in login else f"{login}@localhost"
        person = Person(login, login, email)
        name = hmac.new(self._proxy_key, login.encode("utf-8", "replace"), sha256).hexdigest()
        return Caller(person, grants_of(person, self._roles()), "proxy", name)

    async def _check_form(self, request: Request, caller: Caller) -> None:
        """An unsafe request with what a browser sends by itself must come from a form of ours."""
        if request.method in _SAFE or caller.via == "token":
            return
        token = request.headers.get(CSRF_HEADER, "")
        if not token and not request.url.path.startswith(API):
            value = (await request.form()).get(CSRF_FIELD, "")
            token = value if isinstance(value, str) else ""
        if not is_csrf_token(caller.session, token):
            self._refused(request, caller.person.login, "no form token")
            raise ProblemError(
                403, "cross-site", sentence("the form is too old or came from elsewhere; load the page again")
            )

    def _check_role(self, request: Request, caller: Caller, role: Role) -> None:
        env = str(request.path_params.get("env", ""))
        if env not in self._environments() or not caller.sees(env):
            raise not_found()
        if not at_least(caller.highest(env), role):
            self._refused(request, caller.person.login, f"{role} needed in {env}")
            raise read_only(role, env, holders(self._roles(), role, env, None))

    def _refused(self, request: Request, who: str, detail: str) -> None:
        address = request.client.host if request.client else ""
        action = f"{request.method} {request.url.path}"
        env = str(request.path_params.get("env", ""))
        if request.method in _SAFE and not who:
            return  # anybody can ask for a page; only what somebody tried to do is worth a line
        self._audit.note(who, action, "refused", env=env, detail=detail, address=address)


def not_signed_in() -> ProblemError:
    """Somebody who is not known asks for what is not public."""
    return ProblemError(
        401, "not-signed-in", sentence("nobody is signed in"), headers={"WWW-Authenticate": "Bearer"}
    )


def read_only(role: Role, env: str, people: tuple[str, ...]) -> ProblemError:
    """The refusal that names the role and who has it."""
    said = sentence("this needs the role %(role)s in %(env)s", role=role, env=env)
    if people:
        said = sentence("%(need)s; ask %(people)s", need=said, people=", ".join(people))
    return ProblemError(
        403,
        "read-only",
        said,
        role=role,
        environment=env,
        holders=list(people),
    )


def _marked(endpoint: Endpoint, demand: Demand) -> Endpoint:
    setattr(endpoint, _DEMAND, demand)
    return endpoint
