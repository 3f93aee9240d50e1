"""What the daemon says: its answers as they came, and whether it answers at all."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import httpx

from kemudi.repo.evidence import LOG_ENTRIES, Served, served
from kemudi.schema.errors import ConflictError, KemudiError, RefusedError, UnavailableError, UsageError
from kemudi.schema.sentences import sentence

_TIMEOUT_SECONDS: Final = 5.0
_BY_STATUS: Final[Mapping[int, type[KemudiError]]] = {
    401: RefusedError,
    403: RefusedError,
    409: ConflictError,
    412: ConflictError,
    503: UnavailableError,
}


@dataclass(frozen=True, slots=True)
class Observed:
    """The daemon at one look.

    Attributes:
        reachable: Whether it answered.
        environments: Its `/status` by environment, in the pinned form.
    """

    reachable: bool = False
    environments: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def of(self, env: str) -> Mapping[str, Any] | None:
        """What it says of one environment; None when nothing is known."""
        return self.environments.get(env)


class DaemonClient:
    """The daemon over HTTP. Safe to use from several threads."""

    def __init__(self, url: str, token_file: Path | None = None) -> None:
        headers = {"Accept": "application/json"}
        if token_file is not None:
            headers["Authorization"] = f"Bearer {token_file.read_text(encoding='utf-8').strip()}"
        self._http = httpx.Client(base_url=url, headers=headers, timeout=_TIMEOUT_SECONDS, trust_env=False)

    def look(self) -> Observed:
        """Its status now. Never raises: a daemon that is away is something to show."""
        try:
            status = self.ask("GET", "/status")
            listed = {each["env"]: each for each in status["environments"]}
        except (KemudiError, KeyError, TypeError):
            return Observed()
        return Observed(reachable=True, environments=listed)

    def served(self, env: str) -> Served:
        """What an environment was given; nothing when the daemon does not say. Never raises."""
        try:
            log = self.ask("GET", f"/log?{urlencode({'env': env, 'limit': LOG_ENTRIES})}")
            standing = self.ask("GET", f"/overrides?{urlencode({'env': env})}")  # after: none is in neither
            entries = [entry for each in log["environments"] for entry in each["entries"]]
            keys = [one["key"] for each in standing["environments"] for one in each["overrides"]]
        except (KemudiError, KeyError, TypeError):
            return Served()
        return served(entries, keys)

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:  # JSON
        """One request. Raises UnavailableError when nobody answers, else the error whose meaning fits."""
        try:
            answer = self._http.request(method, path, json=(body or {}) if method != "GET" else None)
            document = answer.json() if answer.content else None
        except (httpx.HTTPError, ValueError) as error:
            raise UnavailableError(
                sentence("the daemon does not answer"),
                hint=sentence("What is saved goes live when it is back."),
            ) from error
        if answer.is_success:
            return document
        detail = document.get("detail") if isinstance(document, dict) else None
        kind = _BY_STATUS.get(answer.status_code, UsageError)
        raise kind(str(detail or f"the daemon answered {answer.status_code}"))

    def close(self) -> None:
        """End its connections."""
        self._http.close()
