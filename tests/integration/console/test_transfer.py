"""Import and export: what is exported comes back without a change, and a document becomes one commit or none."""

import json
import re
from typing import Any

import pytest

from kemudi.console.access.people import Person

PAGE = "/e/dev/transfer"
EDITOR = Person("editor-1", "Editor One", "editor@example.org")


def take(site: Any, browser: Any, text: str, /, **fields: str) -> Any:
    """Send a document as the page's form does, with the reason that it needs."""
    return browser.form(PAGE, text=text, **{"action": "preview", "reason": "Taken over", **fields})


@pytest.mark.parametrize("kind", ["yaml", "json", "env"])
def test_an_export_imported_again_changes_nothing(site: Any, kind: str) -> None:
    """Every setting but the secret is in it, in each of the formats, and each has its value already."""
    browser, before = site.sign_in(), site.repo.head
    exported = browser.api("GET", f"/export?env=dev&format={kind}")
    assert f'filename="dev.{kind}"' in exported.headers["content-disposition"]
    answer = take(site, browser, exported.text, form="env" if kind == "env" else "document")
    assert answer.status_code == 200, answer.text
    assert "Nothing to change" in answer.text
    assert "19 settings have their values already" in answer.text
    assert site.repo.head == before


def test_a_document_is_previewed_and_becomes_one_commit(site: Any) -> None:
    """The preview has the diff of the commit; Save makes one commit by the person, and says so in the audit log."""
    browser, before = site.sign_in(), site.repo.head
    text = "# bigger\nSYNC_TIMEOUT: 900\nGRAPH_CLASSMATES_LIMIT: 40\nSYNC_PAUSED: false\n"
    page = take(site, browser, text).text
    assert site.repo.head == before
    assert "Save to git" in page
    assert "+SYNC_TIMEOUT: 900" in page
    assert "2 settings change" in page
    hidden = dict(re.findall(r'name="(expected|once)" value="([^"]*)"', page))
    for _ in range(2):  # pressed twice
        saved = take(site, browser, text, action="commit", **hidden)
        assert (saved.status_code, saved.headers["location"]) == (303, "/e/dev/settings")
    assert site.repo.git("rev-list", "--count", f"{before}..HEAD") == "1"
    assert site.repo.git("log", "-1", "--format=%an|%cn").split("|") == ["Console Admin", "Kemudi"]
    assert "Taken over" in site.repo.git("log", "-1", "--format=%b")
    entry = browser.api("GET", "/audit?limit=1").json()["items"][0]
    assert (entry["action"], entry["outcome"]) == ("import", "done")


def test_a_file_goes_before_the_text(site: Any) -> None:
    """An uploaded JSON file, as a browser sends it, with a byte order mark."""
    browser = site.sign_in()
    data = b"\xef\xbb\xbf" + json.dumps({"SYNC_TIMEOUT": 901}).encode()
    answer = browser.http.post(
        PAGE,
        data={"csrf": browser.csrf, "text": "SYNC_TIMEOUT: 1", "action": "preview"},
        files={"file": ("values.json", data, "application/json")},
        headers={"Accept": "text/html", "Origin": site.url},
    )
    assert answer.status_code == 200
    assert "+SYNC_TIMEOUT: 901" in answer.text


def test_where_approval_is_needed_the_document_becomes_a_proposal(site: Any) -> None:
    """The page offers Propose; a forged Save is refused and keeps the text; proposed, it waits with all of it."""
    site.repo.policies({"rule": "approvals", "environments": ["dev"], "required": 1})
    site.refresh()
    browser, before = site.sign_in(), site.repo.head
    text = "SYNC_TIMEOUT: 900\nGRAPH_CLASSMATES_LIMIT: 40\n"
    page = take(site, browser, text).text
    assert "Propose change" in page
    assert "Save to git" not in page
    forged = take(site, browser, text, action="commit")
    assert forged.status_code == 403
    assert "SYNC_TIMEOUT: 900" in forged.text
    proposed = take(site, browser, text, action="propose")
    assert proposed.headers["location"].startswith("/e/dev/changes/")
    assert site.repo.head == before
    waits = browser.api("GET", "/changes").json()["items"]
    assert len(waits) == 1
    assert "GRAPH_CLASSMATES_LIMIT" in waits[0]["diff"]
    assert take(site, browser, text, action="propose").status_code == 409


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("SYNC_TIMEOUT: 900\nSYNC_TIMEOT: 3\n", ["Line 2", "SYNC_TIMEOT", "did you mean SYNC_TIMEOUT?"]),
        ("SYNC_TIMEOUT: -1\nSYNC_PAUSED: maybe\n", ["Line 1", "at least 1", "Line 2", "on or off"]),
        ('{\n "SYNC_TIMEOUT": "900"\n}', ["Line 2", "SYNC_TIMEOUT", "a whole number"]),
        ('{"SYNC_TIMEOUT": 900, "SYNC_TIMEOUT": 901}', ["Line 1", "SYNC_TIMEOUT"]),
        ("SYNC_TIMEOUT: [\n", ["Line"]),
        ("- SYNC_TIMEOUT\n", ["Nothing was changed"]),
        ("prod:\n  SYNC_TIMEOUT: 900\n", ["Line 2", "prod is no layer of dev"]),
        ("", ["names no settings"]),
        ("NEO4J_PASSWORD: kemudi-canary-pasted-5e1f\n", ["Line 1", "NEO4J_PASSWORD", "not imported"]),
    ],
)
def test_what_does_not_fit_is_named_by_line_and_key_and_changes_nothing(
    site: Any, text: str, said: list[str]
) -> None:
    """422, nothing of the document is taken, the text stays unless it names a secret; the same in Indonesian."""
    browser, before = site.sign_in(), site.repo.git("for-each-ref")
    for action in ("preview", "commit"):
        answer = take(site, browser, text, action=action)
        assert answer.status_code == 422, answer.text
        assert all(each in answer.text for each in said), answer.text
        assert "kemudi-canary" not in answer.text
    browser.http.cookies.set("kemudi_language", "id")
    assert "Tidak ada yang diubah." in take(site, browser, text).text
    assert site.repo.git("for-each-ref") == before


def test_lines_of_an_env_file_are_read_by_the_types_of_the_settings(site: Any) -> None:
    """Text stands for a number or a switch where the contract says so; what cannot be read is named by its line."""
    browser = site.sign_in()
    page = take(site, browser, "export SYNC_TIMEOUT='900'\nSYNC_PAUSED=yes\n", form="env").text
    assert "+SYNC_TIMEOUT: 900" in page
    assert "+SYNC_PAUSED: true" in page
    wrong = take(site, browser, "A=1\nSYNC_TIMEOUT=soon\nNEO4J_USER=$HOME\n", form="env")
    assert wrong.status_code == 422
    assert all(each in wrong.text for each in ("Line 1", "Line 2", "document:3", "other variables"))


def test_a_sealed_value_stays_as_it_is_and_is_not_shown_again(site: Any) -> None:
    """A document of the command line holds sealed secrets: they are left out by name, the rest can be saved."""
    browser = site.sign_in()
    sealed = site.repo.git("grep", "-h", "^NEO4J_PASSWORD", "--", "dev").strip()
    page = take(site, browser, f"{sealed}\nSYNC_TIMEOUT: 900\n").text
    assert "left as they are: NEO4J_PASSWORD" in page
    assert sealed not in page
    assert ">SYNC_TIMEOUT: 900</textarea>" in page
    assert "Save to git" in page


def test_what_one_may_not_see_or_change_is_neither_exported_nor_imported(site: Any) -> None:
    """An editor of one category exports that one; a key of another one is not there, as a key that nobody has."""
    site.repo.roles(
        {"who": "editor@example.org", "role": "editor", "environments": ["dev"], "categories": ["sync"]},
        {
            "who": "editor@example.org",
            "role": "viewer",
            "environments": ["dev"],
            "categories": ["performance"],
        },
    )
    site.refresh()
    browser = site.sign_in(EDITOR, owner=False)
    exported = browser.api("GET", "/export?env=dev&format=json").json()
    assert "SYNC_TIMEOUT" in exported
    assert "CACHE_TTL" in exported
    assert "GRAPH_CLASSMATES_LIMIT" not in exported
    assert browser.api("GET", "/export?env=prod").status_code == 404
    hidden, unknown = (
        take(site, browser, f"{key}: 3\n").text
        for key in ("GRAPH_CLASSMATES_LIMIT", "ZZZ_NOBODY_HAS_THIS_ONE")
    )
    assert "There is no such setting" in hidden
    assert "There is no such setting here, or it is not shown to you." in unknown
    assert "does not allow changes of performance in dev" in take(site, browser, "CACHE_TTL: 3\n").text
    assert "+SYNC_TIMEOUT: 900" in take(site, browser, "SYNC_TIMEOUT: 900\n").text


def test_a_document_that_is_too_large_is_refused(site: Any) -> None:
    """More than a mebibyte is not read."""
    browser, before = site.sign_in(), site.repo.head
    assert take(site, browser, "# " + "x" * 2**20).status_code == 413
    assert site.repo.head == before


def test_two_at_once_do_not_overwrite_each_other(site: Any) -> None:
    """A setting of the document that was changed since the preview: 409, and the text is still there."""
    browser = site.sign_in()
    hidden = dict(
        re.findall(r'name="(expected|once)" value="([^"]*)"', take(site, browser, "SYNC_TIMEOUT: 900").text)
    )
    site.repo.change("dev", "sync", SYNC_TIMEOUT=777)
    answer = take(site, browser, "SYNC_TIMEOUT: 900", action="commit", **hidden)
    assert answer.status_code == 409
    assert ">SYNC_TIMEOUT: 900</textarea>" in answer.text
    assert browser.api("GET", "/environments/dev/settings/SYNC_TIMEOUT").json()["value"] == 777
