"""Every name that Kemudi uses in Redis. Nothing else builds one.

::

    kemudi:<env>:blob:<sha256>              one immutable blob; any slot of a cluster
    {kemudi:<env>}:cur|epoch|lease|log|ch   one slot, so that one transaction covers them
    {kemudi:<env>}:ack:<service>:<instance> what one process says of the snapshot it runs

A name from outside is escaped to `[A-Za-z0-9._-]` and `%XX`, so no name can leave its place, open a hash tag,
act as a pattern or collide with another.
"""

import re
from dataclasses import dataclass, field
from typing import Final

from kemudi.schema.errors import UsageError

MAX_NAME_BYTES: Final = 200
_PLAIN: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


def escaped(name: str) -> str:
    """The name in the alphabet of keys, one to one. Raises UsageError for an empty or overlong name."""
    try:
        raw = name.encode()
    except UnicodeEncodeError:
        raise UsageError("a name in the store must be valid Unicode") from None
    if not 0 < len(raw) <= MAX_NAME_BYTES:
        raise UsageError(f"a name in the store has 1 to {MAX_NAME_BYTES} bytes")
    return "".join(chr(byte) if byte in _PLAIN else f"%{byte:02X}" for byte in raw)


def is_digest(text: str) -> bool:
    """Whether the text can name a blob: 64 lower-case hexadecimal digits."""
    return _DIGEST.fullmatch(text) is not None


@dataclass(frozen=True)
class Keys:
    """The names of one environment.

    Attributes:
        env: The environment, as its config repo spells it.
        current: The signed manifest.
        epoch: The fencing token of the latest leader.
        lease: Who leads, with expiry.
        log: The stream of applies and rejections.
        channel: The channel of hints.
    """

    env: str
    current: str = field(init=False)
    epoch: str = field(init=False)
    lease: str = field(init=False)
    log: str = field(init=False)
    channel: str = field(init=False)
    tagged: str = field(init=False, repr=False)
    untagged: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        name = escaped(self.env)
        tagged = f"{{kemudi:{name}}}:"
        derived = {
            "tagged": tagged,
            "untagged": f"kemudi:{name}:",
            "current": f"{tagged}cur",
            "epoch": f"{tagged}epoch",
            "lease": f"{tagged}lease",
            "log": f"{tagged}log",
            "channel": f"{tagged}ch",
        }
        for attribute, value in derived.items():
            object.__setattr__(self, attribute, value)

    def blob(self, digest: str) -> str:
        """Where the blob with this digest lies. Raises UsageError for anything but a SHA-256 in hex."""
        if not is_digest(digest):
            raise UsageError("a blob is named by the SHA-256 of its bytes, 64 lower-case hex digits")
        return f"{self.untagged}blob:{digest}"

    def digest(self, key: str) -> str | None:
        """The digest in a blob's key, None for any other key."""
        prefix = f"{self.untagged}blob:"
        digest = key.removeprefix(prefix)
        return digest if key.startswith(prefix) and is_digest(digest) else None

    def acknowledgement(self, service: str, instance: str) -> str:
        """Where one process of a service acknowledges."""
        return f"{self.service_acknowledgements(service)}{escaped(instance)}"

    def service_acknowledgements(self, service: str) -> str:
        """The prefix of one service's acknowledgements: what its credentials may write."""
        return f"{self.tagged}ack:{escaped(service)}:"

    @property
    def acknowledgements(self) -> str:
        """The prefix of every acknowledgement."""
        return f"{self.tagged}ack:"

    @property
    def blobs(self) -> str:
        """The prefix of every blob."""
        return f"{self.untagged}blob:"
