"""Refusals, conflicts and findings are in the reader's language on every page that shows them."""

import html
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

CHANGE = "/e/dev/settings/GRAPH_CLASSMATES_LIMIT/change"
BROKEN = "GRAPH_CLASSMATES_LIMIT: [1, 2\n"


def said(answer: Any) -> str:
    """The text of a page, its plan and its diff left out: these are as the command line prints them."""
    text = re.sub(r'<pre class="plan".*?</pre>|<div class="diff.*?</div>', "", answer.text, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", text)).split())


def reader(site: Any, language: str) -> Any:
    browser = site.sign_in()
    browser.http.cookies.set("kemudi_language", language)
    return browser


Ask = Callable[[Any], Any]
"""What a browser does, again and again with the same answer."""


def saves(site: Any, **more: str) -> Ask:
    sent = {"value": "40", "layer": "dev", "expected": site.repo.head, "action": "commit", **more}
    return lambda browser: browser.form(CHANGE, **sent)


def own_changes(site: Any) -> Ask:
    """Somebody works on the file itself, so it is not the console's to overwrite."""
    path = site.repo.path / "dev" / "graph_query.yaml"
    path.write_text(path.read_text() + "# a remark\n")
    return saves(site)


def under_way(site: Any) -> Ask:
    (site.repo.path / ".git" / "MERGE_HEAD").write_text(site.repo.head + "\n")
    return saves(site)


def a_secret_as_reason(site: Any) -> Ask:
    return saves(site, reason="glpat-" + "kemudiCanary7f3a9d02")


def unreadable_policy(site: Any) -> Ask:
    site.repo.policies({"rule": "change-sise", "percent": 50})
    site.refresh()
    return saves(site)


def broken_document(site: Any) -> Ask:
    sent = {"text": BROKEN, "expected": site.repo.head, "action": "preview"}
    return lambda browser: browser.form("/e/dev/transfer", **sent)


def rejected(site: Any) -> Ask:
    """The daemon tells of findings in English; git's own are the same."""
    good = site.repo.head
    site.repo.change("dev", "graph_query", GRAPH_CLASSMATES_LIMIT=0, NO_SUCH_SETTING=1)
    site.refresh()
    findings = [each.as_json() for each in site.parts.board.state.findings]
    site.daemon.serves("dev", good, errors=findings, rejected=site.repo.head)
    site.refresh()
    return lambda browser: browser.get("/e/dev/sync")


def roles_of_nobody(site: Any) -> Ask:
    (site.repo.path / "roles.yaml").write_text("- who: first@example.org\n  role: captain\n")
    site.repo.commit("Roles")
    site.refresh()
    return lambda browser: browser.get("/e/dev/people")


def no_such_format(_site: Any) -> Ask:
    return lambda browser: browser.get("/e/dev/audit/export?format=doc")


def a_conflict_of_proposals(site: Any) -> Ask:
    """What is there now is not what was there when it was proposed."""
    found = site.proposal()
    site.repo.change("dev", "sync", SYNC_RETRY_ATTEMPTS=7)
    site.refresh()
    return lambda browser: browser.get(f"/e/dev/changes/{found.id}")


def approved_unseen(site: Any) -> Ask:
    found = site.proposal()
    return lambda browser: browser.form(f"/e/dev/changes/{found.id}/approve", revision="0" * 40)


def a_copied_secret(site: Any) -> Ask:
    sent = {"from": "staging", "expected": site.repo.head, "key": "NEO4J_PASSWORD", "action": "preview"}
    return lambda browser: browser.form("/e/dev/compare", **sent)


CASES: dict[str, tuple[Callable[[Any], Ask], str, str]] = {
    "own changes": (
        own_changes,
        "dev/graph_query.yaml has changes that are not committed. Commit them, or set them aside",
        "dev/graph_query.yaml memiliki perubahan yang belum di-commit. Commit perubahan itu, atau sisihkan",
    ),
    "a merge": (under_way, "a merge is under way in", "merge sedang berlangsung di"),
    "a secret as reason": (
        a_secret_as_reason,
        "the reason holds what looks like a GitLab token, and would stand in git for ever",
        "alasannya memuat sesuatu yang tampak seperti token GitLab, dan akan tersimpan di git untuk selamanya",
    ),
    "a broken document": (
        broken_document,
        "a `,` or `]` was expected here",
        "di sini seharusnya ada `,` atau `]`",
    ),
    "a rejected commit": (
        rejected,
        "GRAPH_CLASSMATES_LIMIT must be a whole number of at least 1",
        "GRAPH_CLASSMATES_LIMIT harus berupa bilangan bulat paling sedikit 1",
    ),
    "a wrong role": (roles_of_nobody, "[0].role must be", "[0].role harus berupa"),
    "a wrong policy": (
        unreadable_policy,
        "the policies in kemudi.yaml cannot be read",
        "kebijakan di kemudi.yaml tidak dapat dibaca",
    ),
    "a conflict": (
        a_conflict_of_proposals,
        "SYNC_RETRY_ATTEMPTS in dev was changed since this was proposed. Withdraw it, and propose it anew",
        "SYNC_RETRY_ATTEMPTS di dev telah diubah sejak usulan ini dibuat. Tarik kembali, lalu usulkan lagi",
    ),
    "approved unseen": (
        approved_unseen,
        "the proposal was changed since you looked at it. Look at it again.",
        "usulannya telah diubah sejak Anda melihatnya. Lihat kembali.",
    ),
    "a copied secret": (
        a_copied_secret,
        "a secret cannot be copied: nobody here can read it; replace it instead",
        "rahasia tidak dapat disalin: tidak ada yang dapat membacanya di sini; gantilah saja",
    ),
    "a wrong format": (
        no_such_format,
        "a format is csv or json",
        "formatnya csv atau json",
    ),
}


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_refusal_is_in_the_readers_language(site: Any, name: str) -> None:
    """Said once in each language, and not in the other."""
    prepare, english, indonesian = CASES[name]
    ask = prepare(site)
    texts = {language: said(ask(reader(site, language))) for language in ("en", "id")}
    assert english in texts["en"]
    assert indonesian not in texts["en"]
    assert indonesian in texts["id"]
    assert english not in texts["id"]


REMARKS = {
    "en": (
        "KEM082 GRAPH_CLASSMATES_LIMIT changes by +19,900 % in dev; at most 12.5 % is allowed",
        "KEM083 dev is frozen until 2 Jan 2999, 00:00 UTC",
    ),
    "id": (
        "KEM082 GRAPH_CLASSMATES_LIMIT berubah +19.900 % di dev; paling banyak 12,5 % yang diperbolehkan",
        "KEM083 dev dibekukan sampai 2 Jan 2999, 00:00 UTC",
    ),
}


def test_a_preview_says_what_policies_remark(site: Any) -> None:
    """A policy that only warns is read before saving, with the numbers and times of the language."""
    site.repo.change("dev", "graph_query", GRAPH_CLASSMATES_LIMIT=1)
    site.repo.policies(
        {"rule": "change-size", "percent": 12.5, "level": "warning"},
        {"rule": "freeze", "windows": [{"from": "2020-01-01", "to": "2999-01-01"}], "level": "warning"},
    )
    site.refresh()
    ask = saves(site, value="200", action="preview")
    for language, remarks in REMARKS.items():
        text = said(ask(reader(site, language)))
        assert [each for each in remarks if each not in text] == [], text


def test_a_promotion_that_ran_too_short_says_for_how_long(site: Any) -> None:
    """The hours that it has run, and those that it needs."""
    site.repo.policies({"rule": "promotion", "environments": ["dev"], "from": "staging", "hours": 24})
    revision = site.repo.change("staging", "sync", SYNC_TIMEOUT=4321)
    for env in ("dev", "staging"):
        site.daemon.serves(env, revision)
    at = (datetime.now(UTC) - timedelta(minutes=90, seconds=20)).isoformat()
    site.daemon.logs = {"staging": [{"kind": "applied", "revision": revision, "at": at, "reason": ""}]}
    site.refresh()
    sent = {"value": "4321", "layer": "dev", "expected": site.repo.head, "action": "preview"}
    for language, words in (
        ("en", "staging has run this value of SYNC_TIMEOUT for 1 h 30 min; 24 h are needed"),
        ("id", "staging sudah menjalankan nilai SYNC_TIMEOUT ini selama 1 jam 30 menit; perlu 24 jam"),
    ):
        assert words in said(reader(site, language).form("/e/dev/settings/SYNC_TIMEOUT/change", **sent))
