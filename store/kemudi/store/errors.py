"""How a store fails, as branches of the common tree: retry, read again, or let a person decide.

::

    UnavailableError
    └── StoreUnavailableError      the server cannot be reached, or cannot answer now
        └── StoreFullError         it answers, and has no memory left; what is served stays served
    ConflictError
    ├── FencedError                another leader has taken over; stop publishing
    ├── StaleError                 the pointer moved since it was read; read again, then decide
    └── StagingLostError           staged blobs have expired; stage again, then publish
    RefusedError
    ├── StoreRefusedError          the server answers no: password, rights, not a Redis
    ├── ManifestRefusedError       a pointer that is not signed by a pinned key for this place
    ├── SnapshotRefusedError       bytes that are not the category they are named for
    ├── KeyFileRefusedError        a key file that is unreadable, malformed or open to others
    ├── SealRefusedError           a sealed value that does not belong here
    └── KeysetMissingError         no keyset for a category that holds secrets

No message holds a value, a key, a password or a URL's credentials.
"""

from typing import Literal

from kemudi.schema.errors import ConflictError, RefusedError, UnavailableError


class StoreUnavailableError(UnavailableError):
    """The store cannot be reached or cannot answer now. What is in memory stays valid; retry later."""


class StoreFullError(StoreUnavailableError):
    """The server is out of memory and evicts nothing. The pointer is untouched; give it memory, then retry.

    Attributes:
        reason: `store-oom`, for status and metrics.
    """

    reason: Literal["store-oom"] = "store-oom"


class FencedError(ConflictError):
    """Another leader has taken over since this lease was taken. Publish nothing more under it."""


class StaleError(ConflictError):
    """The pointer is not the one that this publish was computed from. Read it again, then decide."""


class StagingLostError(ConflictError):
    """Blobs of this snapshot are no longer in the store, their staging expired. Stage again, then publish."""


class StoreRefusedError(RefusedError):
    """The server refuses: wrong password, missing rights, or no Redis at this address."""


RefusalReason = Literal["format", "signature", "version", "environment", "repository"]


class ManifestRefusedError(RefusedError):
    """The manifest in the store is not one that this process may trust. What is in memory stays served.

    Attributes:
        reason: What is wrong with it, for status and metrics.
    """

    def __init__(self, message: str, *, reason: RefusalReason, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class SnapshotRefusedError(RefusedError):
    """Stored bytes are not what their name says, or break a limit."""


class KeyFileRefusedError(RefusedError):
    """A key file cannot be used: missing, malformed, or readable by others."""


class SealRefusedError(RefusedError):
    """A sealed value does not open here: altered, moved from another place, or sealed with an unknown key."""


class KeysetMissingError(RefusedError):
    """There is no keyset for a category that holds secrets.

    Attributes:
        category: The category in question.
    """

    def __init__(self, category: str) -> None:
        super().__init__(
            f"no keyset for the category {category!r}, which holds secrets",
            hint="give this process a keyset file that covers the category (KEMUDI_KEYSET)",
        )
        self.category = category
