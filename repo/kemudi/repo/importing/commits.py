"""An import as commits: what is new, then one commit for each row of the change log, in one go and durable.

`git fast-import` writes them; the branch, the index and the files then go over together by `landing`. Every sensitive
value, old ones too, is sealed before it reaches git, and is taken out of the words of authors.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self

from kemudi.repo.edits import header, render, with_value, without_key
from kemudi.repo.git import Git
from kemudi.repo.importing.drafting import Draft, Row
from kemudi.repo.importing.found import LogRow
from kemudi.repo.importing.naming import one_line
from kemudi.repo.importing.plain_sources import MASKED
from kemudi.repo.importing.typing_values import read_text
from kemudi.repo.landing import Landing, Swap, land
from kemudi.repo.layout import Layout
from kemudi.repo.messages import compose
from kemudi.repo.people import KEMUDI, Author
from kemudi.repo.repository import ConfigRepository
from kemudi.repo.sealing import context_of, readers_of, seal_setting
from kemudi.repo.secrets import seal
from kemudi.repo.walk import blob_sha
from kemudi.schema.documents import JSON
from kemudi.schema.errors import ConflictError, FindingsError
from kemudi.schema.paths import values_path
from kemudi.schema.state import File

TRAILER: Final = "Kemudi-Import"

_REF: Final = "refs/kemudi/import"
_SHORTEST_SECRET: Final = 4
_LONGEST_REASON: Final = 8000
_TIME_LIMIT_SECONDS: Final = 600.0


@dataclass(frozen=True, slots=True)
class Step:
    """One commit to be made; `files` by path from the config repo, each as a whole."""

    message: str
    author: Author
    at: datetime
    files: Mapping[str, bytes]

    @classmethod
    def now(cls, message: str, author: Author, files: Mapping[str, bytes]) -> Self:
        """A commit of this moment."""
        return cls(message, author, datetime.now(UTC), files)


@dataclass(frozen=True, slots=True)
class Imported:
    """What was committed. `revision` is None where there was nothing to do."""

    revision: str | None
    commits: int
    branch: str | None


def steps(
    draft: Draft, author: Author, *, extra: Mapping[str, bytes], done: frozenset[str] = frozenset()
) -> list[Step]:
    """The commits of an import, in order.

    Args:
        draft: The import.
        author: Who runs it: the author of what no log row accounts for.
        extra: Further files of the first commit, such as those of a new config repo.
        done: Ids of log rows that are in the history already.

    Raises UsageError when there is nobody to seal to, FindingsError when the result would not be valid.
    """
    return _Steps(draft, author, done).run(extra)


class _Steps:
    def __init__(self, draft: Draft, author: Author, done: frozenset[str]) -> None:
        self._draft = draft
        self._state = draft.state
        self._author = author
        self._rows = {row.key: row for row in draft.rows}
        self._log = [each for each in draft.gathered.log if each.id not in done]
        self._texts: dict[str, str] = {}
        self._secrets = _secrets(draft)

    def run(self, extra: Mapping[str, bytes]) -> list[Step]:
        if extra:
            self._state = self._state.update({path: File(path, data) for path, data in extra.items()})
        source = self._draft.gathered.source
        found = [self._first(extra), *(self._logged(each) for each in self._log)]
        why = "They changed there without a row in the log."
        message = _message(f"Values as {source} has them", why, source)
        found.append(Step.now(message, self._author, self._rest()))
        self._check({path: data for step in found for path, data in step.files.items()})
        logged = range(1, len(found) - 1)
        return [step for at, step in enumerate(found) if step.files or at in logged]

    def _first(self, extra: Mapping[str, bytes]) -> Step:
        """Contracts, and the values as they were before the first row of the log."""
        before: dict[str, str | None] = {}
        for change in self._log:
            before.setdefault(change.key, change.old)
        files = {**extra, **self._draft.files}
        count = sum(row.is_new for row in self._draft.rows)
        for row in self._draft.rows:
            logged = row.key in before
            if row.kind not in ("new", "change") and not (logged and row.is_new):
                continue
            if logged and not row.is_new:
                continue
            value = self._past(row, before[row.key]) if logged else row.value
            if value is not None or (not logged and row.kind == "change"):
                files |= self._put(row, value)
        source = self._draft.gathered.source
        subject = f"Import {count} settings from {source}" if count else f"Import values from {source}"
        return Step.now(_message(subject, "", source), self._author, files)

    def _logged(self, change: LogRow) -> Step:
        row = self._rows.get(change.key)
        files: dict[str, bytes] = {}
        if row is None:
            subject = f"Change {change.key}, which is not imported"
        elif change.new is not None and MASKED.fullmatch(change.new):
            subject = f"Change {change.key} in {self._draft.layer}, to a value that the log masks"
        else:
            subject = f"{'Unset' if change.new is None else 'Set'} {change.key} in {self._draft.layer}"
            files = self._put(row, self._past(row, change.new))
        reason = self._without_secrets(change.reason)
        return Step(_message(subject, reason, change.id), change.author, change.at, files)

    def _rest(self) -> dict[str, bytes]:
        """What the source has now and its log does not account for."""
        latest: dict[str, str | None] = {change.key: change.new for change in self._log}
        files: dict[str, bytes] = {}
        for key, text in latest.items():
            row = self._rows.get(key)
            if row is None:
                continue
            masked = text is not None and MASKED.fullmatch(text) is not None
            if row.kind != "kept" if masked else self._past(row, text) != row.value:
                files |= self._put(row, row.value)
        return files

    def _past(self, row: Row, text: str | None) -> JSON:
        if text is None or MASKED.fullmatch(text):
            return None
        try:
            return read_text(text, row.type)
        except ValueError:
            return text  # what the log says, also where today's contract would refuse it

    def _put(self, row: Row, value: JSON) -> dict[str, bytes]:
        """The file of a layer with one value set or taken out; none if that changes nothing."""
        path = values_path(self._draft.layer, row.category)
        before = self._text(path)
        if value is None:
            after = without_key(before, row.key, file=path) if row.key in before else before
        else:
            plain = self._sealed(row, value) if row.sensitive else value
            after = self._with(path, before, row.key, plain)
        if after == before:
            return {}
        self._texts[path] = after
        return {path: after.encode()}

    def _text(self, path: str) -> str:
        if path not in self._texts:
            file = self._state.files.get(path)
            self._texts[path] = file.data.decode() if file is not None else header(Path(path))
        return self._texts[path]

    def _with(self, path: str, before: str, key: str, value: JSON) -> str:
        if path in self._state.files:
            return with_value(before, key, value, file=path)
        # A file of our own has one line for each key: no need to read it as YAML for every row of a long log.
        line = f"{key}: {render(value)}\n"
        at = 0 if before.startswith(f"{key}:") else before.find(f"\n{key}:") + 1
        if at == 0 and not before.startswith(f"{key}:"):
            return before + line
        return before[:at] + line + before[before.index("\n", at) + 1 :]

    def _sealed(self, row: Row, value: JSON) -> str:
        contract = self._state.contracts[row.category]
        layer = self._draft.layer
        if not contract.check_value(row.key, value):
            return seal_setting(self._state, layer, row.key, value)
        keys = tuple(readers_of(self._state, layer).values())
        return seal(context_of(self._state, layer, row.key), "string", value, keys)

    def _without_secrets(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text

    def _check(self, files: Mapping[str, bytes]) -> None:
        state = self._state.update({path: File(path, data) for path, data in files.items()})
        errors = [finding for finding in state.findings if finding.severity == "error"]
        if errors:
            raise FindingsError("the imported files would not be valid; nothing was written", errors)


def _message(subject: str, reason: str, origin: str) -> str:
    return compose(one_line(subject), reason[:_LONGEST_REASON], ((TRAILER, one_line(origin)),), "import")


def _secrets(draft: Draft) -> tuple[str, ...]:
    """Every plaintext of a sensitive setting that is long enough to be told from a word, the longest first."""
    found: set[str] = set()
    for row in draft.rows:
        if row.sensitive:
            found.add(str(row.value))
    for change in draft.gathered.log:
        if change.key in draft.sensitive:
            found.update(text for text in (change.old, change.new) if text)
    return tuple(sorted((each for each in found if len(each) >= _SHORTEST_SECRET), key=len, reverse=True))


def imported_rows(repository: ConfigRepository, head: str | None) -> frozenset[str]:
    """The ids of log rows that are commits of this history already."""
    if head is None:
        return frozenset()
    shown = f"--format=%(trailers:key={TRAILER},valueonly)"
    listed = repository.git.run(
        "log", "--fixed-strings", f"--grep={TRAILER}:", shown, "--end-of-options", head, "--"
    )
    return frozenset(filter(None, listed.decode("utf-8", "replace").splitlines()))


def commit_steps(where: Layout, prefix: str, found: Sequence[Step]) -> Imported:
    """Put the commits on the branch that is checked out, and the files into the work tree; all of it, or nothing.

    Raises ConflictError when a file has changes of its own or the branch moves meanwhile, UsageError.
    """
    if not found:
        return Imported(None, 0, None)
    with ConfigRepository(where, prefix) as repository:
        head = repository.head()
        if head.branch is None:
            raise ConflictError("HEAD is on no branch", hint="git switch BRANCH")
        ids = repository.file_ids(head.sha) if head.sha is not None else {}
        git = Git(where.git_dir)
        new = _fast_import(git, found, prefix, head.sha)
        last = {path: data for step in found for path, data in step.files.items()}
        folder = f"{prefix}/" if prefix else ""
        swaps = tuple(
            Swap(folder + path, ids[path].sha if path in ids else None, blob_sha(data))
            for path, data in last.items()
        )
        subject = found[-1].message.partition("\n")[0]
        land(where, Landing(head.branch, head.sha, new, subject, swaps))
        git.run("update-ref", "-d", _REF)
        return Imported(new, len(found), head.branch)


def _fast_import(git: Git, found: Sequence[Step], prefix: str, head: str | None) -> str:
    stream = b"".join(_stream(found, prefix, head))
    answer = git.run(
        "fast-import",
        "--quiet",
        "--force",
        "--done",
        "--cat-blob-fd=1",
        data=stream,
        time_limit_seconds=_TIME_LIMIT_SECONDS,
    )
    return answer.decode().strip()


def _stream(found: Sequence[Step], prefix: str, head: str | None) -> Iterator[bytes]:
    folder = f"{prefix}/" if prefix else ""
    now = int(datetime.now(UTC).timestamp())
    yield f"reset {_REF}\n\n".encode()
    for number, step in enumerate(found, 1):
        yield f"commit {_REF}\nmark :{number}\n".encode()
        yield f"author {step.author.name} <{step.author.email}> {max(0, int(step.at.timestamp()))} +0000\n".encode()
        yield f"committer {KEMUDI.name} <{KEMUDI.email}> {now} +0000\n".encode()
        yield _data(step.message.encode())
        if number == 1 and head is not None:
            yield f"from {head}\n".encode()
        for path, data in step.files.items():
            yield f"M 100644 inline {folder}{path}\n".encode() + _data(data)
        yield b"\n"
    yield f"get-mark :{len(found)}\ndone\n".encode()


def _data(content: bytes) -> bytes:
    return b"data %d\n%s\n" % (len(content), content)
