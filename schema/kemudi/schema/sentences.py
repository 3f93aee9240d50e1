"""English sentences that remember what they are made of, so that they can be said in another language."""

from collections.abc import Mapping
from typing import Self


class Sentence(str):
    """Text like any other, in English. `template` and `values` are what a translator needs.

    Attributes:
        template: With a place `%(name)s` for each value.
        values: By name; a value may be a sentence itself.
    """

    __slots__ = ("template", "values")

    template: str
    values: Mapping[str, object]

    @classmethod
    def of(cls, template: str, values: Mapping[str, object]) -> Self:
        """The sentence with its values in place."""
        made = cls(template % values)
        made.template, made.values = template, values
        return made


def sentence(template: str, **values: object) -> Sentence:
    """See `Sentence.of`. Called with the template itself, which is how translations find it."""
    return Sentence.of(template, values)
