"""What a diff shows of sealed values: their type and a fingerprint, never the value unless it is asked for."""

import hashlib
import hmac
import json
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from kemudi.repo.edits import render
from kemudi.repo.errors import UnsealError
from kemudi.repo.git import program
from kemudi.repo.secrets import open_anywhere
from kemudi.schema.documents import JSON
from kemudi.schema.envelope import Envelope, MalformedEnvelopeError

_SEALED: Final = re.compile(r"ENC\[kemudi:[^\]\s]*\]")
_TRUE: Final = frozenset({"", "true", "yes", "on", "1"})


def shown(text: str, identities: Sequence[str], *, reveal: bool) -> str:
    """A file of values with each sealed text replaced; all else as it is.

    Args:
        text: The file, from any commit.
        identities: Without them, and for what they do not open, the ciphertext's fingerprint is shown.
        reveal: Show the values themselves.
    """

    def replaced(found: re.Match[str]) -> str:
        return _described(found[0], identities, reveal=reveal)

    return _SEALED.sub(replaced, text)


def fingerprint(identities: Sequence[str], key: str, value: JSON) -> str:
    """8 hex digits of a value, keyed by the identities: nobody else can test a guess against them."""
    secret = hashlib.sha256("\n".join(["kemudi fingerprint", *sorted(identities)]).encode()).digest()
    spelled = json.dumps([key, value], sort_keys=True, separators=(",", ":")).encode()
    return hmac.new(secret, spelled, "sha256").hexdigest()[:8]


def caching_driver(folder: Path) -> str | None:
    """The diff driver that calls Kemudi and has `cachetextconv` on; None if there is none.

    The user's own configuration counts here, so this does not go through the hardened runner.
    """
    answer = subprocess.run(
        [program(), "config", "--null", "--get-regexp", r"^diff\..*\.(cache)?textconv$"],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=10,
    )
    drivers: dict[str, dict[str, str]] = {}
    for entry in answer.stdout.decode("utf-8", "replace").split("\0")[:-1]:
        name, _, value = entry.partition("\n")
        driver, _, setting = name.removeprefix("diff.").rpartition(".")
        drivers.setdefault(driver, {})[setting] = value
    for driver, settings in drivers.items():
        ours = driver == "kemudi" or "kemudi" in settings.get("textconv", "")
        if ours and settings.get("cachetextconv", "false").lower() in _TRUE:
            return driver
    return None


def _described(text: str, identities: Sequence[str], *, reveal: bool) -> str:
    try:
        envelope = Envelope.parse(text)
    except MalformedEnvelopeError:
        return "<sealed, damaged>"
    try:
        context, kind, value = open_anywhere(envelope, identities)
    except UnsealError:
        return f"<sealed, ciphertext {envelope.fingerprint()}>"
    if reveal:
        return render(value)
    return f"<sealed {kind} {fingerprint(identities, context.key, value)}>"
