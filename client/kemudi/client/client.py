"""The client: typed settings in memory, kept current behind the reader's back."""

import logging
import weakref
from typing import Final, Protocol, Self, TypeVar

from pydantic import BaseModel

from kemudi.client.diff import selected
from kemudi.client.health import Health
from kemudi.client.pin import View
from kemudi.client.prepare import TIMEOUT_SECONDS, Check, Preparation
from kemudi.client.serving import Serving
from kemudi.client.stream import ChangeStream
from kemudi.client.subscription import Callback, Subscription
from kemudi.client.view import Readable

_log: Final = logging.getLogger("kemudi.client")

ModelT = TypeVar("ModelT", bound=BaseModel)


class Keeper(Protocol):
    """What keeps a client current; `kemudi.client.refresh.Refresher` is one."""

    def health(self) -> Health:
        """The present state."""

    def close(self) -> None:
        """End."""


class Client(Readable):
    """The settings of one environment, read from memory. Made by `kemudi.client.connect`.

    Any thread may use it; after a fork the child's copy goes on by itself. Reads work on after `close`.
    """

    __slots__ = ("__weakref__", "_keeper", "_serving", "_streams")

    def __init__(self, serving: Serving, keeper: Keeper | None) -> None:
        super().__init__(serving.cache)
        serving.attach(self)
        self._serving = serving
        self._keeper = keeper
        self._streams: weakref.WeakSet[ChangeStream] = weakref.WeakSet()

    def pin(self) -> View:
        """The settings of this moment, for a whole unit of work: `with config.pin() as view: view["SYNC_TIMEOUT"]`."""
        return View(self._cache)

    def bind(self, model: type[ModelT]) -> ModelT:
        """A live, read-only instance of a pydantic model: `sync.SYNC_BATCH_SIZE` is always what is served.

        Each field takes the setting of its name or alias; one without a setting keeps the model's default. A later
        snapshot that the model does not accept is refused as a whole, as by a check of `prepare`. Two attributes read
        one after another may come from two snapshots; `pin` is for what must not. A field that holds a secret is
        declared as `Secret[…]`, `SecretStr` or `SecretBytes`.

        Raises:
            BindingRefusedError: The settings do not fit the model.
            SecretUnreadableError: A field is a secret, and this process lacks its keyset.
        """
        return self._serving.bind(model)

    def subscribe(self, pattern: str, callback: Callback) -> Subscription:
        """Call back with a `Change` for each changed setting whose name matches the glob, from now on.

        Changes come in the order of snapshots, within one in order of name, to the callbacks in the order in which
        they subscribed. They run in a thread of the client's own; an exception is logged. When a callback runs,
        `config[key]` may be newer than `change.new`.
        """
        return self._serving.subscriptions.add(pattern, callback)

    def changes(self, pattern: str) -> ChangeStream:
        """The same as an asynchronous iterator: `async for change in config.changes("SYNC_*")`.

        Call it where an event loop runs. Raises RuntimeError elsewhere.
        """
        stream = ChangeStream(lambda receive: self.subscribe(pattern, receive))
        self._streams.add(stream)
        return stream

    def prepare(self, selector: str, check: Check, *, timeout: float = TIMEOUT_SECONDS) -> Preparation:
        """Ask `check` before a snapshot is served that changes the selected settings.

        It is called in a thread with a mapping of the selected settings as they would be: those of a category, or
        those whose names match a glob. It refuses by raising or by returning False, or by taking longer than
        `timeout` seconds, 20 at most. Then this process keeps serving the old snapshot as a whole, its generation
        included, and reports the reason, secrets masked; the check is asked again at each newer snapshot and every
        30 s. Settings that require a restart are shown with the value that a restart would bring. What the process
        starts with is not asked about. Raises UsageError for a time limit out of range.
        """
        if self.revision is not None and not selected(selector, self._served):
            _log.warning("prepare(%r) selects no category and no setting of the present snapshot", selector)
        return self._serving.preparations.add(selector, check, timeout)

    def health(self) -> Health:
        """Where the settings come from, how old they are, what was refused."""
        if self._keeper is not None:
            return self._keeper.health()
        return Health(
            connected=True,
            stale_seconds=0.0,
            source=self._serving.snapshot.source,
            revision=self.revision,
            generation=self.generation,
            refused={},
            refusal="",
            restart_pending=self._serving.restart_pending,
            problem="",
        )

    @property
    def serving(self) -> Serving:
        """The state behind this client, for the testing kit."""
        return self._serving

    def close(self) -> None:
        """End the threads and withdraw the acknowledgement. What was read last can still be read. May be repeated."""
        if self._keeper is not None:
            self._keeper.close()
        self._serving.subscriptions.close()
        for stream in list(self._streams):
            stream.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<kemudi client of {self._serving.snapshot.env!r} at {self.revision}, generation {self.generation}>"
