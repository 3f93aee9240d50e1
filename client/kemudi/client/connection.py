"""`connect`: from arguments and variables to a client that has something to serve."""

import logging
import os
import time
from collections.abc import Collection
from pathlib import Path
from typing import Final, TypedDict

from kemudi.client.client import Client
from kemudi.client.disk import DiskCopy, copy_path
from kemudi.client.errors import CopyRefusedError
from kemudi.client.loader import LoadRefusedError, SnapshotLoader
from kemudi.client.refresh import Pace, Refresher
from kemudi.client.secrets import SecretReader
from kemudi.client.serving import Serving
from kemudi.client.settings import ClientSettings, Contracts
from kemudi.client.snapshot import CategoryData, Snapshot
from kemudi.schema.hardening import ScrubFilter
from kemudi.store.errors import SnapshotRefusedError
from kemudi.store.keyfiles import KeyFile
from kemudi.store.redis import RedisStore
from kemudi.store.sealing import KeysetBundle
from kemudi.store.signing import VerifyKeys

_log: Final = logging.getLogger("kemudi.client")
_log.addFilter(ScrubFilter())


class ConnectOptions(TypedDict, total=False):
    """The keyword arguments of `connect`, for what passes them on."""

    redis_url: str | None
    service: str | None
    categories: Collection[str] | None
    keyset: str | Path | KeysetBundle | None
    verify_key: str | Path | VerifyKeys | None
    contracts: Contracts | None
    state_dir: str | Path | None
    timeout: float


def connect(
    env: str | None = None,
    *,
    redis_url: str | None = None,
    service: str | None = None,
    categories: Collection[str] | None = None,
    keyset: str | Path | KeysetBundle | None = None,
    verify_key: str | Path | VerifyKeys | None = None,
    contracts: Contracts | None = None,
    state_dir: str | Path | None = None,
    timeout: float = 5.0,
) -> Client:
    """The settings of an environment, kept current in memory until `.close()`.

    It starts from the store. When that is away or holds nothing that can be trusted it starts from this service's own
    disk copy, and without one, after `timeout`, from the declared defaults; it catches up when the store is there.
    What it starts with counts as what the process started with for settings that require a restart.

    Args:
        env: The environment; else `KEMUDI_ENV`.
        redis_url: The store; else `KEMUDI_REDIS_URL`.
        service: The name to acknowledge under; else `KEMUDI_SERVICE`, else `client`.
        categories: The categories to load; all by default.
        keyset: The file of the keysets that open secrets; else `KEMUDI_KEYSET`. Without it, reading a secret raises.
        verify_key: The file of the public keys that snapshots must be signed by; else `KEMUDI_VERIFY_KEY`.
        contracts: Declared defaults: a folder of `<category>.schema.json`, or pydantic models.
        state_dir: Where the disk copy lies; else `KEMUDI_STATE_DIR`, `STATE_DIRECTORY`, the user's state folder.
        timeout: How long to wait for a first snapshot, in seconds.

    Raises:
        UsageError: Something is missing or malformed; the message names the variable.
        KeyFileRefusedError: A key file cannot be used.
        StoreRefusedError: The store refuses the password or the rights, and there is no disk copy.
    """
    settings = ClientSettings.resolved(
        os.environ,
        env=env,
        redis_url=redis_url,
        service=service,
        categories=categories,
        keyset=keyset,
        verify_key=verify_key,
        state_dir=state_dir,
        timeout=timeout,
    )
    return connect_with(settings, contracts)


def connect_with(settings: ClientSettings, contracts: Contracts | None, pace: Pace | None = None) -> Client:
    """As `connect`, from complete settings."""
    declared = _declared(contracts)
    secrets = SecretReader(_keysets(settings))
    serving = Serving(Snapshot.of_defaults(settings.env, declared), secrets, threaded=True)
    loader = SnapshotLoader(
        settings.env, _verify_keys(settings), categories=settings.categories, declared=declared
    )
    copy = None
    if settings.state_dir is not None:
        copy = DiskCopy(copy_path(settings.state_dir, settings.env, settings.service, settings.categories))
    refresher = Refresher(
        lambda: RedisStore(settings.redis_url, settings.env),
        loader,
        serving,
        service=settings.service,
        copy=copy,
        pace=pace,
    )
    try:
        _begin(refresher, serving, loader, copy, settings.timeout)
    except BaseException:
        refresher.close()
        raise
    missing = set(settings.categories or ()) - set(serving.snapshot.categories)
    if missing and serving.snapshot.revision is not None:
        _log.warning("the snapshot has no category %s", ", ".join(sorted(missing)))
    return Client(serving, refresher)


def _begin(
    refresher: Refresher, serving: Serving, loader: SnapshotLoader, copy: DiskCopy | None, timeout: float
) -> None:
    """Wait for the store, within bounds; else take the next source."""
    deadline = time.monotonic() + timeout
    refresher.start()
    refresher.looked.wait(timeout)
    if not refresher.loaded.is_set():
        stored = _stored(loader, copy, serving.snapshot)
        if stored is not None:
            serving.offer(stored)
        elif refresher.refused_by_store is not None:
            raise refresher.refused_by_store
        else:
            refresher.loaded.wait(max(0.0, deadline - time.monotonic()))
    serving.start()


def _stored(loader: SnapshotLoader, copy: DiskCopy | None, have: Snapshot) -> Snapshot | None:
    """The snapshot of the disk copy, None without a good one."""
    if copy is None:
        return None
    try:
        found = copy.read()
        if found is None:
            return None
        signed, blobs = found
        manifest = loader.verified(signed, have)
        return loader.assemble(manifest, signed, [have], lambda _digests: blobs, "disk").snapshot
    except (CopyRefusedError, LoadRefusedError, SnapshotRefusedError) as error:
        _log.warning("not starting from the disk copy: %s", error)
        return None


def _declared(contracts: Contracts | None) -> dict[str, CategoryData]:
    """The declared defaults. Validators are imported only where contracts are given: they take their time."""
    if contracts is None:
        return {}
    from kemudi.client.defaults import declared_contracts, declared_defaults

    return declared_defaults(declared_contracts(contracts))


def _keysets(settings: ClientSettings) -> KeyFile[KeysetBundle]:
    if isinstance(settings.keyset, Path):
        return KeyFile(settings.keyset, KeysetBundle.load)
    return KeyFile.fixed(settings.keyset)


def _verify_keys(settings: ClientSettings) -> KeyFile[VerifyKeys]:
    if isinstance(settings.verify_key, Path):
        return KeyFile(settings.verify_key, VerifyKeys.load)
    return KeyFile.fixed(settings.verify_key)
