"""Settings from the environment, and what they refuse."""

from pathlib import Path

import pytest

from kemudi.daemon.settings import DaemonSettings, default_state_dir, is_remote, settings_from_environ
from kemudi.schema.errors import UsageError


def test_every_variable_has_its_place() -> None:
    """Names of the pinned variables, and of the daemon's own."""
    told = settings_from_environ(
        {
            "KEMUDI_REPO": "git@example.org:team/config.git",
            "KEMUDI_BRANCH": "release",
            "KEMUDI_ENV": "staging, prod",
            "KEMUDI_MODE": "commit",
            "KEMUDI_REDIS_URL": "rediss://redis:6380/1",
            "KEMUDI_IDENTITY": "/keys/identity",
            "KEMUDI_SIGNING_KEY": "/keys/signing",
            "KEMUDI_KEYSET": "/keys/keyset",
            "KEMUDI_STATE_DIR": "/state",
            "KEMUDI_DAEMON_HOST": "0.0.0.0",
            "KEMUDI_DAEMON_PORT": "9000",
            "KEMUDI_DAEMON_TOKEN": "/keys/token",
            "KEMUDI_POLL_SECONDS": "1.5",
            "KEMUDI_DRIFT_SECONDS": "5",
            "KEMUDI_LEASE_TTL": "9",
            "KEMUDI_WEBHOOK_SECRET": "/keys/hook",
        }
    )
    assert told.remote_url == told.repo == "git@example.org:team/config.git"
    assert told.environments == ("staging", "prod")
    assert (told.branch, told.mode) == ("release", "commit")
    assert (told.host, told.port, told.token_file) == ("0.0.0.0", 9000, Path("/keys/token"))
    assert (told.poll_seconds, told.drift_seconds, told.lease_ttl) == (1.5, 5.0, 9.0)
    assert told.state_dir == Path("/state")


def test_defaults_serve_this_folder_on_loopback() -> None:
    """Nothing set: every environment, the branch that HEAD names."""
    told = settings_from_environ({"HOME": "/home/u"})
    assert told.repo == Path()
    assert told.remote_url is None
    assert told.environments == ()
    assert told.branch is None
    assert told.listens_on_loopback
    assert told.state_dir == Path("/home/u/.local/state/kemudi/daemon")


def test_the_state_folder_is_the_service_managers_if_it_names_one() -> None:
    """systemd's StateDirectory=, of which the first counts."""
    assert default_state_dir({"STATE_DIRECTORY": "/var/lib/kemudi:/var/lib/other"}) == Path("/var/lib/kemudi")
    assert default_state_dir({"XDG_STATE_HOME": "/s"}) == Path("/s/kemudi/daemon")


@pytest.mark.parametrize(
    "variables",
    [
        {"KEMUDI_POLL_SECONDS": "soon"},
        {"KEMUDI_DAEMON_PORT": "http"},
        {"KEMUDI_MODE": "both"},
        {"KEMUDI_DRIFT_SECONDS": "0"},
        {"KEMUDI_LEASE_TTL": "-1"},
        {"KEMUDI_DAEMON_HOST": "0.0.0.0"},
    ],
)
def test_nonsense_is_refused_with_a_sentence(variables: dict[str, str]) -> None:
    """Before anything starts."""
    with pytest.raises(UsageError):
        settings_from_environ(variables)


@pytest.mark.parametrize(
    ("text", "remote"),
    [
        ("https://example.org/c.git", True),
        ("ssh://git@example.org/c.git", True),
        ("file:///srv/c.git", True),
        ("git@example.org:c.git", True),
        ("/srv/config", False),
        (".", False),
        ("config@home/repo", False),
    ],
)
def test_an_address_is_told_from_a_path(text: str, remote: bool) -> None:
    """By its scheme, or by user and host."""
    assert is_remote(text) is remote


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("h", False),
    ],
)
def test_loopback_is_known_by_address(host: str, loopback: bool, tmp_path: Path) -> None:
    """A name that could be anything is not loopback."""
    told = DaemonSettings(repo=tmp_path, state_dir=tmp_path, host=host, token_file=tmp_path / "t")
    assert told.listens_on_loopback is loopback
