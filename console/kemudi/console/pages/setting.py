"""One setting: in every environment, what its contract says, and its history (console.md 6.4)."""

from dataclasses import dataclass
from typing import Any, Final, Literal

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from kemudi.console.access.gate import GatedRoute, Signed, needs
from kemudi.console.access.people import Caller
from kemudi.console.board import Row
from kemudi.console.comparing import differs
from kemudi.console.desired import layers_of
from kemudi.console.pages.frame import page
from kemudi.console.parts import Parts
from kemudi.console.problems import not_found
from kemudi.repo.earlier import placed
from kemudi.repo.history import Entry
from kemudi.repo.history_values import DEFAULT_LAYER
from kemudi.schema.errors import KemudiError

SHOWN: Final = 50


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the history.

    Attributes:
        entry: What git says.
        standing: Of what gave the setting its present value in git: `live` when Redis has it, else `git`.
        can_go_back: Whether there is a value to go back to.
    """

    entry: Entry
    standing: Literal["live", "git", ""]
    can_go_back: bool


def routes(parts: Parts) -> APIRouter:
    """The page of a setting; one that is gone keeps its page."""
    router = APIRouter(route_class=GatedRoute, include_in_schema=False)

    @router.get("/e/{env}/settings/{key}")
    @needs("viewer")
    def setting(request: Request, caller: Signed, env: str, key: str) -> HTMLResponse:
        board = parts.board
        here = parts.environment(board, caller, env)
        steps = _steps(parts, key, env, here.rows.get(key))
        if key not in here.rows:
            # Only what was a setting once has history; anything else is not there.
            if not steps or caller.role(env) is None:
                raise not_found()
            return page(request, parts, "gone.html", env, "settings", board=board, key=key, steps=steps)
        row = parts.row(board, caller, env, key)
        everywhere = [
            each.rows[key]
            for name, each in board.environments.items()
            if key in each.rows and caller.role(name, row.category) is not None
        ]
        return page(
            request,
            parts,
            "setting.html",
            env,
            "settings",
            board=board,
            row=row,
            everywhere=everywhere,
            origins={each.env: parts.origins(board, each.env) for each in everywhere},
            steps=steps,
            readers=parts.readers(board, row),
            contract=_contract(parts, row),
            copies={each.env: _copies(caller, each, everywhere) for each in everywhere},
        )

    return router


def _steps(parts: Parts, key: str, env: str, row: Row | None) -> list[Step]:
    """The history; empty while it cannot be read."""
    try:
        entries = parts.provenance.of_key(key, env, limit=SHOWN)
    except KemudiError:
        return []
    origin = parts.origins(parts.board, env).get(key)
    state = parts.board.state
    layers = (*(layers_of(state, env) if state is not None else ()), DEFAULT_LAYER)
    now = row.layer if row is not None else ""
    # One commit may have set the same key in several layers; only one of these gives the value.
    given = {
        (each.revision, layer) for layer, each in placed([origin] if origin is not None else [], layers, now)
    }
    standing: Literal["live", "git"] = "live" if row is not None and row.state == "live" else "git"
    return [
        Step(
            each,
            standing if (each.revision, layer) in given else "",
            each.new is not None
            and each.kind != "move"
            and not each.sensitive
            and each.layer != DEFAULT_LAYER,
        )
        for layer, each in placed(entries, layers, now)
    ]


def _copies(caller: Caller, row: Row, everywhere: list[Row]) -> list[str]:
    """Where the value of one environment may be copied to: nobody copies a secret, or what is there already."""
    if row.spec.sensitive or not row.is_set:
        return []
    return [
        each.env
        for each in everywhere
        if differs(row, each) and caller.may("editor", each.env, each.category)
    ]


def _contract(parts: Parts, row: Row) -> str:
    state: Any = parts.board.state
    return str(state.contracts[row.category].place_of(row.key)) if state is not None else ""
