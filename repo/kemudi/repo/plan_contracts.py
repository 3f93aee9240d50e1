"""What changed in the contracts, and what that breaks: values in git, values that are served, readers' types."""

import json
from collections.abc import Iterator, Mapping
from typing import Final

from kemudi.repo.plan_model import ContractChange, ContractKind
from kemudi.schema.contract import CROSS_KEYWORDS, Contract, SettingSpec
from kemudi.schema.documents import JSON, Place
from kemudi.schema.envelope import Envelope
from kemudi.schema.paths import contract_path
from kemudi.schema.state import ConfigState
from kemudi.schema.wording import shown

# What has an entry of its own, or says nothing of the value.
_APART: Final = frozenset({"type", "default", "description", "title", "examples", "$comment", "deprecated"})
_MOST_NAMED: Final = 5


def contract_changes(old: ConfigState, new: ConfigState) -> tuple[ContractChange, ...]:
    """Every change of a contract, by category, then in the order of the contract."""
    found: list[ContractChange] = []
    for category in sorted({*old.contracts, *new.contracts}):
        before, after = old.contracts.get(category), new.contracts.get(category)
        if before is after or (before is None and category in _unusable(old)):
            continue
        if after is None and category in _unusable(new):
            continue  # a contract that cannot be read is a finding, not a removal
        found += _Contracts(old, new, category).changes(before, after)
    return tuple(found)


def _unusable(state: ConfigState) -> set[str]:
    return {name for name in _files(state) if name not in state.contracts}


def _files(state: ConfigState) -> set[str]:
    suffix = ".schema.json"
    return {
        path.removeprefix("contracts/").removesuffix(suffix)
        for path in state.files
        if path.startswith("contracts/") and path.endswith(suffix)
    }


class _Contracts:
    """One category's contract before and after."""

    def __init__(self, old: ConfigState, new: ConfigState, category: str) -> None:
        self._old = old
        self._new = new
        self._category = category

    def changes(self, before: Contract | None, after: Contract | None) -> Iterator[ContractChange]:
        """What changed, the contract as a whole first."""
        if before is None or after is None:
            yield self._whole(before, after)
            return
        for key in dict.fromkeys([*after.settings, *before.settings]):
            was, now = before.settings.get(key), after.settings.get(key)
            if was is None and now is not None:
                yield self._added(now, after)
            elif now is None:
                yield self._removed(key)
            elif was is not None and was != now:
                yield from self._setting(was, now, after)
        if any(before.schema.get(name) != after.schema.get(name) for name in CROSS_KEYWORDS):
            message = "the rules between its settings change"
            yield ContractChange(self._category, None, "rules", message, Place(after.file, 1, 1))

    def _whole(self, before: Contract | None, after: Contract | None) -> ContractChange:
        place = Place(contract_path(self._category), 1, 1)
        if after is not None:
            message = f"a new category of {_count(len(after.settings), 'setting')}"
            return ContractChange(self._category, None, "category-added", message, place)
        files = sorted(path for path in self._new.files if path.endswith(f"/{self._category}.yaml"))
        breaks = [f"{path} would reach nobody" for path in files]
        breaks += ["processes that read its settings get their own defaults, or fail"]
        count = _count(len(before.settings) if before is not None else 0, "setting")
        message = f"the category is removed, with {count}"
        return ContractChange(self._category, None, "category-removed", message, place, tuple(breaks))

    def _added(self, spec: SettingSpec, contract: Contract) -> ContractChange:
        kind = f"{spec.type}, sensitive" if spec.sensitive else spec.type
        default = f", default {shown(spec.default)}" if spec.has_default and not spec.sensitive else ""
        return self._note(spec.key, "setting-added", f"new setting: {kind}{default}", contract)

    def _removed(self, key: str) -> ContractChange:
        breaks = [f"{place} still sets it" for place in self._still_set(key)]
        breaks.append("processes that read it get their own default, or fail")
        place = Place(contract_path(self._category), 1, 1)
        message = "the setting is removed"
        return ContractChange(self._category, key, "setting-removed", message, place, tuple(breaks))

    def _still_set(self, key: str) -> Iterator[Place]:
        for layer in self._new.manifest.layers if self._new.manifest is not None else ():
            document = self._new.document(f"{layer}/{self._category}.yaml")
            if document is not None and key in document.values:
                yield document.place_of_key(key)

    def _setting(self, was: SettingSpec, now: SettingSpec, contract: Contract) -> Iterator[ContractChange]:
        key = now.key
        if was.type != now.type:
            message = f"type {was.type} → {now.type}"
            yield self._note(key, "type", message, contract, *self._type_breaks(was, now, contract))
        if was.sensitive != now.sensitive:
            yield self._sensitive(now, contract)
        elif (was.has_default, repr(was.default)) != (now.has_default, repr(now.default)):
            yield self._note(key, "default", self._default(was, now), contract)
        if limits := list(_limits(was.schema, now.schema)):
            breaks = self._refused_values(was, now, contract) if was.type == now.type else ()
            yield self._note(key, "limits", ", ".join(limits), contract, *breaks)
        if was.requires_restart != now.requires_restart:
            message = (
                "now needs a restart"
                if now.requires_restart
                else "no longer needs a restart: changes are hot"
            )
            yield self._note(key, "requires-restart", message, contract)
        if was.unit != now.unit:
            message = f"unit {was.unit or 'none'} → {now.unit or 'none'}"
            yield self._note(key, "unit", message, contract, "the same number means something else")
        yield from self._texts(was, now, contract)

    def _texts(self, was: SettingSpec, now: SettingSpec, contract: Contract) -> Iterator[ContractChange]:
        said = []
        if was.description != now.description:
            said.append("description")
        said += [
            f"{name} {before or 'none'} → {after or 'none'}"
            for name, before, after in (
                ("owner", was.owner, now.owner),
                ("expires", was.expires, now.expires),
            )
            if before != after
        ]
        if said:
            yield self._note(now.key, "text", ", ".join(said), contract)

    def _type_breaks(self, was: SettingSpec, now: SettingSpec, contract: Contract) -> Iterator[str]:
        before, after = _types(was), _types(now)
        yield from self._refused_values(was, now, contract)
        gone = sorted(before - after)
        if gone:
            yield f"narrowed: {' and '.join(gone)} are refused from now on"
        if after - before:
            yield f"widened: readers that expect {was.type} may get {' or '.join(sorted(after - before))}"

    def _sensitive(self, now: SettingSpec, contract: Contract) -> ContractChange:
        if now.sensitive:
            message = "now sensitive: sealed in git and in the store"
            why = "what stood in plain text stays in the history of git: change the secret at its source"
        else:
            message = "no longer sensitive"
            why = "its values are plain text in git, in Redis and in every report; sealed ones are refused"
        return self._note(now.key, "sensitive", message, contract, why)

    def _default(self, was: SettingSpec, now: SettingSpec) -> str:
        if was.sensitive or now.sensitive:
            return "the default changes"
        before = shown(was.default) if was.has_default else "none"
        after = shown(now.default) if now.has_default else "none"
        users = [env for env, layer in self._layers_of(now.key) if layer == "default"]
        effect = f"; it holds in {', '.join(users)}" if users else "; no environment uses it"
        return f"default {before} → {after}{effect}"

    def _layers_of(self, key: str) -> Iterator[tuple[str, str]]:
        for env in self._new.manifest.environments if self._new.manifest is not None else ():
            resolved = self._new.resolve(env.name).get(self._category)
            if resolved is not None and key in resolved.settings:
                yield env.name, resolved.settings[key].layer

    def _refused_values(self, was: SettingSpec, now: SettingSpec, contract: Contract) -> Iterator[str]:
        """Values of today that the contract of tomorrow refuses. A sealed one cannot be looked at."""
        if was.sensitive or now.sensitive or self._old.manifest is None:
            return
        found: dict[str, list[str]] = {}
        for env in self._old.manifest.environments:
            resolved = self._old.resolve(env.name).get(self._category)
            setting = resolved.settings.get(now.key) if resolved is not None else None
            if setting is None or setting.place is None or isinstance(setting.value, Envelope):
                continue
            if contract.check_value(now.key, setting.value):
                found.setdefault(shown(setting.value), []).append(env.name)
        for value, environments in list(found.items())[:_MOST_NAMED]:
            yield f"{value}, the value of {', '.join(environments)}, is refused"

    def _note(
        self, key: str, kind: ContractKind, message: str, contract: Contract, *breaks: str
    ) -> ContractChange:
        return ContractChange(self._category, key, kind, message, contract.place_of(key), breaks)


def _types(spec: SettingSpec) -> frozenset[str]:
    names = set(spec.type.split("|"))
    if "any" in names:
        names = {"string", "number", "boolean", "object", "array", "null"}
    return frozenset(names | ({"integer"} if "number" in names else set()))


def _limits(was: Mapping[str, JSON], now: Mapping[str, JSON]) -> Iterator[str]:
    names = dict.fromkeys([*now, *was])
    for name in names:
        if name in _APART or name.startswith("x-kemudi-") or _text(was, name) == _text(now, name):
            continue
        before = shown(was[name]) if name in was else "none"
        after = shown(now[name]) if name in now else "none"
        yield f"{name} {before} → {after}"


def _text(schema: Mapping[str, JSON], name: str) -> str | None:
    return json.dumps(schema[name], sort_keys=True) if name in schema else None


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
