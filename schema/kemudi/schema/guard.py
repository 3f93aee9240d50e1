"""Plaintext where a secret belongs: one judgement for pre-commit, validation, every write and the daemon.

A key is sensitive because its contract says so, or because its name is on the list of the config repo; its value in
plain text is an error. A known form of token, or text that looks random, under any other key is a warning: it may be
a secret that nobody marked. No message holds a value.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import translate
from functools import lru_cache
from typing import Final, NamedTuple

from kemudi.schema import rules
from kemudi.schema.documents import JSON
from kemudi.schema.envelope import is_sealed
from kemudi.schema.findings import Severity
from kemudi.schema.sentences import sentence

DEFAULT_NAMES: Final = (
    "*PASSWORD",
    "*PASSWD",
    "*PASSPHRASE",
    "*_SECRET",
    "*_SECRET_KEY",
    "*_TOKEN",
    "*_API_KEY",
    "*_ACCESS_KEY",
    "*_PRIVATE_KEY",
    "*_CREDENTIALS",
)
"""What `sensitive_names` of kemudi.yaml is when it is not written."""

_SHORTEST_RUN: Final = 24
_SHORTEST_HEX: Final = 32
_RUN: Final = re.compile(rf"[A-Za-z0-9+/_=-]{{{_SHORTEST_RUN},}}", re.ASCII)
_RUN_OF_BYTES: Final = re.compile(_RUN.pattern.encode())
_HEX: Final = re.compile(r"[0-9a-fA-F]+", re.ASCII)
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_DIGEST: Final = re.compile(r"\b(?:md5|sha1|sha256|sha384|sha512)[:-][0-9a-zA-Z+/=_-]+", re.ASCII)
_TURNS: Final = re.compile(r"(?<=[0-9])(?=[A-Za-z])|(?<=[A-Za-z])(?=[0-9])", re.ASCII)
_LEAST_BITS: Final = 3.6
"""Shannon entropy per character; text of a language with digits in it stays below, 24 random base64 digits above."""

# What it is called, a part that every one has, and its form.
_TOKENS: Final = tuple(
    (name, mark, re.compile(form, re.ASCII))
    for name, mark, form in (
        (sentence("a private key"), "PRIVATE KEY-----", r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
        (sentence("an age identity"), "AGE-SECRET-KEY-1", r"AGE-SECRET-KEY-1[0-9A-Z]{20,}"),
        (sentence("a GitHub token"), "gh", r"\bgh[opsur]_[A-Za-z0-9]{30,}"),
        (sentence("a GitHub token"), "github_pat_", r"\bgithub_pat_[A-Za-z0-9_]{30,}"),
        (sentence("a GitLab token"), "glpat-", r"\bglpat-[A-Za-z0-9_-]{18,}"),
        (sentence("an AWS access key"), "AKIA", r"\bAKIA[0-9A-Z]{16}\b"),
        (sentence("an AWS access key"), "ASIA", r"\bASIA[0-9A-Z]{16}\b"),
        (sentence("a Google API key"), "AIza", r"\bAIza[0-9A-Za-z_-]{35}"),
        (sentence("a Slack token"), "xox", r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}"),
        (sentence("a Stripe key"), "k_live_", r"\b[rs]k_live_[A-Za-z0-9]{16,}"),
        (sentence("an npm token"), "npm_", r"\bnpm_[A-Za-z0-9]{36}"),
        (sentence("a PyPI token"), "pypi-", r"\bpypi-[A-Za-z0-9_-]{50,}"),
        (
            sentence("a JSON Web Token"),
            "eyJ",
            r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}",
        ),
        (sentence("an address with a password"), "://", r"[a-z][a-z0-9+.-]*://[^\s/:@]*:[^\s/@]+@"),
    )
)
_MARKS: Final = tuple(dict.fromkeys(mark.encode() for _, mark, _ in _TOKENS))


@dataclass(frozen=True, slots=True)
class SensitiveNames:
    """Name patterns of keys that are sensitive whatever their contract says; `*` and `?` stand for characters.

    A contract that says `x-kemudi-sensitive: false` in so many words takes its key out.
    """

    patterns: tuple[str, ...] = DEFAULT_NAMES

    def match(self, name: str) -> str | None:
        """The first pattern that a key or the name of a member fits; case does not count."""
        return _matched(self.patterns, name.upper().replace("-", "_"))


USUAL: Final = SensitiveNames()
"""The names of a config repo that writes no list of its own."""


class Suspicion(NamedTuple):
    """Why a value should not stand there in plain text.

    Attributes:
        rule: `KEM030`, an error, or `KEM035`, a warning.
        severity: Only an error refuses.
        message: One sentence with the key, never the value.
        hint: What to do.
    """

    rule: str
    severity: Severity
    message: str
    hint: str


def inspect(
    key: str,
    value: JSON,
    *,
    sensitive: bool | None,
    names: SensitiveNames,
    layer: str,
) -> Suspicion | None:
    """What speaks against `value` standing in plain text under `key`; None if nothing does.

    Args:
        key: The setting, also one that no contract knows.
        value: As it stands in the file; a sealed one is never suspicious here.
        sensitive: What the contract says; None = it says nothing.
        names: Of the config repo.
        layer: Where it stands, for the command in the hint.
    """
    if sensitive:
        return None if is_sealed(value) else _plaintext(key, sentence("%(key)s is sensitive", key=key), layer)
    if sensitive is None and (pattern := _named(key, value, names)) is not None:
        why = sentence(
            "%(key)s is sensitive by its name (%(pattern)s in sensitive_names)", key=key, pattern=pattern
        )
        hint = sentence(
            "mark it x-kemudi-sensitive in its contract, change the secret at its source, seal the new one"
        )
        return Suspicion(
            rules.PLAINTEXT_SECRET, "error", sentence("%(why)s, and stands here in plain text", why=why), hint
        )
    kind = next((found for text in _texts(value) if (found := looks_like(text)) is not None), None)
    if kind is None:
        return None
    message = sentence("%(key)s holds what looks like %(kind)s", key=key, kind=kind)
    hint = sentence(
        "if it is a secret: change it at its source, mark the key x-kemudi-sensitive, seal the new one"
    )
    return Suspicion(rules.LIKELY_SECRET, "warning", message, hint)


def looks_like(text: str) -> str | None:
    """What a text holds, in words, if it holds a token of a known form or a random run of characters."""
    for name, mark, form in _TOKENS:
        if mark in text and form.search(text):
            return name
    if len(text) < _SHORTEST_RUN or is_sealed(text):
        return None
    rest = _DIGEST.sub(" ", _UUID.sub(" ", text))
    return sentence("a random key") if any(_is_random(run) for run in _RUN.findall(rest)) else None


def is_quiet(data: bytes, values: dict[str, JSON], names: SensitiveNames) -> bool:
    """Whether `inspect` has nothing to say of any plain value of a file: quick, and never wrong with True."""
    if any(mark in data for mark in _MARKS) or _RUN_OF_BYTES.search(data) is not None:
        return False
    return not _any_named(values, names)


def _plaintext(key: str, why: str, layer: str) -> Suspicion:
    command = f"kemudi secret set {key} --layer {layer}"
    hint = sentence("change the secret at its source, then seal the new one: %(command)s", command=command)
    return Suspicion(
        rules.PLAINTEXT_SECRET, "error", sentence("%(why)s, and stands here in plain text", why=why), hint
    )


def _named(key: str, value: JSON, names: SensitiveNames) -> str | None:
    """The pattern of the key, or of a member at any depth, that has text in it."""
    if (pattern := names.match(key)) is not None and any(_texts(value)):
        return pattern
    if isinstance(value, dict):
        return next((found for k, v in value.items() if (found := _named(k, v, names)) is not None), None)
    if isinstance(value, list):
        return next((found for item in value if (found := _named("", item, names)) is not None), None)
    return None


def _any_named(value: JSON, names: SensitiveNames) -> bool:
    if isinstance(value, dict):
        return any(names.match(key) is not None or _any_named(inner, names) for key, inner in value.items())
    return isinstance(value, list) and any(_any_named(item, names) for item in value)


def _texts(value: JSON) -> Iterator[str]:
    if isinstance(value, str):
        if not is_sealed(value):
            yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)


def _is_random(run: str) -> bool:
    turns = len(_TURNS.findall(run))
    if _HEX.fullmatch(run):
        return len(run) >= _SHORTEST_HEX and turns >= len(run) // 5
    cases = run != run.lower() and run != run.upper()
    return cases and turns >= len(run) // 12 + 1 and _bits(run) >= _LEAST_BITS


def _bits(text: str) -> float:
    counts = Counter(text).values()
    return -sum(count / len(text) * math.log2(count / len(text)) for count in counts)


@lru_cache(maxsize=65_536)
def _matched(patterns: tuple[str, ...], name: str) -> str | None:
    return next((pattern for pattern in patterns if _compiled(pattern).fullmatch(name)), None)


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(pattern.upper()), re.ASCII)
