"""The least rights that a reader and the writer need in Redis, as rules for ACL SETUSER.

Denied to both: scripts, administration, other environments, names of other keys. A reader can write its own
service's acknowledgements and nothing else, so its credentials cannot change a setting; nor could they if
they could write, as readers pin the key that signs. Needs Redis ≥ 7.0 or Valkey for the reader (selectors),
≥ 6.2 for the writer.
"""

from typing import Final

from kemudi.store.keys import Keys

_CONNECT: Final = ("+ping", "+hello", "+auth", "+select")
_READ: Final = ("+get", "+mget")
_LISTEN: Final = ("+subscribe", "+unsubscribe")
_CLUSTER_READ: Final = (
    "+cluster|slots",
    "+cluster|shards",
    "+cluster|myid",
    "+command",
    "+readonly",
    "+asking",
)


def reader_rules(env: str, service: str, *, cluster: bool = False) -> tuple[str, ...]:
    """The rules of one service's user in one environment.

    Args:
        env: The environment.
        service: The service, whose acknowledgements the user may write.
        cluster: Also let the client find its way in a cluster.

    Raises:
        UsageError: The environment or the service is malformed.
    """
    keys = Keys(env)
    own = f"(%W~{keys.service_acknowledgements(service)}* +set)"
    return (
        "resetchannels",
        f"%R~{keys.tagged}*",
        f"%R~{keys.blobs}*",
        f"&{keys.tagged}*",
        "-@all",
        *_CONNECT,
        *_READ,
        *_LISTEN,
        *(_CLUSTER_READ if cluster else ()),
        own,
    )


def writer_rules(env: str, *, cluster: bool = False) -> tuple[str, ...]:
    """The rules of the daemon's user in one environment. It listens as well, to see other daemons publish.

    Raises:
        UsageError: The environment is malformed.
    """
    keys = Keys(env)
    return (
        "resetchannels",
        f"~{keys.tagged}*",
        f"~{keys.blobs}*",
        f"&{keys.tagged}*",
        "-@all",
        "+@read",
        "+@write",
        "+@transaction",
        "+@stream",
        "+@connection",
        "+publish",
        "+wait",
        *_LISTEN,
        *(_CLUSTER_READ if cluster else ()),
        "-@scripting",
        "-@admin",
        "-@dangerous",
    )
