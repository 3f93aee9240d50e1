"""The history of settings, from git: who changed which value, when, why, and what is responsible for it now.

Follows a setting when its line moves to another file or category, when a file or a layer's folder is renamed, and when
the whole config repo moves. Values of sensitive settings are never given out: they are "changed".
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

from kemudi.repo.history_build import Kind, State
from kemudi.repo.history_index import Found, Index
from kemudi.repo.history_values import DEFAULT_LAYER, NO_DEFAULT, SEALED, layer_of, loaded
from kemudi.repo.messages import Trailers, reason_of, trailers_of
from kemudi.repo.repository import ConfigRepository
from kemudi.schema.documents import JSON
from kemudi.schema.errors import FindingsError, UsageError
from kemudi.schema.guard import USUAL
from kemudi.schema.manifest import FILE, RepoManifest, read_manifest
from kemudi.schema.nearest import did_you_mean

_LATEST: Final = 253402300799


@dataclass(frozen=True, slots=True)
class Entry:
    """What one commit did to one setting of one layer.

    Attributes:
        revision: The commit.
        at: When its author made it, UTC.
        author_name: Who.
        author_email: Their address.
        subject: First line of the message.
        reason: Why: the message without subject and trailers.
        trailers: Of the message.
        key: The setting.
        layer: `base`, an environment's overlay, or `default` for the contract's default.
        file: Where it stands, or stood, relative to the config repo.
        line: Of the value after the commit; 1 for one that was taken away.
        kind: `move`: the same value, in another file or layer.
        old: The value before; None for none, and for a sensitive setting.
        new: The value after; likewise.
        sensitive: Whether values are withheld.
        from_file: Where the line was before, when the commit moved it.
    """

    revision: str
    at: datetime
    author_name: str
    author_email: str
    subject: str
    reason: str
    trailers: Trailers
    key: str
    layer: str
    file: str
    line: int
    kind: Kind
    old: JSON
    new: JSON
    sensitive: bool
    from_file: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The wire form of CLI and API."""
        return {
            "revision": self.revision,
            "at": self.at.isoformat().replace("+00:00", "Z"),
            "author": {"name": self.author_name, "email": self.author_email},
            "subject": self.subject,
            "reason": self.reason,
            "trailers": [{"name": name, "value": value} for name, value in self.trailers],
            "key": self.key,
            "layer": self.layer,
            "file": self.file,
            "line": self.line,
            "kind": self.kind,
            "old": self.old,
            "new": self.new,
            "sensitive": self.sensitive,
            "from_file": self.from_file,
        }


class History:
    """Answers for one repository, at HEAD unless another commit is named. One thread uses it at a time.

    Args:
        repository: An open repository; stays the caller's.
        cache: A file for the index, made and kept up to date here; None: one in the repository's own folder.
    """

    def __init__(self, repository: ConfigRepository, cache: Path | None = None) -> None:
        self._repository = repository
        own = repository.layout.common_dir / "kemudi" / "history.sqlite"
        self._index = Index(repository, cache or own)

    def of_key(
        self,
        key: str,
        *,
        env: str | None = None,
        layer: str | None = None,
        limit: int | None = None,
        before: str | None = None,
        at: str | None = None,
    ) -> tuple[Entry, ...]:
        """What happened to a setting, newest first.

        Args:
            key: The setting, also one that is gone.
            env: Only what one environment gets: its layers, and the contract's default.
            layer: Only one layer, and where its lines came from.
            limit: At most so many entries.
            before: Only commits that lead to this one, without itself: the last entry of the page before.
            at: The history that leads to this commit; None: HEAD.

        Raises UsageError for an unknown environment.
        """
        head = self._head(at)
        layers = self._wanted(env, layer, head)

        def ask(index: Index) -> list[Found]:
            within = index.reachable(head)
            if before is not None:
                within = index.numbers_before(self._repository.resolve(before))
            every = layers is None
            found = index.entries("r.key = ?", (key,), within, limit if every else None)
            return found if layers is None else _followed(found, layers)[:limit]

        return self._entries(self._index.at(head, ask))

    def blame(self, env: str, *, at: str | None = None) -> tuple[Entry, ...]:
        """For every setting of an environment the entry that gave it its present value, by key.

        Of a value that a merge has from one of its parents, that is the commit there.
        """
        head = self._head(at)
        layers = self._layers(env, head)

        def ask(index: Index) -> list[Found]:
            return index.origins(_held(index.state(head), layers))

        return self._entries(self._index.at(head, ask))

    def between(self, base: str, head: str) -> tuple[Entry, ...]:
        """What the commits did that lead to `head` and not to `base`, newest first."""
        old, new = self._repository.resolve(base), self._repository.resolve(head)

        def ask(index: Index) -> list[Found]:
            return index.entries("1", (), index.numbers_between(old, new), None)

        if not self._repository.is_ancestor(old, new):
            self._index.at(old, lambda _: None)
        return self._entries(self._index.at(new, ask))

    def of_commit(self, revision: str) -> tuple[Entry, ...]:
        """What one commit did; of a merge, what none of its parents has."""
        sha = self._repository.resolve(revision)
        return self._entries(
            self._index.at(sha, lambda index: index.entries("c.sha = ?", (sha,), None, None))
        )

    def latest(
        self,
        limit: int = 50,
        *,
        env: str | None = None,
        layer: str | None = None,
        before: str | None = None,
        at: str | None = None,
    ) -> tuple[Entry, ...]:
        """The newest entries of all settings, or of those of one environment or layer. Arguments as of `of_key`."""
        head = self._head(at)
        layers = self._wanted(env, layer, head)

        def ask(index: Index) -> list[Found]:
            within = (
                index.reachable(head)
                if before is None
                else index.numbers_before(self._repository.resolve(before))
            )
            if layers is None:
                return index.entries("1", (), within, limit)
            found = index.entries("1", (), within, None)
            return [each for each in found if layer_of(each.path) in layers][:limit]

        return self._entries(self._index.at(head, ask))

    def origin(self, env: str, key: str, *, at: str | None = None) -> Entry | None:
        """The entry that gave a setting its present value in an environment; None for a setting without one."""
        head = self._head(at)
        layers = self._layers(env, head)
        held = self._index.at(head, lambda index: _held(index.state(head), layers, only=key))
        return next(iter(self._entries(self._index.at(head, lambda index: index.origins(held)))), None)

    def close(self) -> None:
        """Close the index."""
        self._index.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _head(self, at: str | None) -> str:
        sha = self._repository.resolve(at) if at is not None else self._repository.head().sha
        if sha is None:
            raise UsageError("the repository has no commit yet")
        return sha

    def _wanted(self, env: str | None, layer: str | None, head: str) -> tuple[str, ...] | None:
        """The layers that are asked for; None = all."""
        if layer is not None:
            return (layer,)
        return self._layers(env, head) if env is not None else None

    def _layers(self, env: str, head: str) -> tuple[str, ...]:
        manifest = self._manifest(head)
        names = [each.name for each in manifest.environments]
        if env not in names:
            raise UsageError(f"there is no environment {env!r}", hint=did_you_mean(env, names))
        return (DEFAULT_LAYER, *manifest.environment(env).layers)

    def _manifest(self, head: str) -> RepoManifest:
        found = self._repository.file_ids(head).get(FILE)
        data = self._repository.objects.blob(found.sha) if found is not None else b""
        manifest, findings = read_manifest(data)
        if manifest is None:
            raise FindingsError(f"{FILE} cannot be read", findings)
        return manifest

    def _entries(self, found: Sequence[Found]) -> tuple[Entry, ...]:
        said = self._index.said() if found else {}
        return tuple(_entry(each, said.get(each.key, set())) for each in found)


def _held(state: State, layers: Sequence[str], *, only: str | None = None) -> list[tuple[str, str, str, int]]:
    """Key, path, stored value and commit of what wins in the layers, of settings that a contract knows; by key."""
    by_layer: dict[str, list[str]] = {}
    for path in sorted(state):
        by_layer.setdefault(layer_of(path) or "", []).append(path)
    known = {key for path in by_layer.get(DEFAULT_LAYER, ()) for key in state[path].values}
    held: dict[str, tuple[str, str, int]] = {}
    for layer in layers:
        for path in by_layer.get(layer, ()):
            file = state[path]
            chosen = file.values if only is None else {only: file.values[only]} if only in file.values else {}
            held.update({key: (path, value, file.origins[key]) for key, value in chosen.items()})
    return [(key, *place) for key, place in sorted(held.items()) if key in known and place[1] != NO_DEFAULT]


def _followed(found: Iterable[Found], layers: Iterable[str]) -> list[Found]:
    """The entries of some layers, and of those that their lines came from."""
    wanted = set(layers)
    kept: list[Found] = []
    for each in found:
        if layer_of(each.path) in wanted:
            kept.append(each)
            if each.source is not None:
                wanted.add(layer_of(each.source) or "")
    return kept


def _entry(found: Found, said: set[bool]) -> Entry:
    sealed = any(text is not None and text.startswith(SEALED) for text in (found.old, found.new))
    named = not said and USUAL.match(found.key) is not None
    sensitive = sealed or True in said or named
    kind: Any = found.kind
    return Entry(
        found.sha,
        datetime.fromtimestamp(min(max(found.authored, 0), _LATEST), UTC),
        found.name,
        found.email,
        found.message.lstrip("\n").partition("\n")[0],
        reason_of(found.message),
        trailers_of(found.message),
        found.key,
        layer_of(found.path) or "",
        found.path,
        found.line,
        kind,
        None if sensitive else loaded(found.old),
        None if sensitive else loaded(found.new),
        sensitive,
        found.source,
    )
