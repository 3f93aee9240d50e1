"""Values sealed to age recipients and opened with an identity, bound to the place where they stand.

Anyone can seal with the public keys; only a recipient's identity opens. The context travels inside the ciphertext and
is compared after opening, so a ciphertext that was copied to another key or environment is worth nothing there.
No message and no error of this module holds a value.
"""

import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pyrage  # type: ignore[import-untyped]  # it ships no types

from kemudi.repo.errors import (
    DamagedSealError,
    NoMatchingIdentityError,
    WrongContextError,
    WrongSealedTypeError,
)
from kemudi.repo.loose import read_regular
from kemudi.schema.documents import JSON
from kemudi.schema.envelope import (
    Context,
    Envelope,
    MalformedEnvelopeError,
    context_digest,
    decode_payload,
    encode_payload,
    recipients_digest,
)
from kemudi.schema.errors import RefusedError, UsageError

_LARGEST_FILE: Final = 64 * 1024
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def generate_identity() -> tuple[str, str]:
    """A new age identity as text, to be kept in a 0600 file, and its public key."""
    identity = pyrage.x25519.Identity.generate()
    return str(identity), str(identity.to_public())


def seal(context: Context, kind: str, value: JSON, recipients: Sequence[str]) -> str:
    """`ENC[…]` of a typed value for some public keys, bound to a place.

    Args:
        context: Where the value will stand.
        kind: Its JSON type by the contract: `string`, `integer`, …
        value: The plaintext.
        recipients: Public keys, `age1…` or `ssh-ed25519 …`.

    Raises UsageError for a missing or malformed public key, or a value that is too large or no JSON.
    """
    if not recipients:
        raise UsageError(
            f"nobody is named who can read the layer {context.layer}",
            hint="Add recipients to recipients.yaml.",
        )
    keys = sorted(set(recipients))
    try:
        payload = encode_payload(context, recipients_digest(keys), kind, value)
    except ValueError as error:
        raise UsageError(f"the value of {context.key} cannot be sealed: {_size_only(error)}") from None
    ciphertext = pyrage.encrypt(payload, [age_recipient(key) for key in keys])
    return str(Envelope(context_digest(context), recipients_digest(keys), ciphertext))


def unseal(
    text: str,
    context: Context,
    identities: Sequence[str],
    *,
    kind: str | None = None,
    readers: Mapping[str, str] | None = None,
) -> tuple[str, JSON]:
    """The type and the plaintext of a sealed value.

    Args:
        text: `ENC[…]`.
        context: The place where it stands.
        identities: Texts of age identities, or SSH private keys.
        kind: The type that the contract wants, if it is to be compared.
        readers: Name → public key of those who should be able to read it, for the message when nobody here can.

    Raises DamagedSealError, WrongContextError, NoMatchingIdentityError, WrongSealedTypeError: all UnsealError.
    """
    try:
        envelope = Envelope.parse(text)
    except MalformedEnvelopeError as error:
        raise DamagedSealError(f"the sealed value of {context.key} is damaged: {error}") from None
    if envelope.at != context_digest(context):
        raise WrongContextError(
            f"the sealed value of {context.key} in {context.layer} was sealed for another place",
            hint=f"Seal it anew: kemudi secret set {context.key} --layer {context.layer}",
        )
    payload = _opened(envelope, context, identities, readers)
    try:
        sealed_for, recipients, sealed_kind, value = decode_payload(payload)
    except ValueError as error:
        raise DamagedSealError(f"the sealed value of {context.key} is damaged: {error}") from None
    if recipients != envelope.rs:
        message = (
            f"the sealed value of {context.key} says in the clear that it is for other recipients than it was"
        )
        raise DamagedSealError(message)
    if sealed_for != context:
        raise WrongContextError(_wrong_place(sealed_for, context))
    if kind is not None and kind != sealed_kind:
        raise WrongSealedTypeError(
            f"the sealed value of {context.key} was sealed as {sealed_kind}, its contract says {kind}",
            hint="Seal it anew with the type of the contract.",
        )
    return sealed_kind, value


def open_anywhere(envelope: Envelope, identities: Sequence[str]) -> tuple[Context, str, JSON]:
    """The place, type and plaintext that were sealed, wherever the text stands: for looking at old commits.

    Never for serving: nothing is compared with a place but the digest in the clear. Raises UnsealError's family.
    """
    payload = _opened(envelope, Context("", "a file", "", "a sealed value"), identities, None)
    try:
        context, recipients, kind, value = decode_payload(payload)
    except ValueError as error:
        raise DamagedSealError(str(error)) from None
    if (envelope.at, envelope.rs) != (context_digest(context), recipients):
        message = (
            f"the sealed value of {context.key} says in the clear that it is for another place or others"
        )
        raise WrongContextError(message)
    return context, kind, value


def load_identities(path: Path) -> tuple[str, ...]:
    """The identities in a file: lines of `AGE-SECRET-KEY-1…`, or one SSH private key.

    Raises UsageError when there is none, RefusedError when others than the owner may read it.
    """
    text = _private_text(path)
    if "PRIVATE KEY-----" in text:
        return (text,)
    found = tuple(line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#"))
    if not found:
        raise UsageError(f"{path} holds no identity", hint="Make one with `kemudi secret keygen`.")
    for identity in found:
        age_identity(identity)
    return found


def save_identity(path: Path, identity: str) -> None:
    """Write an identity to a new file of mode 0600. Raises UsageError when the file is there."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise UsageError(f"{path} is there already; no key is overwritten") from None
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(identity.strip() + "\n")


def public_key(identity: str) -> str:
    """The public key of an age identity. Raises UsageError."""
    found = age_identity(identity)
    if isinstance(found, pyrage.ssh.Identity):
        raise UsageError("the public key of an SSH identity stands in its .pub file")
    return str(found.to_public())


def _opened(
    envelope: Envelope, context: Context, identities: Sequence[str], readers: Mapping[str, str] | None
) -> bytes:
    keys = [age_identity(identity) for identity in identities]
    try:
        return bytes(pyrage.decrypt(envelope.ciphertext, keys))
    except pyrage.DecryptError as error:
        # The library tells the two apart only by its words; what is not "no key" is damage.
        if keys and "matching" not in str(error).lower():
            raise DamagedSealError(
                f"the sealed value of {context.key} is damaged: it cannot be opened"
            ) from None
        raise NoMatchingIdentityError(_nobody(envelope, context, len(keys), readers or {})) from None


def _nobody(envelope: Envelope, context: Context, count: int, readers: Mapping[str, str]) -> str:
    held = (
        f"none of the {count} identities here"
        if count > 1
        else "the identity here"
        if count
        else "no identity"
    )
    verb = "opens" if count > 1 else "does not open" if count else "is given that opens"
    message = f"{held} {verb} {context.key} in {context.layer}"
    if not readers:
        return message
    names = ", ".join(sorted(readers))
    if recipients_digest(readers.values()) == envelope.rs:
        return f"{message}; it is sealed to {names}"
    return f"{message}; it is sealed to others than recipients.yaml names now ({names})"


def _wrong_place(sealed_for: Context, context: Context) -> str:
    parts = ("repository", "layer", "category", "key")
    wrong = [
        f"{part} {theirs}" if part != "repository" else "another repository"
        for part, theirs, ours in zip(parts, sealed_for, context, strict=True)
        if theirs != ours
    ]
    return f"the sealed value of {context.key} in {context.layer} was sealed for {', '.join(wrong)}"


def age_recipient(key: str) -> Any:
    """The library's object of a public key. Raises UsageError."""
    try:
        if key.startswith("ssh-"):
            return pyrage.ssh.Recipient.from_str(key)
        return pyrage.x25519.Recipient.from_str(key)
    except pyrage.RecipientError:
        # Whoever mixes the two up must not find a private key in a log.
        shown = repr(key[:70]) if key.startswith(("age1", "ssh-")) else "a recipient"
        raise UsageError(f"{shown} is not a public key of age or SSH") from None


def age_identity(text: str) -> Any:
    """The library's object of an identity. Raises UsageError, without the text."""
    try:
        if "PRIVATE KEY-----" in text:
            return pyrage.ssh.Identity.from_buffer(text.encode())
        return pyrage.x25519.Identity.from_str(text.strip())
    except pyrage.IdentityError:
        raise UsageError("an identity is malformed", hint="It starts with AGE-SECRET-KEY-1.") from None


def _private_text(path: Path) -> str:
    try:
        # Kubernetes mounts its secrets as symlinks, so one is followed here.
        found, data = read_regular(path, _LARGEST_FILE, follow=True)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    if found.st_mode & _OTHERS:
        raise RefusedError(
            f"{path} can be read by others than its owner (mode {stat.S_IMODE(found.st_mode):04o})",
            hint=f"chmod 600 {path}",
        )
    return data.decode("utf-8", "replace")


def _size_only(error: ValueError) -> str:
    return str(error) if "bytes" in str(error) else "it is not a finite JSON value"
