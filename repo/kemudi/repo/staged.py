"""What the next commit would hold: the config repo as it is staged, looked at for plaintext secrets."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from kemudi.repo.paths import READ_BYTES
from kemudi.repo.repository import ConfigRepository
from kemudi.schema import rules
from kemudi.schema.findings import Finding
from kemudi.schema.guard import looks_like
from kemudi.schema.paths import File, is_relevant
from kemudi.schema.state import ConfigState

_GUARDED: Final = frozenset(
    {rules.PLAINTEXT_SECRET, rules.LIKELY_SECRET, rules.MALFORMED_SEAL, rules.MOVED_SEAL}
)
_PRIVATE: Final = ("a private key", "an age identity")
# Where a key is only spoken of, as in a manual, its line seldom begins with it.
_BEGINNINGS: Final = ("-----BEGIN ", "AGE-SECRET-KEY-1")
_REGULAR: Final = ("100644", "100755")
_EMPTY_TREE: Final = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"


class Staged(NamedTuple):
    """What the guard found.

    Attributes:
        findings: Plaintext secrets and damaged or copied ones in the config repo, private keys in any staged file.
        committed: Those that HEAD has already, so that a secret may be known to others.
    """

    findings: tuple[Finding, ...]
    committed: tuple[Finding, ...]


def look_at_staged(repository: ConfigRepository) -> Staged:
    """Judge the index: the staged contents, whatever the files on disk say. Raises UnavailableError's family."""
    extra = _index()
    blobs = dict(_index_entries(repository, extra))
    prefix = f"{repository.prefix}/" if repository.prefix else ""
    mine = {path.removeprefix(prefix): sha for path, sha in blobs.items() if path.startswith(prefix)}
    files = _read(repository, {path: sha for path, sha in mine.items() if is_relevant(path)})
    findings = _guarded(ConfigState.load(files))
    private = _private_keys(repository, extra, blobs)
    head = repository.head().sha
    before = (
        {_same(each) for each in _guarded(ConfigState.load(repository.files(head).values()))}
        if head
        else set()
    )
    known = tuple(each for each in findings if each.rule == rules.PLAINTEXT_SECRET and _same(each) in before)
    return Staged((*findings, *private), known)


def _guarded(state: ConfigState) -> tuple[Finding, ...]:
    return tuple(finding for finding in state.findings if finding.rule in _GUARDED)


def _same(finding: Finding) -> tuple[str, str, str | None]:
    return finding.rule, finding.file, finding.key


def _private_keys(
    repository: ConfigRepository, extra: dict[str, str], blobs: dict[str, str]
) -> Iterator[Finding]:
    """Private keys in what is staged anew, anywhere in the repository."""
    head = repository.head().sha or _EMPTY_TREE
    out = repository.git.run(
        "diff-index",
        "--cached",
        "--name-only",
        "--no-renames",
        "--diff-filter=d",
        "-z",
        head,
        "--",
        extra=extra,
    )
    changed = {path: blobs[path] for path in _names(out) if path in blobs}
    for file in _read(repository, changed):
        text = file.data.decode("utf-8", "replace")
        if "\0" not in text[:8000] and (kind := _kind_of_key(text)) is not None:
            message = f"{kind} stands in this file"
            hint = f"take it out: git rm --cached {file.path}; keys are kept outside of git"
            yield Finding(file.path, 1, 1, rules.PLAINTEXT_SECRET, message=message, hint=hint)


def _kind_of_key(text: str) -> str | None:
    """The kind of private key in a text, None if there is none."""
    kinds = (looks_like(line) for line in text.splitlines() if line.startswith(_BEGINNINGS))
    return next((kind for kind in kinds if kind in _PRIVATE), None)


def _read(repository: ConfigRepository, shas: dict[str, str]) -> list[File]:
    data = repository.objects.blobs(list(shas.values()), limit=READ_BYTES)
    return [File(path, each) for path, each in zip(shas, data, strict=True)]


def _index_entries(repository: ConfigRepository, extra: dict[str, str]) -> Iterator[tuple[str, str]]:
    for entry in _names(repository.git.run("ls-files", "--cached", "--stage", "-z", extra=extra)):
        place, _, path = entry.partition("\t")
        mode, sha, _stage = place.split(" ")
        if mode in _REGULAR:
            yield path, sha


def _names(out: bytes) -> list[str]:
    return [each for each in out.decode("utf-8", "surrogateescape").split("\0") if each]


def _index() -> dict[str, str]:
    """`git commit PATH` lets its hooks look at an index of its own."""
    name = os.environ.get("GIT_INDEX_FILE")
    return {"GIT_INDEX_FILE": str(Path(name).absolute())} if name else {}
