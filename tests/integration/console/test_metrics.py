"""What the console counts: for whoever may ask, with bounded labels, and without a name of a setting."""

import re
from typing import Any

import pytest

from kemudi.console.access import accounts
from kemudi.schema.manifest import RoleGrant

SECRET = "kemudi-canary-7f3a9d"


def test_requests_and_states_are_counted_under_bounded_labels(site: Any) -> None:
    """Routes by their pattern, what is unknown as `other`; gauges of git, daemon, streams and settings by state."""
    browser = site.sign_in()
    for path in ("/environments/dev/settings/SYNC_TIMEOUT", "/environments/dev/settings/NEO4J_PASSWORD"):
        assert browser.api("GET", path).status_code == 200
    for number in range(3):
        assert browser.get(f"/nowhere/{number}").status_code == 404
    answer = site.anonymous().get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    lines = set(answer.text.splitlines())
    route = "/api/v1/environments/{env}/settings/{key}"
    assert f'kemudi_console_requests_total{{route="{route}",status="200"}} 2.0' in lines
    assert 'kemudi_console_requests_total{route="other",status="404"} 3.0' in lines
    assert f'kemudi_console_request_seconds_count{{route="{route}"}} 2.0' in lines
    assert {"kemudi_console_git_readable 1.0", "kemudi_console_daemon_reachable 1.0"} <= lines
    assert 'kemudi_console_settings{env="dev",state="live"} 20.0' in lines
    assert not re.search("SYNC_TIMEOUT|NEO4J_PASSWORD|nowhere", answer.text)
    assert SECRET not in answer.text


def test_with_the_daemon_away_the_metrics_say_so(site: Any) -> None:
    """The gauge falls to 0, and the states of the settings are unknown."""
    site.daemon.away = True
    site.refresh()
    lines = site.anonymous().get("/metrics").text.splitlines()
    assert "kemudi_console_daemon_reachable 0.0" in lines
    assert 'kemudi_console_settings{env="dev",state="unknown"} 20.0' in lines


@pytest.mark.parametrize("told", [{"loopback": False}, {"public_url": "https://console.example.org"}])
def test_beyond_this_machine_the_metrics_want_a_token(start: Any, told: dict[str, Any]) -> None:
    """On another address, or behind a proxy: 401 for somebody unknown, the metrics for a token of any role."""
    site = start(**told)
    assert site.anonymous().get("/metrics").status_code == 401
    token = accounts.add_token(site.parts.settings.state, "scrape", RoleGrant("", "viewer"), days=1)
    answer = site.anonymous().get("/metrics", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200
    assert "kemudi_console_streams 0.0" in answer.text
