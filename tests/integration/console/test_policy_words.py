"""What a policy says is in the reader's language in pages; the plan beside it stays as the command line prints it."""

import html
import re
from typing import Any

import pytest

from kemudi.repo.policy_reader import NAMES

PATH = "/e/dev/settings/GRAPH_CLASSMATES_LIMIT/change"
SAID: dict[str, tuple[dict[str, Any], str, str]] = {
    # rule: its fields, in English, in Indonesian
    "change-size": (
        {"percent": 50},
        "GRAPH_CLASSMATES_LIMIT changes by +60 % in dev; at most 50 % is allowed",
        "GRAPH_CLASSMATES_LIMIT berubah +60 % di dev; paling banyak 50 % yang diperbolehkan",
    ),
    "freeze": (
        {"windows": [{"from": "2020-01-01", "to": "2999-01-01"}]},
        "dev is frozen until",
        "dev dibekukan sampai",
    ),
    "promotion": (
        {"from": "staging", "hours": 24},
        "staging does not run this value of GRAPH_CLASSMATES_LIMIT, as far as the daemon's log says",
        "staging tidak menjalankan nilai GRAPH_CLASSMATES_LIMIT ini, menurut log daemon",
    ),
    "owners": (
        {"members": {"another-team": ["first@example.org"]}},
        "GRAPH_CLASSMATES_LIMIT belongs to platform, and the policy names nobody there",
        "GRAPH_CLASSMATES_LIMIT milik platform, dan kebijakan tidak menyebut siapa pun di sana",
    ),
    "reason": (
        {"minimum": 15},
        "a change of dev needs a reason of at least 15 characters, and this one has 5",
        "perubahan di dev memerlukan alasan sepanjang paling sedikit 15 karakter, sedangkan yang ini 5",
    ),
    # The page has words of its own for these two: it offers to propose instead.
    "approvals": ({"required": 2}, "Another person has to approve", "Perlu persetujuan orang lain"),
    "proposals-only": ({}, "Another person has to approve", "Perlu persetujuan orang lain"),
}


@pytest.mark.parametrize("rule", sorted(SAID))
def test_a_policy_speaks_the_readers_language(site: Any, rule: str) -> None:
    """A save that it refuses says why."""
    fields, english, indonesian = SAID[rule]
    site.repo.policies({"rule": rule, **fields})
    site.refresh()
    browser = site.sign_in()
    sent = {"value": "40", "layer": "dev", "reason": "short", "expected": site.repo.head}
    for language, wanted in (("en", english), ("id", indonesian)):
        browser.http.cookies.set("kemudi_language", language)
        answer = browser.form(PATH, **sent, action="commit")
        assert answer.status_code == 403, answer.text
        text = html.unescape(re.sub(r"<[^>]*>", "", answer.text))
        assert wanted in text
    assert english not in text.partition("Rencana")[0]


def test_every_policy_with_findings_is_here() -> None:
    """A new one needs its row, and so its Indonesian sentence."""
    assert {*SAID} == {*NAMES}
