"""Defaults that a process declares itself, for the time before it has seen any snapshot.

They are the contracts that its code was written against. Under a snapshot they stand below the snapshot's own: a
setting that the code already knows and the published contract does not yet is served with its declared default.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from pydantic import BaseModel

from kemudi.client.settings import Contracts
from kemudi.client.snapshot import CategoryData
from kemudi.schema.contract import Contract, contract_from_model, contract_text
from kemudi.schema.contract_reader import read_contract
from kemudi.schema.errors import UsageError

_SUFFIX: Final = ".schema.json"
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def declared_contracts(contracts: Contracts | None) -> dict[str, Contract]:
    """The contracts by category. Raises UsageError for a folder, file or model that is none."""
    if contracts is None:
        return {}
    if isinstance(contracts, str | Path):
        return _from_folder(Path(contracts))
    if isinstance(contracts, Mapping):
        return {name: _from_model(name, model) for name, model in contracts.items()}
    return _from_models(contracts)


def declared_defaults(contracts: Mapping[str, Contract]) -> dict[str, CategoryData]:
    """The categories as they are when no layer sets anything."""
    return {
        name: CategoryData(name, values={}, defaults=contract.defaults, sealed={}, restart=contract.restart)
        for name, contract in contracts.items()
    }


def category_of(model: type[BaseModel]) -> str:
    """The category that a model is named after: `GraphQuerySettings` is `graph_query`."""
    bare = re.sub(r"(Settings|Contract|Config)$", "", model.__name__) or model.__name__
    return _HUMP.sub("_", bare).lower()


def _from_folder(folder: Path) -> dict[str, Contract]:
    if not folder.is_dir():
        raise UsageError(f"contracts={str(folder)!r} is not a folder of <category>{_SUFFIX} files")
    contracts = {}
    for path in sorted(folder.glob(f"*{_SUFFIX}")):
        name = path.name.removesuffix(_SUFFIX)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise UsageError(f"cannot read the contract {path}: {error.strerror}") from None
        contracts[name] = _read(data, str(path), name)
    if not contracts:
        raise UsageError(f"there is no <category>{_SUFFIX} in contracts={str(folder)!r}")
    return contracts


def _from_models(models: Iterable[type[BaseModel]]) -> dict[str, Contract]:
    contracts: dict[str, Contract] = {}
    for model in models:
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            raise UsageError("contracts takes a folder, pydantic models, or models by category")
        name = category_of(model)
        if name in contracts:
            raise UsageError(
                f"two models are named for the category {name!r}; pass them by category in a dict"
            )
        contracts[name] = _from_model(name, model)
    return contracts


def _from_model(name: str, model: type[BaseModel]) -> Contract:
    return _read(contract_text(contract_from_model(name, model)).encode(), model.__qualname__, name)


def _read(data: bytes, file: str, category: str) -> Contract:
    """A contract that can be used, even where `kemudi validate` would find fault with its descriptions."""
    contract, findings = read_contract(data, file, category)
    if contract is None:
        first = findings[0]
        raise UsageError(f"{first.file}:{first.line}:{first.column}: {first.message}")
    return contract
