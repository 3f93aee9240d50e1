"""What every commit did to every setting: computed step by step, parents before children.

For each commit the difference to its FIRST parent is known. Where a merge took a setting over from another parent, the
commit there stays the one that is responsible; only what no parent has is the merge's own change.
"""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Final, Literal, NamedTuple

from kemudi.repo.history_log import TIME_LIMIT_SECONDS, Step, Touched
from kemudi.repo.history_values import (
    DEFAULT_LAYER,
    NO_DEFAULT,
    NOTHING,
    Content,
    Reader,
    Values,
    Version,
    compared,
    contract_defaults,
    layer_of,
)
from kemudi.repo.objects import Objects
from kemudi.repo.paths import MANIFEST, READ_BYTES

_WINDOW: Final = 500

Kind = Literal["add", "change", "remove", "move"]
RowKind = Literal["add", "change", "remove", "move", "taken", "left"]


class FileState(NamedTuple):
    """The settings of one file at one commit: what it says, and the number of the commit of each."""

    content: Content
    origins: dict[str, int]

    @property
    def values(self) -> Values:
        """The stored values."""
        return self.content.values


State = dict[str, FileState]


class Row(NamedTuple):
    """What one commit did to one setting of one file, against its first parent.

    `taken`: a merge has it from another parent. `left`: the place that a move came from. Neither is an entry.
    """

    number: int
    key: str
    path: str
    kind: RowKind
    old: str | None
    new: str | None
    origin: int
    source: str | None
    line: int


@dataclass
class Builder:
    """Turns steps into rows. `states` holds the states of the commits that new steps build upon.

    Args:
        objects: Reads the files.
        prefixes: The folders that the config repo was in, the present one first.
        states: By SHA; given for parents that are known already.
        numbers: Of the commits, by SHA.
    """

    objects: Objects
    prefixes: tuple[str, ...]
    states: dict[str, State]
    numbers: dict[str, int]
    said: dict[str, set[bool]] = field(default_factory=dict)
    _reader: Reader = field(default_factory=Reader)

    def rows(self, steps: list[Step], keep: str) -> Iterator[Row]:
        """The rows of all steps. The state of the commit `keep` is in `states` at the end; others are dropped."""
        waiting: dict[str, int] = {}
        for step in steps:
            for parent in step.parents:
                waiting[parent] = waiting.get(parent, 0) + 1
        waiting[keep] = waiting.get(keep, 0) + 1
        windows = [steps[start : start + _WINDOW] for start in range(0, len(steps), _WINDOW)]
        wanted = [self._blobs(window) for window in windows]
        contents = self.objects.stream(
            list(chain.from_iterable(wanted)), limit=READ_BYTES, time_limit_seconds=TIME_LIMIT_SECONDS
        )
        with contextlib.closing(contents):
            for window, blobs in zip(windows, wanted, strict=True):
                held = dict(zip(blobs, contents, strict=False))
                for step in window:
                    yield from self._step(step, held, waiting)

    def _blobs(self, steps: Iterable[Step]) -> list[str]:
        """The files that some steps need, each once."""
        return list(
            dict.fromkeys(
                each.blob
                for step in steps
                for each in step.touched
                if each.blob is not None and self._relative(each.path) is not None
            )
        )

    def _step(self, step: Step, contents: Mapping[str, bytes], waiting: dict[str, int]) -> Iterator[Row]:
        number = self.numbers[step.sha]
        parents = [self.states.get(parent, {}) for parent in step.parents]
        first = parents[0] if parents else {}
        blobs = self._changed(step.touched).items()
        read = {path: self._read(path, blob, contents, first) for path, blob in blobs}
        changed = {path: found for path, found in read.items() if found is not None}
        rows = list(_rows(number, first, parents[1:], changed))
        for parent in step.parents:
            waiting[parent] -= 1
            if not waiting[parent]:
                self.states.pop(parent, None)
        # The last child takes the state over; the parent's is needed by nobody else.
        mine = first if step.parents and not waiting[step.parents[0]] else dict(first)
        _apply(mine, rows, changed)
        self.states[step.sha] = mine
        yield from rows

    def _changed(self, touched: Iterable[Touched]) -> dict[str, str | None]:
        """Path in the config repo to new content; a file that moved with its whole folder is where it was."""
        found: dict[str, str | None] = {}
        for each in touched:
            path = self._relative(each.path)
            if path is not None and (each.blob is not None or path not in found):
                found[path] = each.blob
        return found

    def _relative(self, path: str) -> str | None:
        for prefix in self.prefixes:
            if not prefix or path.startswith(f"{prefix}/"):
                rest = path[len(prefix) + 1 :] if prefix else path
                if layer_of(rest) is not None:
                    return rest
        return None

    def _read(
        self, path: str, blob: str | None, contents: Mapping[str, bytes], first: State
    ) -> Version | None:
        before = first[path].content if path in first else NOTHING
        if blob is None:
            return compared(before, NOTHING, b"")
        if layer_of(path) != DEFAULT_LAYER:
            return self._reader.version(before, contents[blob])
        data = contents[blob]
        defaults, said = contract_defaults(data)
        for key, sensitive in said.items():
            self.said.setdefault(key, set()).add(sensitive)
        return None if defaults is None else compared(before, Content(defaults), data)


def prefixes(steps: Iterable[Step], present: str) -> tuple[str, ...]:
    """The folders that the config repo was in, followed back from the present one along moves of kemudi.yaml."""
    found = [present]
    for step in reversed(list(steps)):
        names = [each for each in step.touched if each.path.rpartition("/")[2] == MANIFEST]
        made = any(each.is_new and each.path == _manifest(found[-1]) for each in names)
        gone = [each.path.rpartition("/")[0] for each in names if each.blob is None]
        if made and len(gone) == 1 and gone[0] not in found:
            found.append(gone[0])
    return tuple(sorted(found, key=lambda prefix: (prefix != present, -len(prefix))))


def _manifest(prefix: str) -> str:
    return f"{prefix}/{MANIFEST}" if prefix else MANIFEST


def _rows(number: int, first: State, others: list[State], changed: Mapping[str, Version]) -> Iterator[Row]:
    added: list[tuple[str, str]] = []
    removed: list[tuple[str, str]] = []
    for path, version in sorted(changed.items()):
        old, new = first[path].values if path in first else {}, version.content.values
        for key in version.keys:
            origin = _taken_from(others, path, key, new.get(key))
            if origin is not None:
                yield Row(number, key, path, "taken", old.get(key), new.get(key), origin, None, 1)
            elif key not in old:
                added.append((key, path))
            elif key not in new:
                removed.append((key, path))
            else:
                line = version.line_of(key)
                yield Row(number, key, path, "change", old[key], new[key], number, None, line)
    if added or removed:
        yield from _moves(number, first, changed, added, removed)


def _taken_from(others: list[State], path: str, key: str, value: str | None) -> int | None:
    """The commit that a merge has a value from; 0 for a removal."""
    for state in others:
        file = state.get(path)
        held = file.values.get(key) if file is not None else None
        if held == value:
            return file.origins[key] if file is not None and value is not None else 0
    return None


def _moves(
    number: int,
    first: State,
    changed: Mapping[str, Version],
    added: list[tuple[str, str]],
    removed: list[tuple[str, str]],
) -> Iterator[Row]:
    """Pairs of a line that went and one that came: within a layer, or with the same value across layers."""
    left: dict[str, list[str]] = {}
    for key, path in removed:
        left.setdefault(key, []).append(path)
    # Pairs within a layer are made first: a line that went elsewhere leaves nothing to a copy in another layer.
    for key, path in sorted(added, key=lambda each: not _near(left.get(each[0], ()), each[1])):
        new, line = changed[path].content.values[key], changed[path].line_of(key)
        source = _source(left.get(key, []), first, key, path, new)
        if source is None:
            yield Row(number, key, path, "add", None, new, number, None, line)
            continue
        left[key].remove(source)
        old = first[source].values[key]
        same = old == new
        origin = first[source].origins[key] if same else number
        yield Row(number, key, source, "left", old, None, 0, None, 1)
        yield Row(number, key, path, "move" if same else "change", old, new, origin, source, line)
    for key, paths in left.items():
        for path in paths:
            yield Row(number, key, path, "remove", first[path].values[key], None, number, None, 1)


def _source(left: list[str], first: State, key: str, path: str, new: str) -> str | None:
    near = _near(left, path)
    if near:
        return min(near)
    if layer_of(path) == DEFAULT_LAYER or new == NO_DEFAULT:
        return None
    alike = [each for each in left if layer_of(each) != DEFAULT_LAYER and first[each].values[key] == new]
    return min(alike, default=None)


def _near(paths: Iterable[str], path: str) -> list[str]:
    return [each for each in paths if layer_of(each) == layer_of(path)]


def _apply(state: State, rows: Iterable[Row], changed: Mapping[str, Version]) -> None:
    origins: dict[str, dict[str, int]] = {}
    for row in rows:
        mine = origins.get(row.path)
        if mine is None:
            held = state.get(row.path)
            mine = origins[row.path] = dict(held.origins) if held is not None else {}
        if row.new is None:
            mine.pop(row.key, None)
        else:
            mine[row.key] = row.origin
    for path, (content, _, _) in changed.items():
        if content.values:
            known = origins[path] if path in origins else state[path].origins
            state[path] = FileState(content, known)
        else:
            state.pop(path, None)
