"""What the API takes and answers beside settings: the chain, comparison, the audit log, publishing."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from kemudi.console.api.shapes import Sent
from kemudi.console.audit import Outcome
from kemudi.console.chain import Word

EnvName = Annotated[str, Field(description="Name of an environment.", examples=["dev"])]


class NotPushed(BaseModel):
    """A branch that the remote does not have yet."""

    branch: str
    problem: str | None = Field(description="What the last attempt said.")


class GitOut(BaseModel):
    """Git as the console sees it."""

    branch: str | None
    revision: str | None
    problem: str | None = Field(description="Why it cannot be read; null when it can.")
    not_pushed: list[NotPushed]
    behind: str | None = Field(
        description="Why what the remote has newer is not here, and what to do; null while nothing is in the way."
    )


class DaemonOut(BaseModel):
    """The daemon as the console sees it."""

    reachable: bool


class PauseOf(BaseModel):
    """Why publishing stands still."""

    model_config = ConfigDict(extra="allow")

    reason: str | None = None
    until: str | None = None


class ChainOut(BaseModel):
    """One environment from git to the services."""

    env: str
    state: Word = Field(description="The most important thing to say of it.")
    applied: str | None = Field(description="The revision that Redis serves.")
    applied_at: str | None
    same_revision: bool = Field(description="Whether that is git's newest.")
    store_ok: bool | None = Field(description="Whether Redis answers the daemon; null when not known.")
    services: int = Field(description="Processes that read settings now.")
    current: int = Field(description="How many of them run the newest.")
    drifted: int
    paused: PauseOf | None
    errors: list[Any] = Field(description="What keeps the newest revision from being published.")


class StatusOut(BaseModel):
    """Git, daemon, Redis and services."""

    git: GitOut
    daemon: DaemonOut
    environments: list[ChainOut]


class Difference(BaseModel):
    """A setting that two environments have differently."""

    key: str
    category: str
    sensitive: bool
    left: Any = Field(description="Null for a sensitive setting.")
    right: Any = Field(description="Likewise.")


class CompareOut(BaseModel):
    """What two environments have differently."""

    left: str
    right: str
    items: list[Difference]
    revision: str | None


class AuditOut(BaseModel):
    """One line of the audit log."""

    at: str
    who: str
    action: str
    outcome: Outcome
    env: str
    key: str
    detail: str
    address: str
    email: str


class AuditPage(BaseModel):
    """The newest lines first."""

    items: list[AuditOut]


class PauseIn(Sent):
    """Why publishing stops, and when it goes on by itself."""

    env: EnvName
    reason: str = Field(min_length=1, max_length=500, examples=["Enrolment week"])
    until: str = Field(
        description="RFC 3339, at most seven days ahead.",
        examples=["2030-01-31T12:00:00Z"],
        json_schema_extra={"format": "date-time"},
    )


class PauseOut(BaseModel):
    """Whether publishing to an environment stands still now."""

    env: str
    paused: PauseOf | None


class EnvironmentIn(Sent):
    """Which environment."""

    env: EnvName


class ScheduledOut(BaseModel):
    """The daemon was asked."""

    env: str
    scheduled: Literal[True]


class ClearedOut(BaseModel):
    """What reading anew has found."""

    env: str
    settings: int = Field(description="How many were read.")
    changed: int = Field(description="How many look different now.")
