"""Text from files as GitHub-flavoured Markdown that shows it as it is written, and never reads it as markup."""

import re
from typing import Final

from kemudi.repo.plan_words import visible

_MARKUP: Final = re.compile(r"([\\`*_{}\[\]()#+!|<>~&$^=-])")
_REFERENCE: Final = re.compile(r"@(?=\w)")


def code(text: str) -> str:
    """Text in a code span that ends nowhere but at its end, also in a cell of a table."""
    text = visible(text)
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    space = " " if not text.strip() or text[0] in "` " or text[-1] in "` " else ""
    return f"{fence}{space}{text}{space}{fence}".replace("|", "\\|")


def prose(text: str) -> str:
    """Text as it is: no markup, no mention, no line break."""
    escaped = _MARKUP.sub(r"\\\1", visible(text))
    return _REFERENCE.sub("@&#8203;", escaped)
