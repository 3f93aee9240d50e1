"""The board: every setting of every environment as the console shows it, computed once for each change of anything.

Pages, the API and the event stream read rows from here, so that masking stands in one place: a row of a sensitive
setting holds neither its value nor its ciphertext.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final, Literal

from kemudi.console.desired import layers_of
from kemudi.console.observed import Observed
from kemudi.schema.contract import SettingSpec
from kemudi.schema.documents import JSON
from kemudi.schema.envelope import Envelope
from kemudi.schema.state import ConfigState, ResolvedCategory, ResolvedSetting

RowState = Literal["live", "waiting", "unsaved", "rejected", "drift", "override", "paused", "unknown"]
STATES: Final[tuple[RowState, ...]] = (
    "live",
    "waiting",
    "unsaved",
    "rejected",
    "drift",
    "override",
    "paused",
    "unknown",
)


@dataclass(frozen=True, slots=True)
class Row:
    """One setting in one environment.

    Attributes:
        env: The environment.
        key: The setting.
        category: Its category.
        spec: What its contract says.
        value: What git says; None for a sensitive setting, and where nothing is set.
        is_set: Whether a layer sets it, or the contract has a default.
        layer: The layer that sets it, `default`, or empty.
        file: Where the value stands, relative to the config repo; empty for a default.
        line: 1-based; 0 for a default.
        etag: Changes when what git says of this setting here changes.
        served: What the daemon published; None when that is not known, or sensitive.
        state: How the two stand to each other.
        restart: Services that keep an older value until they are restarted.
        until: When an override ends; RFC 3339.
        words: What the search looks through. Never a sensitive value.
        seal: Of a sensitive setting: 8 hex digits of its ciphertext's digest.
        broken: Whether git's line for it has an error: then `value` is not what stands there.
    """

    env: str
    key: str
    category: str
    spec: SettingSpec
    value: JSON
    is_set: bool
    layer: str
    file: str
    line: int = field(compare=False)  # another line of the file may come and go; the row looks the same
    etag: str
    served: JSON
    state: RowState
    restart: tuple[str, ...] = ()
    until: str | None = None
    words: str = ""
    seal: str = ""
    broken: bool = False


@dataclass(frozen=True, slots=True)
class EnvironmentBoard:
    """One environment.

    Attributes:
        env: Its name.
        rows: By key, in the order of categories and contracts.
        applied: The revision that is published; None when nothing is, or that is not known.
        status: What the daemon says of it; None when it says nothing.
        behind: Whether git has something that is not published yet.
    """

    env: str
    rows: Mapping[str, Row]
    applied: str | None
    status: Mapping[str, Any] | None
    behind: bool

    def count(self, state: RowState) -> int:
        """How many rows are in a state."""
        return sum(row.state == state for row in self.rows.values())


@dataclass(frozen=True, slots=True)
class Board:
    """Everything at one moment.

    Attributes:
        branch: The branch that is served.
        head: Its newest commit; None before the first look.
        state: The config repo there; None while git cannot be read.
        environments: In promotion order.
        reachable: Whether the daemon answers.
        git_problem: Why git cannot be read; empty when it can.
        serial: Grows with every board.
    """

    branch: str | None = None
    head: str | None = None
    state: ConfigState | None = None
    environments: Mapping[str, EnvironmentBoard] = field(default_factory=dict)
    reachable: bool = False
    git_problem: str = ""
    serial: int = 0


@dataclass(frozen=True, slots=True)
class Sources:
    """What a board is made of.

    Attributes:
        branch: The branch that is served.
        head: Its newest commit.
        state: The config repo there.
        published: For each environment the state that its applied revision stands for; absent when unknown.
        observed: What the daemon says.
    """

    branch: str | None
    head: str
    state: ConfigState
    published: Mapping[str, ConfigState]
    observed: Observed


def is_unserved(board: Board, env: str) -> bool:
    """Whether the daemon answers, and has nothing to do with an environment."""
    here = board.environments.get(env)
    return board.reachable and here is not None and here.status is None


def make_board(sources: Sources, before: Board) -> Board:
    """The next board. Rows of a category that nothing touched are the same objects as before."""
    manifest = sources.state.manifest
    names = [each.name for each in manifest.environments] if manifest is not None else []
    made = {name: _environment(sources, name, before.environments.get(name)) for name in names}
    return Board(
        sources.branch,
        sources.head,
        sources.state,
        MappingProxyType(made),
        sources.observed.reachable,
        "",
        before.serial + 1,
    )


def changed_keys(before: Board, after: Board) -> list[tuple[str, str]]:
    """Environment and key of every row that looks different now."""
    found: list[tuple[str, str]] = []
    for env, now in after.environments.items():
        then = before.environments.get(env)
        old = then.rows if then is not None else {}
        found.extend(
            (env, key) for key, row in now.rows.items() if old.get(key) is not row and old.get(key) != row
        )
        found.extend((env, key) for key in old if key not in now.rows)
    return found


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the daemon says of one environment, as rows need it.

    `known`: which revision was published; `stored`: whether Redis answers, and so may serve it.
    """

    known: bool
    stored: bool
    behind: bool
    rejected: bool
    unsaved: bool
    paused: bool
    drifted: frozenset[str]
    drifted_categories: frozenset[str]
    restart: Mapping[str, tuple[str, ...]]
    overridden: Mapping[str, Mapping[str, Any]]


def _environment(sources: Sources, env: str, before: EnvironmentBoard | None) -> EnvironmentBoard:
    status = sources.observed.of(env)
    applied = ((status or {}).get("applied") or {}).get("revision")
    published = sources.published.get(env)
    facts = _facts(sources, status, applied, known=published is not None)
    here = sources.state.resolve(env)
    there = published.resolve(env) if published is not None and _has(published, env) else {}
    rows: dict[str, Row] = {}
    old = before.rows if before is not None else {}
    broken = _broken(sources.state, env)
    for name in sorted(sources.state.contracts):
        resolved = here.get(name)
        if resolved is not None:
            for made in _rows(env, resolved, there.get(name), facts):
                row = replace(made, broken=True) if made.key in broken else made
                kept = old.get(row.key)
                rows[row.key] = kept if kept == row and kept.line == row.line else row
    return EnvironmentBoard(env, MappingProxyType(rows), applied, status, facts.behind)


def _broken(state: ConfigState, env: str) -> frozenset[str]:
    """The settings whose line in a layer of an environment has an error."""
    layers = layers_of(state, env)
    errors = (each for each in state.findings if each.severity == "error" and each.layer in layers)
    return frozenset(each.key for each in errors if each.key)


def _has(state: ConfigState, env: str) -> bool:
    return state.manifest is not None and any(each.name == env for each in state.manifest.environments)


def _facts(sources: Sources, status: Mapping[str, Any] | None, applied: str | None, *, known: bool) -> _Facts:
    if status is None:
        return _Facts(False, False, False, False, False, False, frozenset(), frozenset(), {}, {})
    restart: dict[str, list[str]] = {}
    for client in status.get("clients", ()):
        for key in client.get("restart_pending", ()):
            restart.setdefault(key, []).append(str(client["service"]))
    drift = status.get("drift", ())
    overrides = {each["key"]: each for each in status.get("overrides", ()) if each.get("key")}
    return _Facts(
        known=known,
        stored=store_answers(status),
        behind=applied != sources.head,
        rejected=bool(status.get("errors")),
        unsaved=bool(applied and applied.startswith("worktree@")),
        paused=status.get("paused") is not None,
        drifted=frozenset(item["key"] for item in drift if item.get("key")),
        drifted_categories=frozenset(
            item["category"] for item in drift if item.get("category") and not item.get("key")
        ),
        restart={key: tuple(sorted(set(services))) for key, services in restart.items()},
        overridden=overrides,
    )


def _rows(
    env: str, resolved: ResolvedCategory, published: ResolvedCategory | None, facts: _Facts
) -> Iterable[Row]:
    for key, spec in resolved.contract.settings.items():
        setting = resolved.settings.get(key)
        served = published.settings.get(key) if published is not None else None
        yield _row(env, resolved.name, spec, setting, served, facts)


def _row(
    env: str,
    category: str,
    spec: SettingSpec,
    setting: ResolvedSetting | None,
    served: ResolvedSetting | None,
    facts: _Facts,
) -> Row:
    value = shown_value(spec, setting)
    place = setting.place if setting is not None else None
    override = facts.overridden.get(spec.key)
    return Row(
        env=env,
        key=spec.key,
        category=category,
        spec=spec,
        value=value,
        is_set=setting is not None,
        layer=setting.layer if setting is not None else "",
        file=place.file if place is not None else "",
        line=place.line if place is not None else 0,
        etag=etag_of(env, spec.key, setting),
        served=_served(spec, served, override, facts),
        state=_state(category, spec.key, setting, served, facts),
        restart=facts.restart.get(spec.key, ()),
        until=override.get("until") if override is not None else None,
        seal=setting.value.fingerprint()
        if setting is not None and isinstance(setting.value, Envelope)
        else "",
        words=f"{spec.key} {spec.description} {as_text(value) if setting is not None else ''}".casefold(),
    )


def _served(
    spec: SettingSpec, served: ResolvedSetting | None, override: Mapping[str, Any] | None, facts: _Facts
) -> JSON:
    """What Redis has. A sensitive setting is never overridden, and never shown."""
    if override is not None and not spec.sensitive:
        value: JSON = override.get("value")
        return value
    return shown_value(spec, served) if facts.known and facts.stored else None


def _state(
    category: str, key: str, setting: ResolvedSetting | None, served: ResolvedSetting | None, facts: _Facts
) -> RowState:
    if not facts.known:
        return "unknown"
    as_git = not facts.behind or _same(setting, served)
    if as_git and not facts.stored:
        return "unknown"
    if key in facts.overridden:
        return "override"
    if as_git:
        drifted = key in facts.drifted or category in facts.drifted_categories
        return "drift" if drifted else "live"
    if facts.unsaved:
        return "unsaved"
    if facts.paused:
        return "paused"
    return "rejected" if facts.rejected else "waiting"


def _same(setting: ResolvedSetting | None, served: ResolvedSetting | None) -> bool:
    if setting is None or served is None:
        return setting is served
    return type(setting.value) is type(served.value) and setting.value == served.value


def store_answers(status: Mapping[str, Any]) -> bool:
    """Whether Redis answers the daemon, by what it says of one environment."""
    ready: Mapping[str, Any] = next(
        (each for each in status.get("conditions", ()) if each.get("type") == "Ready"), {}
    )
    return ready.get("reason") != "StoreFailed"


def shown_value(spec: SettingSpec, setting: ResolvedSetting | None) -> JSON:
    """The value as anybody may see it: None for a sensitive one, whatever it holds."""
    if setting is None or spec.sensitive or isinstance(setting.value, Envelope):
        return None
    return setting.value


def as_text(value: JSON) -> str:
    """A value as it is shown and typed: text bare, all else as JSON. Never localised."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def etag_of(env: str, key: str, setting: ResolvedSetting | None) -> str:
    """8 bytes that change with what git says of one setting in one environment, and with nothing else."""
    if setting is None:
        said: list[Any] = [env, key]
    else:
        # A ciphertext is public in the repository; its digest tells that a secret was replaced.
        value = str(setting.value) if isinstance(setting.value, Envelope) else setting.value
        said = [env, key, setting.layer, value]
    text = json.dumps(said, ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
