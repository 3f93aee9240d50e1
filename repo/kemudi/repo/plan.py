"""What a change does: the resolved difference of two states of a config repo. Pure: no git, no clock, no server.

The difference is taken after the layers: a reviewer sees what every environment will serve, not which lines moved.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from kemudi.repo.plan_contracts import contract_changes
from kemudi.repo.plan_model import (
    Change,
    ChangeKind,
    ContractChange,
    Drift,
    EnvironmentPlan,
    NoEffect,
    Plan,
    Readers,
    RepositoryChange,
)
from kemudi.repo.plan_quiet import edits_without_effect
from kemudi.repo.plan_repository import repository_changes
from kemudi.schema import rules
from kemudi.schema.documents import JSON
from kemudi.schema.envelope import Envelope
from kemudi.schema.findings import Finding
from kemudi.schema.layers import ResolvedCategory, ResolvedSetting
from kemudi.schema.manifest import Environment
from kemudi.schema.paths import category_of_contract
from kemudi.schema.state import ConfigState

__all__ = [
    "Change",
    "ContractChange",
    "Drift",
    "EnvironmentPlan",
    "NoEffect",
    "Plan",
    "Readers",
    "RepositoryChange",
    "plan",
    "same_value",
    "with_readers",
]

EVERYTHING: Final = "*"
"""In `EnvironmentPlan.refused`: every category."""

# A seal that is missing, damaged or out of place refuses the commit as a whole, also with `reject: category`.
_SEALS: Final = frozenset(
    {
        rules.PLAINTEXT_SECRET,
        rules.NEEDLESS_SEAL,
        rules.MALFORMED_SEAL,
        rules.MOVED_SEAL,
        rules.STALE_SEAL,
    }
)


def plan(old: ConfigState, new: ConfigState, *, base: str | None, head: str) -> Plan:
    """The plan from one state to another.

    What the daemon would refuse because of errors in `new` is no effect: it is named in `refused`, and the errors stand
    in `findings`.

    Args:
        old: The state before; an empty one for a new repository.
        new: The state after; made by `old.update`, only what changed is compared.
        base: The name of `old`.
        head: The name of `new`.
    """
    before, after = _environments(old), _environments(new)
    environments = tuple(_environment(old, new, name) for name in dict.fromkeys([*after, *before]))
    notes = []
    if old.manifest is not None and _errors(old):
        notes.append("the base does not validate either, so what is served may be older than it")
    return Plan(
        base,
        head,
        environments,
        contract_changes(old, new),
        repository_changes(old, new),
        edits_without_effect(old, new),
        _errors(new),
        notes=tuple(notes),
    )


def with_readers(planned: Plan, readers: Readers) -> Plan:
    """The plan with who reads each setting now, by environment and key."""
    environments = tuple(
        replace(
            each,
            changes=tuple(
                replace(change, readers=readers.get(each.env, {}).get(change.key, ()))
                for change in each.changes
            ),
        )
        for each in planned.environments
    )
    everywhere: dict[str, set[str]] = {}
    for by_key in readers.values():
        for key, services in by_key.items():
            everywhere.setdefault(key, set()).update(services)
    contracts = tuple(
        replace(each, readers=tuple(sorted(everywhere.get(each.key, ())))) if each.key is not None else each
        for each in planned.contracts
    )
    return replace(planned, environments=environments, contracts=contracts)


def same_value(left: JSON | Envelope, right: JSON | Envelope) -> bool:
    """Whether two values are served alike: 1, 1.0 and true are three different values."""
    if left is right:
        return True
    if type(left) is not type(right):
        return False
    if isinstance(left, list | dict):
        return json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)
    return left == right


def _environments(state: ConfigState) -> dict[str, Environment]:
    return {each.name: each for each in state.manifest.environments} if state.manifest is not None else {}


def _errors(state: ConfigState) -> tuple[Finding, ...]:
    return tuple(finding for finding in state.findings if finding.severity == "error")


def _environment(old: ConfigState, new: ConfigState, name: str) -> EnvironmentPlan:
    before = _resolved(old, name)
    if new.manifest is None:
        # The environments cannot be known; the daemon keeps serving what it has.
        return EnvironmentPlan(name, (), "kept", (EVERYTHING,))
    if name not in _environments(new):
        return EnvironmentPlan(name, tuple(_category_changes(name, before, {})), "removed")
    refused = _refused(new, _environments(new)[name])
    after = _resolved(new, name)
    if EVERYTHING in refused:
        after = before
    for category in refused:
        before, after = _without(before, category), _without(after, category)
    kind = "kept" if name in _environments(old) else "added"
    return EnvironmentPlan(name, tuple(_category_changes(name, before, after)), kind, refused)  # type: ignore[arg-type]  # both are literals


def _resolved(state: ConfigState, env: str) -> Mapping[str, ResolvedCategory]:
    return state.resolve(env) if env in _environments(state) else {}


def _without(categories: Mapping[str, ResolvedCategory], name: str) -> Mapping[str, ResolvedCategory]:
    return {key: value for key, value in categories.items() if key != name}


def _refused(state: ConfigState, environment: Environment) -> tuple[str, ...]:
    """The categories that an environment keeps as they are, by the rules of the daemon."""
    findings = state.findings_for(environment.name)
    if not findings:
        return ()
    names = {_category_of(finding, state) for finding in findings}
    whole = None in names or any(finding.rule in _SEALS for finding in findings)
    if environment.reject == "commit" or whole:
        return (EVERYTHING,)
    return tuple(sorted(name for name in names if name is not None))


def _category_of(finding: Finding, state: ConfigState) -> str | None:
    folder, _, name = finding.file.partition("/")
    if state.manifest is not None and folder in state.manifest.layers:
        return name.removesuffix(".yaml")
    return category_of_contract(finding.file)


def _category_changes(
    env: str, before: Mapping[str, ResolvedCategory], after: Mapping[str, ResolvedCategory]
) -> Iterator[Change]:
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if old is new:
            continue  # shared by `update`: nothing of it changed
        contracts = [each.contract for each in (new, old) if each is not None]
        for key in dict.fromkeys(key for contract in contracts for key in contract.settings):
            was = old.settings.get(key) if old is not None else None
            now = new.settings.get(key) if new is not None else None
            change = _change(env, name, key, old, new)
            if change is not None and not _alike(was, now):
                yield change


def _alike(was: ResolvedSetting | None, now: ResolvedSetting | None) -> bool:
    if was is None or now is None:
        return was is now
    return same_value(was.value, now.value)


def _change(
    env: str, category: str, key: str, old: ResolvedCategory | None, new: ResolvedCategory | None
) -> Change | None:
    was = old.settings.get(key) if old is not None else None
    now = new.settings.get(key) if new is not None else None
    if was is None and now is None:
        return None
    specs = [each.contract.settings[key] for each in (new, old) if each and key in each.contract.settings]
    kind: ChangeKind = "add" if was is None else "remove" if now is None else "change"
    values = [each.value for each in (was, now) if each is not None]
    sealed = any(spec.sensitive for spec in specs) or any(isinstance(each, Envelope) for each in values)
    shown = now if now is not None and now.place is not None else was
    return Change(
        env,
        key,
        category,
        kind,
        None if sealed else _plain(was),
        None if sealed else _plain(now),
        was.layer if was is not None else None,
        now.layer if now is not None else None,
        specs[0].type,
        specs[0].unit,
        sealed,
        any(spec.requires_restart for spec in specs),
        specs[0].owner,
        _fingerprint(now),
        _fingerprint(was),
        shown.place if shown is not None else None,
    )


def _plain(setting: ResolvedSetting | None) -> JSON:
    return None if setting is None or isinstance(setting.value, Envelope) else setting.value


def _fingerprint(setting: ResolvedSetting | None) -> str | None:
    value = setting.value if setting is not None else None
    return value.fingerprint() if isinstance(value, Envelope) else None
