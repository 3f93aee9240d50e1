"""What a process serves now, and the one way to change it: check, compose, swap, tell.

A new snapshot is offered. Checks and bound models may refuse it; then nothing changes. Otherwise one assignment
makes it the one that is read, bound models follow, and subscribers are told.
"""

import gc
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from pydantic import BaseModel

from kemudi.client.binding import Bindings
from kemudi.client.errors import BindingRefusedError, SecretUnreadableError
from kemudi.client.prepare import Preparations, Refusal
from kemudi.client.restart import Pins
from kemudi.client.secrets import SecretReader
from kemudi.client.snapshot import EMPTY_INDEX, Entry, Sealed, Snapshot, changed_categories, index_of
from kemudi.client.subscription import Subscriptions
from kemudi.client.view import VIEW, Cache, Readable, Served, cache_of, plaintexts
from kemudi.schema.masking import masked
from kemudi.schema.secret import Secret

FREEZE_ABOVE_SETTINGS: Final = 5_000
"""A swap that brings more settings than this ends with `gc.freeze()`, so that the collector need not walk them."""

ModelT = TypeVar("ModelT", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class _State:
    """All that decides what is served; replaced as one.

    Attributes:
        accepted: The snapshot accepted last, without pins.
        pinned: The same as served, restart settings pinned.
        pins: What is pinned.
        overrides: Test overrides in force, oldest first.
    """

    accepted: Served
    pinned: Served
    pins: Pins
    overrides: tuple[Mapping[str, Any], ...] = ()


class Serving:
    """The state of one client. Any thread may offer, override and bind; readers take no lock.

    Args:
        snapshot: What is served until something is offered.
        secrets: Opens what is sealed.
        threaded: Whether subscribers are called in a thread of their own.
    """

    def __init__(self, snapshot: Snapshot, secrets: SecretReader, *, threaded: bool) -> None:
        self._secrets = secrets
        self._seen: set[str] = set()
        self._lock = threading.RLock()
        self._started = False
        self.preparations = Preparations()
        self.subscriptions = Subscriptions(threaded=threaded)
        self.bindings = Bindings()
        self._state = self._first(snapshot)
        self.cache: Cache = cache_of(self._state.pinned)
        self._readers: tuple[Readable, ...] = ()

    @property
    def served(self) -> Served:
        """What is served now."""
        served: Served = self.cache[VIEW]
        return served

    @property
    def snapshot(self) -> Snapshot:
        """The snapshot accepted last."""
        return self._state.accepted.snapshot

    @property
    def restart_pending(self) -> tuple[str, ...]:
        """The settings that take another value when the process restarts."""
        return self._state.pins.pending

    @property
    def keys_read(self) -> frozenset[str]:
        """The settings that the process has read so far."""
        return frozenset(self._seen.copy())

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The keys at rest that the process holds."""
        return self._secrets.key_ids

    def refresh_keys(self) -> bool:
        """Read a replaced keyset file again. True when there are other keysets now."""
        return self._secrets.refresh()

    def start(self) -> None:
        """From now on what is served counts as what the process started with."""
        with self._lock:
            self._started = True

    def offer(self, snapshot: Snapshot) -> Refusal | None:
        """Serve a snapshot, unless a check or a bound model refuses it; then nothing changes. One caller at a time.

        Before `start` the snapshot is what the process starts with, unless a newer one was offered already.
        """
        with self._lock:
            if not self._started:
                if _is_older(snapshot, self.snapshot):
                    return None
                self._state = self._first(snapshot)
                self._show(self._state.pinned)
                _freeze_if_big(None, snapshot)
                return None
        accepted = self._state.accepted
        index = index_of(accepted.snapshot, accepted.index, snapshot)
        candidate = Served(snapshot, index, self._secrets, overlay={}, seen=set())
        refusal = self.preparations.refusal(accepted, candidate)
        if refusal is None:
            refusal = self._swap(candidate)
        if refusal is None:
            self.subscriptions.flush()
            _freeze_if_big(accepted.snapshot, snapshot)
        return refusal

    def override(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """Serve these values above everything, until `lift`. Returns the handle for it.

        Raises BindingRefusedError when a bound model refuses them.
        """
        handle = dict(values)
        with self._lock:
            self._recompose(replace(self._state, overrides=(*self._state.overrides, handle)))
        self.subscriptions.flush()
        return handle

    def lift(self, handle: Mapping[str, Any]) -> None:
        """End an override, in any order."""
        with self._lock:
            kept = tuple(one for one in self._state.overrides if one is not handle)
            self._recompose(replace(self._state, overrides=kept))
        self.subscriptions.flush()

    def bind(self, model: type[ModelT]) -> ModelT:
        """A live model. Raises BindingRefusedError, SecretUnreadableError."""
        with self._lock:
            return self.bindings.add(model, self.served)

    def after_fork(self) -> None:
        """In the child: locks may be held by nobody, and a swap may have stopped half-way."""
        self._lock = threading.RLock()
        self.preparations.after_fork()
        self.subscriptions.after_fork()
        old, new = self.served, self._composed(self._state)
        fresh = self.bindings.refitted(new)
        self._show(new)
        for binding, instance in fresh:
            binding.adopt(instance)
        self.subscriptions.announce(old, new)

    def attach(self, reader: Readable) -> None:
        """Let a reader follow each swap."""
        with self._lock:
            self._readers = (*self._readers, reader)
            reader._show(self.cache)  # noqa: SLF001 - nobody else may

    def _show(self, served: Served) -> None:
        self.cache = cache_of(served)
        for reader in self._readers:
            reader._show(self.cache)  # noqa: SLF001 - nobody else may

    def _first(self, snapshot: Snapshot) -> _State:
        index = index_of(None, EMPTY_INDEX, snapshot)
        accepted = Served(snapshot, index, self._secrets, overlay={}, seen=set())
        pins = Pins().advanced(None, accepted)
        pinned = Served(snapshot, index, self._secrets, overlay=pins.overlay, seen=self._seen)
        return _State(accepted, pinned, pins)

    def _swap(self, candidate: Served) -> Refusal | None:
        with self._lock:
            state = self._state
            pins = state.pins.advanced(state.pinned, candidate)
            pinned = Served(
                candidate.snapshot, candidate.index, self._secrets, overlay=pins.overlay, seen=self._seen
            )
            try:
                # A model must fit what a restart would bring, too: better refused now than at the next start.
                self.bindings.fitted(state.accepted, candidate)
                self._recompose(_State(candidate, pinned, pins, state.overrides))
            except (BindingRefusedError, SecretUnreadableError) as error:
                secrets = [*plaintexts(state.accepted), *plaintexts(candidate)]
                return Refusal("binding", masked(str(error), secrets))
        return None

    def _recompose(self, state: _State) -> None:
        """Serve a state. The caller holds the lock. Raises before anything has changed."""
        old, new = self.served, self._composed(state)
        fresh = self.bindings.fitted(old, new)
        self._state = state
        self._show(new)
        for binding, instance in fresh:
            binding.adopt(instance)
        self.subscriptions.announce(old, new)

    def _composed(self, state: _State) -> Served:
        if not state.overrides:
            return state.pinned
        merged = {key: value for override in state.overrides for key, value in override.items()}
        overlay = dict(state.pinned.overlay)
        for key, value in merged.items():
            overlay[key] = _overridden(state.pinned.entry(key), value)
        snapshot, index = state.pinned.snapshot, state.pinned.index
        return Served(snapshot, index, self._secrets, overlay=overlay, seen=self._seen)


def _overridden(entry: Entry | None, value: Any) -> Entry:
    """An override is set like by a layer, and masked where the setting is a secret."""
    is_secret = entry is not None and type(entry.value) in (Sealed, Secret)
    if is_secret and not isinstance(value, Secret):
        value = Secret(value)
    return Entry("" if entry is None else entry.category, value, True)


def _is_older(snapshot: Snapshot, other: Snapshot) -> bool:
    if other.generation is None:
        return False
    return snapshot.generation is None or snapshot.generation < other.generation


def _freeze_if_big(old: Snapshot | None, new: Snapshot) -> None:
    changed = sum(len(category) for _, category in changed_categories(old, new) if category is not None)
    if changed > FREEZE_ABOVE_SETTINGS:
        gc.freeze()
