"""Who types faster than a preview arrives loses neither the focus nor the way to Save."""

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser"), pytest.mark.timeout(180)]


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
