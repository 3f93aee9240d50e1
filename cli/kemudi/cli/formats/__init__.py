"""The forms of a validation report: one module each, with `render(report) -> str`. Imported by name, when asked for."""

from importlib import import_module
from typing import Final

from kemudi.cli.formats.report import Report

FORMS: Final = ("text", "json", "github", "gitlab", "sarif", "junit")


def render(form: str, report: Report) -> str:
    """The report in one of `FORMS`, one newline at its end; empty if there is nothing to say."""
    module = import_module(f"kemudi.cli.formats.{form}")
    rendered: str = module.render(report)
    return rendered
