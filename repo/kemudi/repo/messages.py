"""The message of a commit: a subject, the reason, and trailers that nothing in the reason can forge."""

import re
from collections.abc import Sequence
from typing import Final

from kemudi.schema.errors import UsageError
from kemudi.schema.sentences import sentence

TRAILER: Final = "Kemudi-Change"
"""The last paragraph of every message holds it: what stands in the reason is never read as a trailer."""

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,62}", re.ASCII)
_LINE: Final = re.compile(r"([A-Za-z][A-Za-z0-9-]{0,62}): +(\S.*)", re.ASCII)
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u0080-\u009f\u2028\u2029]")
_LONGEST: Final = 1000
_LONGEST_REASON: Final = 10_000

Trailers = tuple[tuple[str, str], ...]


def compose(subject: str, reason: str, trailers: Sequence[tuple[str, str]], change: str) -> str:
    """A message of three parts. `change` says what kind of change it is.

    Raises UsageError for a trailer that git could not read back as it is, or a reason that is too long.
    """
    body = "\n".join(line.rstrip() for line in clean(reason).strip().splitlines())
    if len(body) > _LONGEST_REASON:
        raise UsageError(
            sentence("a reason has at most %(longest_reason)s characters", longest_reason=_LONGEST_REASON)
        )
    last = [f"{name}: {value}" for name, value in (*checked(trailers), (TRAILER, change))]
    parts = [clean(subject).replace("\n", " ").strip(), body, "\n".join(last)]
    return "\n\n".join(part for part in parts if part) + "\n"


def checked(trailers: Sequence[tuple[str, str]]) -> Trailers:
    """Trailers that stay one line each. Raises UsageError."""
    for name, value in trailers:
        if not _NAME.fullmatch(name) or name.lower() == TRAILER.lower():
            raise UsageError(sentence("%(name)s cannot be the name of a trailer", name=repr(name[:60])))
        if not value.strip() or value != clean(value) or "\n" in value or len(value) > _LONGEST:
            raise UsageError(
                sentence(
                    "the trailer %(name)s has to be one line of at most %(longest)s characters",
                    name=name,
                    longest=_LONGEST,
                )
            )
    return tuple((name, value.strip()) for name, value in trailers)


def trailers_of(message: str) -> Trailers:
    """The trailers of a message: its last paragraph, if every line of it is one."""
    paragraphs = _paragraphs(message)
    if len(paragraphs) < 2:
        return ()
    found = [_LINE.fullmatch(line) for line in paragraphs[-1].splitlines()]
    return tuple((each[1], each[2]) for each in found if each is not None) if all(found) else ()


def reason_of(message: str) -> str:
    """Why: the message without subject and trailers; of a message that has only a subject, that."""
    paragraphs = _paragraphs(message)
    body = paragraphs[1:-1] if trailers_of(message) else paragraphs[1:]
    return "\n\n".join(body) or (paragraphs[0] if paragraphs else "")


def clean(text: str) -> str:
    """Text without control characters and halves of surrogate pairs; line breaks stay."""
    return _CONTROL.sub("", text.replace("\r\n", "\n")).encode("utf-8", "replace").decode()


def _paragraphs(message: str) -> list[str]:
    return [part.strip("\n") for part in re.split(r"\n(?:[ \t]*\n)+", message.strip()) if part.strip()]
