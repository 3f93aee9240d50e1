"""File events as hints: they make the daemon look sooner, and nothing depends on them.

Watched are HEAD, the refs and the work tree. An event is a hint only when it can mean a finished change: a file
closed after writing, moved into place or deleted, or a new folder. What is lost (overflow, exhausted limits, network
file systems) is found by the poll.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileDeletedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers.api import BaseObserver, ObservedWatch
from watchdog.observers.inotify import InotifyFullEmitter, InotifyObserver
from watchdog.observers.inotify_c import InotifyConstants, Mask

from kemudi.daemon.trigger import Cause, Trigger
from kemudi.repo.paths import is_read

_REF_FILES: Final = frozenset({"HEAD", "packed-refs"})
_EVENTS: Final[list[type[FileSystemEvent]]] = [
    FileClosedEvent,
    FileMovedEvent,
    FileDeletedEvent,
    DirCreatedEvent,
    DirMovedEvent,
    DirDeletedEvent,
]
_FOLDERS: Final = (DirCreatedEvent, DirMovedEvent, DirDeletedEvent)


class _HintEmitter(InotifyFullEmitter):
    """Asks the kernel for arrivals only.

    The stock emitter pairs both halves of a move, and when it wakes between the two it sleeps half a second
    (`DelayedQueue.get`). Git and most editors save by a move, so the second half alone is asked for; a file that is
    moved away is found by the poll.
    """

    def get_event_mask_from_filter(self) -> Mask:
        """The mask of every watch."""
        kinds = InotifyConstants
        return Mask(
            kinds.IN_CLOSE_WRITE
            | kinds.IN_MOVED_TO
            | kinds.IN_CREATE  # of folders; that of a file says only that it is not written yet
            | kinds.IN_DELETE
            | kinds.IN_DELETE_SELF
        )


class _HintObserver(InotifyObserver):
    def __init__(self) -> None:
        super().__init__()
        self._emitter_class = _HintEmitter


@dataclass(frozen=True, slots=True)
class Watched:
    """The folders of one repository.

    Attributes:
        git_dir: Holds HEAD and the index; None for nothing to watch.
        common_dir: Holds the refs; the same, but for a linked work tree.
        tree: The config repo's folder in the work tree, None when only commits are served.
    """

    git_dir: Path
    common_dir: Path
    tree: Path | None


class _Handler(FileSystemEventHandler):
    def __init__(self, react: Callable[[FileSystemEvent, str], None]) -> None:
        self._react = react

    def dispatch(self, event: FileSystemEvent) -> None:
        """Hand over the path at which something arrived or went."""
        self._react(event, os.fsdecode(event.dest_path or event.src_path))


@dataclass
class Watcher:
    """Watches what can be watched. `ensure` is called on every poll and repairs the rest."""

    trigger: Trigger
    _observer: BaseObserver | None = None
    _watches: dict[str, tuple[ObservedWatch, tuple[int, int]]] = field(default_factory=dict)
    _problem: str = ""

    @property
    def problem(self) -> str:
        """Why changes are found by polling alone, "" when events arrive."""
        return self._problem

    def ensure(self, watched: Watched) -> None:
        """Watch every folder that there is now; watch anew what was deleted and made again."""
        try:
            if self._observer is None:
                self._observer = _HintObserver()
                self._observer.start()
            wanted = dict(self._wanted(watched))
            for path in [path for path in self._watches if path not in wanted]:
                self._forget(path)
            for path, (recursive, react) in wanted.items():
                self._watch(path, recursive, react)
        except OSError as error:
            # ENOSPC: max_user_watches; EMFILE: max_user_instances or open files.
            self._problem = f"no file events ({os.strerror(error.errno) if error.errno else error}); polling"
        else:
            self._problem = ""

    def close(self) -> None:
        """End every watch and its threads."""
        if self._observer is not None:
            self._observer.stop()
            if self._observer.is_alive():
                self._observer.join(2)
            self._observer = None
            self._watches.clear()

    def _wanted(
        self, watched: Watched
    ) -> list[tuple[str, tuple[bool, Callable[[FileSystemEvent, str], None]]]]:
        """Folders, whether their sub-folders too, and what an event there means."""
        wanted: list[tuple[str, tuple[bool, Callable[[FileSystemEvent, str], None]]]] = [
            (str(folder), (False, self._on_git)) for folder in {watched.git_dir, watched.common_dir}
        ]
        wanted.append((str(watched.common_dir / "refs" / "heads"), (True, self._on_ref)))
        tree = watched.tree
        if tree is not None:
            on_tree = _tree_reaction(self.trigger, str(tree))
            wanted.append((str(tree), (False, on_tree)))
            # One watch per top-level folder: a recursive one at the root would also watch every folder of .git.
            wanted += [(path, (True, on_tree)) for path in _folders(tree)]
        return wanted

    def _watch(self, path: str, recursive: bool, react: Callable[[FileSystemEvent, str], None]) -> None:
        identity = _identity(path)
        held = self._watches.get(path)
        if identity is None or (held is not None and held[1] == identity):
            if identity is None:
                self._forget(path)
            return
        self._forget(path)
        assert self._observer is not None  # noqa: S101  # ensure has made it
        watch = self._observer.schedule(_Handler(react), path, recursive=recursive, event_filter=_EVENTS)
        self._watches[path] = (watch, identity)

    def _forget(self, path: str) -> None:
        held = self._watches.pop(path, None)
        if held is not None and self._observer is not None:
            self._observer.unschedule(held[0])

    def _on_git(self, event: FileSystemEvent, path: str) -> None:
        name = os.path.basename(path)  # noqa: PTH119  # on every event
        if name in _REF_FILES:
            self.trigger.ring(Cause.WATCH)
        elif name == "index" or (name == "index.lock" and isinstance(event, FileDeletedEvent)):
            # Git has finished writing the work tree; what the events of single files started may go on now.
            self.trigger.ring(Cause.WATCH, rescan=True)

    def _on_ref(self, _event: FileSystemEvent, path: str) -> None:
        if not path.endswith(".lock"):
            self.trigger.ring(Cause.WATCH)


def _tree_reaction(trigger: Trigger, root: str) -> Callable[[FileSystemEvent, str], None]:
    prefix = root.rstrip("/") + "/"

    def react(event: FileSystemEvent, path: str) -> None:
        if not path.startswith(prefix) or path.startswith(prefix + ".git"):
            return
        relative = path[len(prefix) :]
        if isinstance(event, _FOLDERS):
            trigger.ring(Cause.WATCH, rescan=True)
        elif is_read(relative, "file"):
            trigger.ring(Cause.WATCH, path=relative)

    return react


def _folders(tree: Path) -> list[str]:
    try:
        with os.scandir(tree) as entries:
            return sorted(
                entry.path
                for entry in entries
                if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
            )
    except OSError:
        return []


def _identity(path: str) -> tuple[int, int] | None:
    try:
        state = os.stat(path)  # noqa: PTH116  # on every poll
    except OSError:
        return None
    return (state.st_dev, state.st_ino)
