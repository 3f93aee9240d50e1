"""What the API takes and answers, as pydantic models: `openapi.json` is made of them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from kemudi.console.board import Row, RowState
from kemudi.repo.history import Entry

Reason = Annotated[
    str,
    Field(
        max_length=4000,
        description="Why; it becomes the body of the commit message.",
        examples=["More rows for the enrolment week."],
    ),
]
Env = Annotated[str, Field(description="Name of an environment.", examples=["dev"])]
Mode = Annotated[
    Literal["commit", "propose"], Field(description="Save it, or let somebody else approve it first.")
]
Layer = Annotated[
    str | None, Field(description="Which layer; by default the environment's own.", examples=["dev"])
]
Unset = Annotated[bool, Field(description="Take the line out of the layer instead.")]
Tip = Annotated[
    str,
    Field(
        pattern="^[0-9a-f]{40}$",
        description="The commit as it was read.",
        examples=["4c9e0b6d2f1a8c7b5e3d9f0a1b2c3d4e5f607182"],
    ),
]


class Sent(BaseModel):
    """What is sent has no other members than these."""

    model_config = ConfigDict(extra="forbid")


class SetBy(BaseModel):
    """The commit that set a value."""

    revision: str
    author: str
    at: str
    reason: str


class SettingOut(BaseModel):
    """One setting in one environment. A sensitive one has neither `value` nor `served`."""

    environment: str
    key: str
    category: str
    description: str
    type: str
    unit: str | None
    sensitive: bool
    requires_restart: bool
    owner: str | None
    is_set: bool
    value: Any = Field(description="What git says; null for a sensitive setting.")
    served: Any = Field(description="What the daemon published; null when that is not known.")
    state: RowState
    restart_pending: list[str] = Field(
        description="Services that keep an older value until they are restarted."
    )
    layer: str
    source: dict[str, Any] | None
    set_by: SetBy | None
    etag: str


class SettingPage(BaseModel):
    """A part of the list; `next` is the cursor of what follows."""

    items: list[SettingOut]
    next: str | None
    revision: str | None


class PersonOut(BaseModel):
    """Somebody as git knows them."""

    name: str
    email: str


class TrailerOut(BaseModel):
    """A line such as `Approved-by:` below a commit message."""

    name: str
    value: str


class EntryOut(BaseModel):
    """What one commit did to a setting in one layer."""

    revision: str
    at: str
    author: PersonOut
    subject: str
    reason: str
    trailers: list[TrailerOut]
    key: str
    layer: str
    file: str
    line: int
    kind: Literal["add", "change", "remove", "move"]
    old: Any = Field(description="Null for none, and for a sensitive setting.")
    new: Any = Field(description="Likewise.")
    sensitive: bool
    from_file: str | None


class HistoryPage(BaseModel):
    """The newest first."""

    items: list[EntryOut]
    revision: str | None


class EnvironmentOut(BaseModel):
    """One environment as a whole."""

    name: str
    settings: int
    role: str | None
    applied: str | None
    state: str
    drifted: int


class EnvironmentList(BaseModel):
    """All environments that the caller may see, in promotion order."""

    items: list[EnvironmentOut]
    revision: str | None


NewValue = Annotated[
    Any, Field(description="The new value. A sensitive one is sealed on the way.", examples=[500])
]


class ChangeIn(Sent):
    """One setting of a change: a new value, or none at all, so that the layers below show through."""

    key: str = Field(max_length=200, description="Name of a setting.", examples=["SYNC_BATCH_SIZE"])
    value: NewValue = None
    unset: Unset = False
    layer: Layer = None


class SettingIn(Sent):
    """A new value for one setting."""

    value: NewValue = None
    unset: Unset = False
    layer: Layer = None
    reason: Reason = ""
    mode: Mode = "commit"


class PlanIn(Sent):
    """What to plan. Nothing happens."""

    env: Env
    changes: list[ChangeIn] = Field(min_length=1, max_length=500)
    reason: Reason = ""


class ChangesIn(PlanIn):
    """What to change, in one commit."""

    mode: Mode = "commit"
    again: bool = Field(default=False, description="Propose though a proposal for the same setting waits.")


class RollbackIn(Sent):
    """Which revision of a setting to go back to, by a new commit."""

    env: Env
    revision: str = Field(
        max_length=80, description="A commit of its history, or a git name of one.", examples=["4c9e0b6"]
    )
    reason: Reason = ""
    mode: Mode = "commit"


class TipIn(Sent):
    """Which commit of a proposal is meant: the one that was read."""

    revision: Tip


class AskIn(TipIn):
    """What should be changed before that commit may be put into effect."""

    comment: str = Field(min_length=1, max_length=4000)


class PlanOut(BaseModel):
    """A plan as `kemudi plan --format json` prints it, with its text and the diff that the commit will contain."""

    plan: dict[str, Any]
    text: str
    diff: str
    refused: list[dict[str, Any]] = Field(description="What the policies hold against it.")
    needs: dict[str, Any] = Field(description="What it takes: approvals, a reason, a proposal.")


class ChangeOut(BaseModel):
    """What became of a change. `requires_restart` names the settings that a running process keeps."""

    id: str
    state: Literal["committed", "proposed", "unchanged", "merged", "withdrawn"]
    revision: str | None
    branch: str
    pushed: bool | None
    requires_restart: list[str]


class ApprovalOut(BaseModel):
    """Who approved, and when."""

    by: str
    at: str
    counts: bool = Field(description="Whether it is believed, and asked for.")
    against: Literal["", "seal", "role", "author"] = Field(
        description="Why it does not count: it is not sealed by this console's key, the person has no role for it (any "
        "more), or is an author."
    )


class AskedOut(BaseModel):
    """Who asks for changes, when, and which."""

    by: str
    at: str
    comment: str


class ProposalOut(BaseModel):
    """A change that waits, held against the branch as it is now."""

    id: str
    state: Literal["waiting", "ready", "changes", "refused", "conflict", "invalid", "empty"]
    revision: str = Field(description="Its commit; to be sent with an approval or a merge.")
    branch: str
    author: str
    subject: str
    reason: str
    at: str
    plan: dict[str, Any]
    text: str
    diff: str
    approvals: list[ApprovalOut] = Field(description="Of this commit.")
    changes_asked: list[AskedOut] = Field(
        description="Of this commit; while there are any it cannot be merged."
    )
    missing: int = Field(description="How many approvals are missing.")
    refused: list[dict[str, Any]] = Field(description="What the policies hold against it.")
    problem: str | None = Field(description="Why it does not fit any more.")
    requires_restart: list[str]


class ProposalPage(BaseModel):
    """The changes that wait."""

    items: list[ProposalOut]
    revision: str | None


def setting_out(row: Row, origin: Entry | None) -> SettingOut:
    """A row for the wire; the row holds no secret."""
    return SettingOut(
        environment=row.env,
        key=row.key,
        category=row.category,
        description=row.spec.description,
        type=row.spec.type,
        unit=row.spec.unit,
        sensitive=row.spec.sensitive,
        requires_restart=row.spec.requires_restart,
        owner=row.spec.owner,
        is_set=row.is_set,
        value=row.value,
        served=row.served,
        state=row.state,
        restart_pending=list(row.restart),
        layer=row.layer,
        source={"file": row.file, "line": row.line} if row.file else None,
        set_by=None if origin is None else set_by(origin),
        etag=row.etag,
    )


def set_by(origin: Entry) -> SetBy:
    """The commit that set a value, for the wire."""
    return SetBy(
        revision=origin.revision, author=origin.author_name, at=origin.at.isoformat(), reason=origin.reason
    )
