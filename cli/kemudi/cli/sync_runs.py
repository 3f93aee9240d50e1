"""Run a sync here, or have the process that owns the graph run it, with a progress bar on a terminal."""

import time
from collections.abc import Mapping
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from kemudi.cli.up.network import fetch
from kemudi.schema.errors import KemudiError, UnavailableError

_ENDED: Final = ("done", "stopped", "failed")
_POLL_SECONDS: Final = 0.2


def run_here(registry: str, console: Console) -> dict[str, Any]:
    """Sync from `registry` into the Neo4j of the settings, in this process. Returns the last status."""
    from kemudi.graph.runtime import run_sync_once

    with _progress(console) as progress:
        task = progress.add_task("sync", total=None, rate="")
        return run_sync_once(registry, lambda status: _show(progress, task, status))


def run_there(graph_url: str, console: Console) -> dict[str, Any]:
    """Ask the graph service to sync and follow it to its end. Returns the last status."""
    code, answer = fetch(f"{graph_url}/sync/run", method="POST")
    if code == 0:
        raise _away(graph_url)
    if code >= 400:  # HTTP
        raise KemudiError(str((answer or {}).get("detail", f"the graph service answered {code}")))
    started = (answer or {}).get("started_at")
    with _progress(console) as progress:
        task = progress.add_task("sync", total=None, rate="")
        while True:
            status = status_there(graph_url)
            _show(progress, task, status)
            if status["state"] in _ENDED and (started is None or status["started_at"] >= started):
                return status
            time.sleep(_POLL_SECONDS)


def status_there(graph_url: str) -> dict[str, Any]:
    """What the graph service says of its sync. Raises UnavailableError."""
    code, answer = fetch(f"{graph_url}/sync/status")
    if code != 200 or not isinstance(answer, dict):  # HTTP
        raise _away(graph_url)
    return answer


def _away(graph_url: str) -> UnavailableError:
    return UnavailableError(
        f"no graph service answers at {graph_url}", hint="Start one with `kemudi graph serve` or `kemudi up`."
    )


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )


def _show(progress: Progress, task: Any, status: Mapping[str, Any]) -> None:  # rich's TaskID
    rate = f"{status['rate']:.0f} rows/s" if status.get("rate") else ""
    progress.update(
        task,
        total=status["rows_total"],
        completed=status["rows_done"],
        description=status["state"],
        rate=rate,
    )
