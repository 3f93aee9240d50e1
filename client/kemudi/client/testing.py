"""Testing code that reads settings: a client without a server, a fixture, overrides.

    config = InMemoryClient({"SYNC_BATCH_SIZE": 10})
    with override(config, SYNC_BATCH_SIZE=20): ...

For asyncio wrap it: `kemudi.client.aio.AsyncClient(InMemoryClient(...))`. Import the fixture in a `conftest.py`:
`from kemudi.client.testing import kemudi_config`.
"""

import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final

from kemudi.client.aio import AsyncClient
from kemudi.client.client import Client
from kemudi.client.defaults import declared_contracts, declared_defaults
from kemudi.client.errors import SettingNotFoundError
from kemudi.client.frozen import same, thaw
from kemudi.client.secrets import SecretReader
from kemudi.client.serving import Serving
from kemudi.client.settings import Contracts
from kemudi.client.snapshot import CategoryData, Snapshot
from kemudi.schema.contract import Contract
from kemudi.schema.errors import FindingsError, RefusedError
from kemudi.schema.findings import Finding
from kemudi.schema.generation import Generation
from kemudi.schema.secret import Secret
from kemudi.store.keyfiles import KeyFile

with suppress(ModuleNotFoundError):  # without pytest there is all but the fixture
    from kemudi.client.fixture import kemudi_config

__all__ = ["InMemoryClient", "kemudi_config", "override"]

DEFAULT_CATEGORY: Final = "settings"
"""The category of every value of a client without contracts."""


class InMemoryClient(Client):
    """A client whose settings are given, not fetched. Everything after that is what a connected client does.

    Callbacks run at once, in the thread that changes something.

    Args:
        values: The settings, by name. A `Secret` is served as one.
        contracts: A folder of contracts, or pydantic models. With them a value is checked as a commit would be, a
            setting that is not given has its default, and a sensitive one is served as a Secret. Without them the
            values are served as given.
        revision: The revision that it says it serves.

    Raises:
        SettingNotFoundError: With contracts, a name that no contract has.
        FindingsError: With contracts, a value that its contract refuses.
    """

    __slots__ = ("_contracts", "_revision", "_turn", "_values")

    def __init__(
        self,
        values: Mapping[str, Any] | None = None,
        *,
        contracts: Contracts | None = None,
        revision: str = "0" * 40,
    ) -> None:
        self._contracts = declared_contracts(contracts)
        self._revision = revision
        self._values = thaw(dict(values or {}))
        self._turn = threading.RLock()  # a callback may publish
        snapshot = self._snapshot(Generation(0, 1, 0), None)
        secrets = SecretReader(KeyFile.fixed(None))
        serving = Serving(snapshot, secrets, threaded=False)
        serving.start()
        super().__init__(serving, None)

    def publish(
        self, values: Mapping[str, Any] | None = None, *, revision: str | None = None, **more: Any
    ) -> None:
        """Change settings as a merged commit does: checks are asked, models follow, subscribers are told.

        Settings that are not named stay. Raises RefusedError with the reason when a check or a bound model refuses.
        """
        with self._turn:
            before = self._values, self._revision
            self._values = {**self._values, **thaw({**(values or {}), **more})}
            self._revision = revision or self._revision
            try:
                old = self.serving.snapshot
                generation = old.generation or Generation(0, 0, 0)
                snapshot = self._snapshot(Generation(generation.era, generation.depth + 1, 0), old)
                refusal = self.serving.offer(snapshot)
            except Exception:
                self._values, self._revision = before
                raise
            if refusal is not None:
                self._values, self._revision = before
                raise RefusedError(refusal.reason)

    def _snapshot(self, generation: Generation, old: Snapshot | None) -> Snapshot:
        categories = self._categories()
        before = old.categories if old is not None else {}
        shared = {name: _unless_same(before.get(name), category) for name, category in categories.items()}
        return Snapshot("in-memory", "test", self._revision, generation, "memory", shared)

    def _categories(self) -> dict[str, CategoryData]:
        if not self._contracts:
            return {DEFAULT_CATEGORY: CategoryData(DEFAULT_CATEGORY, dict(self._values), {}, {})}
        owners = {key: contract for contract in self._contracts.values() for key in contract.settings}
        by_category: dict[str, dict[str, Any]] = {name: {} for name in self._contracts}
        for key, value in self._values.items():
            if key not in owners:
                raise SettingNotFoundError(key, owners)
            by_category[owners[key].category][key] = _checked(owners[key], key, value)
        defaults = declared_defaults(self._contracts)
        return {name: _filled(defaults[name], values) for name, values in by_category.items()}


@contextmanager
def override(config: Client | AsyncClient, **values: Any) -> Generator[None]:
    """Serve other values for a while: above layers, defaults and pins, and through later swaps.

    Overrides nest, and may end in any order. They hold for every thread that reads this client, and for its bound
    models; a view pinned before keeps what it has. Subscribers are told as of any change. Values are not checked
    against contracts, but bound models check theirs.

    Args:
        config: A client, connected or in memory.
        values: The settings, by name.

    Raises:
        BindingRefusedError: A bound model refuses a value.
        TypeError: `config` is no client.
    """
    client = config.sync if isinstance(config, AsyncClient) else config
    if not isinstance(client, Client):
        raise TypeError(f"not a client of kemudi: {type(config).__name__}")
    handle = client.serving.override(values)
    try:
        yield
    finally:
        client.serving.lift(handle)


def _checked(contract: Contract, key: str, value: Any) -> Any:
    plain = value.reveal() if isinstance(value, Secret) else value
    problems = contract.check_value(key, plain)
    if problems:
        findings = [
            Finding(contract.file, 1, 1, problem.rule, key=key, message=problem.message, hint=problem.hint)
            for problem in problems
        ]
        raise FindingsError(f"{key}: {problems[0].message}", findings)
    plain = contract.normalise(key, plain)
    return Secret(plain) if isinstance(value, Secret) or key in contract.sensitive else plain


def _filled(defaults: CategoryData, values: dict[str, Any]) -> CategoryData:
    rest = {key: value for key, value in defaults.defaults.items() if key not in values}
    return CategoryData(defaults.name, values, rest, {}, defaults.restart)


def _unless_same(old: CategoryData | None, new: CategoryData) -> CategoryData:
    """The old object when nothing in it changed, as between two snapshots of a store."""
    if old is None:
        return new
    parts = ((old.values, new.values), (old.defaults, new.defaults))
    return old if all(same(dict(one), dict(two)) for one, two in parts) else new
