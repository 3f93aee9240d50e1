"""A rotation of the keys at rest, in steps that can be stopped and taken up again: the keyset file is its memory.

add → every live reader knows the new keys → switch → what is served is sealed anew → every live reader runs it → retire

How far a category is, its keyset says: a newest key that does not seal was added; one that seals beside older ones was
switched to; one key alone is at rest. The daemon's file is written first when keys come and last when they go, so a
reader never lacks a key that the daemon seals with. Files of services beside it follow in each step.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from kemudi.schema.errors import ConflictError, UnavailableError, UsageError
from kemudi.schema.failpoints import failpoint
from kemudi.store.sealing import Keyset, KeysetBundle

Phase = Literal["rest", "added", "switched"]
Status = Callable[[], dict[str, Any]]

_LOOK_SECONDS: Final = 0.25


def phase_of(keyset: Keyset) -> Phase:
    """How far the rotation of one category is."""
    if len(keyset.key_ids) == 1:
        return "rest"
    return "switched" if keyset.key_ids[-1] == keyset.sealing_id else "added"


@dataclass(frozen=True, slots=True)
class KeysetFiles:
    """The daemon's keyset file, and those of services that are kept beside it.

    Attributes:
        daemon: Every category.
        services: Each a part of it.
    """

    daemon: Path
    services: tuple[Path, ...]

    @classmethod
    def found(cls, daemon: Path, more: Sequence[Path]) -> "KeysetFiles":
        """The file, `keyset-*.json` in its folder as `kemudi secret keygen` makes them, and others by name."""
        beside = sorted(path for path in daemon.parent.glob("keyset-*.json") if path != daemon)
        return cls(daemon, tuple(dict.fromkeys([*beside, *more])))

    def load(self) -> KeysetBundle:
        """The daemon's keysets. Raises KeyFileRefusedError."""
        return KeysetBundle.load(self.daemon)

    def save(self, bundle: KeysetBundle, *, retiring: bool) -> None:
        """Write every file that is not so yet. What is taken away goes from the readers first."""
        steps = (self._save_daemon, self._save_services)
        for step in reversed(steps) if retiring else steps:
            step(bundle)
            failpoint("rotation.half-saved")

    def _save_daemon(self, bundle: KeysetBundle) -> None:
        if not _same(self.load(), bundle):
            bundle.save(self.daemon)

    def _save_services(self, bundle: KeysetBundle) -> None:
        for path in self.services:
            held = KeysetBundle.load(path)
            part = bundle.subset(held.categories)
            if not _same(held, part):
                part.save(path)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One rotation at a time; the lock ends with its process. Raises ConflictError."""
        handle = os.open(self.daemon.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise ConflictError(f"another rotation of {self.daemon} is under way") from None
        finally:
            os.close(handle)


def _same(one: KeysetBundle, other: KeysetBundle) -> bool:
    return one.key_ids == other.key_ids and all(
        one.keyset(name).sealing_id == other.keyset(name).sealing_id for name in one.categories
    )


@dataclass(frozen=True, slots=True)
class Rotation:
    """One rotation.

    Attributes:
        files: The keyset files.
        status: What the daemon says, as `kemudi status --json`.
        categories: To rotate; empty means all.
        timeout_seconds: How long each wait may take.
        say: Told of each step, once.
    """

    files: KeysetFiles
    status: Status
    categories: tuple[str, ...]
    timeout_seconds: float
    say: Callable[[str], None]

    def run(self) -> tuple[str, ...]:
        """All steps that are left. Returns the names of the keys that seal now.

        Raises ConflictError when a wait takes too long: nothing is lost, the next run goes on from there.
        """
        with self.files.locked():
            names = self._chosen(self.files.load())
            self._add(names)
            self._switch(names)
            self._retire(names)
            bundle = self.files.load()
        return tuple(f"{name}:{bundle.keyset(name).sealing_id}" for name in names)

    def _chosen(self, bundle: KeysetBundle) -> tuple[str, ...]:
        unknown = sorted(set(self.categories) - set(bundle.categories))
        if unknown:
            raise UsageError(f"{self.files.daemon} has no keyset of {', '.join(unknown)}")
        under_way = tuple(name for name in bundle.categories if phase_of(bundle.keyset(name)) != "rest")
        if under_way:
            self.say(f"going on with the rotation of {', '.join(under_way)}")
        return under_way or self.categories or bundle.categories

    def _add(self, names: tuple[str, ...]) -> None:
        bundle = self.files.load()
        fresh = [name for name in names if phase_of(bundle.keyset(name)) == "rest"]
        # Of a rotation that was stopped all categories are as far as each other: a file is written in one step.
        if len(fresh) == len(names):
            for name in fresh:
                bundle = bundle.with_keyset(name, bundle.keyset(name).added())
            self.say(f"added a key to {', '.join(fresh)}")
        self.files.save(bundle, retiring=False)
        self._wait("knows the new keys", lambda environments: _lacking(environments, bundle, names))

    def _switch(self, names: tuple[str, ...]) -> None:
        bundle = self.files.load()
        due = [name for name in names if phase_of(bundle.keyset(name)) == "added"]
        for name in due:
            bundle = bundle.with_keyset(name, bundle.keyset(name).switched())
        if due:
            self.say("every live reader knows the new keys; sealing with them from now on")
        self.files.save(bundle, retiring=False)
        self._wait("runs what is sealed anew", lambda environments: _behind(environments, bundle, names))

    def _retire(self, names: tuple[str, ...]) -> None:
        bundle = self.files.load()
        for name in names:
            bundle = bundle.with_keyset(name, bundle.keyset(name).retired())
        self.say("every live reader runs what is sealed anew; retiring the old keys")
        self.files.save(bundle, retiring=True)

    def _wait(self, what: str, missing: Callable[[list[dict[str, Any]]], list[str]]) -> None:
        """Ask the daemon until nobody is missing."""
        ends = time.monotonic() + self.timeout_seconds
        told: list[str] = []
        while True:
            try:
                environments = self.status()["environments"]
                left = missing(environments) if environments else ["the daemon serves nothing yet"]
            except UnavailableError as error:
                left = [str(error)]
            if not left:
                return
            if left != told:
                self.say(f"waiting until everybody {what}: {'; '.join(left)}")
                told = left
            if time.monotonic() >= ends:
                raise ConflictError(
                    f"not everybody {what}: {'; '.join(left)}",
                    hint="Nothing is lost and everything still opens. Bring the keyset files to their readers, then "
                    "run the command again: it goes on from here.",
                )
            time.sleep(_LOOK_SECONDS)


def _lacking(environments: list[dict[str, Any]], bundle: KeysetBundle, names: Sequence[str]) -> list[str]:
    """The live readers of these categories that have not said that they hold every key of the file."""
    wanted = {name: {f"{name}:{key}" for key in bundle.keyset(name).key_ids} for name in names}
    late = []
    for each in environments:
        for client in each["clients"]:
            held = set(client["key_ids"])
            covered = {key.partition(":")[0] for key in held}
            if any(name in covered and not wanted[name] <= held for name in names):
                late.append(f"{each['env']}: {client['service']}/{client['instance']}")
    return late


def _behind(environments: list[dict[str, Any]], bundle: KeysetBundle, names: Sequence[str]) -> list[str]:
    """The environments that still serve an older key, and the readers that have not taken over what is new."""
    late = []
    for each in environments:
        old = [
            name
            for name in names
            if set(each["sealed_with"].get(name, ())) - {bundle.keyset(name).sealing_id}
        ]
        if old:
            late.append(f"{each['env']} serves {', '.join(old)} under an older key{_why(each)}")
        late += [
            f"{each['env']}: {client['service']}/{client['instance']}"
            for client in each["clients"]
            if client["state"] != "current" and client["key_ids"]
        ]
    return late


def _why(environment: dict[str, Any]) -> str:
    paused = environment["paused"]
    return " (paused)" if paused else ""
