"""English and Indonesian: catalogues read from the `.po` files when the console starts, and how to say times."""

import gettext
import io
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.resources import files
from typing import Final

from babel import Locale, negotiate_locale
from babel.dates import format_datetime, format_timedelta
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal

from kemudi.schema.sentences import Sentence, listed

COOKIE: Final = "kemudi_language"
DOMAIN: Final = "console"
NAMES: Final[Mapping[str, str]] = {"en": "English", "id": "Bahasa Indonesia"}


class Language:
    """The words of one language. Values of settings are never localised; times and counts are.

    Attributes:
        code: `en` or `id`.
        gettext: A sentence in this language.
        ngettext: The same for a count.
    """

    def __init__(self, code: str, translations: gettext.NullTranslations) -> None:
        self.code = code
        self.translations = translations
        self.gettext = translations.gettext
        self.ngettext = translations.ngettext
        self._locale = Locale.parse(code)

    def said(self, text: str) -> str:
        """A sentence, as of a finding or an error, in this language; any other text as it is."""
        if not isinstance(text, Sentence):
            return text
        return self.gettext(text.template) % {name: self._value(each) for name, each in text.values.items()}

    def _value(self, value: object) -> object:
        if isinstance(value, str):
            return self.said(value)
        if isinstance(value, datetime):
            return self.moment(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return self.number(value)
        return value

    def age(self, moment: datetime | str | None) -> str:
        """How long ago something was: `3 hours ago`, `3 jam yang lalu`. Empty for None."""
        if moment is None:
            return ""
        then = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
        return format_timedelta(then - datetime.now(UTC), add_direction=True, locale=self._locale)

    def moment(self, moment: datetime | str | None) -> str:
        """A time in full, UTC."""
        if moment is None:
            return ""
        then = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
        return f"{format_datetime(then.astimezone(UTC), 'd MMM y, HH:mm', locale=self._locale)} UTC"

    def number(self, number: float) -> str:
        """A count or a limit with separators."""
        return format_decimal(number, locale=self._locale)

    def listed(self, names: list[str]) -> str:
        """`a, b and c`."""
        return self.said(listed(names))


def load_languages() -> dict[str, Language]:
    """Every language there is, by code."""
    return {code: Language(code, _translations(code)) for code in NAMES}


def choose(cookie: str | None, accept: str | None) -> str:
    """The language of a request: what was chosen, else what the browser asks for, else English."""
    if cookie is not None and cookie in NAMES:
        return cookie
    asked = [part.partition(";")[0].strip().replace("-", "_") for part in (accept or "").split(",")]
    # The old code of Indonesian is still sent by some.
    asked = [f"id{code[2:]}" if code[:2] == "in" else code for code in asked if code]
    found = negotiate_locale([code.partition("_")[0] for code in asked], list(NAMES))
    return found or "en"


def _translations(code: str) -> gettext.NullTranslations:
    if code == "en":
        return gettext.NullTranslations()  # the sentences in the code are the English ones
    path = files("kemudi.console") / "locale" / code / "LC_MESSAGES" / f"{DOMAIN}.po"
    compiled = io.BytesIO()
    write_mo(compiled, read_po(io.BytesIO(path.read_bytes()), locale=code))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)
