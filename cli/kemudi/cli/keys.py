"""The key files of a daemon and of the services, made together."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from kemudi.schema.errors import ConflictError, UsageError
from kemudi.schema.state import ConfigState


@dataclass(frozen=True, slots=True)
class KeyFiles:
    """Paths of the keys in one folder.

    Attributes:
        folder: Mode 0700.
        recipient: The public age key of the identity; it goes into recipients.yaml.
        services: Service name to its keyset file, which opens the secrets of that service's categories only.
    """

    folder: Path
    recipient: str
    services: tuple[str, ...]

    @property
    def identity(self) -> Path:
        """The age identity: opens every sealed value in git."""
        return self.folder / "identity.txt"

    @property
    def signing_key(self) -> Path:
        """Ed25519, signs what the daemon publishes."""
        return self.folder / "signing.key"

    @property
    def verify_key(self) -> Path:
        """Its public half, pinned by every client."""
        return self.folder / "verify.pub"

    @property
    def keyset(self) -> Path:
        """The daemon's keyset: all categories."""
        return self.folder / "keyset.json"

    def service_keyset(self, services: Iterable[str]) -> Path:
        """The keyset file of a process that runs these services."""
        return self.folder / f"keyset-{'-'.join(services)}.json"

    def paths(self) -> list[tuple[str, Path]]:
        """What was written, with its purpose."""
        named = [
            ("identity (daemon only, keep a copy offline)", self.identity),
            ("signing key (daemon only)", self.signing_key),
            ("verify key (every client)", self.verify_key),
            ("keyset of the daemon", self.keyset),
        ]
        return named + [(f"keyset of {name}", self.service_keyset([name])) for name in self.services]

    def as_json(self) -> dict[str, object]:
        """Paths and the public key; nothing private."""
        return {"recipient": self.recipient, "files": {name: str(path) for name, path in self.paths()}}


def make_keys(folder: Path, state: ConfigState, bundles: Iterable[tuple[str, ...]] = ()) -> KeyFiles:
    """Make identity, signing key and keysets in a new or empty folder.

    `bundles` names further combinations of services that run as one process. Raises ConflictError when the folder has
    content: a key that is overwritten cannot be had back.
    """
    from kemudi.repo.secrets import generate_identity
    from kemudi.store.sealing import KeysetBundle
    from kemudi.store.signing import SigningKey

    if folder.is_dir() and any(folder.iterdir()):
        raise ConflictError(
            f"{folder} is not empty; no key is overwritten", hint="Name a new folder with --out."
        )
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    services = dict(state.manifest.services) if state.manifest is not None else {}
    identity, recipient = generate_identity()
    keys = KeyFiles(folder, recipient, tuple(services))
    _write_new(keys.identity, identity)
    signing = SigningKey.generate()
    signing.save(keys.signing_key)
    signing.verify_keys().save(keys.verify_key)
    bundle = KeysetBundle.generate(sorted(state.contracts))
    bundle.save(keys.keyset)
    for combined in [*((name,) for name in services), *bundles]:
        wanted = {category for name in combined for category in services.get(name, ())}
        bundle.subset(sorted(wanted)).save(keys.service_keyset(combined))
    return keys


def extend_keys(folder: Path, state: ConfigState) -> None:
    """Give the keysets that `make_keys` made what new categories, and services of new categories, need.

    Raises UsageError when there are none in the folder.
    """
    from kemudi.store.sealing import KeysetBundle

    services = dict(state.manifest.services) if state.manifest is not None else {}
    keys = KeyFiles(folder, "", tuple(services))
    if not keys.keyset.is_file():
        raise UsageError(f"there is no {keys.keyset}", hint="Name the folder that `--keys` made first.")
    bundle = KeysetBundle.load(keys.keyset).extended(sorted(state.contracts))
    bundle.save(keys.keyset)
    for name, categories in services.items():
        bundle.subset(sorted(categories)).save(keys.service_keyset((name,)))


def _write_new(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text if text.endswith("\n") else text + "\n")
