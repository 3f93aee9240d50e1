"""Where a client connects: arguments, variables, and errors that name what to set."""

from pathlib import Path

import pytest

from kemudi.client import connect
from kemudi.client.settings import ClientSettings
from kemudi.schema.errors import UsageError
from kemudi.store.errors import KeyFileRefusedError
from kemudi.store.sealing import KeysetBundle
from kemudi.store.signing import SigningKey

VARIABLES = {
    "KEMUDI_ENV": "prod",
    "KEMUDI_REDIS_URL": "redis://there",
    "KEMUDI_SERVICE": "billing",
    "KEMUDI_KEYSET": "/run/keyset.json",
    "KEMUDI_VERIFY_KEY": "/etc/verify.pem",
    "KEMUDI_STATE_DIR": "/var/lib/app",
}


def test_variables_complete_the_arguments():
    """Every argument that is left out comes from its variable."""
    found = ClientSettings.resolved(VARIABLES)
    assert found == ClientSettings(
        env="prod",
        redis_url="redis://there",
        service="billing",
        categories=None,
        keyset=Path("/run/keyset.json"),
        verify_key=Path("/etc/verify.pem"),
        state_dir=Path("/var/lib/app/client"),
        timeout=5.0,
    )


def test_arguments_win_over_variables():
    """A given argument counts, also objects in the place of files."""
    keys, keysets = SigningKey.generate().verify_keys(), KeysetBundle.generate(["sync"])
    found = ClientSettings.resolved(
        VARIABLES,
        env="dev",
        redis_url="redis://here",
        service="me",
        categories=["sync", "neo4j", "sync"],
        keyset=keysets,
        verify_key=keys,
        state_dir="/elsewhere",
        timeout=0,
    )
    assert (found.env, found.redis_url, found.service) == ("dev", "redis://here", "me")
    assert found.categories == ("neo4j", "sync")
    assert (found.keyset, found.verify_key) == (keysets, keys)
    assert (found.state_dir, found.timeout) == (Path("/elsewhere/client"), 0.0)


@pytest.mark.parametrize("variable", ["KEMUDI_ENV", "KEMUDI_REDIS_URL", "KEMUDI_VERIFY_KEY"])
def test_what_is_missing_is_named(variable, monkeypatch):
    """A connection that is not set up is an error that names the variable, at connect and not later."""
    for name, value in VARIABLES.items():
        if name != variable:
            monkeypatch.setenv(name, value)
    monkeypatch.delenv("KEMUDI_KEYSET")
    with pytest.raises(UsageError, match=variable):
        connect()


@pytest.mark.parametrize("more", [{"categories": "sync"}, {"timeout": -1}, {"timeout": float("nan")}])
def test_malformed_arguments_are_refused(more):
    """One name where a collection belongs, or a time that is none, is an error."""
    with pytest.raises(UsageError):
        ClientSettings.resolved(VARIABLES, **more)


def test_a_key_file_that_cannot_be_used_is_an_error(tmp_path, monkeypatch):
    """A missing verify key or keyset file, or a malformed URL, is an error at connect."""
    verify = tmp_path / "verify.pem"
    SigningKey.generate().verify_keys().save(verify)
    with pytest.raises(KeyFileRefusedError, match="nowhere"):
        connect("dev", redis_url="redis://localhost:1", verify_key=tmp_path / "nowhere")
    with pytest.raises(KeyFileRefusedError, match="nowhere"):
        connect("dev", redis_url="redis://localhost:1", verify_key=verify, keyset=tmp_path / "nowhere")
    with pytest.raises(UsageError, match="unknown form"):
        connect("dev", redis_url="http://localhost:1", verify_key=verify)


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"STATE_DIRECTORY": "/var/lib/a:/var/lib/b", "HOME": "/home/me"}, "/var/lib/a/kemudi/client"),
        ({"XDG_STATE_HOME": "/state", "HOME": "/home/me"}, "/state/kemudi/client"),
        ({"HOME": "/home/me"}, "/home/me/.local/state/kemudi/client"),
        ({}, None),
    ],
)
def test_the_folder_of_the_disk_copy(environ, folder):
    """Without a folder told, it is that of the service manager or the user's own; without a home there is no copy."""
    rest = {name: VARIABLES[name] for name in VARIABLES if name != "KEMUDI_STATE_DIR"}
    assert ClientSettings.resolved({**rest, **environ}).state_dir == (
        None if folder is None else Path(folder)
    )
