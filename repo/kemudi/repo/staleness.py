"""Whether somebody else changed the very settings that a request is about, since its author looked."""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Final

from kemudi.repo.change_request import ChangeRequest
from kemudi.repo.errors import StaleSettingError, UnknownRevisionError
from kemudi.repo.plan import same_value
from kemudi.repo.repository import ConfigRepository
from kemudi.schema.documents import JSON, read_document
from kemudi.schema.envelope import is_sealed
from kemudi.schema.paths import File
from kemudi.schema.secret import MASK
from kemudi.schema.sentences import sentence
from kemudi.schema.state import ConfigState
from kemudi.schema.wording import shown

_SEARCHED: Final = 200
_ABSENT: Final = object()


def check_fresh(repository: ConfigRepository, request: ChangeRequest, tip: str, now: ConfigState) -> None:
    """Raise StaleSettingError if a setting of the request has another value than at `request.expected`.

    What counts is what the author saw: the edited layer and those below it. A commit of other settings is no conflict.
    """
    if request.expected is None or request.expected == tip:
        return
    try:
        seen = repository.resolve(request.expected)
    except UnknownRevisionError:
        raise UnknownRevisionError(
            sentence("the revision %(revision)s is not in the repository", revision=request.expected[:40]),
            hint=sentence("Read the settings again."),
        ) from None
    before = now.update(repository.changes(tip, seen))
    for edit in request.edits:
        for layer in _layers_seen(now, edit.layer):
            was, current = _value(before, layer, edit.key), _value(now, layer, edit.key)
            if was is current or (was is not _ABSENT and current is not _ABSENT and same_value(was, current)):  # type: ignore[arg-type]  # neither is the marker
                continue
            raise _stale(repository, tip, now, layer, edit.key, current)


def _layers_seen(state: ConfigState, layer: str) -> Iterator[str]:
    seen: dict[str, None] = {}
    for environment in state.manifest.environments if state.manifest is not None else ():
        if layer in environment.layers:
            seen.update(dict.fromkeys(environment.layers[: environment.layers.index(layer) + 1]))
    yield from seen


def _value(state: ConfigState, layer: str, key: str) -> object:
    category = state.category_of.get(key)
    document = state.document(f"{layer}/{category}.yaml") if category is not None else None
    values: Mapping[str, JSON] = document.values if document is not None else {}
    return values.get(key, _ABSENT)


def _stale(
    repository: ConfigRepository, tip: str, now: ConfigState, layer: str, key: str, current: object
) -> StaleSettingError:
    category = now.category_of.get(key)
    sealed = is_sealed(current) or (category is not None and key in now.contracts[category].sensitive)
    revision = _who_changed(repository, tip, f"{layer}/{category}.yaml", key)
    author = None
    if revision is not None:
        found = repository.commit_info(revision)
        author = f"{found.author_name} <{found.author_email}>"
    value: JSON = None if current is _ABSENT or sealed else current  # type: ignore[assignment]  # a JSON value
    place = sentence("%(key)s in %(layer)s was changed meanwhile", key=key, layer=layer)
    who = author if author is not None else sentence("somebody")
    if current is _ABSENT:
        said = sentence("%(place)s: %(who)s took it out", place=place, who=who)
    else:
        to = MASK if sealed else shown(value)
        said = sentence("%(place)s: %(who)s changed it to %(value)s", place=place, who=who, value=to)
    return StaleSettingError(
        said,
        layer=layer,
        key=key,
        current=value,
        revision=revision,
        author=author,
        hint=sentence("Look at it again, then repeat the change if it still holds."),
    )


def _who_changed(repository: ConfigRepository, tip: str, path: str, key: str) -> str | None:
    """The newest commit on the branch that gave a setting of a file another value, by first parents."""
    line = repository.first_parents(tip, _SEARCHED)
    for child, parent in pairwise(line):
        files = repository.changes(parent, child)
        if path in files and _in_file(files[path], key) != _in_file(
            repository.changes(child, parent)[path], key
        ):
            return child
    return None


def _in_file(file: File | None, key: str) -> object:
    document = read_document(file.data, file.path)[0] if file is not None else None
    return document.values.get(key, _ABSENT) if document is not None else _ABSENT
