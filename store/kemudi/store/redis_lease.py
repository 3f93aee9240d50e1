"""Leadership in Redis: a key with expiry says who leads, a counter fences whoever led before."""

import secrets
from typing import Any, Final

import orjson
from redis.exceptions import ResponseError, WatchError

from kemudi.schema.failpoints import failpoint
from kemudi.store.connection import Connection, guarded
from kemudi.store.keys import Keys
from kemudi.store.values import Lease

ATTEMPTS: Final = 10
FAILPOINTS: Final = ("store.before-lease", "store.after-lease")
_MAX_EPOCH: Final = 2**53
_NO_EXPIRY: Final = -1


def lease_value(lease: Lease) -> bytes:
    """What the lease's key holds."""
    return orjson.dumps({"holder": lease.holder, "token": lease.token})


def epoch_of(stored: bytes | None) -> int:
    """The stored epoch; 0 for none, and for what a hand wrote."""
    text = (stored or b"").decode("ascii", "replace")
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(_MAX_EPOCH)) else 0
    return number if number < _MAX_EPOCH else 0


class RedisLeases:
    """Acquires, renews and releases the lease of one environment."""

    def __init__(self, connection: Connection, keys: Keys) -> None:
        self._connection = connection
        self._keys = keys
        self._last_epoch = 0
        self.place = connection.place

    @guarded
    def acquire(self, holder: str, ttl_seconds: float, after_epoch: int) -> Lease | None:
        """Take the lease if it is free, and raise the epoch with it.

        MULTI is unconditional, so without the WATCH the loser would raise the epoch as well, and so fence a
        healthy leader.
        """
        failpoint("store.before-lease")
        token = secrets.token_hex(16)
        for _ in range(ATTEMPTS):
            try:
                lease = self._try(holder, token, _milliseconds(ttl_seconds), after_epoch)
            except WatchError:
                continue
            if lease is not None:
                self._last_epoch = lease.epoch
                failpoint("store.after-lease")
            return lease
        return None

    def _try(self, holder: str, token: str, milliseconds: int, after_epoch: int) -> Lease | None:
        with self._connection.client.pipeline(transaction=True) as pipe:
            pipe.watch(self._keys.lease, self._keys.epoch)
            held, stored = pipe.execute_command("MGET", self._keys.lease, self._keys.epoch)
            mine = Lease(holder, token, epoch_of(stored))
            if held == lease_value(mine):
                return mine  # taken by an attempt whose answer got lost
            if not self._is_free(pipe, held):
                return None
            mine = Lease(holder, token, max(mine.epoch, self._last_epoch, after_epoch) + 1)
            pipe.multi()
            pipe.set(self._keys.lease, lease_value(mine), px=milliseconds)
            pipe.set(self._keys.epoch, mine.epoch)
            pipe.execute()
            return mine

    def _is_free(self, pipe: Any, held: bytes | None) -> bool:
        """No lease, or none that we made: ours expire. A hand's would block every leader for ever."""
        return held is None or pipe.pttl(self._keys.lease) == _NO_EXPIRY

    @guarded
    def renew(self, lease: Lease, ttl_seconds: float) -> bool:
        """Extend the lease if it is still this one."""
        for _ in range(ATTEMPTS):
            try:
                with self._connection.client.pipeline(transaction=True) as pipe:
                    if not self._watched(pipe, lease):
                        return False
                    pipe.pexpire(self._keys.lease, _milliseconds(ttl_seconds))
                    return bool(pipe.execute()[0])
            except WatchError:
                continue
        return False

    @guarded
    def release(self, lease: Lease) -> None:
        """Delete the lease if it is still this one."""
        for _ in range(ATTEMPTS):
            try:
                with self._connection.client.pipeline(transaction=True) as pipe:
                    if self._watched(pipe, lease):
                        pipe.delete(self._keys.lease)
                        pipe.execute()
                    return
            except WatchError:
                continue

    def _watched(self, pipe: Any, lease: Lease) -> bool:
        """Begin a transaction that happens only while the lease is this one."""
        pipe.watch(self._keys.lease, self._keys.epoch)
        held, stored = pipe.execute_command("MGET", self._keys.lease, self._keys.epoch)
        if held != lease_value(lease) or epoch_of(stored) != lease.epoch:
            return False
        pipe.multi()
        return True

    @guarded
    def holder(self) -> str | None:
        """Who leads now; None as well for a lease that a hand made."""
        try:
            document = orjson.loads(self._connection.client.get(self._keys.lease) or b"null")
        except (ResponseError, orjson.JSONDecodeError):
            return None
        return str(document["holder"]) if isinstance(document, dict) and "holder" in document else None


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
