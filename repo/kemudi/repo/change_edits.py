"""The edits of a request as new contents of files, in memory."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kemudi.repo.change_request import Edit, Unset
from kemudi.repo.edits import header, with_value, without_key
from kemudi.repo.sealing import seal_setting
from kemudi.repo.walk import blob_sha
from kemudi.schema.contract import Contract
from kemudi.schema.documents import JSON
from kemudi.schema.envelope import Envelope, is_sealed
from kemudi.schema.errors import FindingsError, UsageError
from kemudi.schema.findings import Finding
from kemudi.schema.nearest import did_you_mean
from kemudi.schema.paths import File, values_path
from kemudi.schema.secret import MASK, Secret
from kemudi.schema.sentences import sentence
from kemudi.schema.state import ConfigState


@dataclass(frozen=True, slots=True)
class Edited:
    """One file before and after; None for no file."""

    old: bytes | None
    new: bytes | None
    executable: bool = False

    @property
    def old_sha(self) -> str | None:
        """The blob before."""
        return None if self.old is None else blob_sha(self.old)

    @property
    def new_sha(self) -> str | None:
        """The blob after."""
        return None if self.new is None else blob_sha(self.new)


def edited_files(
    state: ConfigState, edits: Sequence[Edit]
) -> tuple[dict[str, Edited], dict[str, File | None]]:
    """The files that the edits change, by path in the config repo; for a commit, and for `state.update`.

    Raises UsageError for an unknown key or layer, or the same line twice; FindingsError for a value that breaks its
    contract.
    """
    if state.manifest is None:
        raise FindingsError(sentence("kemudi.yaml is not valid"), state.findings)
    if len({(edit.layer, edit.key) for edit in edits}) != len(edits):
        raise UsageError(sentence("the same setting of the same layer is changed twice"))
    texts: dict[str, str] = {}
    for edit in edits:
        path = path_of(state, edit)
        if path not in texts:
            texts[path] = _text(state, path)
        texts[path] = _with(state, edit, path, texts[path])
    found: dict[str, Edited] = {}
    for path, text in texts.items():
        file = state.files.get(path)
        edited = Edited(None if file is None else file.data, text.encode())
        if edited.old != edited.new and (edited.old is not None or text != header(Path(path))):
            found[path] = edited
    changes: dict[str, File | None] = {path: File(path, each.new or b"") for path, each in found.items()}
    return found, changes


def path_of(state: ConfigState, edit: Edit) -> str:
    """The file of values that a setting of a layer stands in, or would. Raises UsageError."""
    layers = state.manifest.layers if state.manifest is not None else ()
    if edit.layer not in layers:
        raise UsageError(
            sentence(
                "there is no layer %(layer)s; the config repo has: %(layers)s",
                layer=repr(edit.layer),
                layers=", ".join(layers),
            ),
            hint=did_you_mean(edit.layer, layers),
        )
    category = state.category_of.get(edit.key)
    if category is not None and not isinstance(edit.value, Unset):
        return values_path(edit.layer, category)
    # A line to take away may stand where no contract knows it any more.
    for path in sorted(state.files):
        document = state.document(path) if path.startswith(f"{edit.layer}/") else None
        if document is not None and edit.key in document.values and isinstance(edit.value, Unset):
            return path
    if category is None:
        raise UsageError(
            sentence("no contract has a setting %(key)s", key=repr(edit.key)),
            hint=did_you_mean(edit.key, state.category_of),
        )
    return values_path(edit.layer, category)


def unified(path: str, edited: Edited, old: ConfigState, new: ConfigState) -> Iterator[str]:
    """The difference of one file as a unified diff. A secret that stands there in plain text is masked."""
    before, after = _shown(edited.old, path, old), _shown(edited.new, path, new)
    lines = difflib.unified_diff(
        before,
        after,
        "/dev/null" if edited.old is None else f"a/{path}",
        "/dev/null" if edited.new is None else f"b/{path}",
    )
    for line in lines:
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


def _shown(data: bytes | None, path: str, state: ConfigState) -> list[str]:
    text = (data or b"").decode("utf-8", "replace")
    document = state.document(path)
    values: Mapping[str, JSON] = document.values if document is not None else {}
    for key, value in values.items():
        category = state.category_of.get(key)
        if category is not None and key in state.contracts[category].sensitive and not is_sealed(value):
            text = text.replace(str(value), MASK) if isinstance(value, str) and value else text
    return text.splitlines(keepends=True)


def _text(state: ConfigState, path: str) -> str:
    file = state.files.get(path)
    if file is None:
        return header(Path(path))
    if file.kind != "file":
        raise UsageError(sentence("%(path)s is not a regular file", path=path))
    try:
        return file.data.decode()
    except UnicodeDecodeError:
        raise UsageError(sentence("%(path)s is not UTF-8", path=path)) from None


def _with(state: ConfigState, edit: Edit, path: str, text: str) -> str:
    if isinstance(edit.value, Unset):
        return without_key(text, edit.key, file=path)
    contract = state.contracts[state.category_of[edit.key]]
    return with_value(text, edit.key, _written(state, contract, edit, path), file=path)


def _written(state: ConfigState, contract: Contract, edit: Edit, path: str) -> JSON:
    """What stands in the file: the value itself, or its sealed form."""
    value = edit.value
    assert not isinstance(value, Unset)  # noqa: S101  # the caller has asked
    sensitive = contract.settings[edit.key].sensitive
    if isinstance(value, Envelope) or (sensitive and is_sealed(value)):
        if not sensitive:
            raise UsageError(
                sentence("%(key)s is not sensitive in its contract, so it is not sealed", key=edit.key)
            )
        return str(value)
    plain: JSON = value.reveal() if isinstance(value, Secret) else value
    _check_value(contract, edit, plain, path, sensitive=sensitive)
    return (
        seal_setting(state, edit.layer, edit.key, plain) if sensitive else contract.normalise(edit.key, plain)
    )


def _check_value(contract: Contract, edit: Edit, value: JSON, path: str, *, sensitive: bool) -> None:
    problems = contract.check_value(edit.key, value)
    if not problems:
        return
    spec = contract.settings[edit.key]
    findings = [
        Finding(
            path,
            1,
            1,
            problem.rule,
            f"/{edit.key}",
            edit.key,
            sentence("the value of %(key)s does not fit its contract", key=edit.key)
            if sensitive
            else problem.message,
            sentence("it must be: %(type)s", type=spec.type) if sensitive else problem.hint,
            edit.layer,
        )
        for problem in (problems[:1] if sensitive else problems)
    ]
    raise FindingsError(sentence("the change does not validate; nothing was written"), findings)
