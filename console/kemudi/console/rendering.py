"""Templates: one Jinja environment for each language, always escaping, and the functions that pages use."""

import re
from datetime import datetime
from hashlib import sha256
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from kemudi.console.board import as_text
from kemudi.console.catalogue import type_of
from kemudi.console.languages import Language
from kemudi.console.wording import first_sentence, must_be, unit_of
from kemudi.schema.sentences import Sentence

MEDIA_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def load_static() -> dict[str, bytes]:
    """Every static file by name: looked up, never joined to a path."""
    folder = files("kemudi.console") / "static"
    return {each.name: each.read_bytes() for each in folder.iterdir() if each.is_file()}


def make_templates(languages: dict[str, Language]) -> dict[str, Environment]:
    """A Jinja environment for each language."""
    version = sha256(b"".join(data for _, data in sorted(load_static().items()))).hexdigest()[:12]
    return {code: _environment(language, version) for code, language in languages.items()}


def _environment(words: Language, version: str) -> Environment:
    made = Environment(
        loader=PackageLoader("kemudi.console", "templates"),
        autoescape=True,
        extensions=["jinja2.ext.i18n"],
        undefined=StrictUndefined,
        finalize=lambda value: words.said(value) if isinstance(value, Sentence) else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.install_gettext_translations(words.translations, newstyle=True)  # type: ignore[attr-defined]  # the extension adds it
    made.filters.update(
        age=words.age,
        moment=words.moment,
        num=words.number,
        value=as_text,
        short=short,
        iso=_iso,
        listed=words.listed,
        coded=coded,
        translated=lambda text: words.gettext(text) if text else "",
        first_sentence=first_sentence,
    )
    made.globals.update(
        lang=words.code,
        static_version=version,
        type_of=type_of,
        must_be=lambda spec: must_be(spec, words),
        unit_of=lambda unit: unit_of(unit, words),
        is_production=is_production,
    )
    return made


def short(revision: str | None) -> str:
    """A revision for a person: 7 characters of a SHA, a work-tree revision by its digest."""
    return (revision or "").removeprefix("worktree@")[:7]


def coded(text: str) -> Markup:
    """A sentence of ours with what stands in backticks as code. Everything in it is escaped first."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704  # escaped in this line


def is_production(env: str) -> bool:
    """Whether an environment is shown in red: that is where a mistake costs."""
    return env.startswith(("prod", "live"))


def _iso(moment: datetime | str | None) -> str:
    return moment.isoformat() if isinstance(moment, datetime) else moment or ""


def fragment_only(headers: Any) -> bool:  # a mapping of request headers
    """Whether the page's own script asks for a part of the page."""
    return bool(headers.get("x-kemudi-fragment"))
