"""Policies as values: what each one asks for, and of which changes."""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from kemudi.repo.freeze import Calendar
from kemudi.schema.documents import Place
from kemudi.schema.findings import Finding


@dataclass(frozen=True, slots=True)
class Scope:
    """Which changes a policy is about; an empty tuple means all."""

    environments: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()

    def has_environment(self, env: str) -> bool:
        """Whether an environment is part of it."""
        return not self.environments or env in self.environments

    def has_category(self, category: str) -> bool:
        """Whether a category is part of it."""
        return not self.categories or category in self.categories

    def has_key(self, key: str) -> bool:
        """Whether a setting is part of it; `keys` may hold `*`."""
        return not self.keys or any(fnmatchcase(key, pattern) for pattern in self.keys)

    def covers(self, env: str, category: str, key: str) -> bool:
        """Whether a change is part of it."""
        return self.has_environment(env) and self.has_category(category) and self.has_key(key)


@dataclass(frozen=True, slots=True)
class Reason:
    """A reason of at least `minimum` characters."""

    minimum: int


@dataclass(frozen=True, slots=True)
class ChangeSize:
    """A number changes by at most `percent` of what it was."""

    percent: float


@dataclass(frozen=True, slots=True)
class Freeze:
    """No change while one of the windows is open."""

    calendar: Calendar


@dataclass(frozen=True, slots=True)
class Promotion:
    """A value has run in the environment `source` for `hours` before."""

    source: str
    hours: float


@dataclass(frozen=True, slots=True)
class Owners:
    """The owner agrees. `members`: the people of each team."""

    members: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Approvals:
    """`required` different people approve; the author counts only with `own`."""

    required: int
    own: bool


@dataclass(frozen=True, slots=True)
class ProposalsOnly:
    """No commit to the branch itself."""


@dataclass(frozen=True, slots=True)
class BreakGlass:
    """These settings may be changed at once, whatever the other policies say of hours, order and approvals."""


Terms = Reason | ChangeSize | Freeze | Promotion | Owners | Approvals | ProposalsOnly | BreakGlass


@dataclass(frozen=True, slots=True)
class Policy:
    """One entry of `policies`.

    Attributes:
        name: `change-size`, …
        rule: The id that its findings have; None for one that only allows.
        scope: Which changes it is about.
        terms: What it asks for.
        place: Where it stands in `kemudi.yaml`.
        is_warning: Its findings stop nothing.
        exceptions: Whether a trailer can set it aside.
    """

    name: str
    rule: str | None
    scope: Scope
    terms: Terms
    place: Place
    is_warning: bool = False
    exceptions: bool = True


@dataclass(frozen=True, slots=True)
class ReadPolicies:
    """What `policies` in `kemudi.yaml` says, and what is wrong with it. With findings nothing should be judged."""

    policies: tuple[Policy, ...]
    findings: tuple[Finding, ...] = ()
