"""Compose the console and run it until a signal."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from structlog.typing import FilteringBoundLogger

from kemudi.console.access.approval_key import read_seal
from kemudi.console.access.gate import Gate
from kemudi.console.access.rates import SignInRates
from kemudi.console.access.sessions import Sessions
from kemudi.console.app import build_app
from kemudi.console.audit import FILE as AUDIT_FILE
from kemudi.console.audit import Audit
from kemudi.console.board import Board
from kemudi.console.desired import Desired
from kemudi.console.events import Hub
from kemudi.console.languages import load_languages
from kemudi.console.observed import DaemonClient
from kemudi.console.parts import Parts
from kemudi.console.proposal_watch import ProposalWatch
from kemudi.console.provenance import Provenance
from kemudi.console.pushing import Pusher
from kemudi.console.rendering import make_templates
from kemudi.console.run_log import RunLog
from kemudi.console.settings import ConsoleSettings
from kemudi.console.waiting import Waiting
from kemudi.console.watch import Watch
from kemudi.console.writing import Writer
from kemudi.web.logs import make_log
from kemudi.web.process import ends_on_signals, serve_until
from kemudi.web.server import HttpServer, listen

GRACE_SECONDS: Final = 2


def serve(settings: ConsoleSettings, *, host: str, port: int, ready: Callable[[str], None]) -> int:
    """Run the console until SIGTERM or SIGINT; return the exit code.

    Args:
        settings: What it is told.
        host: Where to listen.
        port: The same; 0 for a free one.
        ready: Called with the base address once it answers.

    Raises UnavailableError when the port is taken, UsageError when there is no config repo.
    """
    ending, log = threading.Event(), make_log()
    with ExitStack() as stack:
        stack.enter_context(ends_on_signals(ending))
        listener = stack.enter_context(listen(host, port, who="the console"))
        parts = stack.enter_context(open_parts(settings, log))
        server = HttpServer(build_app(parts), listener, name="console-http", grace_seconds=GRACE_SECONDS)
        stack.callback(server.join, GRACE_SECONDS + 2.0)
        stack.callback(server.stop)
        stack.callback(parts.hub.close)
        server.start()
        log.info("serving", url=server.url)
        ready(server.url)
        return serve_until(ending, server, log)


@contextmanager
def open_parts(settings: ConsoleSettings, log: FilteringBoundLogger) -> Iterator[Parts]:
    """Everything behind the routes, looking at git and at the daemon; closed at the end."""
    with ExitStack() as stack:
        desired = Desired(settings.repo)
        stack.callback(desired.close)
        _ = desired.root  # a folder that is no config repo is an error of the call, said at once
        daemon = DaemonClient(settings.daemon_url, settings.daemon_token)
        stack.callback(daemon.close)
        hub = Hub()
        watch = Watch(desired, daemon, hub, log)
        stack.callback(watch.close)
        issuer = settings.oidc.issuer if settings.oidc is not None else ""
        sessions = Sessions(settings.state / "sessions.json", issuer=issuer)
        audit = Audit(settings.state / AUDIT_FILE)
        gate = Gate(
            settings,
            sessions,
            audit,
            roles=lambda: watch.board.state.roles if watch.board.state is not None else (),
            environments=lambda: tuple(watch.board.environments),
        )
        languages = load_languages()
        pusher = Pusher(
            lambda: desired.root, lambda: watch.board.branch, log, lambda: _tell_frame(hub, watch.board)
        )
        stack.callback(pusher.close)
        provenance = Provenance(settings.repo)
        stack.callback(provenance.close)
        run_log = RunLog(daemon, watch)
        waiting = Waiting(settings.repo, read_seal(settings.state), gate, watch, hub, pusher, run_log)
        stack.callback(waiting.close)
        watch.start()
        provenance.prepare(watch.board)
        proposal_watch = ProposalWatch(waiting, watch, log)
        stack.callback(proposal_watch.close)
        proposal_watch.start()
        pusher.resume(watch.board.branch)
        yield Parts(
            settings=settings,
            desired=desired,
            daemon=daemon,
            watch=watch,
            hub=hub,
            sessions=sessions,
            gate=gate,
            rates=SignInRates(),
            audit=audit,
            languages=languages,
            templates=make_templates(languages),
            provenance=provenance,
            writer=Writer(desired, watch, pusher, waiting, run_log),
            waiting=waiting,
            pusher=pusher,
            log=log,
        )


def _tell_frame(hub: Hub, board: Board) -> None:
    """Tell open pages that what stands around the rows changed."""
    hub.publish([("", "", "")], board.head or "", board.serial)
