"""The dialog under fast hands, with a secret, and the pages on a phone."""

from pathlib import Path

import pytest

from kemudi.repo.changes import ChangeRequest, Edit, apply
from kemudi.repo.people import Author

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser"), pytest.mark.timeout(180)]

PAGES = (
    "/e/dev/",
    "/e/dev/settings",
    "/e/dev/settings/GRAPH_CLASSMATES_LIMIT",
    "/e/dev/settings/GRAPH_CLASSMATES_LIMIT/change?value=31",
    "/e/dev/switches",
    "/e/staging/changes?show=all",
    "/e/staging/compare?from=dev",
    "/e/dev/sync",
    "/e/dev/audit",
    "/e/dev/people",
    "/e/dev/transfer",
    "/e/dev/api",
)


def test_a_secret_is_replaced_in_the_dialog(kemudi, visit):
    """Typing the reason after the secret takes nothing away; the line of the preview is the line of the commit."""
    page = visit().page
    page.goto(f"{kemudi.console}/e/dev/settings?q=NEO4J_PASSWORD")
    page.locator("#row-NEO4J_PASSWORD a.edit").click()
    page.locator("dialog input[type=password]").fill("kemudi-canary-in-the-dialog")
    page.locator("dialog textarea[name=reason]").fill("Rotated")
    page.locator("dialog [data-save]:enabled").wait_for()
    shown = page.locator("dialog .diff .plus").inner_text()
    assert shown.startswith("+NEO4J_PASSWORD: ENC[")
    page.locator("dialog [data-save]").click()
    page.locator("dialog[open]").wait_for(state="detached")
    assert shown in kemudi.git("show", "--format=%b").splitlines()


def test_save_is_reached_by_tab_when_the_preview_comes_late(kemudi, visit):
    """The focus stands on Cancel while the preview is under way: it stays there, and the next Tab is Save."""
    page = visit().page
    page.goto(f"{kemudi.console}/e/dev/settings?q=recommendations_limit")
    page.locator("#list tbody a.edit").first.click()
    page.locator("dialog input[name=value]").wait_for()
    held = []

    def hold(route):
        held.append(route)

    page.route("**/change", hold, times=1)
    with page.expect_request("**/change"):
        page.keyboard.press("Control+a")
        page.keyboard.type("14")
        page.locator("dialog textarea[name=reason]").focus()
        page.keyboard.type("Typed fast")
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.matches('dialog [data-cancel]')")
    held[0].continue_()
    page.locator("dialog [data-save]:enabled").wait_for()
    assert page.evaluate("document.activeElement.matches('dialog [data-cancel]')")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.locator("dialog[open]").wait_for(state="detached")
    assert kemudi.git("log", "-1", "--format=%b").splitlines()[0] == "Typed fast"


def test_typing_the_reason_leaves_save_as_it_is(kemudi, visit):
    """The reason changes nothing of what the preview shows."""
    page = visit().page
    page.goto(f"{kemudi.console}/e/dev/settings?q=SYNC_BATCH_SIZE")
    page.locator("#list tbody a.edit").first.click()
    page.locator("dialog input[name=value]").fill("150")
    page.locator("dialog [data-save]:enabled").wait_for()
    page.locator("dialog textarea[name=reason]").press_sequentially("Why not")
    assert page.locator("dialog [data-save]").is_enabled()


@pytest.mark.parametrize("language", ["en", "id"])
def test_no_page_is_wider_than_a_phone(kemudi, visit, language):
    """At 375 pixels nothing has to be scrolled sideways, with a proposal in the list, too."""
    wanted = (Edit("staging", "CACHE_TTL", 78),)
    apply(
        Path(kemudi.endpoints["repo"]),
        ChangeRequest(wanted, "Try it", Author("Other", "other@example.org"), propose=True),
    )
    page = visit(language=language).page
    page.set_viewport_size({"width": 375, "height": 800})
    for path in PAGES:
        assert page.goto(kemudi.console + path).status == 200, path
        assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0, path
