"""Every rule has its page, and every example on a page is what it says."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from kemudi.schema import policy_rules, rules
from kemudi.schema.rules import RULES
from kemudi.schema.state import ConfigState, File

ROOT = Path(__file__).parents[3]
PAGES = ROOT / "docs" / "reference" / "rules"
EXAMPLE = re.compile(r"`([^`\n]+)`, (refused|accepted):\n\n```\w+\n(.*?)```", re.DOTALL)


def examples() -> Iterator[tuple[str, str, str, str]]:
    """Rule, path, verdict and content of every example."""
    for page in sorted(PAGES.glob("KEM*.md")):
        for path, verdict, text in EXAMPLE.findall(page.read_text(encoding="utf-8")):
            yield page.stem, path, verdict, text


def test_every_rule_has_a_page_and_every_page_a_rule() -> None:
    """A finding's id leads to an explanation, and the list of rules to all of them."""
    assert {page.stem for page in PAGES.glob("KEM*.md")} == set(RULES)
    index = (PAGES / "README.md").read_text(encoding="utf-8")
    for identity, rule in RULES.items():
        page = (PAGES / f"{identity}.md").read_text(encoding="utf-8")
        assert page.startswith(f"# {identity}: {rule.title}\n")
        assert rule.explanation in page
        assert rule.fix in page
        assert f"[{identity}]({identity}.md) | {rule.title} |" in index


def test_every_constant_is_a_rule() -> None:
    """No finding can name an id that is not in the list, and no id stands twice."""
    constants = [
        value
        for module in (rules, policy_rules)
        for name, value in vars(module).items()
        if name.isupper() and str(value).startswith("KEM")
    ]
    assert sorted(constants) == sorted(RULES)
    assert all(re.fullmatch(r"KEM[0-9]{3}", identity) for identity in RULES)


@pytest.mark.parametrize(("rule", "path", "verdict", "text"), list(examples()))
def test_an_example_is_refused_or_accepted_as_it_says(rule: str, path: str, verdict: str, text: str) -> None:
    """Put into the worked example, it gives a finding of its rule at its file, or none."""
    folder = ROOT / "config-repo"
    files = {
        name: File(name, each.read_bytes())
        for each in folder.rglob("*")
        if each.is_file() and (name := each.relative_to(folder).as_posix())
    }
    files[path] = File(path, text.encode())
    found = [
        each.rule for each in ConfigState.load(files.values()).findings if each.file.lower() == path.lower()
    ]
    assert (rule in found) is (verdict == "refused"), found
    if path.split("/", maxsplit=1)[0] in ("dev", "prd"):
        assert found == [] or verdict == "refused"
