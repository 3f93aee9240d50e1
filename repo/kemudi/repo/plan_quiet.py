"""Edits that change nothing, said as such: hidden by a higher layer, the same value, comments only."""

from collections.abc import Iterator

from kemudi.repo.plan_model import NoEffect
from kemudi.schema.contract import Contract
from kemudi.schema.documents import JSON
from kemudi.schema.envelope import Envelope
from kemudi.schema.layers import ResolvedSetting
from kemudi.schema.paths import category_of_contract
from kemudi.schema.state import ConfigState

_NOTHING = object()


def edits_without_effect(old: ConfigState, new: ConfigState) -> tuple[NoEffect, ...]:
    """Every edit of a file of values or a contract that leaves some environment as it was."""
    paths = [path for path in {**old.files, **new.files} if old.files.get(path) != new.files.get(path)]
    found = [each for path in sorted(paths) for each in _of_file(old, new, path)]
    return tuple(found)


def _of_file(old: ConfigState, new: ConfigState, path: str) -> Iterator[NoEffect]:
    category = category_of_contract(path)
    if category is not None:
        if category in old.contracts and category in new.contracts:
            before, after = old.contracts[category], new.contracts[category]
            if before.schema == after.schema:
                yield NoEffect(path, None, _all(new), "layout", "only layout changed")
        return
    layer, _, name = path.partition("/")
    category = name.removesuffix(".yaml")
    contract = new.contracts.get(category)
    if new.manifest is None or contract is None or layer not in new.manifest.layers:
        return
    edited = list(_edited(old, new, layer, category))
    environments = new.manifest.environments_of(layer)
    if not edited and _readable(old, new, layer, category):
        yield NoEffect(path, None, environments, "layout", "only comments or layout changed")
    for key in edited:
        yield from _of_key(old, new, path, contract, key)


def _all(state: ConfigState) -> tuple[str, ...]:
    return tuple(each.name for each in state.manifest.environments) if state.manifest is not None else ()


def _readable(old: ConfigState, new: ConfigState, layer: str, category: str) -> bool:
    files = [state.layer_file(layer, category) for state in (old, new)]
    return all(each is None or (each.document is not None and not each.findings) for each in files)


def _edited(old: ConfigState, new: ConfigState, layer: str, category: str) -> Iterator[str]:
    before, after = (state.layer_file(layer, category) for state in (old, new))
    was = before.values if before is not None else {}
    now = after.values if after is not None else {}
    for key in dict.fromkeys([*now, *was]):
        if repr(was.get(key, _NOTHING)) != repr(now.get(key, _NOTHING)):
            yield key


def _of_key(
    old: ConfigState, new: ConfigState, path: str, contract: Contract, key: str
) -> Iterator[NoEffect]:
    layer = path.partition("/")[0]
    manifest = new.manifest
    assert manifest is not None  # noqa: S101  # looked at by the caller
    hidden: dict[str, list[str]] = {}
    same: list[str] = []
    for env in manifest.environments_of(layer):
        was, now = _setting(old, env, contract.category, key), _setting(new, env, contract.category, key)
        if repr(_value(was)) != repr(_value(now)):
            continue
        layers = manifest.environment(env).layers
        if now is not None and now.layer in layers and layers.index(now.layer) > layers.index(layer):
            hidden.setdefault(f"{now.place}", []).append(env)
        else:
            same.append(env)
    for place, environments in hidden.items():
        yield NoEffect(path, key, tuple(environments), "hidden", f"{place} sets {key}, and wins")
    if same:
        yield NoEffect(path, key, tuple(same), "same", f"{key} had this value already")


def _setting(state: ConfigState, env: str, category: str, key: str) -> ResolvedSetting | None:
    if state.manifest is None or env not in {each.name for each in state.manifest.environments}:
        return None
    resolved = state.resolve(env).get(category)
    return resolved.settings.get(key) if resolved is not None else None


def _value(setting: ResolvedSetting | None) -> JSON | Envelope | object:
    return _NOTHING if setting is None else setting.value
