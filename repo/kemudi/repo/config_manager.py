"""`ConfigManager`: the interface of a settings table, over git, for code that moves to Kemudi step by step.

Reads come from a client that is handed in, so they are typed, in memory, and what every process sees. Writes are
commits: they come into effect when the daemon has published them, a moment later.
"""

import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from kemudi.repo.changes import ChangeRequest, Committed, Edit, apply
from kemudi.repo.people import KEMUDI, Author
from kemudi.repo.repository import ConfigRepository
from kemudi.schema.contract import SettingSpec
from kemudi.schema.documents import JSON
from kemudi.schema.errors import FindingsError, UsageError
from kemudi.schema.nearest import did_you_mean
from kemudi.schema.secret import Secret
from kemudi.schema.state import ConfigState

_NO_REASON: Final = "Changed by a program."


class Reader(Protocol):
    """What is needed of a client; `kemudi.client.connect(…)` gives one, `InMemoryClient` is one."""

    def __getitem__(self, key: str) -> Any:
        """The value of a setting. Raises KeyError."""

    def __contains__(self, key: object) -> bool:
        """Whether the setting has a value."""


class ConfigManager:
    """Get and set by key, `KEY` or `category.KEY`. Any thread may use it.

    Args:
        client: Answers reads.
        repository: The config repo, a folder above it, or a bare repository; writes are commits there.
        env: The environment whose overlay is written.
        author: Who writes when `user` is left out; a callable turns a user into an author, for those who are no text.
    """

    def __init__(
        self,
        client: Reader,
        repository: Path,
        env: str,
        *,
        author: Author | Callable[[Any], Author] = KEMUDI,
    ) -> None:
        self._client = client
        self._repository = repository
        self._env = env
        self._author = author
        self._lock = threading.Lock()
        self._known: tuple[str, ConfigState] | None = None

    def get(self, key: str, default: Any = None, use_cache: bool = True) -> Any:  # noqa: ARG002  # for callers of before
        """The value of a setting, from memory. An unknown one: a warning and the default.

        Args:
            key: `SYNC_BATCH_SIZE` or `sync.SYNC_BATCH_SIZE`.
            default: Given back when nothing sets the setting and its contract has no default, or it is unknown.
            use_cache: Kept for callers that pass it. The client's memory follows what is served by itself.
        """
        name = self._name(key)
        if name is None:
            warnings.warn(f"there is no setting {key!r}; the default is used", stacklevel=2)
            return default
        return self._value(name, default)

    def get_category(self, category: str, use_cache: bool = True) -> dict[str, Any]:  # noqa: ARG002  # for callers of before
        """The values of a category by key; settings without a value are left out. Raises UsageError."""
        contracts = self._state().contracts
        if category not in contracts:
            raise UsageError(f"there is no category {category!r}", hint=did_you_mean(category, contracts))
        return {key: self._client[key] for key in contracts[category].settings if key in self._client}

    def set(self, key: str, value: JSON | Secret[JSON], user: Any = None, reason: str = "") -> Committed:
        """Change one setting, as one commit. Raises as `bulk_set`."""
        return self.bulk_set({key: value}, user, reason)

    def bulk_set(
        self, configs: Mapping[str, JSON | Secret[JSON]], user: Any = None, reason: str = ""
    ) -> Committed:
        """Change several settings, all or none, as ONE commit. Sensitive values are sealed.

        Raises UsageError for an unknown setting, FindingsError for a value that breaks its contract,
        PolicyRefusedError, ConflictError.
        """
        state = self._state(fresh=True)
        layer = self._layer(state)
        edits = tuple(Edit(layer, self._known_name(state, key), value) for key, value in configs.items())
        if not edits:
            raise UsageError("nothing to set")
        operation = "set" if len(edits) == 1 else "bulk"
        request = ChangeRequest(edits, reason or _NO_REASON, self._author_of(user), operation=operation)
        return apply(self._repository, request)

    def reload(self, key: str | None = None) -> None:  # noqa: ARG002  # the interface that code moves from
        """Read the contracts anew. Values need no reload: the client hears of changes by itself."""
        self._state(fresh=True)

    def get_all(self) -> dict[str, dict[str, Any]]:
        """Every setting: `{key: {value, category, data_type, description, requires_restart}}`.

        A sensitive value is a `Secret`; without any value it is None.
        """
        state = self._state()
        return {
            key: {
                "value": self._value(key, None),
                "category": category,
                "data_type": spec.type,
                "description": spec.description,
                "requires_restart": spec.requires_restart,
            }
            for category, key, spec in _described(state)
        }

    def _value(self, key: str, default: Any) -> Any:
        # Not the client's `get`, which prefers its default to the contract's.
        try:
            return self._client[key]
        except KeyError:
            return default

    def _state(self, *, fresh: bool = False) -> ConfigState:
        """The contracts as HEAD has them; read again when `fresh`."""
        with self._lock:
            if self._known is not None and not fresh:
                return self._known[1]
            with ConfigRepository.open(self._repository) as repository:
                head = repository.head().sha
                if head is None:
                    raise UsageError("the repository has no commit yet")
                if self._known is None:
                    state = ConfigState.load(repository.files(head).values())
                else:
                    seen, state = self._known
                    state = state.update(repository.changes(seen, head))
            self._known = head, state
            return state

    def _name(self, key: str) -> str | None:
        """The key without its category; None for what no contract knows."""
        category, dot, name = key.rpartition(".")
        of = self._state().category_of.get(name)
        return name if of is not None and (not dot or of == category) else None

    def _known_name(self, state: ConfigState, key: str) -> str:
        name = self._name(key)
        if name is None:
            hint = did_you_mean(key.rpartition(".")[2], state.category_of)
            raise UsageError(f"no contract has a setting {key!r}", hint=hint)
        return name

    def _layer(self, state: ConfigState) -> str:
        if state.manifest is None:
            raise FindingsError("kemudi.yaml is not valid", state.findings)
        names = [each.name for each in state.manifest.environments]
        if self._env not in names:
            raise UsageError(f"there is no environment {self._env!r}", hint=did_you_mean(self._env, names))
        return state.manifest.environment(self._env).layers[-1]

    def _author_of(self, user: Any) -> Author:
        if callable(self._author):
            return self._author(user)
        if user is None:
            return self._author
        if isinstance(user, Author):
            return user
        # What applications call a user, without knowing any of them.
        name = str(getattr(user, "username", None) or user)
        return Author(name, str(getattr(user, "email", None) or f"{name.replace(' ', '.')}@localhost"))


def _described(state: ConfigState) -> Iterator[tuple[str, str, SettingSpec]]:
    for category, contract in sorted(state.contracts.items()):
        for key, spec in contract.settings.items():
            yield category, key, spec
