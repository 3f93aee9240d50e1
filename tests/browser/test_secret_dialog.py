"""A secret replaced in the dialog: typed once, previewed sealed, saved as it was previewed."""

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser"), pytest.mark.timeout(180)]


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
