"""The audit log: what git, the daemon and the console say, each to whom it may be shown, and as files that are safe."""

import csv
import io
import json
import re

import pytest

from kemudi.console.access.people import Person
from kemudi.console.auditing import FIELDS
from kemudi.console.pages.audit import as_csv

SECRET = "kemudi-canary-7f3a9d"
EDITOR = Person("editor", "Editor", "editor@example.org")
AUDIT = "/e/dev/audit"


def rows(page: str) -> list[str]:
    """The lines of the table."""
    return re.findall(r"<tr>.*?</tr>", page[page.index("<tbody>") :], re.DOTALL) if "<tbody>" in page else []


def exported(browser, query: str = "") -> list[dict]:
    answer = browser.get(f"{AUDIT}/export?format=json{query}")
    assert answer.status_code == 200
    assert answer.headers["content-disposition"].endswith('.json"')
    found: list[dict] = answer.json()
    return found


def test_who_what_when_and_why_of_a_change(site):
    """A change of the console is one line with its author, values and reason; a refusal is one for admins."""
    browser = site.sign_in()
    change = "/e/dev/settings/SYNC_TIMEOUT/change"
    form = {"value": "900", "action": "commit", "reason": "The source is slow"}
    assert browser.form(change, **form).status_code == 303
    assert browser.form(change, value="never", action="commit").status_code == 422
    found = rows(browser.get(f"{AUDIT}?key=sync_timeout").text)
    assert "refused" in found[0]
    for said in ("Console Admin", "SYNC_TIMEOUT", "600</code>", "900</code>", "The source is slow"):
        assert said in found[1], said
    assert sum("The source is slow" in row for row in found) == 1


def test_the_filters(site):
    """By person, setting, kind, day and environment; the address holds it all, and its export has the same lines."""
    site.repo.change("dev", "sync", SYNC_TIMEOUT=700)
    site.repo.change("staging", "sync", SYNC_TIMEOUT=701)
    site.refresh()
    browser = site.sign_in()
    browser.get("/e/dev/settings/NOTHING")
    for query, new in (
        ("&key=sync_timeout", 700),
        ("&key=SYNC_TIMEOUT&who=author@EXAMPLE.org&what=git", 700),
    ):
        assert exported(browser, query)[0]["new"] == new, query
    assert 701 not in [each["new"] for each in exported(browser)]
    everywhere = [each["new"] for each in exported(browser, "&where=all")]
    assert 700 in everywhere
    assert 701 in everywhere
    assert exported(browser, "&who=nobody-of-this-name") == []
    assert exported(browser, "&until=2001-01-01") == []
    assert exported(browser, "&since=2001-01-01&key=SYNC_TIMEOUT")
    assert {each["source"] for each in exported(browser, "&what=console")} == {"console"}
    page = browser.get(f"{AUDIT}?key=SYNC_TIMEOUT&where=all&what=git").text
    assert "key=SYNC_TIMEOUT&amp;what=git&amp;where=all&amp;format=csv" in page
    assert len(rows(page)) == len(exported(browser, "&key=SYNC_TIMEOUT&where=all&what=git"))


def test_paging(site):
    """Every line is on one page: none twice, none missing; a page behind the last is the last."""
    for value in range(601, 640):
        site.repo.change("dev", "sync", SYNC_TIMEOUT=value)
    site.refresh()
    browser = site.sign_in()
    total = len(exported(browser, "&what=git"))
    pages = [browser.get(f"{AUDIT}?what=git&page={number}").text for number in (1, 2)]
    assert len(rows(pages[0])) == 50
    assert sum(len(rows(page)) for page in pages) == total
    assert not set(rows(pages[0])) & set(rows(pages[1]))
    assert 'rel="next"' in pages[0]
    last = browser.get(f"{AUDIT}?what=git&page=999999").text
    assert rows(last) == rows(pages[1])


def test_roles(site):
    """An editor of one category sees its changes only, and no line of the console; without a role nothing is there."""
    site.repo.roles({"who": EDITOR.email, "role": "editor", "environments": ["dev"], "categories": ["sync"]})
    site.refresh()
    editor = site.sign_in(EDITOR, owner=False)
    editor.get("/e/prod/")
    editor.form("/e/dev/pause", reason="x", minutes="15")
    found = exported(editor)
    categories = site.parts.board.state.category_of
    assert {categories[key] for each in found for key in each["settings"]} == {"sync"}
    assert {each["source"] for each in found} == {"git"}
    assert exported(editor, "&what=console") == []
    assert {tuple(each["environments"]) for each in exported(editor, "&where=all")} == {("dev",)}
    assert "shown to admins" in editor.get(AUDIT).text
    assert editor.get("/e/prod/audit").status_code == 404
    assert editor.get("/e/prod/audit/export").status_code == 404
    refusals = exported(site.sign_in(), "&what=refused&who=editor")
    assert [each["why"] for each in refusals] == ["approver needed in dev"]


def test_no_secret_and_no_value_of_one(site):
    """A replaced secret is a line without values, in the page and in both files; what was typed is nowhere."""
    browser = site.sign_in()
    typed = "kemudi-canary-typed-5d20b8"
    form = {"value": typed, "action": "commit", "reason": "Rotation"}
    assert browser.form("/e/dev/settings/NEO4J_PASSWORD/change", **form).status_code == 303
    page = browser.get(f"{AUDIT}?key=NEO4J_PASSWORD").text
    assert "values are not shown" in page
    records = exported(browser, "&key=NEO4J_PASSWORD")
    assert records[0]["values_withheld"] is True
    assert (records[0]["old"], records[0]["new"]) == (None, None)
    everything = page + json.dumps(records) + browser.get(f"{AUDIT}/export").text
    assert SECRET not in everything
    assert typed not in everything
    assert "ENC[" not in everything


HOSTILE = ['=HYPERLINK("http://x.example")', "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "  =1+1", "＝1"]  # noqa: RUF001  # spreadsheets take it for =


def test_no_cell_of_a_csv_is_a_formula(site):
    """A value, a reason and a name that begin like a formula are text in the file, and still readable in it."""
    browser = site.sign_in(Person("evil", "=cmd|' /C calc'!A0", "evil@example.org"))
    for value in HOSTILE[:4]:
        form = {"value": value, "action": "commit", "reason": f"{value} is why"}
        assert browser.form("/e/dev/settings/NEO4J_USER/change", **form).status_code == 303
    text = browser.get(f"{AUDIT}/export?format=csv").text
    cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]
    assert all(f"'{value}" in cells for value in HOSTILE[:4])
    assert "'=cmd|' /C calc'!A0" in cells
    assert [cell for cell in cells if cell.lstrip().startswith(("=", "+", "-", "@"))] == []


@pytest.mark.parametrize("value", HOSTILE)
def test_a_formula_is_neutralised_in_every_field(value):
    """Also behind blanks and tabs, within a list, and written with wide characters."""
    record = dict.fromkeys(FIELDS, value)
    written = list(csv.reader(io.StringIO(as_csv([record | {"settings": [value]}]), newline="")))
    assert {cell[0] for cell in written[1]} == {"'"}


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("who=%22%3E%3Cscript%3Ealert(1)%3C/script%3E", 200),
        ("key=%00%ff", 200),
        ("what=%3Cscript%3E&where=%3Cscript%3E", 200),
        ("since=tomorrow", 422),
        ("until=2026-13-45", 422),
        ("page=-1", 200),
        ("page=%F0%9D%9F%8F", 200),
        ("who=" + "a" * 3000, 200),
    ],
)
def test_hostile_filters(site, query, status):
    """Markup is text, what is no date is said in words, and no filter is an error of the server."""
    answer = site.sign_in().get(f"{AUDIT}?{query}")
    assert answer.status_code == status
    assert "<script>" not in answer.text.replace('<script type="module"', "")
    if status == 422:
        assert 'aria-invalid="true"' in answer.text
        assert site.sign_in().get(f"{AUDIT}/export?{query}").status_code == 422


def test_an_unknown_format_is_refused(site):
    """Neither a path nor a format that there is not."""
    assert site.sign_in().get(f"{AUDIT}/export?format=../../etc/passwd").status_code == 422


def test_with_the_daemon_away_it_says_what_is_missing(site, daemon):
    """Changes of git and the console's own lines stay; what the daemon would say is named as missing."""
    daemon.away = True
    site.refresh()
    page = site.sign_in().get(AUDIT).text
    assert "The daemon does not tell its log now" in page
    assert rows(page)


def test_what_the_daemon_says(site, daemon):
    """Its log is in the list: to everybody of the environment, overrides only of settings that they may see."""
    at = "2026-01-02T03:04:05Z"
    daemon.logs["dev"] = [
        {"kind": "applied", "revision": site.repo.head, "at": at, "reason": "Applied", "author": "Author"},
        {"kind": "override-set", "revision": "", "at": at, "reason": "Overload", "keys": ["SYNC_PAUSED"]},
        {"kind": "nonsense", "at": "yesterday"},
        {"at": None},
    ]
    site.repo.roles({"who": EDITOR.email, "role": "viewer", "environments": ["dev"], "categories": ["sync"]})
    site.refresh()
    found = exported(site.sign_in(), "&what=daemon")
    assert [(each["action"], each["why"]) for each in found] == [
        ("applied", "Applied"),
        ("override-set", "Overload"),
    ]
    assert "override set" in site.sign_in().get(f"{AUDIT}?what=daemon").text
    assert exported(site.sign_in(EDITOR, owner=False), "&what=daemon") == []
    everywhere = site.sign_in().get(f"{AUDIT}?where=all").text
    assert "The daemon does not tell" not in everywhere  # of what it does not serve it has nothing to tell


def test_nothing_fits(site):
    """An empty list says so and offers the way back."""
    page = site.sign_in().get(f"{AUDIT}?who=nobody-of-this-name").text
    assert "Nothing fits." in page
    assert "Clear the filter" in page
    assert "Export" not in page[page.index('id="list"') :]


@pytest.mark.parametrize("path", ["audit", "compare?from=staging", "people"])
def test_with_git_away_the_pages_say_so(site, path):
    """What was known stays on the page, with the banner; what cannot be asked is named, and nothing is an error."""
    git = site.repo.path / ".git"
    git.rename(git.with_name("away"))
    site.parts.desired.forget()
    site.parts.provenance.close()
    site.refresh()
    answer = site.sign_in().get(f"/e/dev/{path}")
    assert answer.status_code == 200
    assert "Git cannot be read" in answer.text
    if path == "audit":
        assert "changes are missing here" in answer.text
