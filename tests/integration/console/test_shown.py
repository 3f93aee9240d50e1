"""What pages say of changes: which entry of a history is live, and a commit of many settings as one line."""

import json
import re

from kemudi.console.access.people import Person

LIVE = "live now"
IN_GIT = "the value in git"


def history(site, key: str, env: str = "dev") -> list[str]:
    """The entries of the history on a setting's page."""
    page = site.sign_in().get(f"/e/{env}/settings/{key}").text
    return re.findall(r"<li>.*?</li>", page[page.index('id="history"') :], re.DOTALL)


def test_only_the_entry_that_gives_the_value_is_live(site, daemon):
    """The first commit sets a key in several layers; one entry is live. What Redis does not have yet is only in git."""
    assert [LIVE in each for each in history(site, "GRAPH_CLASSMATES_LIMIT")].count(True) <= 1
    for value in (31, 32):
        daemon.serves("dev", site.repo.change("base", "graph_query", GRAPH_CLASSMATES_LIMIT=value + 10))
        daemon.serves("dev", site.repo.change("dev", "graph_query", GRAPH_CLASSMATES_LIMIT=value))
    site.refresh()
    entries = history(site, "GRAPH_CLASSMATES_LIMIT")
    assert len(entries) > 3
    assert [LIVE in each for each in entries] == [True] + [False] * (len(entries) - 1)
    site.repo.change("dev", "graph_query", GRAPH_CLASSMATES_LIMIT=33)
    site.refresh()
    entries = history(site, "GRAPH_CLASSMATES_LIMIT")
    assert IN_GIT in entries[0]
    assert not any(LIVE in each for each in entries)
    daemon.away = True
    site.refresh()
    assert not any(LIVE in each for each in history(site, "GRAPH_CLASSMATES_LIMIT"))


def test_a_commit_of_many_settings_is_one_line_of_the_dashboard(site):
    """The first commit does not fill the list: it is one line that opens, in each environment that it touches."""
    site.repo.change("dev", "graph_query", GRAPH_CLASSMATES_LIMIT=31)
    site.refresh()
    page = site.sign_in().get("/e/dev/").text
    log = page[page.index('<ol class="log">') : page.index("</ol>")]
    assert log.count('class="rev"') == 2
    assert re.search(r"<summary>\d+ settings</summary>", log)
    assert "SYNC_TIMEOUT" in log
    assert "31</code>" in log[: log.index("<details>")]


def test_a_commit_of_very_many_settings_does_not_pretend_to_know_their_number(site):
    """Of more than is read for the list it says so, shows some, and leads to the audit log."""
    keys = [f"BIG_COMMIT_{number:03}" for number in range(450)]
    path = site.repo.path / "contracts" / "sync.schema.json"
    contract = json.loads(path.read_text())
    for key in keys:
        contract["properties"][key] = {"type": "integer", "description": "One of many.", "default": 1}
    path.write_text(json.dumps(contract))
    site.repo.commit("Add many")
    site.repo.change("dev", "sync", **dict.fromkeys(keys, 2))
    site.refresh()
    page = site.sign_in().get("/e/dev/").text
    log = page[page.index('<ol class="log">') : page.index("</ol>")]
    assert "<summary>more than 400 settings</summary>" in log
    assert log.count("BIG_COMMIT_") == 2 * 30
    assert "All of them in the audit log" in log


def test_a_long_name_stays_one_line_with_its_sign_out(site):
    """Name, role and the way out stand together, so that a long name pushes nothing apart."""
    person = Person("long", "Author With A Name " + "Of Many Words " * 5, "long@example.org")
    page = site.sign_in(person).get("/e/dev/").text
    account = page[page.index('class="account"') : page.index("</header>")]
    assert "Of Many Words" in account
    assert "Sign out" in account


def test_a_value_that_is_not_valid_is_not_shown_as_another(site, daemon):
    """The line of dev is wrong, so neither a lower layer's value nor the default passes for what git says."""
    good = site.repo.head
    site.repo.change("dev", "graph_query", GRAPH_CLASSMATES_LIMIT=0)
    site.repo.change("dev", "feature_flag", SYNC_PAUSED="perhaps")
    site.refresh()
    findings = [each.as_json() for each in site.parts.board.state.findings]
    daemon.serves("dev", good, errors=findings, rejected=site.repo.head)
    site.refresh()
    browser = site.sign_in()
    for path, place in (("settings", "row-GRAPH_CLASSMATES_LIMIT"), ("switches", "switch-SYNC_PAUSED")):
        page = browser.get(f"/e/dev/{path}").text
        row = page[page.index(f'id="{place}"') :].partition("</tr>")[0]
        assert "not valid in git" in row
    assert "not valid in git" not in browser.get("/e/staging/settings").text
