"""What routes work with, made once by `kemudi.console.runtime`."""

from collections.abc import Mapping
from dataclasses import dataclass

from fastapi import Request
from jinja2 import Environment
from structlog.typing import FilteringBoundLogger

from kemudi.console.access.gate import Gate, current_caller
from kemudi.console.access.people import Caller
from kemudi.console.access.rates import SignInRates
from kemudi.console.access.sessions import Sessions
from kemudi.console.audit import Audit, Outcome
from kemudi.console.board import Board, EnvironmentBoard, Row
from kemudi.console.desired import Desired, layers_of
from kemudi.console.events import Hub
from kemudi.console.languages import Language
from kemudi.console.observed import DaemonClient
from kemudi.console.problems import ProblemError, not_found
from kemudi.console.provenance import Provenance
from kemudi.console.pushing import Pusher
from kemudi.console.settings import ConsoleSettings
from kemudi.console.waiting import Waiting
from kemudi.console.watch import Watch
from kemudi.console.writing import Writer
from kemudi.repo.earlier import placed
from kemudi.repo.history import Entry
from kemudi.repo.history_values import DEFAULT_LAYER
from kemudi.schema.documents import JSON
from kemudi.schema.sentences import sentence


@dataclass(frozen=True, slots=True)
class Earlier:
    """What a commit gave a setting: the value in a layer, or none."""

    revision: str
    layer: str
    value: JSON
    unset: bool


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything behind the routes.

    Attributes:
        settings: What the console was told.
        desired: Git.
        daemon: The daemon's API.
        watch: Holds the newest board.
        hub: Events for open pages.
        sessions: Of browsers.
        gate: Who may.
        rates: Of sign-in attempts.
        audit: What was done and refused.
        languages: By code.
        templates: Jinja environments by language.
        provenance: Who set which value.
        writer: Plans and saves changes.
        waiting: Proposals.
        pusher: Sends commits to the remote.
        log: For what is a bug.
    """

    settings: ConsoleSettings
    desired: Desired
    daemon: DaemonClient
    watch: Watch
    hub: Hub
    sessions: Sessions
    gate: Gate
    rates: SignInRates
    audit: Audit
    languages: dict[str, Language]
    templates: dict[str, Environment]
    provenance: Provenance
    writer: Writer
    waiting: Waiting
    pusher: Pusher
    log: FilteringBoundLogger

    @property
    def board(self) -> Board:
        """Everything at this moment; take it once for each request."""
        return self.watch.board

    def environment(self, board: Board, caller: Caller, env: str) -> EnvironmentBoard:
        """One environment, by look-up. Raises ProblemError (404) also for one that is not shown to the caller."""
        found = board.environments.get(env)
        if found is None or not caller.sees(env):
            raise not_found()
        return found

    def row(self, board: Board, caller: Caller, env: str, key: str) -> Row:
        """One setting, by look-up. Raises ProblemError (404) likewise."""
        found = self.environment(board, caller, env).rows.get(key)
        if found is None or caller.role(env, found.category) is None:
            raise not_found()
        return found

    def origins(self, board: Board, env: str) -> Mapping[str, Entry]:
        """Who set each value of an environment last, by key."""
        return self.provenance.of(board, env)

    def earlier(self, row: Row, revision: str) -> Earlier:
        """What a commit gave a setting. Raises ProblemError for a secret, and where the commit did not change it."""
        if row.spec.sensitive:
            raise ProblemError(
                409, "secret-not-readable", sentence("an earlier secret cannot be read here; set it anew")
            )
        sha = self.desired.resolve(revision)
        layers = layers_of(self.board.state, row.env) if self.board.state is not None else ()
        found = [
            entry
            for entry in self.provenance.of_key(row.key, row.env, limit=1000)
            if entry.revision == sha and not entry.sensitive and entry.layer != DEFAULT_LAYER
        ]
        if not found or not layers:
            raise ProblemError(404, "not-found", sentence("that commit did not change this setting here"))
        now = row.layer if row.layer in layers else layers[-1]
        layer, entry = max(placed(found, layers, now), key=lambda each: layers.index(each[0]))
        return Earlier(sha, layer, entry.new, entry.kind == "remove")

    def readers(self, board: Board, row: Row) -> list[str]:
        """The services that read a setting: as their processes say, else by kemudi.yaml."""
        here = board.environments.get(row.env)
        said = {
            str(client["service"])
            for client in ((here.status if here is not None else None) or {}).get("clients", ())
            if row.key in client.get("keys_read", ())
        }
        services = board.state.manifest.services if board.state and board.state.manifest else {}
        return sorted(said or {name for name, listed in services.items() if row.category in listed})

    def note(
        self,
        request: Request,
        action: str,
        outcome: Outcome,
        *,
        env: str = "",
        key: str = "",
        detail: str = "",
    ) -> None:
        """Write to the audit log what the caller did, or what was refused to them."""
        address = request.client.host if request.client else ""
        who = current_caller(request).person
        self.audit.note(
            who.login, action, outcome, env=env, key=key, detail=detail, address=address, email=who.email
        )
