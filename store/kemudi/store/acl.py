"""The least rights that a reader and the writer need in Redis, as rules for ACL SETUSER.

Denied to both: scripts, administration, other environments, names of other keys. A reader can write its own
service's acknowledgements and nothing else, so its credentials cannot change a setting; nor could they if
they could write, as readers pin the key that signs. Needs Redis ≥ 7.0 or Valkey for the reader (selectors),
≥ 6.2 for the writer.
"""

import re
from collections.abc import Iterable
from typing import Final

from kemudi.schema.errors import UsageError
from kemudi.store.keys import Keys, escaped

_CONNECT: Final = ("+ping", "+hello", "+auth", "+select")
_READ: Final = ("+get", "+mget")
_LISTEN: Final = ("+subscribe", "+unsubscribe")
_CACHE: Final = ("+get", "+set", "+incrby", "+pttl", "+multi", "+exec", "+discard")
_USER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)
_CLUSTER_READ: Final = (
    "+cluster|slots",
    "+cluster|shards",
    "+cluster|myid",
    "+command",
    "+readonly",
    "+asking",
)


def reader_rules(env: str, service: str, *, cluster: bool = False, selectors: bool = True) -> tuple[str, ...]:
    """The rules of one service's user in one environment.

    Args:
        env: The environment.
        service: The service, whose acknowledgements the user may write.
        cluster: Also let the client find its way in a cluster.
        selectors: False for Redis before 7.0, which cannot limit a right to single keys: a reader there does not
            acknowledge, because it could then write every key of its environment.

    Raises:
        UsageError: The environment or the service is malformed.
    """
    keys = Keys(env)
    own = f"(%W~{keys.service_acknowledgements(service)}* +set)"
    read = "%R~" if selectors else "~"
    return (
        "resetchannels",
        f"{read}{keys.tagged}*",
        f"{read}{keys.blobs}*",
        f"&{keys.tagged}*",
        "-@all",
        *_CONNECT,
        *_READ,
        *_LISTEN,
        *(_CLUSTER_READ if cluster else ()),
        *((own,) if selectors else ()),
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


def graph_cache_rules(env: str) -> tuple[str, ...]:
    """The rules of the graph service's user for its own query cache and rate limits, which are never config.

    Raises:
        UsageError: The environment is malformed.
    """
    return (
        "resetchannels",
        f"~kemudi-graph:{escaped(env)}:*",
        "-@all",
        *_CONNECT,
        *_CACHE,
    )


def rules_of(
    role: str, env: str, *, service: str, cluster: bool = False, selectors: bool = True
) -> tuple[str, ...]:
    """The rules of `reader`, `daemon` or `graph-cache`. Raises UsageError for a malformed name."""
    if role == "reader":
        return reader_rules(env, service, cluster=cluster, selectors=selectors)
    if role == "daemon":
        return writer_rules(env, cluster=cluster)
    return graph_cache_rules(env)


def user_name(text: str) -> str:
    """A name that stays one word in a command and in an aclfile. Raises UsageError."""
    if not _USER.fullmatch(text):
        raise UsageError("the name of a user has letters, digits, `.`, `_` and `-` only")
    return text


def user_line(user: str, password_hash: str, rules: Iterable[str], *, file: bool) -> str:
    """The line that makes a user: of an aclfile, or the command for redis-cli."""
    words = " ".join(("reset", "on", password_hash, *rules))
    return f"user {user} {words}" if file else f"ACL SETUSER {user} {words}"
