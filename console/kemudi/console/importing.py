"""A document of settings that somebody uploads or pastes, as the changes that it asks for: every flaw at its line."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from kemudi.console.access.people import Caller
from kemudi.console.board import Board, EnvironmentBoard, Row
from kemudi.console.catalogue import visible
from kemudi.console.desired import layers_of
from kemudi.console.languages import Language
from kemudi.console.values import InvalidValueError, checked
from kemudi.console.wording import complaint
from kemudi.console.writing import Wanted
from kemudi.repo.bulk import Given, read_bulk, read_env
from kemudi.repo.importing.typing_values import read_text
from kemudi.schema.documents import JSON
from kemudi.schema.envelope import is_sealed
from kemudi.schema.errors import FindingsError, UsageError
from kemudi.schema.nearest import nearest
from kemudi.schema.state import ConfigState

MOST_FLAWS: Final = 50
Form = Literal["document", "env"]


@dataclass(frozen=True, slots=True)
class Flaw:
    """What is wrong, and where.

    Attributes:
        line: In the document; None where that is not known.
        key: The setting, as the document writes it; empty where the document itself is wrong.
        words: In the language of the reader. Never the value.
    """

    line: int | None
    key: str
    words: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What a document asks for.

    Attributes:
        wanted: The changes, in the order of the document.
        same: How many of its settings have that value already.
        sealed: Its sensitive settings: they stay as they are.
        flaws: Why nothing can be taken over.
    """

    wanted: tuple[Wanted, ...] = ()
    same: int = 0
    sealed: tuple[str, ...] = ()
    flaws: tuple[Flaw, ...] = ()


def mentions_secret(here: EnvironmentBoard, text: str) -> bool:
    """Whether a document names a sensitive setting, so that it is not put back into a page."""
    folded = text.casefold()
    return any(row.spec.sensitive and row.key.casefold() in folded for row in here.rows.values())


def read(
    board: Board, here: EnvironmentBoard, caller: Caller, text: str, form: Form, words: Language
) -> Reading:
    """What a document asks for in an environment. Never raises on its content."""
    state = board.state
    if state is None:
        return Reading(flaws=(Flaw(None, "", words.gettext("Git cannot be read")),))
    try:
        given, flaws = _given(state, text, form)
    except UsageError as error:
        return Reading(flaws=(Flaw(None, "", error.message),))
    except FindingsError as error:
        found = (Flaw(each.line, each.key or "", each.message) for each in error.findings)
        return Reading(flaws=tuple(found)[:MOST_FLAWS])
    if not given and not flaws:
        return Reading(flaws=(Flaw(None, "", words.gettext("The document names no settings.")),))
    reader = _Reader(state, here, caller, words)
    wanted = tuple(reader.wanted(given))
    flaws = (*flaws, *reader.flaws)
    if flaws:
        return Reading(flaws=flaws[:MOST_FLAWS])
    return Reading(wanted, reader.same, tuple(reader.sealed))


def _given(state: ConfigState, text: str, form: Form) -> tuple[tuple[Given, ...], tuple[Flaw, ...]]:
    name = "document"
    if form == "env":
        given, left = read_env(text, name)
        return given, tuple(Flaw(None, each.name, each.why) for each in left)
    bulk = read_bulk(text.encode("utf-8", "replace"), name)
    layers = state.manifest.layers if state.manifest is not None else ()
    return (bulk.nested() if bulk.is_nested(layers) else bulk.flat()), ()


class _Reader:
    """Holds each value of a document against the setting that it is for."""

    def __init__(self, state: ConfigState, here: EnvironmentBoard, caller: Caller, words: Language) -> None:
        self._state = state
        self._env = here.env
        self._rows = {row.key: row for row in visible(here, caller)}
        self._layers = layers_of(state, here.env)
        self._caller = caller
        self._words = words
        self.flaws: list[Flaw] = []
        self.sealed: list[str] = []
        self.same = 0

    def wanted(self, given: Iterable[Given]) -> Iterator[Wanted]:
        """The changes; what is wrong goes to `flaws`, what needs none is counted."""
        for each in given:
            row = self._rows.get(each.key)
            wrong = self._unknown(each.key) if row is None else self._forbidden(row, each)
            if wrong:
                self.flaws.append(Flaw(each.line, each.key[:80], wrong))
            elif row is not None and row.spec.sensitive:
                self.sealed.append(row.key)
            elif row is not None:
                yield from self._change(row, each)

    def _change(self, row: Row, given: Given) -> Iterator[Wanted]:
        try:
            plain = (
                read_text(given.value, row.spec.type)
                if isinstance(given.value, str) and given.is_text
                else given.value
            )
            value = checked(self._state.contracts[row.category], row.spec, plain)
        except (InvalidValueError, ValueError):
            self.flaws.append(Flaw(given.line, row.key, complaint(row.spec, self._words)))
            return
        if given.layer is None and row.is_set and _equal(row.value, value):
            self.same += 1
        else:
            yield Wanted(row.key, value, layer=given.layer or "")

    def _unknown(self, key: str) -> str:
        like = nearest(key, self._rows)
        if like is not None:
            return self._words.gettext("There is no such setting; did you mean %(key)s?") % {"key": like}
        return self._words.gettext("There is no such setting here, or it is not shown to you.")

    def _forbidden(self, row: Row, given: Given) -> str:
        if not self._caller.may("editor", self._env, row.category):
            said = self._words.gettext("Your role does not allow changes of %(category)s in %(env)s.")
            return said % {"category": row.category, "env": self._env}
        if given.layer is not None and given.layer not in self._layers:
            said = self._words.gettext("%(layer)s is no layer of %(env)s.")
            return said % {"layer": given.layer[:80], "env": self._env}
        if row.spec.sensitive and not is_sealed(given.value):
            return self._words.gettext(
                "A secret is not imported from a document; replace it on its own page."
            )
        return ""


def _equal(one: JSON, other: JSON) -> bool:
    return type(one) is type(other) and one == other
