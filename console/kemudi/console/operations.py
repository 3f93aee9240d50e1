"""What people ask the daemon for: look now, compare, pause, resume. Each is written to the audit log."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from kemudi.console.access.gate import current_caller
from kemudi.console.board import Row, is_unserved
from kemudi.console.parts import Parts
from kemudi.console.problems import ProblemError
from kemudi.schema.documents import JSON
from kemudi.schema.errors import KemudiError
from kemudi.schema.sentences import sentence

LONGEST_PAUSE: Final = timedelta(days=7)


async def reconcile(parts: Parts, request: Request, env: str) -> None:
    """Ask the daemon to look at git and Redis now."""
    await run_in_threadpool(_ask, parts, request, "reload", env, "POST", "/reconcile")
    await run_in_threadpool(parts.watch.refresh)


def compare_now(parts: Parts, request: Request, env: str) -> int:
    """Compare Redis with what was published; what differs is put back by the daemon. Returns how much differed."""
    answer = _ask(parts, request, "put git back", env, "GET", f"/drift?{urlencode({'env': env})}")
    found = sum(len(each["drift"]) for each in answer["environments"])
    parts.watch.refresh()
    return found


def pause(parts: Parts, request: Request, env: str, reason: str, until: datetime) -> None:
    """Stop publishing until a moment that is near enough. Raises ProblemError."""
    _check_served(parts, env)
    now = datetime.now(UTC)
    if not reason.strip():
        raise _invalid("reason", sentence("a pause needs a reason"))
    if not now < until <= now + LONGEST_PAUSE:
        raise _invalid("until", sentence("a pause ends within seven days"))
    body = {"env": env, "reason": reason.strip(), "until": until.isoformat()}
    _ask(parts, request, "pause", env, "PUT", "/pause", body, detail=f"until {until.isoformat()}: {reason}")
    parts.watch.refresh()


def _check_served(parts: Parts, env: str) -> None:
    """Raise ProblemError (409) for an environment of which the daemon says that it is not its own."""
    if is_unserved(parts.board, env):
        raise ProblemError(
            409,
            "not-served",
            sentence(
                "the daemon of this console does not serve %(env)s: it publishes nothing there", env=env
            ),
        )


def _invalid(field: str, detail: str) -> ProblemError:
    return ProblemError(422, "validation", detail, errors=[{"pointer": f"#/{field}", "detail": detail}])


def resume(parts: Parts, request: Request, env: str) -> None:
    """Publish again. Raises ProblemError."""
    _check_served(parts, env)
    _ask(parts, request, "resume", env, "DELETE", "/pause", {"env": env})
    parts.watch.refresh()


def override(parts: Parts, request: Request, row: Row, value: JSON, reason: str, until: datetime) -> None:
    """Have the daemon serve another value than git's for a while. Raises KemudiError: it asks the policies.

    Raises ProblemError where it serves nothing.
    """
    _check_served(parts, row.env)
    person = current_caller(request).person
    body = {
        "env": row.env,
        "key": row.key,
        "value": value,
        "reason": reason.strip(),
        "author": f"{person.name} <{person.email}>",
        "until": until.isoformat(timespec="seconds").replace("+00:00", "Z"),
    }
    _ask(parts, request, "override", row.env, "PUT", "/overrides", body, key=row.key, detail=reason)
    parts.watch.refresh()


def end_override(parts: Parts, request: Request, row: Row, reason: str) -> None:
    """Serve what git says again. Raises KemudiError."""
    body = {"env": row.env, "key": row.key, "reason": reason.strip() or "No longer needed."}
    _ask(parts, request, "end override", row.env, "DELETE", "/overrides", body, key=row.key, detail=reason)
    parts.watch.refresh()


def clear_cache(parts: Parts, request: Request, env: str) -> tuple[int, int]:
    """Read git and the daemon anew. Returns how many settings were read, and how many look different now."""
    before = parts.board.environments[env].rows
    parts.desired.forget()
    after = parts.watch.refresh().environments[env].rows
    changed = sum(before.get(key) != row for key, row in after.items())
    parts.note(
        request, "clear cache", "done", env=env, detail=f"{len(after)} settings read, {changed} changed"
    )
    return len(after), changed


def _ask(
    parts: Parts,
    request: Request,
    action: str,
    env: str,
    method: str,
    path: str,
    body: Mapping[str, Any] | None = None,
    *,
    key: str = "",
    detail: str = "",
) -> Any:  # JSON
    try:
        answer = parts.daemon.ask(method, path, body)
    except KemudiError as error:
        parts.note(request, action, "failed", env=env, key=key, detail=str(error))
        raise
    parts.note(request, action, "done", env=env, key=key, detail=detail)
    return answer
