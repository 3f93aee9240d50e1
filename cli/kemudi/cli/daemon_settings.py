"""The options of `kemudi daemon` and `kemudi apply` as the daemon's settings."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kemudi.cli.options import DEFAULT_REDIS_URL
from kemudi.daemon.settings import DaemonSettings, default_state_dir, is_remote


def daemon_settings(options: Mapping[str, Any]) -> DaemonSettings:
    """Build the settings; click has already merged flags, variables and the settings file. Raises UsageError."""
    given = {name: value for name, value in options.items() if value is not None}
    repo = given.pop("repo")
    given["pinned_verify_keys"] = given.pop("verify_key", None)
    return DaemonSettings(
        **given
        | {
            "repo": repo if is_remote(repo) else Path(repo),
            "environments": tuple(given.get("environments", ())),
            "redis_url": given.get("redis_url", DEFAULT_REDIS_URL),
            "state_dir": given.get("state_dir", default_state_dir(os.environ)),
        }
    )
