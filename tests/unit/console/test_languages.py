"""Both languages are whole: the same sentences, none untranslated, placeholders kept; times by their rules."""

import re
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path

import pytest

from kemudi.console.catalogues import read_catalogue, sentences
from kemudi.console.languages import choose, load_languages
from kemudi.console.rendering import load_static, make_templates
from kemudi.console.wording import complaint
from kemudi.schema.contract import SettingSpec

FOLDER = Path(str(files("kemudi.console")))
PLACEHOLDER = re.compile(r"%\((\w+)\)")


def _texts(message: str | tuple[str, ...] | list[str]) -> list[str]:
    return [message] if isinstance(message, str) else list(message)


def test_every_sentence_is_translated():
    """The catalogue has exactly the sentences of code and templates, each with a translation."""
    wanted = {str(message.id) for message in sentences(FOLDER) if message.id}
    catalogue = read_catalogue(FOLDER, "id")
    assert {str(message.id) for message in catalogue if message.id} == wanted
    assert [message.id for message in catalogue if message.id and not all(_texts(message.string))] == []
    assert not any(message.fuzzy for message in catalogue if message.id)


def test_placeholders_are_those_of_the_sentence():
    """A translation names what its sentence names, or the page could not be made."""
    for message in read_catalogue(FOLDER, "id"):
        if not message.id:
            continue
        wanted = set(PLACEHOLDER.findall(" ".join(_texts(message.id))))
        for text in _texts(message.string):
            assert set(PLACEHOLDER.findall(text)) <= wanted, message.id
            assert set(PLACEHOLDER.findall(text)) == wanted or "num" in wanted, message.id


@pytest.mark.parametrize(
    ("cookie", "accept", "code"),
    [
        (None, None, "en"),
        (None, "id-ID,id;q=0.9,en;q=0.8", "id"),
        (None, "in", "id"),
        (None, "de,fr", "en"),
        ("id", "en", "id"),
        ("xx", "en-GB", "en"),
    ],
)
def test_the_language_of_a_request(cookie, accept, code):
    """The choice of the person, then what the browser asks for, then English."""
    assert choose(cookie, accept) == code


def test_times_are_said_by_the_language():
    """Ages in words of the language."""
    then = datetime.now(UTC) - timedelta(hours=3)
    languages = load_languages()
    assert languages["en"].age(then) == "3 hours ago"
    assert languages["id"].age(then) == "3 jam yang lalu"
    assert languages["id"].number(12345.5) == "12.345,5"


@pytest.mark.parametrize(
    ("schema", "english", "indonesian"),
    [
        (
            {"type": "integer", "minimum": 1, "maximum": 10000},
            "Must be a whole number from 1 to 10,000.",
            "Harus bilangan bulat dari 1 sampai 10.000.",
        ),
        ({"type": "string", "enum": ["a", "b"]}, "Must be one of a, b.", "Harus salah satu dari a, b."),
        ({"type": "boolean"}, "Must be on or off.", "Harus hidup atau mati."),
        (
            {"type": "number", "maximum": 1},
            "Must be a number of at most 1.",
            "Harus bilangan paling banyak 1.",
        ),
        (
            {"type": "string", "maxLength": 5},
            "Must be text of at most 5 characters.",
            "Harus teks paling panjang 5 karakter.",
        ),
    ],
)
def test_limits_in_words(schema, english, indonesian):
    """The range or the choices, never the words of a validator."""
    spec = SettingSpec(
        "A", str(schema["type"]), None, False, "", False, False, None, None, None, False, schema
    )
    languages = load_languages()
    assert complaint(spec, languages["en"]) == english
    assert complaint(spec, languages["id"]) == indonesian


def test_templates_and_static_files_are_part_of_the_package():
    """Every template compiles in every language; style, scripts and icon are found."""
    for environment in make_templates(load_languages()).values():
        names = environment.list_templates()
        assert "base.html" in names
        for name in names:
            environment.get_template(name)
    assert set(load_static()) >= {"console.css", "console.js", "live.js", "wheel.svg"}


def test_templates_hold_no_inline_style_or_handler():
    """The policy forbids both, and so do we: it would fail in a browser only."""
    for path in (FOLDER / "templates").glob("*.html"):
        text = path.read_text()
        assert not re.search(r"\sstyle=|\son\w+=|javascript:|<script(?! type=\"module\" src)", text), (
            path.name
        )
        assert "|safe" not in text, path.name
