"""English sentences that remember what they are made of, so that they can be said in another language."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import reduce
from typing import Self


class Sentence(str):
    """Text like any other, in English. `template` and `values` are what a translator needs.

    Attributes:
        template: With a place `%(name)s` for each value.
        values: By name; a value may be a sentence itself. Numbers and times are said as each language says them;
            what must stay as it is, as a line number or a revision, is given as text.
    """

    __slots__ = ("template", "values")

    template: str
    values: Mapping[str, object]

    @classmethod
    def of(cls, template: str, values: Mapping[str, object]) -> Self:
        """The sentence with its values in place."""
        made = cls(template % {name: _english(each) for name, each in values.items()})
        made.template, made.values = template, values
        return made

    def filled(self, **values: object) -> Self:
        """The same sentence with other values."""
        return self.of(self.template, values)


def sentence(template: str, **values: object) -> Sentence:
    """See `Sentence.of`. Called with the template itself, which is how translations find it."""
    return Sentence.of(template, values)


def chained(parts: Sequence[str]) -> str:
    """`a; b; c`."""
    if not parts:
        return ""
    return reduce(lambda first, then: sentence("%(first)s; %(then)s", first=first, then=then), parts)


def listed(names: Sequence[str]) -> str:
    """`a, b and c`."""
    if len(names) < 2:
        return names[0] if names else ""
    return sentence("%(first)s and %(last)s", first=_joined(names[:-1]), last=names[-1])


def either(options: Sequence[str]) -> str:
    """`a, b or c`."""
    if len(options) < 2:
        return options[0] if options else ""
    return sentence("%(first)s or %(last)s", first=_joined(options[:-1]), last=options[-1])


def _joined(parts: Sequence[str]) -> str:
    if not any(isinstance(each, Sentence) for each in parts):
        return ", ".join(parts)
    return reduce(lambda first, then: sentence("%(first)s, %(then)s", first=first, then=then), parts)


def _english(value: object) -> object:
    if isinstance(value, datetime):
        return f"{value:%a %Y-%m-%d %H:%M} {value.tzinfo}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return f"{value:,.15g}" if isinstance(value, float) else f"{value:,}"
