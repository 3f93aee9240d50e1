"""`kemudi rollback`: an earlier value again, as a new commit."""

import click

from kemudi.cli.changing import UNSET, Edit, Manner, change, change_options, desired, layer_for, place_option
from kemudi.cli.completion import settings
from kemudi.repo.change_request import ROLLBACK, EditValue, Unset
from kemudi.repo.earlier import layer_then, layer_today, placed
from kemudi.repo.errors import UnknownRevisionError
from kemudi.repo.history import Entry, History
from kemudi.repo.history_values import DEFAULT_LAYER
from kemudi.repo.repository import ConfigRepository
from kemudi.schema.documents import JSON
from kemudi.schema.envelope import Envelope, MalformedEnvelopeError, is_sealed
from kemudi.schema.errors import ConflictError, UsageError
from kemudi.schema.nearest import did_you_mean
from kemudi.schema.state import ConfigState


@click.command(
    "rollback",
    epilog="""\b
Examples:
  kemudi rollback SYNC_TIMEOUT --env prod -m "too long"      # its value before the last change
  kemudi rollback SYNC_TIMEOUT --env prod --to HEAD~20 -m …  # its value at a revision
  kemudi rollback 3f2a91c -m "load is back"                  # all that a commit did
  kemudi rollback 3f2a91c SYNC_TIMEOUT -m …                  # one key out of a commit that changed five""",
)
@click.argument("target", metavar="KEY|REV", shell_complete=settings)
@click.argument("keys", metavar="[KEY]…", nargs=-1, shell_complete=settings)
@click.option("--to", metavar="REV", help="With KEY: the revision whose value is wanted.")
@place_option
@change_options
def rollback_command(
    target: str, keys: tuple[str, ...], to: str | None, env: str | None, layer: str | None, manner: Manner
) -> None:
    """Go back: KEY to its value before, or undo what the commit REV did (to the named keys only).

    It is a new commit that goes through the same checks; a value that today's contract forbids is refused.
    """
    start = desired(manner.repo)
    with ConfigRepository.open(manner.repo) as repository, History(repository) as history:
        if target in start.state.category_of or to is not None:
            if keys:
                raise UsageError("name one setting, or a revision and its settings")
            place = layer_for(start.state, env, layer)
            edit, undone = _key(repository, history, start.state, target, place, to)
            edits, names = [edit], f"{target} in {place}"
        else:
            undone = _revision(repository, start.state, target)
            chosen = (
                layer if layer is not None else None if env is None else layer_for(start.state, env, None)
            )
            edits = _commit(repository, history, start.state, undone, keys, chosen)
            names = (
                f"{len(edits)} settings of {undone[:9]}"
                if len(edits) > 1
                else f"{edits[0].key} in {edits[0].layer}"
            )
    trailer = ((ROLLBACK, undone),)
    change(manner, edits, "rollback", expected=start.revision, subject=f"Roll back {names}", trailers=trailer)


def _revision(repository: ConfigRepository, state: ConfigState, target: str) -> str:
    """The commit that is meant. Raises UsageError: what is no commit was perhaps to be a setting."""
    try:
        return repository.resolve(target)
    except UnknownRevisionError:
        raise UsageError(
            f"{target!r} is neither a setting nor a commit", hint=did_you_mean(target, state.category_of)
        ) from None


def _key(
    repository: ConfigRepository, history: History, now: ConfigState, key: str, layer: str, to: str | None
) -> tuple[Edit, str]:
    """The edit for one setting, and the revision that it names."""
    if to is not None:
        revision = repository.resolve(to)
        then = _state(repository, revision)
        name = layer_then(history, key, layer, _layers(now), _layers(then))
        return Edit(layer, key, _wanted(then, name, key)), revision
    changes = [each for each in history.of_key(key, layer=layer) if each.kind != "move"]
    own = [each for place, each in placed(changes, _layers(now), layer) if place == layer]
    if not own:
        raise UsageError(f"{key} was never set in {layer}", hint=f"See `kemudi log {key}`.")
    return Edit(layer, key, _before(repository, own[0])), own[0].revision


def _commit(
    repository: ConfigRepository,
    history: History,
    now: ConfigState,
    revision: str,
    keys: tuple[str, ...],
    layer: str | None,
) -> list[Edit]:
    """The edits that undo a commit."""
    done = [
        (place, each)
        for place, each in _done(history, now, revision)
        if each.kind != "move" and each.layer != DEFAULT_LAYER and layer in (None, place)
    ]
    unknown = [key for key in keys if key not in {each.key for _, each in done}]
    if unknown:
        raise UsageError(
            f"{revision[:9]} did not change {', '.join(unknown)}", hint=f"See `kemudi show {revision[:9]}`."
        )
    chosen = [(place, each) for place, each in done if not keys or each.key in keys]
    if not chosen:
        raise UsageError(f"{revision[:9]} changed no setting", hint=f"See `kemudi show {revision[:9]}`.")
    after = _state(repository, revision)
    for place, each in chosen:
        _check_untouched(history, now, after, place, each)
    return [Edit(place, each.key, _before(repository, each)) for place, each in chosen]


def _done(history: History, now: ConfigState, revision: str) -> list[tuple[str, Entry]]:
    """What a commit did, with the layers by the names that they have now."""
    layers = _layers(now)
    return [(layer_today(history, each, layers) or each.layer, each) for each in history.of_commit(revision)]


def _check_untouched(
    history: History, now: ConfigState, after: ConfigState, place: str, entry: Entry
) -> None:
    """Raise ConflictError if a later commit changed the same setting: undoing this one would undo that one, too."""
    if _raw(now, place, entry.key) == _raw(after, entry.layer, entry.key):
        return
    newest = [each for each in history.of_key(entry.key, layer=place) if each.kind != "move"]
    by = f" by {newest[0].revision[:9]} ({newest[0].author_name})" if newest else ""
    raise ConflictError(
        f"{entry.key} in {place} was changed again{by}",
        hint=f"To have the old value all the same: kemudi rollback {entry.key} --layer {place} "
        f"--to {entry.revision[:9]}~1",
    )


def _before(repository: ConfigRepository, entry: Entry) -> EditValue:
    parents = repository.commit_info(entry.revision).parents
    if not parents:
        return UNSET
    return _wanted(_state(repository, parents[0]), entry.layer, entry.key)


def _layers(state: ConfigState) -> tuple[str, ...]:
    return state.manifest.layers if state.manifest is not None else ()


def _state(repository: ConfigRepository, revision: str) -> ConfigState:
    return ConfigState.load(repository.files(revision).values())


def _wanted(state: ConfigState, layer: str, key: str) -> EditValue:
    value = _raw(state, layer, key)
    if not is_sealed(value):
        return value
    try:
        return Envelope.parse(str(value))
    except MalformedEnvelopeError as error:
        raise UsageError(f"the earlier value of {key} cannot be used: {error}") from None


def _raw(state: ConfigState, layer: str, key: str) -> JSON | Unset:
    for path in sorted(state.files):
        document = state.document(path) if path.startswith(f"{layer}/") else None
        if document is not None and key in document.values:
            return document.values[key]
    return UNSET
