"""Whether a revision runs everywhere: a pure function of what is applied and what the clients say."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from kemudi.daemon.status import AppliedStatus, EnvironmentStatus, client_as_json
from kemudi.store.values import Acknowledgement

State = Literal["applied", "timeout", "refused", "rejected", "unknown-revision"]

Contains = Callable[[str], bool | None]
"""Whether an applied or acknowledged revision is the wanted one or a descendant; None when that cannot be told."""


@dataclass(frozen=True, slots=True)
class Convergence:
    """The answer to `kemudi wait`.

    Attributes:
        revision: What was asked for, as a full SHA where it is known.
        served_revision: What Redis serves.
        state: How it stands; `timeout` also means "not yet".
        clients: Every live client, in the wire form of the status.
        message: One sentence when it is not `applied`.
        errors: Why the revision was rejected.
    """

    revision: str
    served_revision: str | None
    state: State
    clients: tuple[dict[str, Any], ...] = ()
    message: str = ""
    errors: tuple[dict[str, object], ...] = ()

    @property
    def converged(self) -> bool:
        """Whether every live client runs it."""
        return self.state == "applied"

    def as_json(self) -> dict[str, Any]:
        """The pinned wire form, with the laggards and the refusals by name."""
        late = [client for client in self.clients if client["state"] != "current"]
        return {
            "revision": self.revision,
            "converged": self.converged,
            "served_revision": self.served_revision,
            "state": self.state,
            "message": self.message,
            "clients": list(self.clients),
            "laggards": [_name(client) for client in late if client["state"] == "behind"],
            "refusals": [
                {"client": _name(client), "reason": client["reason"]}
                for client in late
                if client["state"] == "refused"
            ],
            "errors": list(self.errors),
        }


def judge(
    revision: str, status: EnvironmentStatus, clients: Sequence[Acknowledgement], contains: Contains
) -> Convergence:
    """How far a revision has come. `timeout` means that waiting may help; the others are final for now."""
    applied = status.applied
    served = applied.revision if applied is not None else None
    shown = tuple(_as_seen(client, applied, contains) for client in clients)
    if applied is None or not contains(applied.revision):
        if status.rejected is not None and status.rejected == revision:
            message = f"{revision[:12]} was rejected: {status.ready.message}"
            errors = tuple(finding.as_json() for finding in status.errors)
            return Convergence(revision, served, "rejected", shown, message, errors)
        message = f"{status.env} does not serve it yet ({status.ready.reason}) {status.ready.message}".strip()
        return Convergence(revision, served, "timeout", shown, message)
    states = {client["state"] for client in shown}
    if states <= {"current"}:
        return Convergence(revision, served, "applied", shown)
    if "behind" not in states:
        refusing = ", ".join(_name(client) for client in shown if client["state"] == "refused")
        return Convergence(revision, served, "refused", shown, f"refused by {refusing}")
    behind = ", ".join(_name(client) for client in shown if client["state"] == "behind")
    return Convergence(revision, served, "timeout", shown, f"still behind: {behind}")


def _as_seen(client: Acknowledgement, applied: AppliedStatus | None, contains: Contains) -> dict[str, Any]:
    """A client's wire form; it is current when it runs the wanted revision or a descendant, if not the newest."""
    shown = client_as_json(client, applied)
    if shown["state"] == "current":
        return shown
    if client.revision and contains(client.revision):
        shown["state"] = "current"
    return shown


def _name(client: dict[str, Any]) -> str:
    return f"{client['service']}/{client['instance']}"
