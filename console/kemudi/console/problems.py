"""Errors as values: `application/problem+json` (RFC 9457) for programs, and a page in words for people."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from fastapi.responses import JSONResponse

from kemudi.schema.errors import (
    ConflictError,
    FindingsError,
    KemudiError,
    RefusedError,
    UnavailableError,
    UsageError,
)
from kemudi.schema.findings import Finding

MEDIA_TYPE: Final = "application/problem+json"

TYPES: Final[Mapping[str, tuple[str, str]]] = {
    "validation": (
        "The value is not valid",
        (
            "What was sent does not fit the contract of the setting, or the form of the request. `errors` names each "
            "place and says what fits there."
        ),
    ),
    "stale-revision": (
        "Somebody was faster",
        (
            "The setting was changed since it was read. `current` holds its value now. Read it again, then send the "
            "change with the new ETag."
        ),
    ),
    "precondition-required": (
        "An ETag is missing",
        "Send If-Match with the ETag of the setting as you read it, so that no change of somebody else is lost.",
    ),
    "approval-required": (
        "Another person has to approve",
        (
            "The policies of the config repo do not let this be saved directly. Propose it (`mode: propose`), and let "
            "somebody approve it."
        ),
    ),
    "refused": (
        "A policy refuses this",
        "The policies of the config repo do not allow this change. `errors` names each rule.",
    ),
    "read-only": (
        "Your role does not allow this",
        "The answer names the role that is needed. Roles stand in roles.yaml of the config repo.",
    ),
    "secret-not-readable": (
        "Secrets are not shown",
        "The console holds no key that opens a sealed value. It can be replaced, never shown.",
    ),
    "paused": ("Publishing is paused", "What is saved goes live when the pause ends."),
    "not-found": (
        "There is nothing here",
        "No such address, environment, setting or change, or your role does not show it to you.",
    ),
    "method-not-allowed": (
        "Wrong method",
        "This address does not take that method; `Allow` names those it takes.",
    ),
    "not-signed-in": (
        "Sign in first",
        "Send a bearer token in the Authorization header, or sign in with a browser.",
    ),
    "cross-site": (
        "The request came from elsewhere",
        "Requests that change something are taken from the console's own pages and from bearer tokens only.",
    ),
    "media-type": ("Send JSON", "The API takes `Content-Type: application/json`."),
    "too-large": ("The request is too large", "A request has at most 1 MiB."),
    "rate-limited": ("Too many attempts", "`Retry-After` says, in seconds, when to try again."),
    "idempotency": (
        "The Idempotency-Key was used for something else",
        "The same key with another body (422), or while its first request still runs (409).",
    ),
    "conflict": ("The state has moved", "Read again, then retry."),
    "unavailable": ("A part cannot be reached", "Git or the daemon does not answer now. Try again later."),
    "internal": ("Something went wrong", "This should not happen; the log of the console has the trace."),
}
"""Name of a type: its title, and what its page says."""


class ProblemError(Exception):
    """Something to tell the caller. `detail` is one sentence; `more` are members of the answer."""

    def __init__(
        self, status: int, name: str, detail: str, *, headers: Mapping[str, str] | None = None, **more: Any
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.name = name
        self.detail = detail
        self.headers = dict(headers or {})
        self.more = more

    @property
    def title(self) -> str:
        """What stands on its page as the heading, in English."""
        return TYPES[self.name][0]

    def as_json(self, instance: str) -> dict[str, Any]:
        """The members of RFC 9457."""
        return {
            "type": f"/problems/{self.name}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "instance": instance,
            **self.more,
        }

    def as_response(self, instance: str) -> JSONResponse:
        """The answer for a program."""
        return JSONResponse(
            self.as_json(instance), status_code=self.status, media_type=MEDIA_TYPE, headers=self.headers
        )


def not_found() -> ProblemError:
    """What is not there, and what may not be seen: one answer."""
    return ProblemError(404, "not-found", "there is no such thing here, or it is not shown to you")


def from_error(error: KemudiError) -> ProblemError:
    """What an error of the parts below means to the caller."""
    detail = str(error) if error.hint is None else f"{error}. {error.hint}"
    if isinstance(error, FindingsError):
        return ProblemError(422, "validation", detail, errors=findings_as_errors(error.findings))
    if isinstance(error, RefusedError):
        findings = getattr(error, "findings", ())
        return ProblemError(403, "refused", detail, errors=findings_as_errors(findings))
    if isinstance(error, ConflictError):
        return ProblemError(409, "conflict", detail)
    if isinstance(error, UnavailableError):
        return ProblemError(503, "unavailable", detail, headers={"Retry-After": "2"})
    if isinstance(error, UsageError):
        return ProblemError(422, "validation", detail)
    return ProblemError(500, "internal", "the log of the console has the trace")


def findings_as_errors(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """The `errors` member. A finding never holds the value of a sensitive setting."""
    return [
        {
            "pointer": f"#{finding.pointer}",
            "detail": finding.message,
            "hint": finding.hint,
            "rule": finding.rule,
            "key": finding.key,
            "place": f"{finding.file}:{finding.line}:{finding.column}",
        }
        for finding in findings
    ]
