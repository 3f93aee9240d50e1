"""A SOPS file taken over into sealed lines, and sealed lines given out as a SOPS file."""

import re
from collections.abc import Sequence
from typing import Final

from kemudi.repo.edits import with_value
from kemudi.repo.sealing import open_stored, readers_of, seal_setting, stored_secrets
from kemudi.repo.sops import encrypt_values, open_file
from kemudi.schema.documents import JSON, read_document
from kemudi.schema.errors import UsageError
from kemudi.schema.nearest import did_you_mean
from kemudi.schema.paths import values_path
from kemudi.schema.sops import BLOCK, is_sops
from kemudi.schema.state import ConfigState

_COMMENT: Final = re.compile(r"(?m)^[ \t]*#ENC\[AES256_GCM,[^\n]*\n?|[ \t]+#ENC\[AES256_GCM,[^\n]*")


def imported(
    state: ConfigState, layer: str, category: str, data: bytes, file: str, identities: Sequence[str]
) -> dict[str, JSON]:
    """What each setting of a SOPS file becomes: sensitive ones sealed for the layer, the others in plain text.

    Raises UsageError for a key that the contract does not know or a value that it does not allow, DamagedSealError
    when the MAC does not fit, NoMatchingIdentityError, FindingsError.
    """
    contract = state.contracts.get(category)
    if contract is None:
        raise UsageError(f"there is no category {category!r}", hint=did_you_mean(category, state.contracts))
    plain = open_file(data, file, identities)
    unknown = [key for key in plain if key not in contract.settings]
    if unknown:
        raise UsageError(f"{contract.file} has no setting {', '.join(unknown)}", hint="Add them there first.")
    wrong = [key for key, value in plain.items() if contract.check_value(key, value)]
    if wrong:
        raise UsageError(f"{', '.join(wrong)} of {file} does not fit {contract.file}; no value is shown")
    return {
        key: seal_setting(state, layer, key, value)
        if key in contract.sensitive
        else contract.normalise(key, value)
        for key, value in plain.items()
    }


def without_block(text: str, file: str) -> str:
    """The text of a SOPS file without its block and without encrypted comments; all else stays for now."""
    document, _ = read_document(text.encode(), file)
    if document is None or not is_sops(document):
        raise UsageError(f"{file} is no file of SOPS")
    lines = text.splitlines(keepends=True)
    starts = sorted(document.place_of_key(key).line for key in document.values)
    begin = document.place_of_key(BLOCK).line
    end = next((line for line in starts if line > begin), len(lines) + 1)
    return _COMMENT.sub("", "".join(lines[: begin - 1] + lines[end - 1 :]))


def exported(state: ConfigState, layer: str, category: str, identities: Sequence[str]) -> str:
    """The text of a layer's file as SOPS writes it, its sensitive settings encrypted to the recipients of the layer.

    Raises UsageError when there is no such file or no secret in it, UnsealError's family.
    """
    path = values_path(layer, category)
    document = state.document(path)
    stored = [each for each in stored_secrets(state, layer) if each.category == category]
    if document is None or not stored or is_sops(document):
        raise UsageError(f"{path} holds nothing that is sealed")
    secrets = {each.key: open_stored(state, each, identities).reveal() for each in stored}
    values = {key: secrets.get(key, value) for key, value in document.values.items()}
    written, block = encrypt_values(values, secrets.keys(), tuple(readers_of(state, layer).values()))
    text = document.data.decode("utf-8")
    for key in secrets:
        text = with_value(text, key, written[key], file=path)
    return text + ("" if text.endswith("\n") else "\n") + block


def written_out(values: dict[str, JSON], text: str, file: str) -> str:
    """`text` with every value set."""
    for key, value in values.items():
        text = with_value(text, key, value, file=file)
    return text
