"""The REST API: lists, ETags, plans, changes, going back, and problems for everything that goes wrong."""

import threading

import pytest

LIMIT = "/environments/dev/settings/GRAPH_CLASSMATES_LIMIT"


def test_the_list_is_filtered_paged_and_stable(site):
    """Words are ANDed over key, description and shown value; the cursor goes on where the page ended."""
    browser = site.sign_in()
    every = browser.api("GET", "/environments/dev/settings?sort=key").json()["items"]
    assert len(every) == 20
    found, cursor = [], ""
    while True:
        page = browser.api("GET", f"/environments/dev/settings?sort=key&limit=7{cursor}")
        found += [item["key"] for item in page.json()["items"]]
        assert page.headers["x-kemudi-revision"] == site.repo.head
        if page.json()["next"] is None:
            break
        assert 'rel="next"' in page.headers["link"]
        cursor = f"&cursor={page.json()['next']}"
    assert found == [item["key"] for item in every] == sorted(found)
    words = browser.api("GET", "/environments/dev/settings?q=classmates MOST").json()["items"]
    assert {item["key"] for item in words} == {
        "GRAPH_CLASSMATES_LIMIT",
        "GRAPH_FRIENDS_OF_FRIENDS_LIMIT",
    } or [item["key"] for item in words] == ["GRAPH_CLASSMATES_LIMIT"]
    kinds = browser.api("GET", "/environments/dev/settings?type=secret").json()["items"]
    assert [item["key"] for item in kinds] == ["NEO4J_PASSWORD"]
    assert browser.api("GET", "/environments/dev/settings?cursor=%21").status_code == 422
    assert browser.api("GET", "/environments/dev/settings?limit=501").status_code == 422


def test_one_setting_and_its_entity_tag(site):
    """304 while nothing changed here; a commit of another setting keeps the tag, one of this setting changes it."""
    browser = site.sign_in()
    first = browser.api("GET", LIMIT)
    assert first.json()["value"] == 25
    assert first.json()["source"] == {"file": "dev/graph_query.yaml", "line": 2}
    tag = {"If-None-Match": first.headers["etag"]}
    assert browser.api("GET", LIMIT, **tag).status_code == 304
    site.repo.change("dev", "sync", SYNC_TIMEOUT=777)
    site.refresh()
    assert browser.api("GET", LIMIT, **tag).status_code == 304
    site.repo.change("dev", "graph_query", GRAPH_CLASSMATES_LIMIT=26)
    site.refresh()
    assert browser.api("GET", LIMIT, **tag).status_code == 200


def test_put_asks_for_the_tag_and_refuses_a_stale_one(site):
    """428 without If-Match; 412 with the value, author and tag now; with the right tag one commit by the person."""
    browser = site.sign_in()
    tag = browser.api("GET", LIMIT).headers["etag"]
    assert browser.api("PUT", LIMIT, {"value": 30}).status_code == 428
    site.repo.change("dev", "graph_query", GRAPH_CLASSMATES_LIMIT=26)
    stale = browser.api("PUT", LIMIT, {"value": 30}, **{"If-Match": tag})
    assert stale.status_code == 412
    assert stale.json()["type"] == "/problems/stale-revision"
    assert stale.json()["current"]["value"] == 26
    assert stale.json()["current"]["set_by"]["author"] == "Author"
    site.repo.change("dev", "sync", SYNC_TIMEOUT=777)
    tags = {"If-Match": stale.headers["etag"]}
    done = browser.api("PUT", LIMIT, {"value": 30, "reason": "For enrolment week."}, **tags)
    assert (done.status_code, done.json()["state"]) == (200, "committed")
    assert done.headers["etag"] == browser.api("GET", LIMIT).headers["etag"]
    log = site.repo.git("log", "-1", "--format=%an <%ae>|%cn|%B")
    assert log.startswith("Console Admin <owner@example.org>|Kemudi|")
    assert "For enrolment week." in log


def test_two_writers_of_one_tag_make_one_commit(site):
    """Both send the same tag at once: one commit, one 412; two settings at once: two commits."""
    browser = site.sign_in()
    tag = {"If-Match": browser.api("GET", LIMIT).headers["etag"]}
    before = int(site.repo.git("rev-list", "--count", "HEAD"))
    answers: list[int] = []

    def put(value: int) -> None:
        answers.append(site.sign_in().api("PUT", LIMIT, {"value": value}, **tag).status_code)

    threads = [threading.Thread(target=put, args=(value,)) for value in (31, 32, 33)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(answers) == [200, 412, 412]
    assert int(site.repo.git("rev-list", "--count", "HEAD")) == before + 1


@pytest.mark.parametrize("value", [0, -1, 1.5, "30", True, None, [1]])
def test_an_invalid_value_never_reaches_git(site, value):
    """422 with a pointer to the value, and no commit."""
    browser = site.sign_in()
    before = site.repo.head
    tag = {"If-Match": browser.api("GET", LIMIT).headers["etag"]}
    answer = browser.api("PUT", LIMIT, {"value": value}, **tag)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["errors"][0]["pointer"] == "#/value"
    assert site.repo.head == before


def test_a_plan_has_no_effect_and_the_commit_is_what_it_showed(site):
    """The diff of the plan is the diff of the commit, byte for byte."""
    browser = site.sign_in()
    before = site.repo.head
    changes = [{"key": "GRAPH_CLASSMATES_LIMIT", "value": 40}, {"key": "SYNC_TIMEOUT", "value": 900}]
    plan = browser.api("POST", "/plans", {"env": "dev", "changes": changes}).json()
    assert site.repo.head == before
    keys = [change["key"] for change in plan["plan"]["environments"][0]["changes"]]
    assert keys == ["GRAPH_CLASSMATES_LIMIT", "SYNC_TIMEOUT"]
    browser.api("POST", "/changes", {"env": "dev", "changes": changes, "reason": "Together"})
    shown = site.repo.git("diff", "--no-color", before, "HEAD").splitlines()
    written = [line for line in shown if line[:1] in "+-@ " and not line.startswith("index")]
    assert plan["diff"].splitlines() == [line for line in written if not line.startswith("diff")]


def test_an_idempotency_key_is_done_once(site):
    """The same request again gets the same answer; the same key with another body is refused."""
    browser = site.sign_in()
    body = {"env": "dev", "changes": [{"key": "SYNC_TIMEOUT", "value": 900}], "reason": "Once"}
    key = {"Idempotency-Key": "a-1"}
    first = browser.api("POST", "/changes", body, **key)
    again = browser.api("POST", "/changes", body, **key)
    assert first.json() == again.json()
    assert site.repo.git("log", "--format=%s").count("SYNC_TIMEOUT") == 1
    body["reason"] = "Twice"
    assert browser.api("POST", "/changes", body, **key).status_code == 422


def test_going_back_is_a_new_commit(site):
    """History has old and new; going back writes what the commit gave; an invalid past is refused."""
    browser = site.sign_in()
    first = site.repo.head
    site.repo.change("dev", "graph_query", GRAPH_CLASSMATES_LIMIT=26)
    site.refresh()
    entries = browser.api("GET", "/settings/GRAPH_CLASSMATES_LIMIT/history?env=dev").json()["items"]
    assert (entries[0]["old"], entries[0]["new"]) == (25, 26)
    body = {"env": "dev", "revision": first, "reason": "It was too many."}
    done = browser.api("POST", "/settings/GRAPH_CLASSMATES_LIMIT/rollback", body)
    assert done.status_code == 200, done.text
    assert browser.api("GET", LIMIT).json()["value"] == 25
    assert site.repo.git("rev-list", "--count", "HEAD") == "3"
    message = site.repo.git("log", "-1", "--format=%B")
    assert message.startswith("Roll back GRAPH_CLASSMATES_LIMIT in dev\n\nIt was too many.\n")
    assert f"Kemudi-Rollback: {first}\nKemudi-Change: rollback" in message
    body["revision"] = "0" * 40
    assert browser.api("POST", "/settings/GRAPH_CLASSMATES_LIMIT/rollback", body).status_code in {404, 422}
    body["revision"] = first
    assert browser.api("POST", "/settings/NEO4J_PASSWORD/rollback", body).status_code == 409


def test_history_before_a_commit_that_is_not_in_it_is_refused(site):
    """The commit of a proposal leads nowhere on the branch: 422, not a page of nothing."""
    browser = site.sign_in()
    body = {"env": "dev", "changes": [{"key": "SYNC_TIMEOUT", "value": 900}], "mode": "propose"}
    tip = browser.api("POST", "/changes", body).json()["revision"]
    before = "/settings/SYNC_TIMEOUT/history?env=dev&before="
    assert browser.api("GET", before + site.repo.head).status_code == 200
    assert browser.api("GET", before + tip).status_code == 422


def test_a_proposal_leaves_the_branch_alone(site):
    """`propose` makes a branch of its own; where a policy wants approval, saving directly is refused."""
    site.repo.policies({"rule": "approvals", "environments": ["prod"], "required": 1})
    site.refresh()
    browser = site.sign_in()
    before = site.repo.head
    body = {"env": "prod", "changes": [{"key": "SYNC_TIMEOUT", "value": 900}], "reason": "Slow registry"}
    refused = browser.api("POST", "/changes", body)
    assert (refused.status_code, refused.json()["type"]) == (403, "/problems/approval-required"), refused.text
    proposed = browser.api("POST", "/changes", body | {"mode": "propose"})
    assert (proposed.status_code, proposed.json()["state"]) == (202, "proposed")
    assert proposed.json()["branch"].startswith("kemudi/")
    assert site.repo.head == before


def test_compare_and_export_hold_no_secret(site):
    """Compare tells that secrets differ; an export has every other setting, in three formats that parse."""
    browser = site.sign_in()
    items = browser.api("GET", "/compare?left=dev&right=prod").json()["items"]
    secret = next(item for item in items if item["key"] == "NEO4J_PASSWORD")
    assert (secret["left"], secret["right"], secret["sensitive"]) == (None, None, True)
    exported = browser.api("GET", "/export?env=dev&format=json").json()
    assert exported["GRAPH_CLASSMATES_LIMIT"] == 25
    assert "NEO4J_PASSWORD" not in exported
    assert "GRAPH_CLASSMATES_LIMIT=25\n" in browser.api("GET", "/export?env=dev&format=env").text
    assert "GRAPH_CLASSMATES_LIMIT: 25" in browser.api("GET", "/export?env=dev").text


def test_the_daemon_is_asked_and_the_log_tells(site):
    """Pause needs reason and a near end; what was asked is in the audit log."""
    browser = site.sign_in()
    body = {"env": "dev", "reason": "Enrolment week", "until": "2020-01-01T00:00:00Z"}
    assert browser.api("PUT", "/publishing/pause", body).status_code == 422
    body["until"] = "tomorrow"
    assert browser.api("PUT", "/publishing/pause", body).status_code == 422
    assert browser.api("POST", "/reconcile", {"env": "dev"}).status_code == 202
    assert browser.api("DELETE", "/publishing/pause?env=dev").status_code == 200
    cleared = browser.api("POST", "/cache/clear", {"env": "dev"}).json()
    assert cleared == {"env": "dev", "settings": 20, "changed": 0}
    assert [asked[:2] for asked in site.daemon.asked] == [("POST", "/reconcile"), ("DELETE", "/pause")]
    actions = [each["action"] for each in browser.api("GET", "/audit").json()["items"]]
    assert actions[:3] == ["clear cache", "resume", "reload"]


def test_with_the_daemon_away_git_is_shown_and_saving_works(site):
    """Live is unknown, a change is committed, and what only the daemon can do says so."""
    site.daemon.away = True
    site.refresh()
    browser = site.sign_in()
    answer = browser.api("GET", LIMIT)
    assert (answer.json()["state"], answer.json()["served"], answer.json()["value"]) == ("unknown", None, 25)
    body = {"env": "dev", "changes": [{"key": "GRAPH_CLASSMATES_LIMIT", "value": 27}], "reason": "x"}
    assert browser.api("POST", "/changes", body).status_code == 200
    assert browser.api("POST", "/reconcile", {"env": "dev"}).status_code == 503
    assert browser.get("/e/dev/").status_code == 200


def test_a_damaged_repository_is_said_and_nothing_is_saved(site):
    """Git away: every page answers with what was known, and a change is refused."""
    browser = site.sign_in()
    (site.repo.path / ".git" / "HEAD").rename(site.repo.path / ".git" / "HEAD.away")
    site.refresh()
    for path in (
        "/e/dev/",
        "/e/dev/settings",
        "/e/dev/settings/SYNC_TIMEOUT",
        "/e/dev/switches",
        "/e/dev/sync",
    ):
        assert browser.get(path).status_code == 200, path
    body = {"env": "dev", "changes": [{"key": "SYNC_TIMEOUT", "value": 27}], "reason": "x"}
    assert browser.api("POST", "/changes", body).status_code == 503
    assert browser.api("GET", "/status").json()["git"]["problem"]


def test_problems_have_pages_and_shapes(site):
    """Unknown addresses, wrong methods and wrong bodies are problems; each type leads to a page."""
    browser = site.sign_in()
    for method, path, body, status in (
        ("GET", "/nowhere", None, 404),
        ("GET", "/environments/dev/settings/..%2f..%2fkemudi.yaml", None, 404),
        ("DELETE", "/status", None, 405),
        ("POST", "/changes", {"env": "dev", "changes": []}, 422),
        ("POST", "/changes", {"env": "dev", "surprise": 1, "changes": [{"key": "A"}]}, 422),
    ):
        answer = browser.api(method, path, body)
        assert answer.status_code == status, (path, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert problem["status"] == status
        assert browser.get(problem["type"]).status_code == 200


def test_a_body_that_is_no_json_is_said_with_its_place(site):
    """As a sentence about the body: a position is no member of it."""
    browser = site.sign_in()
    headers = {"Origin": site.url, "X-Kemudi-CSRF": browser.csrf, "Content-Type": "application/json"}
    answer = browser.http.post("/api/v1/plans", content='{"env": "dev",, }', headers=headers)
    assert answer.status_code == 422
    (wrong,) = answer.json()["errors"]
    assert wrong["pointer"] == "#"
    assert wrong["detail"].startswith("the body is no JSON: ")
    assert wrong["detail"].endswith(", at character 14 of it")


def test_a_daemon_that_hangs_delays_nobody(site, until):
    """It accepts and never answers: pages, plans and saves go on as fast as without it."""
    import socket

    with socket.socket() as hole:
        hole.bind(("127.0.0.1", 0))
        hole.listen(64)
        site.parts.daemon._http.timeout = 60
        site.parts.daemon._http.base_url = f"http://127.0.0.1:{hole.getsockname()[1]}"
        asked, _ = hole.accept()
        browser = site.sign_in()
        answered = []

        def work() -> None:
            body = {"env": "dev", "changes": [{"key": "SYNC_TIMEOUT", "value": 950}], "reason": "x"}
            answered.append(browser.api("POST", "/changes", body).status_code)
            answered.append(browser.get("/e/dev/settings").status_code)

        thread = threading.Thread(target=work)
        thread.start()
        until(lambda: answered == [200, 200], "two answers while the daemon still hangs", timeout=40)
        thread.join()
        asked.close()
