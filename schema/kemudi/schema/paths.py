"""Which files of a config repo mean something, and what."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from kemudi.schema import manifest as manifests
from kemudi.schema import rules
from kemudi.schema.findings import Finding
from kemudi.schema.nearest import did_you_mean
from kemudi.schema.sentences import sentence

CONTRACTS: Final = "contracts/"
CONTRACT_SUFFIX: Final = ".schema.json"
CATEGORY: Final = re.compile(r"[a-z][a-z0-9_]{0,62}", re.ASCII)

_SINGLE: Final = frozenset({manifests.FILE, manifests.RECIPIENTS_FILE, manifests.ROLES_FILE})
_DEEPEST_STRAY: Final = 2
_VALUES_SUFFIXES: Final = (".yaml", ".yml", ".json", ".yaml.txt")


@dataclass(frozen=True, slots=True)
class File:
    """One entry of the config repo, from git or from a work tree.

    Attributes:
        path: Relative to the config repo, with forward slashes.
        data: Its bytes; the target of a symbolic link, or nothing.
        kind: A link or submodule under a config path is a finding.
    """

    path: str
    data: bytes
    kind: Literal["file", "symlink", "submodule"] = "file"


def contract_path(category: str) -> str:
    """Where the contract of a category stands."""
    return f"{CONTRACTS}{category}{CONTRACT_SUFFIX}"


def category_of_contract(path: str) -> str | None:
    """The category of a contract file; None for any other path."""
    if not (path.startswith(CONTRACTS) and path.endswith(CONTRACT_SUFFIX)):
        return None
    name = path[len(CONTRACTS) : -len(CONTRACT_SUFFIX)]
    return None if "/" in name else name


def values_path(layer: str, category: str) -> str:
    """Where a layer's values of a category stand."""
    return f"{layer}/{category}.yaml"


def is_relevant(path: str, kind: str = "file") -> bool:
    """Whether a path may mean something to Kemudi: the manifest files, contracts, flags, files of values.

    Links and submodules may stand for a whole folder, so any of them may.
    """
    folder, slash, rest = path.partition("/")
    if folder.startswith("."):
        return False
    if not slash:
        return path in _SINGLE or kind != "file"
    if kind != "file" or folder in ("contracts", "flags"):
        return True
    return rest.endswith(_VALUES_SUFFIXES) and rest.count("/") < _DEEPEST_STRAY


def kind_finding(file: File) -> Finding | None:
    """The finding for a symbolic link or submodule."""
    if file.kind == "file":
        return None
    what = sentence("a symbolic link") if file.kind == "symlink" else sentence("a submodule")
    message = sentence("%(what)s stands here; a config repo holds regular files", what=what)
    return Finding(file.path, 1, 1, rules.NOT_A_FILE, message=message)


def is_config(path: str, layers: Iterable[str]) -> bool:
    """Whether a path, whatever its kind, stands where Kemudi reads; case does not count."""
    folder = path.partition("/")[0].lower()
    return folder in _SINGLE or folder in ("contracts", "flags") or folder in layers


def twin_findings(paths: Iterable[str], layers: Iterable[str]) -> dict[str, Finding]:
    """Config paths that some file systems cannot tell apart, and names outside of ASCII, by path."""
    groups: defaultdict[str, list[str]] = defaultdict(list)
    found: dict[str, Finding] = {}
    known = frozenset(layers)
    for path in paths:
        if not is_config(path, known):
            continue
        if path.isascii():
            groups[path.lower()].append(path)
            continue
        groups[unicodedata.normalize("NFC", path).casefold()].append(path)
        message = sentence("the path has characters outside of ASCII, which file systems spell differently")
        found[path] = Finding(path, 1, 1, rules.PATH, message=message)
    for group in groups.values():
        first, *others = sorted(group)
        for path in others:
            message = sentence(
                "the path differs from %(first)s only in case or in its spelling of characters", first=first
            )
            found[path] = Finding(path, 1, 1, rules.PATH, message=message)
    return found


def stray_finding(path: str, layers: Iterable[str], categories: Mapping[str, object]) -> Finding | None:
    """The finding for a file that looks like values and is none: an unknown category, layer or suffix."""
    folder, _, name = path.partition("/")
    known_layers = list(layers)
    suffix = next((each for each in _VALUES_SUFFIXES if name.endswith(each)), None)
    if suffix is None:
        return None
    category = name[: -len(suffix)]
    if folder in known_layers:
        return _in_layer(path, folder, category, suffix, categories)
    if category in categories:
        hint = did_you_mean(folder, known_layers)
        message = sentence(
            "%(file)s names no layer %(folder)s, so these values reach nobody",
            file=manifests.FILE,
            folder=folder,
        )
        return Finding(path, 1, 1, rules.UNKNOWN_LAYER, message=message, hint=hint)
    return None


def _in_layer(
    path: str, layer: str, category: str, suffix: str, categories: Mapping[str, object]
) -> Finding | None:
    if "/" in category:
        message = sentence("the layer %(layer)s has no folders, so these values reach nobody", layer=layer)
        return Finding(path, 1, 1, rules.UNKNOWN_CATEGORY, message=message)
    if category not in categories:
        hint = did_you_mean(category, categories)
        message = sentence(
            "there is no contract %(category)s, so these values reach nobody",
            category=contract_path(category),
        )
        return Finding(path, 1, 1, rules.UNKNOWN_CATEGORY, message=message, hint=hint)
    if suffix != ".yaml":
        message = sentence(
            "values are read from %(layer)s, not from this file", layer=values_path(layer, category)
        )
        hint = sentence("rename it to %(category)s.yaml", category=category)
        return Finding(path, 1, 1, rules.UNKNOWN_CATEGORY, message=message, hint=hint)
    return None
