"""The console in Chromium: live rows, the dialog, the keyboard, themes, languages, and no script of anybody else."""

from pathlib import Path

import pytest
import redis

from kemudi.console.access import accounts
from kemudi.console.access.oidc import OidcSettings
from kemudi.console.access.people import Person
from kemudi.console.app import build_app
from kemudi.console.runtime import open_parts
from kemudi.console.settings import ConsoleSettings
from kemudi.repo.changes import ChangeRequest, Edit, apply
from kemudi.repo.people import Author
from kemudi.web.logs import make_log
from kemudi.web.server import HttpServer, listen

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser"), pytest.mark.timeout(180)]

ROW = "#row-GRAPH_CLASSMATES_LIMIT"
PAGES = (
    "/e/dev/",
    "/e/dev/settings",
    "/e/dev/settings/GRAPH_CLASSMATES_LIMIT",
    "/e/dev/settings/NEO4J_URI/change?value=bolt://other:7687",
    "/e/prod/settings/NEO4J_PASSWORD/change",
    "/e/dev/switches",
    "/e/dev/settings/SYNC_PAUSED/stop",
    "/e/prod/settings/SYNC_PAUSED/stop",
    "/e/dev/changes",
    "/e/dev/compare?from=prod&show=all&key=CACHE_TTL",
    "/e/dev/people",
    "/e/dev/audit",
    "/e/dev/audit?where=all&since=tomorrow",
    "/e/dev/settings/SYNC_TIMEOUT",
    "/e/dev/settings/SYNC_TIMEOUT/change?unset=1",
    "/e/dev/sync",
    "/e/dev/transfer",
    "/e/dev/api",
    "/e/dev/settings?q=nothing+fits+this&state=drift",
    "/e/dev/settings/NOT_A_SETTING",
    "/problems/validation",
)
SIGNED_OUT = (
    "/sign-in",
    "/sign-in?out=1",
    "/sign-in/oidc",
    "/sign-in/oidc/back?error=access_denied",
    "/sign-in/once?code=x",
)


def test_a_newcomer_changes_a_setting_and_the_service_answers_with_it(kemudi, visit, until):
    """Link, settings, search, edit, value, reason, save: seven actions, and the graph service's next answer has it."""
    nim = kemudi.endpoints["sample_nim"]
    page = visit().page
    page.get_by_role("link", name="Settings").first.click()
    page.get_by_label("Search").fill("classmates")
    page.locator(f"{ROW} a.edit").click()
    page.locator("dialog input[name=value]").fill("4")
    page.locator("dialog textarea[name=reason]").fill("A shorter list reads better")
    page.locator("dialog [data-save]").click()
    page.locator(ROW).get_by_text("4", exact=True).wait_for()
    until(
        lambda: len(kemudi.graph(f"/students/{nim}/classmates")["items"]) == 4, "the new limit in the service"
    )
    page.locator(f"{ROW} .badge", has_text="live").wait_for()
    assert "A shorter list reads better" in kemudi.git("log", "-1", "--format=%b")
    assert kemudi.git("log", "-1", "--format=%cn") == "Kemudi"


def test_a_burst_ends_with_the_right_value_in_every_tab(kemudi, visit):
    """Ten tabs over HTTP/1.1 with one stream, a hundred commits: each tab ends with the last value, live."""
    first = visit()
    tabs = [first.page, *(first.context.new_page() for _ in range(9))]
    for tab in tabs:
        tab.goto(f"{kemudi.console}/e/dev/settings?q=batch")
        tab.locator("#pulse.good").wait_for()
    for value in range(500, 600):
        kemudi.change("dev", "sync", SYNC_BATCH_SIZE=value)
    for tab in tabs:
        row = tab.locator("#row-SYNC_BATCH_SIZE")
        row.get_by_text("599", exact=True).wait_for()
        row.locator(".badge", has_text="live").wait_for()


def test_the_whole_edit_by_keyboard(kemudi, visit, violations):
    """`/`, a word, Tab to the pencil, Enter, a value, Enter previews and saves nothing; Escape returns to the row."""
    page = visit().page
    page.goto(f"{kemudi.console}/e/dev/settings")
    before = kemudi.git("rev-parse", "HEAD")
    page.keyboard.press("/")
    page.keyboard.type("friends_of_friends")
    page.locator("#list tbody tr").nth(1).wait_for(state="detached")
    edit = page.locator("#row-GRAPH_FRIENDS_OF_FRIENDS_LIMIT a.edit")
    edit.focus()
    page.keyboard.press("Enter")
    field = page.locator("dialog input[name=value]")
    field.wait_for()
    page.keyboard.press("Control+a")
    page.keyboard.type("21")
    page.keyboard.press("Enter")
    page.locator("dialog .diff").get_by_text("+GRAPH_FRIENDS_OF_FRIENDS_LIMIT: 21").wait_for()
    assert kemudi.git("rev-parse", "HEAD") == before
    assert violations(page) == []
    page.keyboard.press("Escape")
    page.locator("dialog[open]").wait_for(state="detached")
    page.locator(f"a.edit[href='{edit.get_attribute('href')}']:focus").wait_for()


def test_a_save_by_keyboard_alone(kemudi, visit):
    """From the search to the saved value no mouse and no focus by script: Tab, Enter and typing are enough."""
    page = visit().page
    page.goto(f"{kemudi.console}/e/dev/settings")
    page.keyboard.press("/")
    page.keyboard.type("recommendations_limit")
    page.locator("#list tbody tr").nth(1).wait_for(state="detached")
    tab_to(page, "a.edit")
    page.keyboard.press("Enter")
    page.locator("dialog input[name=value]").wait_for()
    page.keyboard.press("Control+a")
    page.keyboard.type("12")
    page.locator("dialog [data-save]:enabled").wait_for()
    tab_to(page, "textarea[name=reason]")
    page.keyboard.type("By keyboard")
    page.locator("dialog [data-save]:enabled").wait_for()
    tab_to(page, "[data-save]")
    page.keyboard.press("Enter")
    page.locator("dialog[open]").wait_for(state="detached")
    row = page.locator("#list tbody tr")
    row.get_by_text("12", exact=True).wait_for()
    row.locator(".badge", has_text="live").wait_for()
    assert kemudi.git("log", "-1", "--format=%b").splitlines()[0] == "By keyboard"
    page.locator("#list a.edit:focus").wait_for()


def tab_to(page, selector: str) -> None:
    """Press Tab until what a selector names has the focus."""
    for _ in range(40):
        if page.evaluate("wanted => document.activeElement.matches(wanted)", selector):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"no Tab leads to {selector}")


def test_a_switch_shows_the_plan_and_saves_nothing_by_itself(kemudi, visit):
    """One click, in production too, opens the plan; saved in dev, the row goes live and keeps the focus."""
    page = visit().page
    before = kemudi.git("rev-parse", "HEAD")
    page.goto(f"{kemudi.console}/e/prod/switches")
    page.get_by_role("switch", name="GRAPH_FEATURE_ENABLED").click()
    page.locator("dialog .diff").get_by_text("+GRAPH_FEATURE_ENABLED: false").wait_for()
    assert kemudi.git("rev-parse", "HEAD") == before
    page.locator("dialog [data-cancel]").click()
    page.goto(f"{kemudi.console}/e/dev/switches")
    page.get_by_role("switch", name="GRAPH_CACHE_ENABLED").click()
    page.locator("dialog [data-save]").click()
    row = page.locator("#switch-GRAPH_CACHE_ENABLED")
    row.locator("button[aria-checked=false]").wait_for()
    row.locator(".badge", has_text="live").wait_for()
    page.locator("[aria-label=GRAPH_CACHE_ENABLED]:focus").wait_for()


def test_without_a_script_the_edit_works(kemudi, visit):
    """Filter, form, preview and save by plain pages."""
    page = visit(scripts=False).page
    page.goto(f"{kemudi.console}/e/dev/settings")
    page.get_by_label("Search").fill("cache_ttl")
    page.get_by_role("button", name="Filter").click()
    page.locator("#row-CACHE_TTL a.edit").click()
    page.locator("input[name=value]").fill("123")
    page.get_by_role("button", name="Preview").click()
    page.get_by_role("button", name="Save to git").click()
    page.get_by_text("123").first.wait_for()
    assert "CACHE_TTL: 123" in kemudi.git("show", "HEAD:dev/performance.yaml")


@pytest.mark.parametrize("language", ["en", "id"])
def test_no_page_has_a_violation(kemudi, visit, language, clean_in_both_themes):
    """axe-core on every page, in each theme and each language; no CSP report, no request that leaves the origin."""
    page = visit(language=language).page
    for path in PAGES:
        page.goto(kemudi.console + path)
        assert page.locator("html").get_attribute("lang") == language
        clean_in_both_themes(page)


def test_no_page_before_the_sign_in_has_a_violation(kemudi, chromium, tmp_path, clean_in_both_themes):
    """Local users and a provider that is away: each way in, what went wrong in it, and who gets in without a role."""
    password = "a password of a test"
    accounts.set_user(tmp_path, Person("nobody-1", "Nobody One", "nobody@example.org"), password)
    oidc = OidcSettings("http://127.0.0.1:9", "kemudi")  # nobody listens there
    settings = ConsoleSettings(
        Path(kemudi.endpoints["repo"]), kemudi.endpoints["daemon"], tmp_path, oidc=oidc
    )
    with open_parts(settings, make_log()) as parts, chromium.new_context() as context:
        server = HttpServer(build_app(parts), listen("127.0.0.1", 0, who="the test"), name="console-http")
        server.start()
        page = context.new_page()
        for language in ("en", "id"):
            context.clear_cookies()
            context.add_cookies([{"name": "kemudi_language", "value": language, "url": server.url}])
            for path in SIGNED_OUT:
                page.goto(server.url + path)
                clean_in_both_themes(page)
            for tried in ("not the password", password):
                page.goto(f"{server.url}/sign-in")
                page.locator("[name=login]").fill("nobody-1")
                page.locator("[name=password]").fill(tried)
                page.locator("form button.primary").click()
                page.locator("[role=alert]" if tried != password else "h1").wait_for()
                clean_in_both_themes(page)
            assert page.locator("html").get_attribute("lang") == language
        page.close()
        parts.hub.close()
        server.close()


def test_values_of_another_environment_are_taken_over(kemudi, visit, violations):
    """Ticked, previewed without a violation, saved: one commit, and the two are equal. Also from a setting's page."""
    page = visit().page
    page.goto(f"{kemudi.console}/e/staging/compare?from=prod")
    for key in ("SYNC_PARALLELISM", "SYNC_RETRY_ATTEMPTS"):
        page.get_by_label(f"Copy {key} to staging").check()
    page.get_by_role("button", name="Preview").click()
    page.locator(".diff").get_by_text("+SYNC_PARALLELISM: 4").wait_for()
    assert violations(page) == []
    page.get_by_role("button", name="Save to git").click()
    page.locator("#pair-SYNC_PARALLELISM").wait_for(state="detached")
    assert "+SYNC_RETRY_ATTEMPTS: 5" in kemudi.git("show", "HEAD")
    page.goto(f"{kemudi.console}/e/prod/settings/API_RATE_LIMIT")
    page.get_by_text("Copy to… from prod").click()
    page.locator("details[open]").get_by_role("link", name="staging").click()
    page.locator("dialog .diff").get_by_text("+API_RATE_LIMIT: 600").wait_for()
    assert violations(page) == []
    page.keyboard.press("Escape")


def test_a_value_is_taken_away(kemudi, visit):
    """In the dialog: the link leads to what holds then; saved, the row has it, and the focus is back in the row."""
    kemudi.change("dev", "graph_query", GRAPH_QUERY_TIMEOUT=17)
    page = visit().page
    page.goto(f"{kemudi.console}/e/dev/settings?q=query_timeout")
    page.locator("#row-GRAPH_QUERY_TIMEOUT").get_by_text("17", exact=True).wait_for()
    page.locator("#row-GRAPH_QUERY_TIMEOUT a.edit").click()
    page.locator("dialog").get_by_role("link", name="Take the value away").click()
    page.locator("dialog .diff").get_by_text("-GRAPH_QUERY_TIMEOUT: 17").wait_for()
    page.locator("dialog [data-save]").click()
    page.locator("#row-GRAPH_QUERY_TIMEOUT").get_by_text("30", exact=True).wait_for()
    page.locator("#row-GRAPH_QUERY_TIMEOUT :focus").wait_for()


@pytest.mark.parametrize(("language", "scheme"), [("en", "dark"), ("id", "light")])
def test_a_document_is_imported_without_a_script(kemudi, visit, tmp_path, language, scheme, violations):
    """A wrong file is explained, the right one previewed and saved by plain forms; no violation in any state."""
    made = visit(language=language, scheme=scheme)
    plain = visit(language=language, scheme=scheme, scripts=False).page
    limit = 41 if language == "en" else 42
    wrong, right = tmp_path / "wrong.yaml", tmp_path / "right.json"
    wrong.write_text("GRAPH_RECOMMENDATIONS_LIMIT: 0\nGRAPH_RECOMENDATIONS_LIMIT: 3\n")
    right.write_text(f'{{"GRAPH_RECOMMENDATIONS_LIMIT": {limit}}}')
    for page in (made.page, plain):
        page.goto(f"{kemudi.console}/e/dev/transfer")
        page.locator("input[type=file]").set_input_files(wrong)
        page.locator("button[value=preview]").click()
        page.locator("#flaws li").nth(1).wait_for()
        if page is made.page:
            assert violations(page) == []
        page.locator("input[type=file]").set_input_files(right)
        page.locator("button[value=preview]").click()
        page.locator(".diff").get_by_text(f"+GRAPH_RECOMMENDATIONS_LIMIT: {limit}").wait_for()
        if page is made.page:
            assert violations(page) == []
    plain.locator("button[value=commit]").click()
    plain.wait_for_url("**/e/dev/settings")
    assert f"GRAPH_RECOMMENDATIONS_LIMIT: {limit}" in kemudi.git("show", "HEAD:dev/graph_query.yaml")
    with made.page.expect_download() as download:
        made.page.locator("#export a", has_text="YAML").click()
    assert f"GRAPH_RECOMMENDATIONS_LIMIT: {limit}" in Path(download.value.path()).read_text()


def test_markup_in_a_value_stays_text(kemudi, visit):
    """A value that is a script runs nowhere: no dialog, no report."""
    made = visit()
    made.page.on("dialog", lambda dialog: made.wrong.append(f"a dialog: {dialog.message}"))
    kemudi.change("staging", "neo4j", NEO4J_USER="<img src=x onerror=alert(1)>")
    made.page.goto(f"{kemudi.console}/e/staging/settings?q=neo4j_user")
    made.page.locator("#row-NEO4J_USER").get_by_text("<img src=x onerror=alert(1)>").wait_for()
    made.page.goto(f"{kemudi.console}/e/staging/settings/NEO4J_USER")
    made.page.get_by_role("link", name="Change staging").click()
    made.page.locator("dialog input[name=value]").wait_for()


def test_a_proposal_is_read_and_put_into_effect(kemudi, visit, violations):
    """Seen in the row, clean by axe in both languages and themes; one press makes the merge commit."""
    request = ChangeRequest(
        (Edit("staging", "CACHE_TTL", 77),), "Try it", Author("Other", "other@example.org"), propose=True
    )
    done = apply(Path(kemudi.endpoints["repo"]), request)
    path = f"/e/staging/changes/{done.branch.removeprefix('kemudi/')}"
    for language, scheme in (("id", "dark"), ("en", "light")):
        page = visit(language=language, scheme=scheme).page
        for each in ("/e/staging/changes?show=all", path):
            page.goto(kemudi.console + each)
            for more in page.locator("details.ask summary").all():
                more.click()
            assert violations(page) == [], each
    reader = visit().page
    reader.goto(kemudi.console + path)
    page.goto(f"{kemudi.console}/e/staging/settings?q=cache_ttl")
    page.locator("#row-CACHE_TTL").get_by_role("link", name="change proposed").click()
    page.get_by_role("button", name="Put into effect").click()
    page.get_by_text("No change waits here").wait_for()
    reader.get_by_text("not waiting any more").wait_for()
    assert kemudi.git("show", "HEAD:staging/performance.yaml").count("CACHE_TTL: 77") == 1
    assert kemudi.git("log", "-1", "--format=%s") == "Merge: Set CACHE_TTL in staging"


def test_a_kill_switch_acts_while_publishing_is_paused(kemudi, visit, until):
    """Pause: on each page, and over a restart of the daemon. The switch: the service's next answer is another one."""
    classmates = f"/students/{kemudi.endpoints['sample_nim']}/classmates"
    page = visit().page
    page.goto(f"{kemudi.console}/e/dev/switches")
    page.locator("#publishing input[name=reason]").fill("Exam week")
    page.get_by_role("button", name="Pause publishing").click()
    kemudi.change("dev", "graph_query", GRAPH_CLASSMATES_LIMIT=6)
    kemudi.end("daemon")
    page.goto(f"{kemudi.console}/e/dev/settings?q=classmates")
    page.locator(f"{ROW} .badge", has_text="paused").wait_for()
    page.get_by_text("Publishing to dev is paused. Exam week").wait_for()
    assert len(kemudi.graph(classmates)["items"]) != 6
    page.goto(f"{kemudi.console}/e/dev/settings/GRAPH_FEATURE_ENABLED/stop")
    page.get_by_label("Why?").fill("Overload")
    page.get_by_role("button", name="Turn off now").click()
    until(lambda: kemudi.graph(classmates).get("status") == 503, "the service without its feature")
    page.get_by_text("GRAPH_FEATURE_ENABLED is overridden in dev.").wait_for()
    page.get_by_role("link", name="End it or make it last…").click()
    page.get_by_role("button", name="End the override").click()
    until(lambda: "items" in kemudi.graph(classmates), "the service with its feature")
    page.goto(f"{kemudi.console}/e/dev/switches")
    page.get_by_role("button", name="Resume publishing").click()
    until(lambda: len(kemudi.graph(classmates)["items"]) == 6, "what was saved meanwhile")


def test_a_write_by_hand_is_shown_as_drift_and_put_back(kemudi, visit, until):
    """Redis altered by hand: the row says so by itself, one press compares again, and the audit log has it."""
    page = visit().page
    page.goto(f"{kemudi.console}/e/dev/settings?q=cache_ttl")
    row = page.locator("#row-CACHE_TTL")
    row.locator(".badge", has_text="live").wait_for()
    value = row.locator("code.value").first.inner_text()
    with redis.Redis.from_url(kemudi.endpoints["redis"]) as store:
        said = f'"CACHE_TTL":{value}'.encode()
        blobs = {key: store.get(key) for key in store.keys("kemudi:dev:blob:*")}
        altered = {key: text for key, text in blobs.items() if said in text}
        for key, text in altered.items():
            store.set(key, text.replace(said, b'"CACHE_TTL":86399'))
        assert altered
        row.locator(".badge", has_text="drift").wait_for()
        page.goto(f"{kemudi.console}/e/dev/sync")
        page.get_by_text("unknown writer").wait_for()
        page.get_by_role("button", name="Put git back").click()
        page.get_by_text("Redis was compared with git").wait_for()
        until(
            lambda: any(store.get(key) == text for key, text in altered.items()), "the value of git in Redis"
        )
    page.goto(f"{kemudi.console}/e/dev/audit?what=console")
    page.locator("#list tbody tr").first.wait_for()


def test_a_bad_commit_is_shown_with_its_place_and_author(kemudi, visit):
    """What was live stays live; a correcting commit ends it."""
    page = visit().page
    good = kemudi.change("dev", "sync", SYNC_TIMEOUT=1500)
    page.goto(f"{kemudi.console}/e/dev/sync")
    page.locator("#top").get_by_text(good[:7]).wait_for()
    kemudi.change("dev", "sync", SYNC_TIMEOUT=-5)
    wrong = page.locator("section", has=page.get_by_role("heading", name="The newest change was rejected"))
    wrong.get_by_text("dev/sync.yaml:").wait_for()
    wrong.get_by_text("Author,").wait_for()
    page.goto(f"{kemudi.console}/e/dev/settings?q=sync_timeout")
    page.locator("#row-SYNC_TIMEOUT").get_by_text("Redis has 1500").wait_for()
    kemudi.change("dev", "sync", SYNC_TIMEOUT=1501)
    page.locator("#row-SYNC_TIMEOUT .badge", has_text="live").wait_for()


def test_the_console_restarts_under_an_open_page(kemudi, visit):
    """It ends with streams open, and the page says so; afterwards it is signed in, live, and has missed nothing."""
    page = visit().page
    page.goto(f"{kemudi.console}/e/dev/settings?q=sync_timeout")
    page.locator("#pulse.good").wait_for()
    kemudi.end("console")
    page.locator("#pulse.warn").wait_for()
    kemudi.change("dev", "sync", SYNC_TIMEOUT=1733)
    page.locator("#row-SYNC_TIMEOUT").get_by_text("1733", exact=True).wait_for()
    page.locator("#row-SYNC_TIMEOUT .badge", has_text="live").wait_for()
    page.locator("#pulse.good").wait_for()
    page.locator("#row-SYNC_TIMEOUT a.edit").click()
    page.locator("dialog input[name=value]").wait_for()
