"""The settings of an environment for another program: YAML, JSON, or `KEY=value` lines."""

import json
import re
from collections.abc import Collection, Mapping
from typing import Final

from kemudi.repo.edits import render
from kemudi.schema.documents import JSON

_PLAIN: Final = re.compile(r"[A-Za-z0-9_./:@%+,-]+", re.ASCII)

Grouped = Mapping[str, Mapping[str, JSON]]
"""Values by category and key."""


def as_yaml(grouped: Grouped, title: str) -> str:
    """`KEY: value` lines with a comment above each category."""
    lines = [f"# {title}"]
    for category, values in grouped.items():
        if values:
            lines += [f"# {category}", *(f"{key}: {render(value)}" for key, value in values.items())]
    return "\n".join(lines) + "\n"


def as_lines(grouped: Grouped, sealed: Collection[str]) -> str:
    """`KEY=value` lines for a shell and for every reader of .env files; what is sealed is named in a comment."""
    lines = []
    for values in grouped.values():
        for key, value in values.items():
            lines.append(f"# {key} is sealed" if key in sealed else f"{key}={_quoted(value)}")
    return "\n".join(lines) + "\n"


def _quoted(value: JSON) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if _PLAIN.fullmatch(text):
        return text
    if "'" not in text:
        return f"'{text}'"
    escaped = re.sub(r'([\\"$`])', r"\\\1", text)
    return f'"{escaped}"'
