"""The index of a history: a cache in SQLite, keyed by commit. Never a truth: without it the answers are the same.

It is made anew when it is damaged, of another version, or of another folder; when it cannot be written, it lives in
memory for one question.
"""

import contextlib
import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from kemudi.repo.errors import GitFailedError, UnknownRevisionError
from kemudi.repo.history_build import Builder, FileState, State, prefixes
from kemudi.repo.history_log import Step, steps
from kemudi.repo.history_values import Content
from kemudi.repo.repository import ConfigRepository

VERSION: Final = 1

_BUSY_SECONDS: Final = 10.0
_META: Final = "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID"
_SCHEMA: Final = f"""
{_META};
CREATE TABLE commits (
    number INTEGER PRIMARY KEY, sha TEXT NOT NULL UNIQUE, parents TEXT NOT NULL, authored INTEGER NOT NULL,
    moment INTEGER NOT NULL, name TEXT NOT NULL, email TEXT NOT NULL, message TEXT NOT NULL
);
CREATE TABLE rows (
    number INTEGER NOT NULL, key TEXT NOT NULL, path TEXT NOT NULL, kind TEXT NOT NULL, old TEXT, new TEXT,
    origin INTEGER NOT NULL, source TEXT, line INTEGER NOT NULL
);
CREATE TABLE tip (path TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE said (key TEXT NOT NULL, sensitive INTEGER NOT NULL, PRIMARY KEY (key, sensitive)) WITHOUT ROWID;
"""
_INDEXES: Final = """
CREATE INDEX rows_by_key ON rows (key, number);
CREATE INDEX rows_by_commit ON rows (number);
"""
_ENTRY: Final = (
    "SELECT c.sha, c.authored, c.name, c.email, c.message, r.key, r.path, r.kind, r.old, r.new, r.source, r.line, "
    "c.number FROM rows r JOIN commits c ON c.number = r.number WHERE r.kind NOT IN ('taken', 'left')"
)
_ORDER: Final = " ORDER BY c.moment DESC, c.sha, r.path, r.key"

T = TypeVar("T")


class Found(NamedTuple):
    """One row joined with its commit."""

    sha: str
    authored: int
    name: str
    email: str
    message: str
    key: str
    path: str
    kind: str
    old: str | None
    new: str | None
    source: str | None
    line: int
    number: int


class Index:
    """The index of one repository, brought up to one commit.

    Args:
        repository: Read for what is new.
        file: Where it is kept; None: in memory.
    """

    def __init__(self, repository: ConfigRepository, file: Path | None) -> None:
        self._repository = repository
        self._file = file
        self._database: sqlite3.Connection | None = None
        self._head: str | None = None

    def at(self, head: str, question: Callable[["Index"], T]) -> T:
        """The answer to a question with the index brought up to `head`; begun anew with a damaged index."""
        try:
            self._bring_up_to(head)
            return question(self)
        except sqlite3.DatabaseError as error:
            self.close()
            if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
                self._file = None  # somebody is building it; this question does without
            else:
                self._discard()
        self._bring_up_to(head)
        return question(self)

    def close(self) -> None:
        """Close the file."""
        if self._database is not None:
            self._database.close()
            self._database = None
            self._head = None

    def entries(
        self, where: str, values: Sequence[Any], within: Iterable[int] | None, limit: int | None
    ) -> list[Found]:
        """Entries that a condition holds for, newest first; only of some commits, when these are named."""
        found: Iterator[Found] = (Found(*row) for row in self._all(f"{_ENTRY} AND {where}{_ORDER}", values))
        if within is not None:
            wanted = set(within)
            found = (each for each in found if each.number in wanted)
        return list(found) if limit is None else [each for each, _ in zip(found, range(limit), strict=False)]

    def reachable(self, sha: str) -> set[int] | None:
        """The numbers of the commits that lead to one; None = all that the index has."""
        if self._meta("tip") == sha and self._meta("whole") == "1":
            return None
        return self._ancestors(self._number(sha))

    def numbers_between(self, base: str, head: str) -> set[int]:
        """The numbers of the commits that lead to `head`, but not to `base`."""
        return self._ancestors(self._number(head)) - self._ancestors(self._number(base))

    def numbers_before(self, sha: str) -> set[int]:
        """The numbers of the commits that lead to one, without itself."""
        number = self._number(sha)
        return self._ancestors(number) - {number}

    def origins(self, held: Iterable[tuple[str, str, str, int]]) -> list[Found]:
        """For each key, path, value and number of a commit: the entry of that commit, shown where the value is now."""
        statement = f"{_ENTRY} AND r.key = ? AND r.number = ? AND r.new = ?"
        found: list[Found] = []
        for key, path, value, number in held:
            row = self._one(statement, (key, number, value))
            if row is not None:
                found.append(Found(*row)._replace(path=path))
        return found

    def state(self, sha: str) -> State:
        """Every setting of every file at a commit."""
        if self._meta("tip") == sha:
            told = ((path, json.loads(text)) for path, text in self._all("SELECT path, state FROM tip", ()))
            return {path: FileState(Content(values), origins) for path, (values, origins) in told}
        return self._state_by_rows(self._number(sha))

    def said(self) -> dict[str, set[bool]]:
        """What contracts have ever said of each setting being sensitive."""
        found: dict[str, set[bool]] = {}
        for key, sensitive in self._all("SELECT key, sensitive FROM said", ()):
            found.setdefault(key, set()).add(bool(sensitive))
        return found

    def _bring_up_to(self, head: str) -> None:
        if self._head == head:
            return
        if self._database is None:
            self._database = self._opened()
        if self._meta("version") != str(VERSION) or self._meta("prefix") != self._repository.prefix:
            self._begin_anew()
        if not self._knows(head):
            with self._written():
                if not self._knows(head):  # another process may have been at it
                    self._extend(head)
        self._head = head

    def _extend(self, head: str) -> None:
        tip = self._meta("tip")
        try:
            fresh = steps(self._repository.git, head, without=tip)
        except GitFailedError:
            if tip is None:
                raise
            self._clear()  # the history that it knows is gone
            tip, fresh = None, steps(self._repository.git, head)
        if tip is not None:  # a branch that was left may lead to some of them
            fresh = [step for step in fresh if not self._knows(step.sha)]
        folders = prefixes(fresh, self._repository.prefix)
        known = json.loads(self._meta("prefixes") or "[]")
        folders = (*folders, *(each for each in known if each not in folders))
        self._add(fresh, head, folders, first=tip is None)

    def _add(self, fresh: list[Step], head: str, folders: tuple[str, ...], *, first: bool) -> None:
        database = self._open()
        (last,) = self._one("SELECT coalesce(max(number), 0) FROM commits", ())
        mine = {step.sha: last + place for place, step in enumerate(fresh, 1)}
        parents = {parent for step in fresh for parent in step.parents} - mine.keys()
        numbers = mine | {sha: self._number(sha) for sha in parents if self._knows(sha)}
        states = {sha: self.state(sha) for sha in parents if sha in numbers}
        before = dict(states.get(self._meta("tip") or "", {}))
        builder = Builder(self._repository.objects, folders, states, numbers)
        moments = {sha: self._one("SELECT moment FROM commits WHERE sha = ?", (sha,))[0] for sha in states}
        database.executemany(
            "INSERT INTO commits VALUES (?, ?, ?, ?, ?, ?, ?, ?)", _commits(fresh, numbers, moments)
        )
        database.executemany("INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", builder.rows(fresh, head))
        if first:
            for statement in filter(str.strip, _INDEXES.split(";")):
                database.execute(statement)
        database.executemany(
            "INSERT OR IGNORE INTO said VALUES (?, ?)",
            [(key, int(each)) for key, said in builder.said.items() for each in said],
        )
        self._put_tip(head, before, builder.states[head], folders, whole=first or self._leads_from_all(head))

    def _put_tip(
        self, head: str, before: State, after: State, folders: tuple[str, ...], *, whole: bool
    ) -> None:
        database = self._open()
        if not before:
            database.execute("DELETE FROM tip")
        database.executemany(
            "DELETE FROM tip WHERE path = ?", [(path,) for path in before.keys() - after.keys()]
        )
        changed = [
            (path, json.dumps([file.values, file.origins]))
            for path, file in after.items()
            if before.get(path) is not file
        ]
        database.executemany("INSERT OR REPLACE INTO tip VALUES (?, ?)", changed)
        facts = {
            "tip": head,
            "whole": str(int(whole)),
            "prefix": self._repository.prefix,
            "prefixes": json.dumps(folders),
            "version": str(VERSION),
        }
        database.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", list(facts.items()))

    def _leads_from_all(self, head: str) -> bool:
        """Whether every commit of the index leads to this one."""
        (count,) = self._one("SELECT count(*) FROM commits", ())
        return len(self._ancestors(self._number(head))) == int(count)

    def _state_by_rows(self, number: int) -> State:
        """The newest row of every setting along the first parents."""
        first = {child: (parents or [0])[0] for child, parents in self._parents().items()}
        line: set[int] = set()
        while number:
            line.add(number)
            number = first[number]
        state: State = {}
        seen: set[tuple[str, str]] = set()
        for at, key, path, new, origin in self._all(
            "SELECT number, key, path, new, origin FROM rows ORDER BY number DESC", ()
        ):
            if at not in line or (key, path) in seen:
                continue
            seen.add((key, path))
            if new is not None:
                file = state.setdefault(path, FileState(Content({}), {}))
                file.values[key], file.origins[key] = new, origin
        return state

    def _ancestors(self, number: int) -> set[int]:
        parents = self._parents()
        found, level = {number}, [number]
        while level:
            level = [each for child in level for each in parents[child] if each not in found]
            found.update(level)
            level = list(dict.fromkeys(level))
        return found

    def _parents(self) -> dict[int, list[int]]:
        return {
            number: [int(each) for each in parents.split()]
            for number, parents in self._all("SELECT number, parents FROM commits", ())
        }

    def _number(self, sha: str) -> int:
        row = self._one("SELECT number FROM commits WHERE sha = ?", (sha,))
        if row is None:
            raise UnknownRevisionError(f"{sha[:12]} does not lead to the commit whose history is read")
        return int(row[0])

    def _knows(self, sha: str) -> bool:
        return self._one("SELECT 1 FROM commits WHERE sha = ?", (sha,)) is not None

    def _meta(self, name: str) -> str | None:
        found = self._one("SELECT value FROM meta WHERE name = ?", (name,))
        return None if found is None else str(found[0])

    def _one(self, statement: str, values: Sequence[Any]) -> Any:  # a row of any columns
        return self._open().execute(statement, values).fetchone()

    def _all(self, statement: str, values: Sequence[Any]) -> sqlite3.Cursor:
        return self._open().execute(statement, values)

    def _open(self) -> sqlite3.Connection:
        assert self._database is not None  # noqa: S101  # every question goes through `at`
        return self._database

    def _opened(self) -> sqlite3.Connection:
        if self._file is not None:
            try:
                self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._file.touch(mode=0o600)
                return _connected(str(self._file))
            except sqlite3.DatabaseError as error:
                if not isinstance(error, sqlite3.OperationalError):
                    raise
            except OSError:
                pass  # a repository that may only be read
        self._file = None
        return _connected(":memory:")

    def _begin_anew(self) -> None:
        with self._written():
            self._clear()

    def _clear(self) -> None:
        database = self._open()
        for table in ("meta", "commits", "rows", "tip", "said"):
            database.execute(f"DROP TABLE IF EXISTS {table}")
        for statement in filter(str.strip, _SCHEMA.split(";")):
            database.execute(statement)
        facts = {"version": str(VERSION), "prefix": self._repository.prefix}
        database.executemany("INSERT INTO meta VALUES (?, ?)", list(facts.items()))

    @contextlib.contextmanager
    def _written(self) -> Iterator[None]:
        database = self._open()
        database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            database.execute("ROLLBACK")
            raise
        database.execute("COMMIT")

    def _discard(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.unlink(missing_ok=True)
                self._file.with_name(f"{self._file.name}-journal").unlink(missing_ok=True)


def _connected(file: str) -> sqlite3.Connection:
    database = sqlite3.connect(file, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        database.execute("PRAGMA synchronous = OFF")  # a cache: what a power failure damages is made anew
        if database.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone() is None:
            database.execute(
                "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID"
            )
    except BaseException:
        database.close()
        raise
    return database


def _commits(
    fresh: list[Step], numbers: dict[str, int], moments: dict[str, int]
) -> Iterator[tuple[int, str, str, int, int, str, str, str]]:
    """The lines of the table. A commit's moment is its date, but never before its parents'."""
    for step in fresh:
        moment = max([step.committed, *(moments[parent] + 1 for parent in step.parents if parent in moments)])
        moments[step.sha] = moment
        parents = " ".join(str(numbers[parent]) for parent in step.parents if parent in numbers)
        yield (
            numbers[step.sha],
            step.sha,
            parents,
            step.authored,
            moment,
            step.author_name,
            step.author_email,
            step.message,
        )
