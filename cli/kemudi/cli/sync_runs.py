"""Run or verify here, or have the process that owns the graph do it, with progress on a terminal."""

import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from kemudi.cli.up.network import fetch
from kemudi.schema.documents import read_document
from kemudi.schema.errors import FindingsError, KemudiError, UnavailableError
from kemudi.schema.hardening import harden

_ENDED: Final = ("done", "stopped", "failed")
_POLL_SECONDS: Final = 0.2
_VERIFY_SECONDS: Final = 3600.0


def run_here(registry: str, mapping: Path | None, dask: str | None, console: Console) -> dict[str, Any]:
    """Sync from `registry` into the Neo4j of the settings, in this process. Returns the last status.

    With `dask`, the address of a scheduler, its workers copy the rows.
    """
    from kemudi.graph.runtime import run_sync_once

    names = names_of(mapping)
    harden()
    with _progress(console) as progress:
        task = progress.add_task("sync", total=None, rate="")
        return run_sync_once(registry, lambda status: _show(progress, task, status), names=names, dask=dask)


def verify_here(registry: str, mapping: Path | None, console: Console) -> dict[str, Any]:
    """Compare `registry` with the Neo4j of the settings, in this process."""
    from kemudi.graph.runtime import verify_once

    names = names_of(mapping)
    harden()
    with _comparing(console):
        return verify_once(registry, names=names)


def verify_there(graph_url: str, console: Console) -> dict[str, Any]:
    """Ask the graph service to compare. Raises UnavailableError, KemudiError."""
    with _comparing(console):
        code, answer = fetch(f"{graph_url}/sync/verify", timeout=_VERIFY_SECONDS)
    if code == 0:
        raise _away(graph_url)
    if code != 200:  # HTTP
        raise _refused(code, answer)
    return dict(answer)


def difference_lines(answer: Mapping[str, Any]) -> Iterator[str]:
    """What a comparison has found, in words."""
    counts = f"{answer['pairs_in_registry']} pairs in the registry, {answer['edges_in_graph']} in the graph"
    yield f"equal: {counts}" if answer["equal"] else f"{answer['differences']} differences: {counts}"
    for each in answer["named"]:
        yield f"  {each['kind']:<8} {' '.join(value for name, value in each.items() if name != 'kind')}"
    hidden = answer["differences"] - len(answer["named"])
    if hidden > 0:
        yield f"  and {hidden} more"
    if answer["orphan_rows"]:
        yield f"{answer['orphan_rows']} rows are not compared: the registry lacks their student or class"


def names_of(mapping: Path | None) -> dict[str, Any] | None:
    """The names of tables and columns that a YAML file gives. Raises FindingsError, UsageError; None without a file."""
    if mapping is None:
        return None
    document, findings = read_document(mapping.read_bytes(), str(mapping))
    if document is None or findings:
        raise FindingsError(f"{mapping} is no mapping", findings)
    return document.values


def run_there(graph_url: str, console: Console) -> dict[str, Any]:
    """Ask the graph service to sync and follow it to its end. Returns the last status."""
    code, answer = fetch(f"{graph_url}/sync/run", method="POST")
    if code == 0:
        raise _away(graph_url)
    if code >= 400:  # HTTP
        raise _refused(code, answer)
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


def _refused(code: int, answer: Any) -> KemudiError:  # whatever JSON came
    detail = answer.get("detail") if isinstance(answer, dict) else None
    return KemudiError(str(detail or f"the graph service answered {code}"))


def _away(graph_url: str) -> UnavailableError:
    return UnavailableError(
        f"no graph service answers at {graph_url}", hint="Start one with `kemudi graph serve` or `kemudi up`."
    )


def _comparing(console: Console) -> AbstractContextManager[object]:
    return console.status("comparing") if console.is_terminal else nullcontext()


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
