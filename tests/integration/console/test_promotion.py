"""A value must have run before it is promoted: the console judges by the daemon's log, as the command line does."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kemudi.console import run_log

BODY = {"env": "prod", "changes": [{"key": "SYNC_TIMEOUT", "value": 4321}], "reason": "It ran in staging"}
PROMOTION = {"rule": "promotion", "environments": ["prod"], "from": "staging", "hours": 24}


def entry(hours_ago: float, kind: str = "applied", **more: Any) -> dict[str, Any]:
    at = datetime.now(UTC) - timedelta(hours=hours_ago)
    return {"kind": kind, "revision": "", "at": at.isoformat(), "reason": "", **more}


def test_a_value_is_promoted_when_the_log_shows_that_it_ran(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused without evidence, with a daemon that is away, and under an override; then saved, and proposed."""
    monkeypatch.setattr(run_log, "_KEPT_SECONDS", 0.0)
    site.repo.policies(PROMOTION)
    revision = site.repo.change("staging", "sync", SYNC_TIMEOUT=4321)
    for env in ("dev", "staging", "prod"):
        site.daemon.serves(env, revision)
    site.refresh()
    browser = site.sign_in()
    refused = browser.api("POST", "/changes", BODY)
    assert refused.status_code == 403, refused.text
    assert "staging does not run this value" in refused.text

    def told(*entries: dict[str, Any]) -> None:
        site.daemon.logs["staging"] = list(entries)

    ran = entry(30, revision=revision)
    told(ran, entry(2, "override-set", keys=["SYNC_TIMEOUT"]))
    assert browser.api("POST", "/changes", BODY).status_code == 403
    told(
        ran,
        entry(29, "override-set", keys=["SYNC_TIMEOUT"]),
        entry(25, "override-ended", keys=["SYNC_TIMEOUT"]),
    )
    proposed = browser.api("POST", "/changes", BODY | {"mode": "propose"})
    assert proposed.status_code == 202, proposed.text
    assert browser.api("GET", f"/changes/{proposed.json()['id']}").json()["state"] == "ready"
    site.daemon.away = True
    site.refresh()
    assert browser.api("POST", "/plans", BODY).json()["refused"]
