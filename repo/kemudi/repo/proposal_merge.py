"""A proposal and the branch it is for, put together in memory: file by file, and in a file setting by setting.

Git merges lines; two people who change two neighbouring settings would be in each other's way. Here only the same
setting of the same layer is a conflict.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from kemudi.repo.change_edits import Edited
from kemudi.repo.edits import header, with_value, without_key
from kemudi.repo.git import check_sha
from kemudi.repo.plan import same_value
from kemudi.repo.repository import ConfigRepository
from kemudi.schema.documents import JSON
from kemudi.schema.errors import ConflictError, KemudiError, UsageError
from kemudi.schema.sentences import sentence
from kemudi.schema.state import ConfigState


class MergeConflictError(ConflictError):
    """A proposal does not go together with what is on the branch now."""


@dataclass(frozen=True, slots=True)
class Sides:
    """The three states of a merge: what both come from, the branch, and the proposal."""

    base: ConfigState
    ours: ConfigState
    theirs: ConfigState


def fork_of(repository: ConfigRepository, ours: str, theirs: str) -> str:
    """The commit that both come from. Raises MergeConflictError when there is none."""
    try:
        found = repository.git.run("merge-base", check_sha(ours), check_sha(theirs))
    except KemudiError as error:
        if getattr(error, "code", None) == 1:
            raise MergeConflictError(
                sentence("the proposal has no history in common with the branch")
            ) from None
        raise
    return found.decode().split()[0]


def check_plain(repository: ConfigRepository, base: str, tip: str, known: Collection[str]) -> None:
    """Raise MergeConflictError for a proposal that does what no change of settings does.

    Files outside of the config repo, links and modes are merged with git, by somebody who sees what they do.
    """
    listed = repository.git.run("diff-tree", "-r", "-z", "--no-renames", check_sha(base), check_sha(tip))
    fields = listed.decode("utf-8", "surrogateescape").split("\0")
    prefix = f"{repository.prefix}/" if repository.prefix else ""
    for facts, path in zip(fields[::2], fields[1::2], strict=False):
        old, new = facts.lstrip(":").split(" ")[:2]
        inside = path.startswith(prefix) and path[len(prefix) :] in known
        if not inside or not {old, new} <= {"000000", "100644"}:
            raise MergeConflictError(
                sentence(
                    "the proposal changes %(path)s, which is no plain file of the config repo", path=path
                ),
                hint=sentence("Merge it with git."),
            )


def merged_files(sides: Sides, changed: Collection[str]) -> dict[str, Edited]:
    """What the branch gets of a proposal's changed files. Raises MergeConflictError."""
    found: dict[str, Edited] = {}
    for path in sorted(changed):
        before, mine, wanted = (_data(state, path) for state in (sides.base, sides.ours, sides.theirs))
        if mine == wanted:
            continue
        new = wanted if mine == before else _merged_text(sides, path)
        if new != mine:
            found[path] = Edited(mine, new)
    return found


def _data(state: ConfigState, path: str) -> bytes | None:
    file = state.files.get(path)
    return None if file is None else file.data


def _merged_text(sides: Sides, path: str) -> bytes:
    before, mine, wanted = (_values(state, path) for state in (sides.base, sides.ours, sides.theirs))
    both = MergeConflictError(
        sentence("%(path)s was changed on both sides", path=path),
        hint=sentence("Merge it with git, or withdraw it."),
    )
    if before is None or mine is None or wanted is None or _data(sides.ours, path) is None:
        raise both
    edits = _differences(before, wanted)
    try:
        if _applied(sides.base, path, edits) != _data(sides.theirs, path):
            raise both  # more than settings: comments, order, layout; only a person can tell what is meant
    except UsageError:
        raise both from None
    meanwhile = _differences(before, mine)
    for key, value in edits.items():
        if key in meanwhile and not _alike(meanwhile[key], value):
            layer = path.partition("/")[0]
            raise MergeConflictError(
                sentence("%(key)s in %(layer)s was changed since this was proposed", key=key, layer=layer),
                hint=sentence("Withdraw it, and propose it anew on what is there now."),
            )
    return _applied(sides.ours, path, {key: value for key, value in edits.items() if key not in meanwhile})


@dataclass(frozen=True, slots=True)
class _To:
    """What a key becomes."""

    value: JSON = None
    gone: bool = False


def _differences(old: Mapping[str, JSON], new: Mapping[str, JSON]) -> dict[str, _To]:
    found = {
        key: _To(value) for key, value in new.items() if key not in old or not same_value(old[key], value)
    }
    return found | {key: _To(gone=True) for key in old if key not in new}


def _alike(left: _To, right: _To) -> bool:
    return left.gone == right.gone and same_value(left.value, right.value)


def _applied(state: ConfigState, path: str, edits: Mapping[str, _To]) -> bytes:
    data = _data(state, path)
    text = header(Path(path)) if data is None else data.decode()
    for key, to in edits.items():
        text = without_key(text, key, file=path) if to.gone else with_value(text, key, to.value, file=path)
    return text.encode()


def _values(state: ConfigState, path: str) -> Mapping[str, JSON] | None:
    """The settings of a file of values, none of a missing one; None for another file, and for one that is not whole."""
    if path not in state.files:
        return {}
    document = state.document(path)
    return document.values if document is not None and not document.broken else None
