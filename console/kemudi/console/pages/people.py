"""Who may do what here, from the roles file in git; and one's own sessions (console.md 6.11)."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from kemudi.console.access import accounts
from kemudi.console.access.gate import GatedRoute, Signed, needs, signed_in
from kemudi.console.access.people import ORDER, Caller, Person, at_least
from kemudi.console.catalogue import visible
from kemudi.console.pages.frame import fields, local_path, page, see_other
from kemudi.console.parts import Parts
from kemudi.schema.manifest import ROLES_FILE, Role, RoleGrant

GROUP: Final = "group:"


@dataclass(frozen=True, slots=True)
class Holder:
    """What somebody may do in one environment.

    Attributes:
        who: As the roles file has it, without `group:`.
        kind: A group of whoever signs people in, a local user of this console, or a person by login or address.
        everywhere: The role for all categories, and those to come; None for none.
        categories: Roles beyond that one, with their categories.
        you: Whether this line is about the caller.
    """

    who: str
    kind: Literal["group", "local", "person"]
    everywhere: Role | None
    categories: tuple[tuple[Role, tuple[str, ...]], ...]
    you: bool


def routes(parts: Parts) -> APIRouter:
    """The page, and signing out elsewhere."""
    router = APIRouter(route_class=GatedRoute, include_in_schema=False)

    @router.get("/e/{env}/people")
    @needs("viewer")
    def people(request: Request, caller: Signed, env: str) -> HTMLResponse:
        return _page(request, parts, caller, env)

    @router.post("/sign-out-others")
    @signed_in
    async def sign_out_others(request: Request, caller: Signed) -> Response:
        sent = fields(await request.form())
        ended = parts.sessions.end_others(caller.session)
        parts.note(request, "sign-out-others", "done", detail=f"{ended} ended")
        return see_other(local_path(sent.get("next", "/")))

    return router


def _page(request: Request, parts: Parts, caller: Caller, env: str) -> HTMLResponse:
    board = parts.board
    here = parts.environment(board, caller, env)
    state, shown = board.state, frozenset(row.category for row in visible(here, caller))
    roles = state.roles if state is not None else ()
    # What belongs to the machine and not to git is for those who may do everything here.
    is_admin = caller.may("admin", env)
    local = accounts.users(parts.settings.state) if is_admin else ()
    tokens = accounts.tokens(parts.settings.state) if is_admin else ()
    session = parts.sessions.find(caller.session) if caller.session else None
    held = holders_of(roles, env, shown, caller, local)
    return page(
        request,
        parts,
        "people.html",
        env,
        "people",
        board=board,
        file=ROLES_FILE,
        flaws=[each for each in (state.findings if state is not None else ()) if each.file == ROLES_FILE],
        holders=held,
        order=ORDER,
        mine=[(each, caller.highest(each)) for each in board.environments if caller.sees(each)],
        session=session,
        others=parts.sessions.others(caller.session) if session is not None else 0,
        is_admin=is_admin,
        local=[(person, _has_role(person, roles)) for person in local],
        tokens=[(each, ends) for each, ends in tokens if _reaches(each.grant, env)],
    )


def holders_of(
    roles: Iterable[RoleGrant],
    env: str,
    shown: frozenset[str],
    caller: Caller,
    local: Iterable[Person] = (),
) -> list[Holder]:
    """Everybody who may do something in an environment, in the order of the file; only categories that are shown."""
    known = {name.casefold() for person in local for name in (person.login, person.email)}
    lines: dict[str, list[RoleGrant]] = {}
    for grant in roles:
        if _reaches(grant, env) and (not grant.categories or shown & set(grant.categories)):
            lines.setdefault(grant.who, []).append(grant)
    return [_holder(who, grants, shown, known, caller) for who, grants in lines.items()]


def _holder(
    who: str, grants: list[RoleGrant], shown: frozenset[str], known: set[str], caller: Caller
) -> Holder:
    everywhere = max((g.role for g in grants if not g.categories), key=ORDER.index, default=None)
    best: dict[str, Role] = {}
    for grant in grants:
        for category in shown & set(grant.categories):
            held = best.get(category)
            if not at_least(everywhere, grant.role) and not at_least(held, grant.role):
                best[category] = grant.role
    by_role = tuple(
        (role, names)
        for role in reversed(ORDER)
        if (names := tuple(sorted(name for name, held in best.items() if held == role)))
    )
    is_group = who.casefold().startswith(GROUP)
    kind: Literal["group", "local", "person"] = (
        "group" if is_group else "local" if who.casefold() in known else "person"
    )
    you = any(grant in caller.grants for grant in grants)
    return Holder(who[len(GROUP) :] if is_group else who, kind, everywhere, by_role, you)


def _reaches(grant: RoleGrant, env: str) -> bool:
    return not grant.environments or env in grant.environments


def _has_role(person: Person, roles: Iterable[RoleGrant]) -> bool:
    names = {person.login.casefold(), person.email.casefold()}
    return any(grant.who.casefold() in names for grant in roles)
