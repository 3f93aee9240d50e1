"""The chain git → daemon → Redis → services of one environment, as it stands now."""

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from kemudi.console.access.people import Caller
from kemudi.console.board import Board, EnvironmentBoard, RowState, store_answers
from kemudi.console.catalogue import visible

Tone = Literal["good", "warn", "bad", "quiet"]
Word = Literal[
    "live",
    "drift",
    "rejected",
    "waiting",
    "unsaved",
    "paused",
    "store",
    "daemon",
    "git",
    "unserved",
    "restart",
    "behind",
    "override",
]


@dataclass(frozen=True, slots=True)
class Process:
    """One process that reads settings, as it acknowledged.

    Attributes:
        service: Its service.
        instance: Which of them.
        revision: What it runs.
        state: `current`, `behind` or `refused`.
        reason: Why it refused.
        restart: Settings that it has an older value of until it is restarted.
        at: When it said so.
    """

    service: str
    instance: str
    revision: str | None
    state: str
    reason: str | None
    restart: tuple[str, ...]
    at: str | None


@dataclass(frozen=True, slots=True)
class Chain:
    """One environment from git to the processes.

    Attributes:
        word: The most important thing to say.
        tone: How bad that is.
        head: Git's revision; None while git cannot be read.
        applied: What Redis serves; None when nothing is, or that is not known.
        applied_at: When it was published.
        same: Whether the two are the same.
        reachable: Whether the daemon answers.
        served: Whether the daemon serves this environment.
        store_ok: Whether Redis answers the daemon; None when that is not known.
        processes: Those that are alive.
        drifted: Number of settings that Redis has otherwise.
        overridden: Number of settings with another value than git's for a while.
        paused: Reason and end, while publishing is paused.
        errors: Findings that keep the newest revision from being published.
        rejected: The revision that they are in.
        ready: The daemon's `Ready` condition.
    """

    word: Word
    tone: Tone
    head: str | None
    applied: str | None
    applied_at: str | None
    same: bool
    reachable: bool
    served: bool
    store_ok: bool | None
    processes: tuple[Process, ...]
    drifted: int
    overridden: int
    paused: Mapping[str, Any] | None
    errors: tuple[Mapping[str, Any], ...]
    rejected: str | None
    ready: Mapping[str, Any]

    @property
    def known(self) -> bool:
        """Whether anybody tells what Redis serves, and to whom."""
        return self.reachable and self.served and self.store_ok is not False

    @property
    def current(self) -> int:
        """How many processes run what Redis serves."""
        return sum(process.state == "current" for process in self.processes)

    @property
    def restarts(self) -> tuple[Process, ...]:
        """Processes that wait for a restart."""
        return tuple(process for process in self.processes if process.restart)


def chain_of(board: Board, here: EnvironmentBoard, caller: Caller) -> Chain:
    """The chain of one environment, with nothing of settings that the caller may not see."""
    status: Mapping[str, Any] = here.status or {}
    ready: Mapping[str, Any] = next(
        (each for each in status.get("conditions", ()) if each.get("type") == "Ready"), {}
    )
    store_ok = store_answers(status) if status else None
    rows = {row.key: row.state for row in visible(here, caller)}
    whole = caller.role(here.env) is not None
    processes = tuple(_process(client, rows, whole=whole) for client in status.get("clients", ()))
    counts = Counter(rows.values())
    word, tone = _word(board, here, store_ok, processes, counts)
    return Chain(
        word=word,
        tone=tone,
        head=board.head if not board.git_problem else None,
        applied=here.applied,
        applied_at=(status.get("applied") or {}).get("at"),
        same=here.applied is not None and not here.behind,
        reachable=board.reachable,
        served=here.status is not None,
        store_ok=store_ok,
        processes=processes,
        drifted=counts["drift"],
        overridden=counts["override"],
        paused=status.get("paused"),
        errors=_errors(board, [e for e in status.get("errors", ()) if whole or e.get("key") in rows]),
        rejected=status.get("rejected"),
        ready=ready,
    )


def _errors(board: Board, told: Sequence[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    """The daemon's findings; those that git's own revision has too as sentences, which can be said in any language."""
    if not told:
        return ()  # as on nearly every page
    findings = board.state.findings if board.state is not None else ()
    known = {str(text): text for each in findings for text in (each.message, each.hint) if text}
    return tuple(
        {**each, **{name: known.get(str(each.get(name)), each.get(name)) for name in ("message", "hint")}}
        for each in told
    )


def _word(
    board: Board,
    here: EnvironmentBoard,
    store_ok: bool | None,
    processes: tuple[Process, ...],
    counts: Mapping[RowState, int],
) -> tuple[Word, Tone]:
    """The worst first; each state has one word."""
    status: Mapping[str, Any] = here.status or {}
    ordered: tuple[tuple[bool, Word, Tone], ...] = (
        (bool(board.git_problem), "git", "bad"),
        (not board.reachable, "daemon", "bad"),
        (here.status is None, "unserved", "quiet"),
        (store_ok is False, "store", "bad"),
        (bool(status.get("paused")), "paused", "warn"),
        (bool(status.get("errors")), "rejected", "bad"),
        (counts["override"] > 0, "override", "warn"),
        (counts["drift"] > 0, "drift", "warn"),
        (here.behind and (here.applied or "").startswith("worktree@"), "unsaved", "warn"),
        (here.behind, "waiting", "warn"),
        (any(process.state == "refused" for process in processes), "behind", "bad"),
        (any(process.restart for process in processes), "restart", "warn"),
        (any(process.state == "behind" for process in processes), "behind", "warn"),
    )
    return next(((word, tone) for holds, word, tone in ordered if holds), ("live", "good"))


def _process(client: Mapping[str, Any], seen: Container[str], *, whole: bool) -> Process:
    """One process; of the settings that are seen alone, unless somebody may see the whole environment."""
    return Process(
        service=str(client.get("service", "")),
        instance=str(client.get("instance", "")),
        revision=client.get("revision"),
        state=str(client.get("state", "")),
        reason=client.get("reason") if whole else None,  # it may name any setting
        restart=tuple(key for key in client.get("restart_pending", ()) if key in seen),
        at=client.get("at"),
    )
