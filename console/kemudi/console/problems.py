"""Errors as values: `application/problem+json` (RFC 9457) for programs, and a page in words for people."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from fastapi.responses import JSONResponse

from kemudi.repo.errors import UnknownRevisionError
from kemudi.schema.errors import (
    ConflictError,
    FindingsError,
    KemudiError,
    RefusedError,
    UnavailableError,
    UsageError,
)
from kemudi.schema.findings import Finding
from kemudi.schema.sentences import sentence

MEDIA_TYPE: Final = "application/problem+json"


def N_(text: str) -> str:  # noqa: N802  # the name by which gettext finds sentences that are translated later
    """Mark a sentence for translation."""
    return text


TYPES: Final[Mapping[str, tuple[str, str]]] = {
    "validation": (
        N_("The value is not valid"),
        N_(
            "What was sent does not fit the contract of the setting, or the form of the request. "
            "`errors` names each place and says what fits there."
        ),
    ),
    "stale-revision": (
        N_("Somebody was faster"),
        N_(
            "The setting was changed since it was read. `current` holds its value now. Read it again, "
            "then send the change with the new ETag."
        ),
    ),
    "precondition-required": (
        N_("An ETag is missing"),
        N_(
            "Send If-Match with the ETag of the setting as you read it, so that no change of somebody "
            "else is lost."
        ),
    ),
    "approval-required": (
        N_("Another person has to approve"),
        N_(
            "The policies of the config repo do not let this be saved directly. Propose it (`mode: "
            "propose`), and let somebody approve it."
        ),
    ),
    "changes-asked": (
        N_("A reviewer asked for changes"),
        N_("Change the proposal, or have the same reviewer approve it. `changes_asked` says what they want."),
    ),
    "proposal-open": (
        N_("A proposal waits already"),
        N_(
            "`proposal` names one that changes the same setting. Look at it first; with `again: true` a "
            "second one is made all the same."
        ),
    ),
    "refused": (
        N_("A policy refuses this"),
        N_("The policies of the config repo do not allow this change. `errors` names each rule."),
    ),
    "read-only": (
        N_("Your role does not allow this"),
        N_("The answer names the role that is needed. Roles stand in roles.yaml of the config repo."),
    ),
    "secret-not-readable": (
        N_("Secrets are not shown"),
        N_("The console holds no key that opens a sealed value. It can be replaced, never shown."),
    ),
    "paused": (N_("Publishing is paused"), N_("What is saved goes live when the pause ends.")),
    "not-served": (
        N_("The daemon does not serve this environment"),
        N_(
            "The daemon that this console asks publishes nothing there, so there is nothing to pause, resume or "
            "override. Use the console beside the daemon that does."
        ),
    ),
    "not-found": (
        N_("There is nothing here"),
        N_("No such address, environment, setting or change, or your role does not show it to you."),
    ),
    "method-not-allowed": (
        N_("Wrong method"),
        N_("This address does not take that method; `Allow` names those it takes."),
    ),
    "not-signed-in": (
        N_("Sign in first"),
        N_("Send a bearer token in the Authorization header, or sign in with a browser."),
    ),
    "cross-site": (
        N_("The request came from elsewhere"),
        N_(
            "Requests that change something are taken from the console's own pages and from bearer "
            "tokens only."
        ),
    ),
    "media-type": (N_("Send JSON"), N_("The API takes `Content-Type: application/json`.")),
    "too-large": (N_("The request is too large"), N_("A request has at most 1 MiB.")),
    "rate-limited": (N_("Too many attempts"), N_("`Retry-After` says, in seconds, when to try again.")),
    "idempotency": (
        N_("The Idempotency-Key was used for something else"),
        N_("The same key with another body (422), or while its first request still runs (409)."),
    ),
    "conflict": (N_("The state has moved"), N_("Read again, then retry.")),
    "unavailable": (
        N_("A part cannot be reached"),
        N_("Git or the daemon does not answer now. Try again later."),
    ),
    "internal": (
        N_("Something went wrong"),
        N_("This should not happen; the log of the console has the trace."),
    ),
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
    return ProblemError(404, "not-found", sentence("there is no such thing here, or it is not shown to you"))


def no_such_setting() -> ProblemError:
    """The same for a setting that a request names."""
    return ProblemError(
        404, "not-found", sentence("there is no such setting here, or it is not shown to you")
    )


def from_error(error: KemudiError) -> ProblemError:
    """What an error of the parts below means to the caller."""
    detail = error.explained
    if isinstance(error, UnknownRevisionError):  # its sentence names the folder of the repository
        return ProblemError(422, "validation", sentence("that names no commit of this history"))
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
    return ProblemError(500, "internal", sentence("the log of the console has the trace"))


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
