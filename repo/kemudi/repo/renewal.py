"""Sealed lines made anew without changing a plaintext: for the recipients of now, or for a key's new name.

The context is always computed from the place where a line stands, never taken from what is inside: else whoever
copies a ciphertext to another place would have it bound there by the next renewal.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from kemudi.repo.sealing import (
    StoredSecret,
    context_of,
    is_current,
    open_setting,
    readers_of,
    seal_setting,
    sensitive_setting,
    stored_secrets,
)
from kemudi.repo.secrets import seal, unseal
from kemudi.schema.envelope import Context, Envelope, MalformedEnvelopeError, context_digest, is_sealed
from kemudi.schema.errors import KemudiError, RefusedError, UsageError
from kemudi.schema.paths import values_path
from kemudi.schema.state import ConfigState


@dataclass(frozen=True, slots=True)
class Renewed:
    """One line to write.

    Attributes:
        layer: Its layer.
        category: Its category; `values_path` of the two is the file.
        key: The setting.
        text: The new `ENC[…]`.
        old_key: The key that the line stands under now.
        old_category: The category in whose file it stands now.
    """

    layer: str
    category: str
    key: str
    text: str
    old_key: str
    old_category: str


def rekey(
    state: ConfigState, identities: Sequence[str], *, layer: str | None = None, everything: bool = False
) -> tuple[Renewed, ...]:
    """The lines that were sealed to other recipients than now, sealed anew; with `everything`, all.

    All or nothing: raises RefusedError naming every line that cannot be opened, and why.
    """
    renewed, refused = [], []
    for stored in stored_secrets(state, layer):
        if stored.sops is not None:
            continue
        if stored.text is None:
            refused.append(f"{stored.place}: {stored.key} is not sealed")
            continue
        if not everything and is_current(state, stored.layer, stored.key, stored.text):
            continue
        try:
            value = open_setting(state, stored.layer, stored.key, stored.text, identities)
        except KemudiError as error:
            refused.append(f"{stored.place}: {error}")
            continue
        text = seal_setting(state, stored.layer, stored.key, value)
        renewed.append(_in_place(stored, text))
    if refused:
        raise RefusedError(
            "nothing was changed, because not every line can be sealed anew:\n  " + "\n  ".join(refused),
            hint="A copied line is set again with `kemudi secret set`; take an identity that reads the others.",
        )
    return tuple(renewed)


def rebind(state: ConfigState, old: str, new: str, identities: Sequence[str]) -> tuple[Renewed, ...]:
    """The lines of a renamed setting, sealed for its new place in every layer that has them.

    Args:
        state: The config repo, its contract changed already.
        old: `KEY` or `CATEGORY/KEY` that the values were sealed for.
        new: The setting now, which its contract calls sensitive.
        identities: That open the values.

    The lines may still stand under the old key, or were moved under the new one. Raises UsageError when no layer has
    one, UnsealError's family when one cannot be opened.
    """
    new_category, new_key = _named(state, new)
    old_category, old_key = old.rsplit("/", 1) if "/" in old else (new_category, old)
    contract, spec = sensitive_setting(state, new_key)
    found = []
    for layer in state.manifest.layers if state.manifest is not None else ():
        here = context_of(state, layer, new_key)
        sealed_for = Context(here.repo_id, layer, old_category, old_key)
        line = _line_sealed_for(state, sealed_for, ((new_category, new_key), (old_category, old_key)))
        if line is None:
            continue
        category, key, text = line
        readers = readers_of(state, layer)
        _, value = unseal(text, sealed_for, identities, kind=spec.type, readers=readers)
        if contract.check_value(new_key, value):
            raise UsageError(f"the value of {old_key} in {layer} does not fit the contract of {new_key}")
        sealed = seal(here, spec.type, value, tuple(readers.values()))
        found.append(Renewed(layer, new_category, new_key, sealed, key, category))
    if not found:
        raise UsageError(
            f"no layer has a line that was sealed for {old_category}/{old_key}",
            hint="Name the key as it was: kemudi secret rebind OLD NEW, or CATEGORY/OLD for a moved one.",
        )
    return tuple(found)


def _named(state: ConfigState, name: str) -> tuple[str, str]:
    key = name.rpartition("/")[2]
    contract, _ = sensitive_setting(state, key)
    if name not in (key, f"{contract.category}/{key}"):
        raise UsageError(f"{key} is a setting of {contract.category}")
    return contract.category, key


def _line_sealed_for(
    state: ConfigState, context: Context, places: tuple[tuple[str, str], ...]
) -> tuple[str, str, str] | None:
    for category, key in places:
        document = state.document(values_path(context.layer, category))
        text = document.values.get(key) if document is not None else None
        if not is_sealed(text):
            continue
        try:
            envelope = Envelope.parse(str(text))
        except MalformedEnvelopeError:
            continue
        if envelope.at == context_digest(context):
            return category, key, str(text)
    return None


def _in_place(stored: StoredSecret, text: str) -> Renewed:
    return Renewed(stored.layer, stored.category, stored.key, text, stored.key, stored.category)
