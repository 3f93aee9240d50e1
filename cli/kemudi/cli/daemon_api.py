"""The daemon over HTTP, as the commands ask it."""

import json
import os
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Any

from kemudi.schema.errors import ConflictError, KemudiError, RefusedError, UnavailableError, UsageError

_BY_STATUS: dict[int, type[KemudiError]] = {
    400: UsageError,
    401: RefusedError,
    403: RefusedError,
    404: UsageError,
    409: ConflictError,
    412: ConflictError,
    422: UsageError,
    503: UnavailableError,
}


@dataclass(frozen=True, slots=True)
class DaemonApi:
    """One daemon. `url` is its base; `timeout` is in seconds and bounds each answer.

    A daemon that listens beyond loopback wants a bearer token: `KEMUDI_DAEMON_TOKEN` names the 0600 file that holds it.
    """

    url: str
    timeout: float = 10.0

    def get(self, path: str, *, wait: float = 0.0, **query: str | None) -> Any:  # JSON
        """GET a path. `wait` seconds are added to the time limit for a long poll."""
        asked = {name: value for name, value in query.items() if value is not None}
        suffix = f"?{urllib.parse.urlencode(asked)}" if asked else ""
        return self._call("GET", path + suffix, None, wait)

    def send(self, method: str, path: str, body: dict[str, object] | None = None) -> Any:  # JSON
        """POST, PUT or DELETE with a JSON body."""
        return self._call(method, path, json.dumps(body or {}).encode(), 0.0)

    def _call(self, method: str, path: str, body: bytes | None, wait: float) -> Any:
        if not self.url.startswith(("http://", "https://")):
            raise UsageError(f"the daemon's address must start with http:// or https://, not {self.url!r}")
        headers = {"Content-Type": "application/json", "Accept": "application/json"} | _authorization()
        request = urllib.request.Request(  # noqa: S310  # the scheme is checked above
            self.url.rstrip("/") + path, data=body, headers=headers, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=self.timeout + wait) as answer:  # noqa: S310
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            with error:
                raise _explained(error.code, error.read()) from error
        except (OSError, ValueError) as error:
            raise UnavailableError(
                f"no daemon answers at {self.url}",
                hint="Start one with `kemudi daemon` or `kemudi up`, or name it with --daemon or KEMUDI_DAEMON_URL.",
            ) from error


def _authorization() -> dict[str, str]:
    path = os.environ.get("KEMUDI_DAEMON_TOKEN")
    if not path:
        return {}
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123  # one read
            return {"Authorization": f"Bearer {file.read().strip()}"}
    except OSError as error:
        raise UsageError(
            f"KEMUDI_DAEMON_TOKEN names {path}, which cannot be read: {error.strerror}"
        ) from error


def _explained(status: int, body: bytes) -> KemudiError:
    """The problem that the daemon describes, as the error whose exit code fits."""
    try:
        problem = json.loads(body)
        message = str(problem.get("detail") or problem.get("title") or problem)
    except (ValueError, AttributeError):
        message = body.decode(errors="replace")[:200]
    return _BY_STATUS.get(status, KemudiError)(message or f"the daemon answered {status}")
