"""Findings and errors can be said in Indonesian as a whole: no part of them stays English."""

import ast
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

from kemudi.console.languages import load_languages
from kemudi.schema.contract_reader import read_contract
from kemudi.schema.errors import ConflictError
from kemudi.schema.findings import Finding
from kemudi.schema.sentences import Sentence, chained, either, listed, sentence
from kemudi.schema.state import ConfigState, File

ROOT = Path(__file__).parents[3]
EXAMPLE = re.compile(r"`([^`\n]+)`, refused:\n\n```\w+\n(.*?)```", re.DOTALL)
ENGLISH = re.compile(r"\b(?:the|is|of|must|and|not|has|stands|write|that|an? [a-z]{3,})\b")
PLACE = re.compile(r"%\((\w+)\)s")
INDONESIAN = load_languages()["id"]


def calls() -> Iterator[tuple[str, ast.Call]]:
    """Every call of `sentence` in the sources, with its place."""
    for package in ("kemudi.schema", "kemudi.repo", "kemudi.console"):
        for path in Path(str(files(package))).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "sentence":
                    yield f"{path.name}:{node.lineno}", node


def test_every_sentence_has_its_values() -> None:
    """A template is a constant, so that it is found for translation, and its places are what it is given."""
    found = list(calls())
    assert len(found) > 300
    for place, call in found:
        template = call.args[0]
        assert isinstance(template, ast.Constant), place
        assert isinstance(template.value, str), place
        given = {each.arg for each in call.keywords}
        if None not in given:
            assert set(PLACE.findall(template.value)) == given, place
        assert "%" not in PLACE.sub("", template.value.replace("%%", "")), place


def findings() -> Iterator[Finding]:
    """The findings of every refused example of the pages about rules."""
    folder = ROOT / "config-repo"
    worked = {
        name: File(name, each.read_bytes())
        for each in folder.rglob("*")
        if each.is_file() and (name := each.relative_to(folder).as_posix())
    }
    for page in sorted((ROOT / "docs" / "reference" / "rules").glob("KEM*.md")):
        for path, text in EXAMPLE.findall(page.read_text(encoding="utf-8")):
            changed = {**worked, path: File(path, text.encode())}
            yield from ConfigState.load(changed.values()).findings


VALUES: tuple[tuple[dict[str, object], object], ...] = (
    ({"type": "integer", "minimum": 1, "maximum": 5, "x-kemudi-unit": "seconds"}, 9),
    ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1, "multipleOf": 0.25}, 2),
    ({"type": "string", "minLength": 1}, ""),
    ({"type": "string", "minLength": 2, "maxLength": 3, "pattern": "^a"}, "b"),
    ({"type": "boolean"}, "yes"),
    ({"type": "integer"}, "1:30"),
    ({"type": "integer"}, "10_000"),
    ({"type": "string", "enum": ["fast", "slow", "none"]}, "fsat"),
    ({"anyOf": [{"type": "integer"}, {"type": "null"}, {"type": "boolean"}]}, "x"),
    ({"type": ["integer", "string", "null"]}, True),
    ({"type": "array", "minItems": 2, "items": {"type": "string"}}, ["a"]),
    ({"type": "array", "maxItems": 1, "items": {"type": "string"}}, ["a", "b"]),
    ({"type": "array", "uniqueItems": True}, [1, 1]),
    ({"type": "array", "contains": {"const": 1}}, [2]),
    ({"type": "object", "required": ["first", "second"]}, {}),
    ({"type": "object", "additionalProperties": False, "properties": {"a": {}}}, {"c": 1}),
    ({"type": "object", "minProperties": 1}, {}),
    ({"type": "object", "maxProperties": 1}, {"a": 1, "b": 2}),
    ({"type": "object", "propertyNames": {"enum": ["first", "second"]}}, {"frist": 1}),
    ({"type": "string", "x-kemudi-sensitive": True, "minLength": 9}, "short"),
)


def of_values() -> Iterator[str]:
    """What is said of values that do not fit, for every keyword that has words of its own."""
    for schema, value in VALUES:
        described = json.dumps({"properties": {"KEY": {"description": "About KEY.", **schema}}}).encode()
        contract, _ = read_contract(described, "contracts/mail.schema.json", "mail")
        assert contract is not None
        problems = contract.check_value("KEY", value, None if isinstance(value, str) else json.dumps(value))
        assert problems, schema
        for problem in problems:
            yield problem.message
            yield problem.hint or problem.message


def test_findings_are_said_as_a_whole() -> None:
    """Each message and hint of every example is a sentence, and its Indonesian has no English word left."""
    texts = {text for each in findings() for text in (each.message, each.hint) if text} | {*of_values()}
    assert len(texts) > 80
    for text in texts:
        assert isinstance(text, Sentence), text
        assert not ENGLISH.search(INDONESIAN.said(text)), INDONESIAN.said(text)


def test_numbers_and_times_are_said_by_the_language() -> None:
    """In English as the command line prints them; a line number stays as it is."""
    said = sentence(
        "%(key)s changes by %(sign)s%(size)s %% in %(env)s; at most %(most)s %% is allowed",
        key="LIMIT",
        sign="+",
        size=499_900,
        env="prod",
        most=12.5,
    )
    assert said == "LIMIT changes by +499,900 % in prod; at most 12.5 % is allowed"
    assert (
        INDONESIAN.said(said) == "LIMIT berubah +499.900 % di prod; paling banyak 12,5 % yang diperbolehkan"
    )
    frozen = sentence(
        "%(env)s is frozen until %(moment)s", env="prod", moment=datetime(2031, 5, 6, 7, 8, tzinfo=UTC)
    )
    assert frozen == "prod is frozen until Tue 2031-05-06 07:08 UTC"
    assert INDONESIAN.said(frozen) == "prod dibekukan sampai 6 Mei 2031, 07:08 UTC"


def test_lists_are_said_by_the_language() -> None:
    """`and`, `or` and nested sentences, too; a list of names costs one sentence and not one for each name."""
    empty = sentence("empty text")
    assert INDONESIAN.said(listed(["A", "B", "C"])) == "A, B dan C"
    assert INDONESIAN.said(either(["1", "2", empty])) == "1, 2 atau teks kosong"
    assert INDONESIAN.said(chained([empty, empty])) == "teks kosong; teks kosong"
    assert (listed([]), listed(["A"]), either([]), either(["A"]), chained([])) == ("", "A", "", "A", "")
    many = either([f"name{number}" for number in range(5_000)])
    assert INDONESIAN.said(many).endswith("name4998 atau name4999")


def test_an_error_keeps_its_sentence() -> None:
    """With its hint; `str` is the English text as ever."""
    error = ConflictError(sentence("another Kemudi is writing here"), hint=sentence("Try again."))
    assert str(error) == "another Kemudi is writing here"
    assert error.explained == "another Kemudi is writing here. Try again."
    assert INDONESIAN.said(error.explained) == "Kemudi yang lain sedang menulis di sini. Coba lagi."
    assert ConflictError("plain").explained == "plain"
