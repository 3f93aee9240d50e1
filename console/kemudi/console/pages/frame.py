"""What every page has around it: menu, environment switch, chain state, banners, who is signed in."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse

from kemudi.console.access.gate import current_caller
from kemudi.console.access.people import Caller
from kemudi.console.access.sessions import csrf_token
from kemudi.console.board import Board
from kemudi.console.catalogue import visible
from kemudi.console.chain import Chain, chain_of
from kemudi.console.languages import COOKIE as LANGUAGE_COOKIE
from kemudi.console.languages import Language, choose
from kemudi.console.parts import Parts
from kemudi.console.pushing import Pending
from kemudi.console.rendering import fragment_only
from kemudi.console.waiting import touches
from kemudi.repo.proposal_model import Proposal

THEME_COOKIE: Final = "kemudi_theme"
THEMES: Final = ("auto", "light", "dark")
# Where a form is sent to, and the page beside it that shows what came of it.
_SHOWN_BY: Final = {
    "approve": "",
    "request": "",
    "merge": "",
    "withdraw": "",
    "pause": "/switches",
    "resume": "/switches",
    "go-on": "/stop",
    "drift": "/sync",
    "cache": "/sync",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the menu.

    Attributes:
        name: Of the page, which marks the current one; its label stands in the template.
        path: Below the environment.
        count: A number behind it; None for none.
    """

    name: str
    path: str
    count: int | None = None


@dataclass(frozen=True, slots=True)
class Frame:
    """What the frame's template shows."""

    page: str
    env: str
    environments: tuple[str, ...]
    menu: tuple[Entry, ...]
    board: Board
    chain: Chain
    caller: Caller
    role: str | None
    theme: str
    here: str
    csrf: str
    overrides: tuple[Any, ...]
    pending: tuple[Pending, ...]
    behind: str
    proposed: Mapping[str, tuple[Proposal, ...]]


def language_of(request: Request, parts: Parts) -> Language:
    """The language of a request."""
    code = choose(request.cookies.get(LANGUAGE_COOKIE), request.headers.get("accept-language"))
    return parts.languages[code]


def page(
    request: Request, parts: Parts, template: str, env: str, name: str, *, status: int = 200, **context: Any
) -> HTMLResponse:
    """A page inside the frame. With the script's header, only the template's own part of it."""
    board, caller = context.pop("board", None) or parts.board, current_caller(request)
    frame = make_frame(request, parts, board, caller, env, name)
    environment = parts.templates[language_of(request, parts).code]
    bare = fragment_only(request.headers)
    # The name of the layout is ours; a fragment has none around it.
    text = environment.get_template(template).render(
        frame=frame,
        request_posted=request.method == "POST",
        layout="bare.html" if bare else "base.html",
        **context,
    )
    return HTMLResponse(
        text, status_code=status, headers={"Vary": "Cookie, Accept-Language, X-Kemudi-Fragment"}
    )


def plain(
    request: Request, parts: Parts, template: str, *, status: int = 200, **context: Any
) -> HTMLResponse:
    """A page without the frame, for those who are not signed in."""
    environment = parts.templates[language_of(request, parts).code]
    theme = _theme(request)
    text = environment.get_template(template).render(theme=theme, here=here_of(request), **context)
    return HTMLResponse(text, status_code=status)


def make_frame(request: Request, parts: Parts, board: Board, caller: Caller, env: str, name: str) -> Frame:
    """The frame around a page of one environment. Raises ProblemError (404)."""
    here = parts.environment(board, caller, env)
    rows = visible(here, caller)
    chain = chain_of(board, here, caller)
    proposals = [each for each in parts.waiting.shown(caller, board) if touches(each, env)]
    drifted = sum(row.state == "drift" for row in rows)
    menu = (
        Entry("dashboard", "", None),
        Entry("settings", "/settings", len(rows)),
        Entry(
            "switches",
            "/switches",
            sum(row.spec.type == "boolean" and not row.spec.sensitive for row in rows),
        ),
        Entry("changes", "/changes", len(proposals) or None),
        Entry("compare", "/compare", None),
        Entry("sync", "/sync", drifted or None),
        Entry("audit", "/audit", None),
        Entry("people", "/people", None),
        Entry("transfer", "/transfer", None),
        Entry("api", "/api", None),
    )
    return Frame(
        page=name,
        env=env,
        environments=tuple(each for each in board.environments if caller.sees(each)),
        menu=menu,
        board=board,
        chain=chain,
        caller=caller,
        role=caller.highest(env),
        theme=_theme(request),
        here=here_of(request),
        csrf=csrf_token(caller.session) if caller.session else "",
        overrides=tuple(row for row in rows if row.state == "override"),
        pending=parts.pusher.pending,
        behind=parts.pusher.behind,
        proposed=_by_key(proposals, env),
    )


def _by_key(proposals: Sequence[Proposal], env: str) -> Mapping[str, tuple[Proposal, ...]]:
    """The proposals that change each setting of an environment."""
    found: defaultdict[str, tuple[Proposal, ...]] = defaultdict(tuple)
    for each in proposals:
        for key in {change.key for change in each.plan.changes if change.env == env}:
            found[key] = (*found[key], each)
    return dict(found)


def see_other(path: str) -> RedirectResponse:
    """After a POST that worked: the page that shows it."""
    return RedirectResponse(path, status_code=303)


def first_environment(board: Board, caller: Caller) -> str | None:
    """Where somebody lands who named no environment."""
    return next((env for env in board.environments if caller.sees(env)), None)


def _theme(request: Request) -> str:
    theme = request.cookies.get(THEME_COOKIE, "auto")
    return theme if theme in THEMES else "auto"


def here_of(request: Request) -> str:
    """The address of this page on this host, to come back to; of the page that shows it, for what a form is sent to."""
    query = f"?{request.url.query}" if request.url.query else ""
    path, _, last = request.url.path.rpartition("/")
    if request.method == "POST" and last in _SHOWN_BY:
        return f"{path}{_SHOWN_BY[last]}"
    return request.url.path + query


def local_path(path: str) -> str:
    """A path on this host that somebody named; `/` for anything that could lead elsewhere."""
    if not path.startswith("/") or path.startswith(("//", "/\\")) or any(ord(each) < 32 for each in path):
        return "/"
    return path


def fields(form: Mapping[str, Any]) -> dict[str, str]:
    """The text fields of a form."""
    return {name: value for name, value in form.items() if isinstance(value, str)}


def quoted(path: str) -> str:
    """A path as the value of a query parameter."""
    return quote(path, safe="/")
