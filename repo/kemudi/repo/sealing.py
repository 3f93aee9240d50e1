"""One setting sealed for its place in a config repo: the state says for whom, what type, and where it stands."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from kemudi.repo.errors import UnsealError, WrongSealedTypeError
from kemudi.repo.secrets import seal, unseal
from kemudi.repo.sops import open_file
from kemudi.schema import rules
from kemudi.schema.contract import Contract, SettingSpec
from kemudi.schema.documents import JSON, Place
from kemudi.schema.envelope import (
    Context,
    Envelope,
    MalformedEnvelopeError,
    context_digest,
    is_sealed,
    recipients_digest,
)
from kemudi.schema.errors import FindingsError, RefusedError, UsageError
from kemudi.schema.findings import Finding
from kemudi.schema.manifest import RECIPIENTS_FILE
from kemudi.schema.nearest import did_you_mean
from kemudi.schema.paths import values_path
from kemudi.schema.secret import Secret
from kemudi.schema.sentences import sentence
from kemudi.schema.sops import BLOCK, is_sops
from kemudi.schema.state import ConfigState

_ABOUT_SECRETS: Final = frozenset(
    {
        rules.PLAINTEXT_SECRET,
        rules.NEEDLESS_SEAL,
        rules.MALFORMED_SEAL,
        rules.MOVED_SEAL,
        rules.STALE_SEAL,
        rules.SOPS_FILE,
    }
)


def seal_setting(state: ConfigState, layer: str, key: str, value: JSON | Secret[JSON]) -> str:
    """The `ENC[…]` line of a sensitive setting in one layer. Reads nothing and writes nothing.

    Args:
        state: The config repo; its contracts, manifest and recipients decide.
        layer: `base`, or an environment's overlay.
        key: A setting that its contract calls sensitive.
        value: The plaintext, as JSON; in a `Secret` or bare.

    Raises UsageError for an unknown key or layer, a key that is not sensitive, or a value that breaks the contract;
    FindingsError when kemudi.yaml or recipients.yaml cannot be used. The value is in no message.
    """
    contract, spec = sensitive_setting(state, key)
    plain = value.reveal() if isinstance(value, Secret) else value
    if contract.check_value(key, plain):
        raise UsageError(
            sentence("the value of %(key)s does not fit its contract", key=key),
            hint=sentence("It must be: %(type)s.", type=spec.type),
        )
    context = context_of(state, layer, key)
    return seal(context, spec.type, contract.normalise(key, plain), tuple(readers_of(state, layer).values()))


def sensitive_setting(state: ConfigState, key: str) -> tuple[Contract, SettingSpec]:
    """The contract and the description of a sensitive setting. Raises UsageError."""
    category = state.category_of.get(key)
    if category is None:
        raise UsageError(
            sentence("no contract has a setting %(key)s", key=repr(key)),
            hint=did_you_mean(key, state.category_of),
        )
    contract = state.contracts[category]
    spec = contract.settings[key]
    if not spec.sensitive:
        raise UsageError(
            sentence(
                "%(key)s is not sensitive in its contract; its value stands in the file as it is", key=key
            ),
            hint=sentence(
                "To make it a secret, mark it x-kemudi-sensitive in %(file)s first.", file=contract.file
            ),
        )
    return contract, spec


def context_of(state: ConfigState, layer: str, key: str) -> Context:
    """The place that a setting is sealed for. Raises UsageError for an unknown key or layer, FindingsError."""
    contract, _ = sensitive_setting(state, key)
    manifest = state.manifest
    if manifest is None:
        raise FindingsError(sentence("kemudi.yaml is not valid"), state.findings)
    if layer not in manifest.layers:
        raise UsageError(
            sentence(
                "there is no layer %(layer)s; the config repo has: %(layers)s",
                layer=repr(layer),
                layers=", ".join(manifest.layers),
            ),
            hint=did_you_mean(layer, manifest.layers),
        )
    return Context(manifest.id, layer, contract.category, key)


def readers_of(state: ConfigState, layer: str) -> dict[str, str]:
    """Name → public key of everyone whom a layer's values are sealed to. Raises FindingsError.

    A recipients.yaml with any error is not used: whoever is missing because of it could not read what is sealed.
    """
    wrong = tuple(finding for finding in state.findings if finding.file == RECIPIENTS_FILE)
    if state.manifest is None or state.recipients is None or wrong:
        raise FindingsError(sentence("kemudi.yaml or recipients.yaml is not valid"), wrong or state.findings)
    return {each.name: each.key for each in state.recipients.for_layer(layer, state.manifest)}


def open_setting(
    state: ConfigState, layer: str, key: str, text: str, identities: Sequence[str]
) -> Secret[JSON]:
    """The plaintext of a sealed line, held against the place where it stands and against its contract.

    Raises UnsealError's family, UsageError, FindingsError; no message holds the value.
    """
    contract, spec = sensitive_setting(state, key)
    context = context_of(state, layer, key)
    _, value = unseal(text, context, identities, kind=spec.type, readers=readers_of(state, layer))
    value = contract.normalise(key, value)
    if contract.check_value(key, value):
        raise WrongSealedTypeError(
            sentence(
                "the sealed value of %(key)s in %(layer)s does not fit its contract", key=key, layer=layer
            )
        )
    return Secret(value)


class StoredSecret(NamedTuple):
    """A sensitive setting in one layer, as it stands in its file.

    Attributes:
        layer: `base`, or an environment's overlay.
        category: Of its contract.
        key: The setting.
        place: Where its value stands.
        text: `ENC[…]`, damaged or not; None where no sealed text stands. Plaintext is never held.
        sops: All bytes of the file if SOPS encrypted it; then `text` is None.
    """

    layer: str
    category: str
    key: str
    place: Place
    text: str | None
    sops: bytes | None = None


def stored_secrets(state: ConfigState, layer: str | None = None) -> Iterator[StoredSecret]:
    """Every sensitive setting that a layer (or all) sets, in the order of layers, categories and lines."""
    layers = state.manifest.layers if state.manifest is not None else ()
    for each in layers:
        for category, contract in state.contracts.items():
            document = state.document(values_path(each, category))
            if document is None or layer not in (None, each):
                continue
            for key, value in document.values.items():
                if key in contract.sensitive:
                    text = value if isinstance(value, str) and is_sealed(value) else None
                    place, sops = document.place_of_value(key), document.data if is_sops(document) else None
                    yield StoredSecret(each, category, key, place, None if sops else text, sops)


def is_current(state: ConfigState, layer: str, key: str, text: str) -> bool:
    """Whether a sealed line was sealed for its place and for the recipients of now, as far as its text says."""
    try:
        envelope = Envelope.parse(text)
    except MalformedEnvelopeError:
        return False
    keys = set(readers_of(state, layer).values())
    right_place = envelope.at == context_digest(context_of(state, layer, key))
    return right_place and envelope.rs == recipients_digest(keys) and envelope.stanzas == len(keys)


def would_change(
    state: ConfigState, layer: str, key: str, value: JSON, text: str | None, identities: Sequence[str]
) -> bool:
    """Whether sealing `value` anew is needed; a line that cannot be opened here is always sealed anew."""
    if text is None or not identities or not is_current(state, layer, key, text):
        return True
    try:
        return not same_value(open_setting(state, layer, key, text, identities), Secret(value))
    except UnsealError:
        return True


def same_value(one: Secret[JSON], other: Secret[JSON]) -> bool:
    """Whether two plaintexts are one JSON value: 1 is neither true nor 1.0, and members have no order."""
    return json.dumps(one.reveal(), sort_keys=True) == json.dumps(other.reveal(), sort_keys=True)


class StoredStatus(NamedTuple):
    """A sensitive line, and what is to be said of it without any key.

    Attributes:
        stored: The line.
        readers: Names of those whom its layer is sealed to now.
        problems: Errors at this line; none = as it should be.
    """

    stored: StoredSecret
    readers: tuple[str, ...]
    problems: tuple[Finding, ...]

    def as_json(self) -> dict[str, object]:
        """For `--json`."""
        stored = self.stored
        return {
            "layer": stored.layer,
            "category": stored.category,
            "key": stored.key,
            "file": stored.place.file,
            "line": stored.place.line,
            "recipients": list(self.readers),
            "problems": [finding.as_json() for finding in self.problems],
        }


def status_of(state: ConfigState, layer: str | None = None) -> tuple[StoredStatus, ...]:
    """Every sensitive line with what validation says of it, in a SOPS file with what it says of the block, too.

    Raises FindingsError without manifest or recipients.
    """
    errors: dict[tuple[str, str | None], list[Finding]] = {}
    for finding in state.findings:
        if finding.severity == "error":
            errors.setdefault((finding.file, finding.key), []).append(finding)
    readers = {
        each: tuple(readers_of(state, each)) for each in (state.manifest.layers if state.manifest else ())
    }
    return tuple(
        StoredStatus(stored, readers[stored.layer], _problems(errors, stored))
        for stored in stored_secrets(state, layer)
    )


def problems_elsewhere(state: ConfigState, layer: str | None = None) -> tuple[Finding, ...]:
    """Errors about secrets at no line of `status_of`: a key sensitive by its name, a file that cannot be read."""
    listed = {finding for line in status_of(state, layer) for finding in line.problems}
    return tuple(
        finding
        for finding in state.findings
        if finding.severity == "error"
        and finding not in listed
        and (finding.rule in _ABOUT_SECRETS or _is_unread(state, finding.file))
        and layer in (None, finding.file.partition("/")[0])
    )


def _is_unread(state: ConfigState, path: str) -> bool:
    folder = path.partition("/")[0]
    return state.manifest is not None and folder in state.manifest.layers and state.document(path) is None


def _problems(
    errors: Mapping[tuple[str, str | None], list[Finding]], stored: StoredSecret
) -> tuple[Finding, ...]:
    of_block = errors.get((stored.place.file, BLOCK), []) if stored.sops is not None else []
    return (*errors.get((stored.place.file, stored.key), ()), *of_block)


def open_stored(state: ConfigState, stored: StoredSecret, identities: Sequence[str]) -> Secret[JSON]:
    """The plaintext of a line, sealed by Kemudi or by SOPS. Raises as `open_setting`; RefusedError for plaintext."""
    if stored.text is not None:
        return open_setting(state, stored.layer, stored.key, stored.text, identities)
    if stored.sops is None:
        hint = sentence("Change the secret at its source, then seal the new one.")
        raise RefusedError(
            sentence("%(place)s: %(key)s stands there in plain text", place=stored.place, key=stored.key),
            hint=hint,
        )
    contract, _ = sensitive_setting(state, stored.key)
    value = contract.normalise(stored.key, open_file(stored.sops, stored.place.file, identities)[stored.key])
    if contract.check_value(stored.key, value):
        raise WrongSealedTypeError(
            sentence(
                "the value of %(key)s in %(file)s does not fit its contract",
                key=stored.key,
                file=stored.place.file,
            )
        )
    return Secret(value)
