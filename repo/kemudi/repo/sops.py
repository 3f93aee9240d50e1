"""Values files of SOPS with age keys: opened with the MAC enforced, and written so that SOPS opens them.

The format: each scalar is AES-256-GCM under one data key of the file, its path as associated data; the data key is
sealed to each age recipient; the MAC is a SHA-512 over all plaintexts in the order of the file, encrypted with the
time of the last change as associated data. Written anew from the format's description; SOPS itself is the test.
"""

import base64
import binascii
import hashlib
import hmac
import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import pyrage  # type: ignore[import-untyped]  # it ships no types
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from kemudi.repo.edits import render
from kemudi.repo.errors import DamagedSealError, NoMatchingIdentityError
from kemudi.repo.secrets import age_identity, age_recipient
from kemudi.schema.documents import JSON, read_document
from kemudi.schema.errors import UsageError
from kemudi.schema.sops import BLOCK, VALUE, SopsBlock, SopsError, is_encrypted, read_block

_VERSION: Final = "3.9.0"
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 32
_TAG_BYTES: Final = 16
_TYPED: Final[Mapping[str, Callable[[str], JSON]]] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": lambda text: {"true": True, "false": False}[text.lower()],
    "bytes": str,
    "time": str,
}
# What the MAC begins with when it covers encrypted values only, so that the two kinds never agree.
_ONLY_ENCRYPTED: Final = bytes.fromhex("8a3fd2ad54ce66527b1034f3d147be0b0b975b3bf44f72c6fdadec8176f27d69")


def open_file(data: bytes, file: str, identities: Sequence[str]) -> dict[str, JSON]:
    """The plain values of a SOPS file, without its block; the MAC was checked.

    Args:
        data: The file.
        file: Its name, for messages.
        identities: Texts of age identities.

    Raises DamagedSealError when anything in it was changed, NoMatchingIdentityError, UsageError for a file that is
    none of SOPS with age. No message holds a value.
    """
    document, findings = read_document(data, file)
    if document is None or findings:
        raise DamagedSealError(f"{file} cannot be read as YAML")
    try:
        block = read_block(document.values)
    except SopsError as error:
        raise UsageError(f"{file}: {error}", hint=error.hint) from None
    cipher = AESGCM(_data_key(block, file, identities))
    mac = hashlib.sha512(_ONLY_ENCRYPTED if block.only_encrypted else b"")

    def opened(path: tuple[str, ...], value: JSON) -> JSON:
        if is_encrypted(value):
            value = _decrypted(cipher, str(value), _aad(path), file)
        elif block.only_encrypted:
            return value
        mac.update(_spelled(value))
        return value

    plain = {key: _mapped(value, (key,), opened) for key, value in document.values.items() if key != BLOCK}
    expected = _decrypted(cipher, block.mac, block.modified.encode(), file)
    if not hmac.compare_digest(str(expected).encode(), mac.hexdigest().upper().encode()):
        raise DamagedSealError(f"{file} was changed after SOPS encrypted it: its MAC does not fit")
    return plain


def encrypt_values(
    values: Mapping[str, JSON], secret: Collection[str], recipients: Sequence[str]
) -> tuple[dict[str, JSON], str]:
    """Values as SOPS writes them: those of the `secret` keys encrypted, and the text of the block.

    Args:
        values: All settings of the file, in its order, in plain text.
        secret: The keys to encrypt.
        recipients: Public keys of age or SSH.

    Raises UsageError for a malformed public key.
    """
    key = os.urandom(_KEY_BYTES)
    cipher = AESGCM(key)
    mac = hashlib.sha512()

    def closed(path: tuple[str, ...], value: JSON) -> JSON:
        mac.update(_spelled(value))
        return _encrypted(cipher, value, _aad(path)) if path[0] in secret else value

    written = {name: _mapped(value, (name,), closed) for name, value in values.items()}
    modified = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    sealed_mac = _encrypted(cipher, mac.hexdigest().upper(), modified.encode())
    return written, _block_text(key, sorted(set(recipients)), modified, str(sealed_mac), secret)


def _block_text(
    key: bytes, recipients: Sequence[str], modified: str, mac: str, secret: Collection[str]
) -> str:
    lines = [f"{BLOCK}:", "    age:"]
    for recipient in recipients:
        armored = pyrage.encrypt(key, [age_recipient(recipient)], armored=True).decode()
        lines += [f"        - recipient: {recipient}", "          enc: |"]
        lines += [f"            {line}" for line in armored.splitlines()]
    pattern = "^(" + "|".join(re.escape(name) for name in sorted(secret)) + ")$"
    lines += [
        f'    lastmodified: "{modified}"',
        f"    mac: {mac}",
        f"    encrypted_regex: {render(pattern)}",
        f"    version: {_VERSION}",
    ]
    return "\n".join(lines) + "\n"


def _data_key(block: SopsBlock, file: str, identities: Sequence[str]) -> bytes:
    keys = [age_identity(identity) for identity in identities]
    for _, armored in block.age if keys else ():
        try:
            found = bytes(pyrage.decrypt(armored.encode(), keys))
        except pyrage.DecryptError:
            continue
        if len(found) == _KEY_BYTES:
            return found
    named = ", ".join(recipient for recipient, _ in block.age)
    raise NoMatchingIdentityError(f"no identity here opens {file}, which SOPS encrypted to {named}")


def _mapped(value: JSON, path: tuple[str, ...], change: Callable[[tuple[str, ...], JSON], JSON]) -> JSON:
    """Every scalar but null replaced, in the order of the file; as in `leaves`, a list adds nothing to the path."""
    if isinstance(value, dict):
        return {key: _mapped(inner, (*path, key), change) for key, inner in value.items()}
    if isinstance(value, list):
        return [_mapped(item, path, change) for item in value]
    return None if value is None else change(path, value)


def _aad(path: tuple[str, ...]) -> bytes:
    return (":".join(path) + ":").encode()


def _encrypted(cipher: AESGCM, value: JSON, aad: bytes) -> JSON:
    if value == "" and isinstance(value, str):
        return ""
    kinds = {bool: "bool", int: "int", float: "float", str: "str"}
    nonce = os.urandom(_NONCE_BYTES)
    sealed = cipher.encrypt(nonce, _spelled(value), aad)
    parts = [base64.b64encode(part).decode() for part in (sealed[:-_TAG_BYTES], nonce, sealed[-_TAG_BYTES:])]
    return f"ENC[AES256_GCM,data:{parts[0]},iv:{parts[1]},tag:{parts[2]},type:{kinds[type(value)]}]"


def _decrypted(cipher: AESGCM, text: str, aad: bytes, file: str) -> JSON:
    found = VALUE.fullmatch(text)
    assert found is not None  # noqa: S101  # the caller looked
    kind = found[4]
    try:
        data, nonce, tag = (base64.b64decode(part, validate=True) for part in found.groups()[:3])
        plain = cipher.decrypt(nonce, data + tag, aad).decode()
        return _TYPED[kind](plain)
    except (InvalidTag, binascii.Error, ValueError, KeyError):
        raise DamagedSealError(
            f"{file} was changed after SOPS encrypted it: a value cannot be opened"
        ) from None


def _spelled(value: Any) -> bytes:
    """A scalar as it goes into the ciphertext and the MAC."""
    if isinstance(value, bool):
        return b"True" if value else b"False"
    if isinstance(value, float):
        text = format(Decimal(repr(value)), "f")
        return (text.rstrip("0").rstrip(".") if "." in text else text).encode()
    return str(value).encode()
