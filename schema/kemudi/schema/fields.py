"""Typed access to the fields of a document that people write, with a finding at the place of each mistake."""

import re
from collections.abc import Iterator
from typing import TypeVar, cast

from kemudi.schema.documents import JSON, Document, Place, escape, unescape
from kemudi.schema.findings import Finding
from kemudi.schema.nearest import did_you_mean
from kemudi.schema.sentences import sentence

T = TypeVar("T")


class Fields:
    """Typed access to a document by JSON Pointer that notes what is missing or wrong at its place."""

    def __init__(self, document: Document, rule: str, findings: list[Finding]) -> None:
        self._document = document
        self._rule = rule
        self.findings = findings

    def note(self, pointer: str, message: str, *, hint: str | None = None, on_key: bool = False) -> None:
        """Add a finding at the value of `pointer`, at its nearest parent, or at its key."""
        find = self._document.key_place if on_key else self._document.place
        place = find(pointer)
        self.findings.append(
            Finding(place.file, place.line, place.column, self._rule, pointer, message=message, hint=hint)
        )

    def known(self, pointer: str, names: tuple[str, ...]) -> None:
        """Note every key of a mapping that is not one of `names`."""
        for key in cast("dict[str, JSON]", self.at(pointer)):
            if key not in names:
                below = f"{pointer}/{escape(key)}"
                self.note(
                    below,
                    sentence("there is no field %(key)s", key=key),
                    hint=did_you_mean(key, names),
                    on_key=True,
                )

    def is_mapping(self, pointer: str) -> bool:
        """Whether a mapping stands there; noted if not."""
        return self._typed(pointer, dict, sentence("a mapping")) is not None

    def keys(self, pointer: str, *, optional: bool = False) -> list[str]:
        """The keys of a mapping."""
        return list(self._typed(pointer, dict, sentence("a mapping"), optional=optional) or ())

    def items(self, pointer: str, *, optional: bool = False) -> list[JSON]:
        """The items of a list."""
        return self._typed(pointer, list, sentence("a list"), optional=optional) or []

    def names(self, pointer: str, *, what: str, optional: bool = False) -> tuple[str, ...]:
        """A list of different names."""
        found: list[str] = []
        for position, item in enumerate(self._typed(pointer, list, what, optional=optional) or ()):
            if not isinstance(item, str) or not item:
                self.note(f"{pointer}/{position}", _must_be(pointer, what))
            elif item in found:
                self.note(
                    f"{pointer}/{position}",
                    sentence("%(item)s stands twice in %(name)s", item=item, name=_spoken(pointer)),
                )
            else:
                found.append(item)
        return tuple(found)

    def text(self, pointer: str, form: re.Pattern[str], what: str, *, optional: bool = False) -> str | None:
        """A text of a given form."""
        value = self._typed(pointer, str, what, optional=optional)
        if value is not None and not form.fullmatch(value):
            self.note(pointer, _must_be(pointer, what))
            return None
        return value

    def one_of(self, pointer: str, choices: tuple[JSON, ...], *, default: JSON) -> JSON:
        """One of some values; `default` (None = it must be there) where nothing stands."""
        value = self.at(pointer)
        if value is None and default is not None:
            return default
        if value in choices and not isinstance(value, bool):
            return value
        expected = " or ".join(str(choice) for choice in choices)
        hint = did_you_mean(value, [str(choice) for choice in choices]) if isinstance(value, str) else None
        self.note(pointer, _must_be(pointer, expected), hint=hint)
        return default

    def number(self, pointer: str, *, least: float, default: float | None = None) -> float | None:
        """A number of at least `least`; `default` (None = it must be there) where nothing stands."""
        value = self.at(pointer)
        if value is None and default is not None:
            return default
        if isinstance(value, int | float) and not isinstance(value, bool) and value >= least:
            return value
        self.note(
            pointer,
            sentence(
                "%(name)s must be a number of at least %(least)s",
                name=_spoken(pointer),
                least=least,
            ),
        )
        return None

    def flag(self, pointer: str, *, default: bool) -> bool:
        """True or false."""
        value = self.at(pointer)
        if value is not None and not isinstance(value, bool):
            self.note(pointer, sentence("%(name)s must be true or false", name=_spoken(pointer)))
        return value if isinstance(value, bool) else default

    def place(self, pointer: str) -> Place:
        """Where something stands."""
        return self._document.place(pointer)

    def _typed(self, pointer: str, kind: type[T], what: str, *, optional: bool = False) -> T | None:
        value = self.at(pointer)
        if isinstance(value, kind):
            return value
        if not (optional and value is None):
            self.note(pointer, _must_be(pointer, what))
        return None

    def at(self, pointer: str) -> JSON:
        """What stands there; None for nothing."""
        value: JSON = self._document.root
        for token in _tokens(pointer):
            if isinstance(value, dict):
                value = value.get(token)
            elif isinstance(value, list) and token.isdigit() and int(token) < len(value):
                value = value[int(token)]
            else:
                return None
        return value


def _tokens(pointer: str) -> Iterator[str]:
    return map(unescape, pointer.split("/")[1:])


def _must_be(pointer: str, expected: str) -> str:
    return sentence("%(name)s must be %(expected)s", name=_spoken(pointer), expected=expected)


def _spoken(pointer: str) -> str:
    """`/environments/0/name` as an author says it: `environments[0].name`."""
    said = ""
    for token in _tokens(pointer):
        said += f"[{token}]" if token.isdigit() else f".{token}" if said else token
    return said or sentence("the file")
