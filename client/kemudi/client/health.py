"""What a process can say of its own settings: where from, how old, what was refused."""

from collections.abc import Mapping
from dataclasses import dataclass

from kemudi.client.snapshot import Source


@dataclass(frozen=True, slots=True)
class Health:
    """The state of a client at one moment.

    Attributes:
        connected: Whether the last look at the store succeeded.
        stale_seconds: Since when the store has not confirmed what is served, in seconds.
        source: Where the served snapshot was read: `redis`, `disk`, `defaults`, or `memory` in tests.
        revision: The commit that is served.
        generation: Its place in order, `era.depth.serial`.
        refused: How often something was not accepted, by reason: `signature`, `format`, `version`, `environment`,
            `repository` (a manifest), `generation` (it went back), `blob` (missing or altered), `prepare`, `binding`.
        refusal: Why a snapshot is not served at present, "" when nothing is refused.
        restart_pending: Settings that take another value when the process restarts.
        problem: Why the store cannot be used at present, "" when it can.
    """

    connected: bool
    stale_seconds: float
    source: Source
    revision: str | None
    generation: str | None
    refused: Mapping[str, int]
    refusal: str
    restart_pending: tuple[str, ...]
    problem: str
