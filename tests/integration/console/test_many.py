"""Thousands of settings: a page stays small, whatever there is."""

import json
from typing import Any

CATEGORIES, EACH = 20, 250


def test_the_first_page_of_5000_settings_is_small(repo: Any, daemon: Any, start: Any) -> None:
    """Under 30 KB on the wire with fifty rows; the filter finds one of them all; the API walks them by its cursor."""
    for number in range(CATEGORIES):
        keys = [f"AREA_{number:02d}_SETTING_{each:03d}" for each in range(EACH)]
        setting = {"type": "integer", "minimum": 0, "description": "How many rows are read at once."}
        contract = {
            "type": "object",
            "additionalProperties": False,
            "properties": dict.fromkeys(keys, setting),
        }
        (repo.path / f"contracts/area_{number:02d}.schema.json").write_text(json.dumps(contract))
        lines = (f"{key}: {place * 17 + number}\n" for place, key in enumerate(keys))
        (repo.path / f"dev/area_{number:02d}.yaml").write_text("".join(lines))
    daemon.serves("dev", repo.commit("Many settings"))
    site = start()
    browser = site.sign_in()
    with browser.http.stream("GET", "/e/dev/settings", headers={"Accept-Encoding": "gzip"}) as answer:
        assert answer.headers["content-encoding"] == "gzip"
        assert sum(len(each) for each in answer.iter_raw()) < 30 * 1024
    page = browser.get("/e/dev/settings").text
    assert page.count('id="row-') == 50
    found = browser.get("/e/dev/settings?q=area_13_setting_249").text
    assert found.count('id="row-') == 1
    keys, path = [], "/environments/dev/settings?limit=500"
    while path:
        answered = browser.api("GET", path).json()
        keys += [item["key"] for item in answered["items"]]
        following = answered["next"]
        path = f"/environments/dev/settings?limit=500&cursor={following}" if following else ""
    assert len(keys) == len(set(keys)) == CATEGORIES * EACH + 20
