"""Many settings in one document: `KEY: value`, `layer: {KEY: value}`, or the lines of a `.env` file."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from kemudi.repo.importing.found import Left
from kemudi.repo.importing.plain_sources import dotenv
from kemudi.repo.plain_json import read_json
from kemudi.schema.documents import JSON, Document, read_document
from kemudi.schema.errors import FindingsError, UsageError
from kemudi.schema.sentences import sentence

LARGEST: Final = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Given:
    """A value that a document gives to a setting. It is in no `repr`: it may be a secret.

    Attributes:
        key: As the document writes it; whether there is such a setting is not known here.
        value: As JSON; with `is_text` the text of a value, to be read by the type of the setting.
        layer: Where the document wants it; None where it does not say.
        line: Where it stands; None where that is not known.
        is_text: See `value`.
    """

    key: str
    value: JSON = field(repr=False)
    layer: str | None = None
    line: int | None = None
    is_text: bool = False


@dataclass(frozen=True, slots=True)
class Bulk:
    """A YAML or JSON document of settings."""

    values: Mapping[str, JSON] = field(repr=False)
    document: Document | None = field(repr=False, default=None)

    def is_nested(self, layers: Collection[str]) -> bool:
        """Whether it says itself in which layer each value goes."""
        named = all(name in layers and isinstance(each, dict) for name, each in self.values.items())
        return bool(self.values) and named

    def flat(self) -> tuple[Given, ...]:
        """Its values, as `KEY: value`."""
        return tuple(Given(key, value, None, self._line(key)) for key, value in self.values.items())

    def nested(self) -> tuple[Given, ...]:
        """Its values, as `layer: {KEY: value}`. Raises UsageError for a document of another form."""
        found: list[Given] = []
        for layer, values in self.values.items():
            if not isinstance(values, dict):
                raise UsageError(
                    sentence("%(name)s is no layer with settings below it", name=repr(layer[:60])),
                    hint=sentence("Name --env or --layer for a document of `KEY: value`."),
                )
            found += [Given(key, value, layer, self._line(layer, key)) for key, value in values.items()]
        return tuple(found)

    def _line(self, *path: str) -> int | None:
        if self.document is None:
            return None
        escaped = (each.replace("~", "~0").replace("/", "~1") for each in path)
        return self.document.place("/" + "/".join(escaped)).line


def read_bulk(data: bytes, name: str) -> Bulk:
    """A YAML or JSON document. Raises UsageError when it is too large or no mapping, FindingsError with places."""
    if len(data) > LARGEST:
        raise UsageError(sentence("the document is larger than %(value)s MiB", value=LARGEST // 1024 // 1024))
    document, findings = read_document(data, name)
    values = _as_json(data)
    if values is None:
        if document is None or findings:
            raise FindingsError(sentence("the document cannot be read"), findings)
        values = document.values
    if not isinstance(values, dict):
        raise UsageError(sentence("the document is no mapping of settings"))
    return Bulk(values, document if document is not None and not findings else None)


def read_env(text: str, name: str) -> tuple[tuple[Given, ...], tuple[Left, ...]]:
    """The lines of a `.env` file, and what cannot be taken from it. Raises UsageError for a quote nothing closes."""
    found = dotenv(text, name)
    given = (
        Given(each.key, each.value, line=int(each.place.rpartition(":")[2]), is_text=True)
        for each in found.settings
    )
    return tuple(given), found.left


def _as_json(data: bytes) -> JSON:
    """What it says as JSON; None when it is none, or says a name twice, so that it is read as YAML, with places."""
    try:
        return read_json(data)
    except (ValueError, RecursionError):
        return None
