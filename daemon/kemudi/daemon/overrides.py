"""Break-glass: values above every layer for a while, when a pull request would come too late or git is away.

Each override is a commit on `refs/kemudi/override/<env>` in the daemon's own repository: who, why, until when. It is
on disk before it is served, and an end is on disk before the value goes; so a crash at any point leaves what the branch
says. An override ends by itself at its time, and when git says the same.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final, Self

from kemudi.daemon.attempt import Rejected
from kemudi.daemon.conditions import Reason
from kemudi.daemon.pause import parse_until
from kemudi.repo.local import LocalRefs
from kemudi.repo.people import KEMUDI, Author
from kemudi.repo.policy import approval, policies_of
from kemudi.schema.documents import JSON
from kemudi.schema.errors import ConflictError, RefusedError, UsageError
from kemudi.schema.findings import Finding
from kemudi.schema.layers import ResolvedCategory, ResolvedSetting
from kemudi.schema.nearest import did_you_mean
from kemudi.schema.rules import OUT_OF_BOUNDS
from kemudi.schema.state import ConfigState
from kemudi.store.values import DriftItem, utc_text

LAYER: Final = "override"
MAX_REASON: Final = 500


@dataclass(frozen=True, slots=True)
class Override:
    """One override: what, why, by whom, and when it ends."""

    key: str
    category: str
    value: JSON
    reason: str
    author: str
    since: datetime
    until: datetime

    def as_json(self) -> dict[str, Any]:
        """The wire form, which is the stored form, too. A sensitive setting is never overridden."""
        return {
            "key": self.key,
            "category": self.category,
            "value": self.value,
            "reason": self.reason,
            "author": self.author,
            "since": utc_text(self.since),
            "until": utc_text(self.until),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Raises KeyError, ValueError, UsageError for what is none."""
        since, until = parse_until(document["since"]), parse_until(document["until"])
        if since is None or until is None:
            raise ValueError("an override has a beginning and an end")
        words = {name: str(document[name]) for name in ("key", "category", "reason", "author")}
        return cls(**words, value=document["value"], since=since, until=until)

    @property
    def drift(self) -> DriftItem:
        """What is served is not what git says, on purpose."""
        return DriftItem(self.category, self.key, "overridden")

    @property
    def said(self) -> str:
        """For a condition and the log; never the value."""
        return f"{self.key} until {utc_text(self.until)} by {self.author}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Laid:
    """The categories with the overrides laid over them.

    Attributes:
        resolved: The very objects that were given, where no override touches them.
        served: The overrides that are in it.
        merged: The overrides that are needed no more: git says the same.
    """

    resolved: dict[str, ResolvedCategory]
    served: tuple[Override, ...]
    merged: tuple[Override, ...]


class Overrides:
    """The overrides of one environment. Belongs to the reconciling thread."""

    def __init__(
        self, local: LocalRefs, env: str, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._local = local
        self._env = env
        self._now = now
        data = local.overrides(env)
        self.involved = data is not None
        self._all: dict[str, Override] = _read(data)
        self._laid: dict[str, tuple[ResolvedCategory, tuple[Override, ...], ResolvedCategory]] = {}

    def effective(self) -> tuple[Override, ...]:
        """Those that are in force now, by key."""
        now = self._now()
        return tuple(each for _, each in sorted(self._all.items()) if each.until > now)

    def due(self) -> tuple[Override, ...]:
        """Those whose time is over and whose end is not written down yet."""
        now = self._now()
        return tuple(each for each in self._all.values() if each.until <= now)

    def seconds_to_next_end(self) -> float | None:
        """How long until one ends by itself."""
        now = self._now()
        return min(((each.until - now).total_seconds() for each in self.effective()), default=None)

    def touched(self, served: Iterable[Override]) -> frozenset[str]:
        """The categories that an override is in, or still is in as it is served."""
        return frozenset(each.category for each in (*self.effective(), *served))

    def put(self, override: Override) -> None:
        """Write an override down; from then on it is in force. Raises UnavailableError."""
        value = json.dumps(override.value, ensure_ascii=False)
        message = (
            f"Override {override.key} in {self._env} until {utc_text(override.until)}\n\n"
            f"{override.reason}\n\nValue: {value}"
        )
        self._write({**self._all, override.key: override}, message, _person(override.author))

    def end(self, ended: Iterable[Override], why: str) -> None:
        """Write down that overrides are over. Raises UnavailableError."""
        keys = {each.key for each in ended}
        if keys:
            message = f"End the override of {', '.join(sorted(keys))} in {self._env}\n\n{why}"
            self._write({key: each for key, each in self._all.items() if key not in keys}, message, KEMUDI)

    def find(self, key: str) -> Override:
        """The override of a setting. Raises UsageError when there is none."""
        for each in self.effective():
            if each.key == key:
                return each
        known = ", ".join(each.key for each in self.effective()) or "none"
        raise UsageError(f"{key[:127]} is not overridden in {self._env}; overridden: {known}")

    def lay_over(self, resolved: Mapping[str, ResolvedCategory]) -> Laid:
        """Put the overrides above the layers.

        Raises Rejected when a revision and an override do not go together: the revision waits until the override
        ends, for it is what somebody put there against an emergency.
        """
        found, served, merged = dict(resolved), list[Override](), list[Override]()
        for name in {each.category for each in self.effective()}:
            mine = tuple(each for each in self.effective() if each.category == name)
            category = resolved.get(name)
            _check(category, mine)
            if category is None:
                continue
            needed = tuple(each for each in mine if not _is_same(category, each))
            merged += [each for each in mine if each not in needed]
            served += needed
            if needed:
                found[name] = self._above(category, needed)
        return Laid(found, tuple(sorted(served, key=lambda each: each.key)), tuple(merged))

    def _above(self, category: ResolvedCategory, needed: tuple[Override, ...]) -> ResolvedCategory:
        """The same object for the same question: by that the steps know that nothing has changed."""
        known = self._laid.get(category.name)
        if known is not None and known[0] is category and known[1] == needed:
            return known[2]
        made = _laid_over(category, needed)
        self._laid[category.name] = (category, needed, made)
        return made

    def _write(self, overrides: dict[str, Override], message: str, author: Author) -> None:
        document = [each.as_json() for _, each in sorted(overrides.items())]
        data = json.dumps(document, indent=1, ensure_ascii=False).encode()
        self._local.write_overrides(self._env, data, message, author)
        self._all, self.involved = overrides, True


def admitted(
    state: ConfigState,
    env: str,
    key: str,
    value: JSON,
    *,
    reason: str,
    author: str,
    until: datetime,
    now: datetime,
) -> Override:
    """An override that the contract and the policies of a revision allow.

    Raises UsageError for an unknown key, a value that breaks the contract, an end that is past or a missing reason;
    RefusedError for a sensitive setting, or where no break-glass policy names it; ConflictError when git says it.
    """
    reason, author = " ".join(reason.split())[:MAX_REASON], " ".join(author.split())
    _person(author)
    if not reason:
        raise UsageError("an override needs a reason")
    if until <= now:
        raise UsageError("the end of an override lies in the future")
    name = state.category_of.get(key)
    if name is None:
        raise UsageError(
            f"no contract has a setting {key[:127]!r}", hint=did_you_mean(key, state.category_of)
        )
    _check_policy(state, env, name, key, reason)
    contract = state.contracts[name]
    if contract.settings[key].sensitive:
        raise RefusedError(f"{key} is sensitive; a secret is changed by a commit and never by an override")
    if not _is_finite(value):
        raise UsageError(f"the value of {key} holds a number that is not finite")
    problems = contract.check_value(key, value)
    if problems:
        raise UsageError(problems[0].message, hint=problems[0].hint)
    override = Override(key, name, contract.normalise(key, value), reason, author, now, until)
    category = state.resolve(env)[name]
    if _is_same(category, override):
        raise ConflictError(f"{key} has this value in {env} already, by {category.settings[key].layer}")
    together = contract.check_together(_plain(_laid_over(category, (override,))))
    if together:
        raise UsageError(together[0].message)
    return override


def _check_policy(state: ConfigState, env: str, category: str, key: str, reason: str) -> None:
    policies = policies_of(state)
    allowed = approval(policies.policies, env, [category])
    if policies.findings or not allowed.is_break_glass(key):
        raise RefusedError(
            f"no policy lets {key} be overridden in {env}",
            hint="A break-glass policy in kemudi.yaml names the settings that may be.",
        )
    if len(reason) < allowed.reason_minimum:
        raise RefusedError(f"the policy of {env} asks for a reason of {allowed.reason_minimum} characters")


def _check(category: ResolvedCategory | None, overrides: tuple[Override, ...]) -> None:
    """Raise Rejected unless a revision's contract allows the overrides."""
    problems = []
    for each in overrides:
        if category is None or each.key not in category.contract.settings:
            problems.append(f"{each.key} is no setting any more")
        elif category.contract.settings[each.key].sensitive:
            problems.append(f"{each.key} is sensitive now")
        else:
            problems += [found.message for found in category.contract.check_value(each.key, each.value)]
    if not problems and category is not None:
        together = category.contract.check_together(_plain(_laid_over(category, overrides)))
        problems += [found.message for found in together]
    if problems:
        file = category.contract.file if category is not None else "kemudi.yaml"
        text = f"an override stands against this revision: {problems[0]}; end it with `kemudi override end`"
        raise Rejected.for_findings(
            Reason.VALIDATION_FAILED,
            (Finding(file, 1, 1, OUT_OF_BOUNDS, key=overrides[0].key, message=text),),
        )


def _laid_over(category: ResolvedCategory, overrides: Iterable[Override]) -> ResolvedCategory:
    above = {each.key: ResolvedSetting(each.key, each.value, LAYER, None) for each in overrides}
    return replace(category, settings=MappingProxyType({**category.settings, **above}))


def _plain(category: ResolvedCategory) -> dict[str, JSON]:
    """The values as rules between settings see them: of a sealed one its text."""
    return {
        key: item.value
        if isinstance(item.value, bool | int | float | str | list | dict | None)
        else str(item.value)
        for key, item in category.settings.items()
    }


def _is_same(category: ResolvedCategory, override: Override) -> bool:
    setting = category.settings.get(override.key)
    # As text: 1 == 1.0 == True in Python, and they are different values to serve.
    return setting is not None and _canonical(setting.value) == _canonical(override.value)


def _is_finite(value: JSON) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _person(text: str) -> Author:
    """`Name <address>`, or either alone. Raises UsageError."""
    name, bracket, rest = text.partition("<")
    if bracket:
        return Author(name.strip() or rest.rstrip("> "), rest.rstrip("> "))
    return Author(
        text.strip(), text.strip() if "@" in text else f"{text.strip().replace(' ', '.')}@localhost"
    )


def _read(data: bytes | None) -> dict[str, Override]:
    if data is None:
        return {}
    found = [Override.from_json(each) for each in json.loads(data)]
    return {each.key: each for each in found}
