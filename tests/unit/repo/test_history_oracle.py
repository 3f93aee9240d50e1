"""The fast history agrees with a slow, obvious one, on random repositories: merges, renames, moves, deletions."""

import itertools
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kemudi.repo.git import environment
from kemudi.repo.history import Entry, History
from kemudi.repo.history_values import NOTHING, Reader, stored
from kemudi.repo.repository import ConfigRepository
from kemudi.schema.documents import read_document

LAYERS = ("base", "dev", "prod")
CATEGORIES = ("alpha", "beta")
KEYS = ("A", "B", "C")
MANIFEST = """format: 1
id: 0b7c1f4e-5d0a-4f43-9c39-6a1f2f0f8d21
environments:
  - {name: dev, layers: [base, dev], mode: commit, reject: commit}
  - {name: prod, layers: [base, prod], mode: commit, reject: commit}
services: {}
policies: []
"""
CONTRACTS = {
    f"contracts/{category}.schema.json": json.dumps(
        {"properties": {key: {"type": "integer", "description": "d", "default": 0} for key in keys}}
    )
    for category, keys in (("alpha", ("A", "B")), ("beta", ("C",)))
}

Place = tuple[str, str]
Tree = dict[str, dict[str, Any] | None]
paths = st.sampled_from([f"{layer}/{category}.yaml" for layer in LAYERS for category in CATEGORIES])
keys = st.sampled_from(KEYS)
actions = st.one_of(
    st.tuples(st.just("set"), paths, keys, st.sampled_from([1, 2, 3, "x", True, [1], None])),
    st.tuples(st.just("unset"), paths, keys),
    st.tuples(st.just("rename"), paths, paths),
    st.tuples(st.just("delete"), paths),
    st.tuples(st.just("move"), keys, paths, paths),
    st.tuples(st.just("break"), paths),
)
steps = st.one_of(
    st.tuples(st.just("commit"), st.lists(actions, min_size=1, max_size=3)),
    st.tuples(st.just("branch"), st.integers(0, 3)),
    st.tuples(st.just("merge"), st.integers(0, 3), st.lists(actions, max_size=2)),
)


@dataclass
class Made:
    """A repository made step by step with `git fast-import`; what each file says is known without reading it."""

    root: Path
    stream: list[bytes] = field(default_factory=list)
    trees: dict[int, Tree] = field(default_factory=dict)
    parents: dict[int, list[int]] = field(default_factory=dict)
    branches: list[int] = field(default_factory=list)
    here: int = 0

    def commit(self, tree: Tree, parents: list[int]) -> None:
        number = len(self.trees) + 1
        self.trees[number], self.parents[number] = tree, parents
        when = 1_600_000_000 + number * 7 % 5  # equal and decreasing times, too
        message = f"commit {number}".encode()
        lines = [
            f"commit refs/heads/c{number}",
            f"mark :{number}",
            f"author P{number} <p{number}@example.org> {when} +0000",
            f"committer P <p@example.org> {when} +0000",
            f"data {len(message)}",
            message.decode(),
        ]
        lines += [f"from :{parents[0]}", *(f"merge :{each}" for each in parents[1:])] if parents else []
        self.stream.append("\n".join([*lines, "deleteall", ""]).encode())
        for path, text in {"kemudi.yaml": MANIFEST, **CONTRACTS, **_texts(tree)}.items():
            data = text.encode()
            self.stream.append(f"M 100644 inline {path}\ndata {len(data)}\n".encode() + data + b"\n")

    def write(self) -> list[str]:
        """Write it all; the commits by number."""
        self.git(b"", "init", "-q", "-b", "main")
        marks = self.root / "marks"
        self.git(b"".join(self.stream), "fast-import", "--quiet", f"--export-marks={marks}")
        found = dict(line.split() for line in marks.read_text().splitlines())
        shas = [found[f":{number}"] for number in sorted(self.trees)]
        self.git(b"", "update-ref", "refs/heads/main", found[f":{self.here}"])
        return shas

    def git(self, data: bytes, *arguments: str) -> None:
        subprocess.run(["git", *arguments], cwd=self.root, env=environment(), input=data, check=True)


def _texts(tree: Tree) -> dict[str, str]:
    return {
        path: "A: [\n"
        if values is None
        else "".join(f"{key}: {json.dumps(each)}\n" for key, each in values.items())
        for path, values in tree.items()
    }


def _act(tree: Tree, action: tuple[Any, ...]) -> Tree:
    made = {path: None if values is None else dict(values) for path, values in tree.items()}
    match action:
        case ("set", path, key, value):
            made[path] = {**(made.get(path) or {}), key: value}
        case ("unset", path, key):
            if made.get(path):
                made[path].pop(key, None)
        case ("rename", old, new):
            if old in made and new not in made:
                made[new] = made.pop(old)
        case ("delete", path):
            made.pop(path, None)
        case ("move", key, old, new):
            if old != new and made.get(old) and key in made[old] and made.get(new, {}) is not None:
                made[new] = {**made.get(new, {}), key: made[old].pop(key)}
        case ("break", path):
            made[path] = None
    return made


def make(root: Path, script: list[tuple[Any, ...]]) -> Made:
    made = Made(root)
    made.commit({"base/alpha.yaml": {"A": 1, "B": 2}, "prod/alpha.yaml": {"A": 3}}, [])
    made.here = 1
    made.branches = [1]
    for step in script:
        match step:
            case ("commit", changes):
                tree = made.trees[made.here]
                for action in changes:
                    tree = _act(tree, action)
                made.commit(tree, [made.here])
            case ("branch", number):
                made.branches.append(made.here)
                made.here = made.branches[number % len(made.branches)]
                continue
            case ("merge", number, changes):
                other = made.branches[number % len(made.branches)]
                if other == made.here:
                    continue
                mine, theirs = made.trees[made.here], made.trees[other]
                # File by file from one side or the other, as a person would settle it; then by hand.
                tree = dict(mine) if number % 2 else {**mine, **theirs}
                for action in changes:
                    tree = _act(tree, action)
                made.commit(tree, [made.here, other])
        made.here = len(made.trees)
    return made


class Oracle:
    """Everything from the definition: a state is what the files say; a commit is responsible for what no parent has."""

    def __init__(self, made: Made) -> None:
        self.made = made
        self.said: dict[int, dict[Place, str]] = {}
        for number, tree in made.trees.items():
            self.said[number] = self._said(number, tree)

    def _said(self, number: int, tree: Tree) -> dict[Place, str]:
        said: dict[Place, str] = {}
        for path, values in tree.items():
            if values is None:  # a file that cannot be read says what it said at the first parent
                parents = self.made.parents[number]
                before = self.said[parents[0]] if parents else {}
                said |= {place: value for place, value in before.items() if place[0] == path}
            else:
                said |= {(path, key): stored(value) for key, value in values.items()}
        return said

    def ancestors(self, number: int) -> set[int]:
        found = {number}
        for parent in self.made.parents[number]:
            found |= self.ancestors(parent)
        return found

    def changes(self, number: int) -> set[tuple[str, str, str | None, str | None]]:
        """Key, path, old and new value, of what a commit did itself; both ends of a move count."""
        mine = self.said[number]
        parents = [self.said[each] for each in self.made.parents[number]] or [{}]
        return {
            (key, path, parents[0].get((path, key)), mine.get((path, key)))
            for path, key in set(mine).union(*parents)
            if all(mine.get((path, key)) != parent.get((path, key)) for parent in parents)
        }

    def responsible(self, number: int, place: Place) -> int:
        """The commit that a value is from: up to the first parent that has it, there or where it moved from."""
        value = self.said[number][place]
        parents = self.made.parents[number]
        for parent in parents:
            if self.said[parent].get(place) == value:
                return self.responsible(parent, place)
        source = self.source(number, place)
        return self.responsible(parents[0], source) if source is not None else number

    def source(self, number: int, place: Place) -> Place | None:
        """Where a line of the same value came from in this very commit."""
        return self.moves(number).get(place)

    def moves(self, number: int) -> dict[Place, Place]:
        key_of = {(path, key) for key, path, *_ in self.changes(number)}
        old = self.said[self.made.parents[number][0]] if self.made.parents[number] else {}
        new = self.said[number]
        gone = sorted(place for place in key_of if place in old and place not in new)
        come = sorted(place for place in key_of if place not in old and place in new)
        pairs: dict[Place, Place] = {}
        for near in (True, False):
            for place in come:
                for source in gone:
                    same_layer = source[0].split("/")[0] == place[0].split("/")[0]
                    taken = place in pairs or source in pairs.values() or source[1] != place[1]
                    if taken or same_layer != near or (not near and old[source] != new[place]):
                        continue
                    pairs[place] = source
        return {place: source for place, source in pairs.items() if old[source] == new[place]}


COUNT = itertools.count()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(script=st.lists(steps, min_size=1, max_size=14), half=st.integers(0, 14))
def test_the_history_is_that_of_the_definition(tmp_path: Path, script: list[Any], half: int) -> None:
    """Changes and responsible commits, at every commit, asked of a cold index and of one that grew in two steps."""
    root = tmp_path / f"repo{next(COUNT)}"
    root.mkdir()
    made = make(root, script)
    shas = made.write()
    oracle = Oracle(made)
    numbers = {sha: number for number, sha in enumerate(shas, 1)}
    with ConfigRepository.open(root, prefix="") as repository:
        with History(repository, root / "grown.sqlite") as grown:
            middle = shas[min(half, made.here - 1)]
            for at in (middle, shas[made.here - 1], middle):
                check(grown, oracle, numbers, at)
        with History(repository, root / "cold.sqlite") as cold:
            check(cold, oracle, numbers, shas[made.here - 1])
            with History(repository, root / "grown.sqlite") as grown:
                everything = [cold.of_key(key) for key in KEYS]
                assert [grown.of_key(key) for key in KEYS] == everything


def check(history: History, oracle: Oracle, numbers: dict[str, int], at: str) -> None:
    head = numbers[at]
    wanted = {(each, *change) for each in oracle.ancestors(head) for change in oracle.changes(each)}
    found = [entry for key in KEYS for entry in history.of_key(key, at=at) if entry.layer != "default"]
    assert {row for entry in found for row in told(entry, numbers)} == wanted
    for key in KEYS:
        order = [numbers[entry.revision] for entry in history.of_key(key, at=at)]
        for place, number in enumerate(order):
            assert not (oracle.ancestors(number) - {number}) & set(order[:place])
    for env in ("dev", "prod"):
        blamed = {
            (entry.key, entry.file): numbers[entry.revision]
            for entry in history.blame(env, at=at)
            if entry.layer != "default"
        }
        assert blamed == {
            (key, path): oracle.responsible(head, (path, key))
            for key, path in winners(oracle.said[head], env)
        }


def told(entry: Entry, numbers: dict[str, int]) -> Iterator[tuple[int, str, str, str | None, str | None]]:
    """An entry as changes of places: that of a move is two."""
    number = numbers[entry.revision]
    has_old, has_new = entry.kind != "add", entry.kind != "remove"
    old, new = stored(entry.old) if has_old else None, stored(entry.new) if has_new else None
    if entry.from_file is not None:
        yield number, entry.key, entry.from_file, old, None
        yield number, entry.key, entry.file, None, new
    else:
        yield number, entry.key, entry.file, old, new


def winners(said: dict[Place, str], env: str) -> Iterator[tuple[str, str]]:
    held: dict[str, str] = {}
    for layer in ("base", env):
        held |= {key: path for path, key in sorted(said) if path.startswith(f"{layer}/")}
    yield from held.items()


LINES = st.one_of(
    st.sampled_from(
        ["A: 1", "A: 2", "AB: 1", "B: x # c", "C: 'q'", 'D: "a\\n"', "E: [1, 2]", "# c", "", "  - 1"]
    ),
    st.sampled_from(["A: |", "  text", "H: >-", "I:", "I: # none", "null: 1", "---", "J: &a 1", "K: 0x1F"]),
    st.sampled_from(["F: {a: 1,", "g: 1}"]),
    st.text(alphabet="AB:#{}[]'\"|>-&* \t1.x\r", max_size=8),
)
EDITS = st.lists(
    st.tuples(st.integers(0, 8), st.integers(0, 3), st.lists(LINES, max_size=3), st.booleans()), max_size=4
)


@given(st.lists(LINES, max_size=8), EDITS, st.sampled_from(["\n", "\r\n"]))
@settings(max_examples=600, deadline=None)
def test_the_fast_reader_reads_what_the_real_one_reads(
    lines: list[str], edits: list[tuple[int, int, list[str], bool]], ending: str
) -> None:
    """Or it leaves the file to the real one: it never has an opinion of its own, however a file came about."""
    reader = Reader()
    before = NOTHING
    for place, gone, came, closed in [(0, 0, lines, True), *edits]:
        lines = lines[:place] + came + lines[place + gone :] if before is not NOTHING else came
        data = (ending.join(lines) + (ending if closed else "")).encode()
        document, _ = read_document(data, "x.yaml")
        readable = document is not None and not document.broken
        wanted = (
            {key: stored(value) for key, value in document.values.items()} if document and readable else None
        )
        found = reader.version(before, data)
        assert (None if found is None else found.content.values) == wanted
        if found is not None:
            old, new = before.values, found.content.values
            assert found.keys == sorted(key for key in old | new if old.get(key) != new.get(key))
            before = found.content
