"""The sentences of the console: found in code and templates, kept in one `.po` file for each language."""

import ast
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Final

from babel.messages.catalog import Catalog
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir
from babel.messages.pofile import read_po, write_po

from kemudi.console.languages import DOMAIN, NAMES
from kemudi.schema.sentences import sentence

_METHODS: Final = [("**.py", "python"), ("templates/**.html", "jinja2.ext:babel_extract")]
_OPTIONS: Final = {
    "templates/**.html": {"extensions": "jinja2.ext.i18n", "trimmed": "true", "newstyle_gettext": "true"}
}

_SENTENCE: Final = {sentence.__name__: None}
_DOMAIN: Final = ("kemudi.repo", "kemudi.schema")


def sentences(folder: Path) -> Catalog:
    """Every sentence of the code and the templates below a folder, and those that the domain and the API say."""
    found = Catalog(project="Kemudi", domain=DOMAIN)
    words = {**DEFAULT_KEYWORDS, **_SENTENCE}
    for file, _, message, comments, context in extract_from_dir(str(folder), _METHODS, _OPTIONS, words):
        found.add(message, None, [(file, 0)], auto_comments=comments, context=context)
    for package in _DOMAIN:
        for file, _, message, _, _ in extract_from_dir(str(files(package)), _METHODS[:1], keywords=_SENTENCE):
            found.add(message, None, [(file, 0)])
    for path in sorted((folder / "api").glob("*.py")):
        for text in _described(ast.parse(path.read_text(encoding="utf-8"))):
            found.add(text, None, [(path.name, 0)])
    return found


def _described(module: ast.Module) -> Iterator[str]:
    """What the API's reference says: docstrings of shapes and endpoints, and every `description`."""
    for node in ast.walk(module):
        if (isinstance(node, ast.ClassDef) and node.bases) or (
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.decorator_list
        ):
            yield from filter(None, [ast.get_docstring(node)])
        elif isinstance(node, ast.keyword) and node.arg == "description":
            yield from _text(node.value)
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and (
                    key.value == "description" or isinstance(key.value, int)
                ):
                    yield from _text(value)


def _text(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value


def read_catalogue(folder: Path, code: str) -> Catalog:
    """The catalogue of one language."""
    with _path(folder, code).open("rb") as file:
        return read_po(file, locale=code, domain=DOMAIN)


def update(folder: Path) -> None:
    """Add new sentences to every catalogue, untranslated, and take away those that are gone."""
    template = sentences(folder)
    for code in NAMES:
        if code == "en":
            continue
        catalogue = read_catalogue(folder, code)
        catalogue.update(template, no_fuzzy_matching=True)
        catalogue.obsolete.clear()
        with _path(folder, code).open("wb") as file:
            write_po(
                file,
                catalogue,
                width=110,
                no_location=True,
                omit_header=False,
                sort_output=True,
                ignore_obsolete=True,
            )


def _path(folder: Path, code: str) -> Path:
    return folder / "locale" / code / "LC_MESSAGES" / f"{DOMAIN}.po"


if __name__ == "__main__":
    update(Path(sys.argv[1]))
