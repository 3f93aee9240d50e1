"""From a URL to a connected client with bounded waits, and from its errors to ours.

========================================================  ==========================================
`redis://`, `rediss://`, `unix://`                        one server
`redis+sentinel://host:port,host:port/<service>[/<db>]`   the master that Sentinel names
`redis+cluster://host:port,host:port`                     a cluster
========================================================  ==========================================

`rediss+sentinel` and `rediss+cluster` speak TLS, which is required beyond loopback (`kemudi.schema.transport`).
Query options are redis-py's (`ssl_ca_certs=…`). No message shows more of a URL than scheme, hosts and path.
"""

import functools
import re
import ssl
import threading
from collections.abc import Callable
from typing import Any, Concatenate, Final, ParamSpec, TypeAlias, TypeVar
from urllib.parse import unquote, urlsplit

import redis
from redis import exceptions
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.connection import parse_url
from redis.retry import Retry
from redis.sentinel import Sentinel

from kemudi.schema.errors import KemudiError, UsageError
from kemudi.schema.transport import is_loopback, private_url
from kemudi.store.errors import StoreFullError, StoreRefusedError, StoreUnavailableError

Client: TypeAlias = Any
"""redis-py types each command for its sync and its async client at once, which helps neither."""

TIMEOUT_SECONDS: Final = 2.0
HEALTH_CHECK_SECONDS: Final = 15
READ_BYTES: Final = 1024 * 1024  # few large reads: beside a busy thread, each may wait a switch of the GIL
_SCHEME: Final = re.compile(r"[a-z]+(\+[a-z]+)?")
_DATABASE: Final = re.compile(r"/?[0-9]*")
_CODE: Final = re.compile(r"[A-Z][A-Z0-9]{2,20}(?= |$)")
_REFUSALS: Final = (
    exceptions.AuthenticationError,
    exceptions.AuthorizationError,
    exceptions.NoPermissionError,
    exceptions.AuthenticationWrongNumberOfArgsError,
)
FAILURES: Final = (exceptions.RedisError, exceptions.RedisClusterException, OSError)
_REFUSED_CODES: Final = frozenset({"NOPERM", "NOAUTH", "WRONGPASS", "WRONGTYPE", "ERR", "DENIED"})

P = ParamSpec("P")
R = TypeVar("R")


def shown(url: str) -> str:
    """The URL as messages show it: scheme, hosts and path, no credentials and no options.

    Passwords come unescaped, so everything before the last `@` counts as one. Where that could as well
    stand in an option, only the scheme is shown.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or not _SCHEME.fullmatch(scheme):
        return "an address without a scheme"
    credentials, _, place = rest.rpartition("@")
    if "?" in credentials or "#" in credentials:
        return f"{scheme}://…"
    return f"{scheme}://{re.split('[?#]', place, maxsplit=1)[0]}"


def require_form(url: str) -> tuple[str, str, str]:
    """The parts of a URL of this store: `redis`, `sentinel`, the rest. Raises UsageError."""
    scheme, _, rest = url.partition("://")
    base, _, kind = scheme.partition("+")
    if base not in {"redis", "rediss", "unix"} or kind not in {"", "sentinel", "cluster"} or not rest:
        raise UsageError(
            f"the store's URL {shown(url)} has an unknown form",
            hint="redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://",
        )
    return base, kind, rest


def connect(url: str) -> Client:
    """A client for the URL; it connects at its first command. Raises UsageError for a malformed URL.

    A cluster client asks its nodes at once and raises StoreUnavailableError.
    """
    base, kind, rest = require_form(url)
    plain, trusted = private_url(f"{base}://{rest}", shown(url))
    make = {"": _single, "sentinel": _sentinel, "cluster": _cluster}[kind]
    try:
        return make(plain, _options(trusted=trusted))
    except (ValueError, TypeError):
        problem: KemudiError = UsageError(f"the store's URL {shown(url)} is malformed")
    except FAILURES as error:
        problem = translated(error, shown(url))
    raise problem


class _PlaintextError(exceptions.RedisError):
    """A node that a server on this machine has named lies on another one, and would be spoken to in the clear."""


def _options(*, trusted: bool) -> dict[str, Any]:
    return {
        "socket_timeout": TIMEOUT_SECONDS,
        "socket_connect_timeout": TIMEOUT_SECONDS,
        "socket_keepalive": True,
        "health_check_interval": HEALTH_CHECK_SECONDS,
        # One more try at once: after a server's restart every pooled connection is dead. None after a timeout:
        # the caller's wait stays the one it knows.
        "retry": Retry(NoBackoff(), 1, supported_errors=(exceptions.ConnectionError,)),
        "protocol": 2,
        "socket_read_size": READ_BYTES,
        "driver_info": None,  # CLIENT SETINFO is not among a reader's rights
        "redis_connect_func": _greet if trusted else _greet_in_private,
    }


def _greet_in_private(connection: Any) -> None:
    """As `_greet`, once it is sure that nobody listens: Sentinel and clusters name hosts of their own."""
    encrypted = isinstance(connection, redis.SSLConnection)
    if not encrypted and not is_loopback(getattr(connection, "host", None) or ""):
        raise _PlaintextError
    _greet(connection)


def _greet(connection: Any) -> None:
    """Log in, then ask once.

    Over TLS 1.3 the server sends session tickets behind the handshake. A pool would take them for a stray answer, and
    give up a connection on which nothing was read yet.
    """
    connection.on_connect()
    connection.send_command("PING", check_health=False)
    connection.read_response()


def _parsed(url: str) -> dict[str, Any]:
    return dict(parse_url(url))  # type: ignore[no-untyped-call] # redis-py has no annotation here


def _single(url: str, common: dict[str, Any]) -> Client:
    if not url.startswith("unix:") and not _DATABASE.fullmatch(urlsplit(url).path):
        raise ValueError  # redis-py would take database 0
    options = {**common, **_parsed(url)}
    if url.startswith("unix:"):
        del options["socket_keepalive"]
    pool = redis.ConnectionPool(**options)
    _require_options(pool)
    client = redis.Redis(connection_pool=pool)
    client.auto_close_connection_pool = True
    return client


def _require_options(pool: Any) -> None:
    """Raise TypeError for an option that a connection does not know, which would else show at the first command."""
    pool.connection_class(**pool.connection_kwargs)


def _hosts(url: str) -> tuple[list[tuple[str, int]], list[str], dict[str, Any]]:
    """The hosts, the parts of the path, and redis-py's options of a URL with several hosts."""
    parts = urlsplit(url)
    credentials, at, names = parts.netloc.rpartition("@")
    hosts = [urlsplit(f"//{name}") for name in names.split(",")]
    options = _parsed(parts._replace(netloc=f"{credentials}{at}host", path="").geturl())
    options.pop("host", None)
    options.pop("db", None)
    path = [unquote(part) for part in parts.path.split("/") if part]
    return [(host.hostname or "", host.port or 0) for host in hosts], path, options


def _sentinel(url: str, common: dict[str, Any]) -> Client:
    hosts, path, options = _hosts(url)
    if not path or len(path) > 2:
        raise ValueError
    tls = {"ssl": True} if options.pop("connection_class", None) else {}
    common = {**common, **tls}
    sentinel: Any = Sentinel(  # type: ignore[no-untyped-call] # redis-py has no annotation here
        [(host, port or 26379) for host, port in hosts], sentinel_kwargs=common
    )
    database = int(path[1]) if len(path) == 2 else 0
    client: Client = sentinel.master_for(path[0], **{**common, **options, "db": database})
    _require_options(client.connection_pool)
    return client


def _cluster(url: str, common: dict[str, Any]) -> Client:
    hosts, _, options = _hosts(url)
    if options.pop("connection_class", None) is not None:
        options["ssl"] = True
    node: Any = ClusterNode
    nodes = [node(host, port or 6379) for host, port in hosts]
    return RedisCluster(startup_nodes=nodes, **{**common, **options})


def translated(error: Exception, place: str) -> KemudiError:
    """Our error for one of redis-py's. Its text, which may quote commands with their values, is not kept."""
    found = _CODE.match(str(error).rpartition("caused error: ")[2])
    code = found.group(0) if found else ""
    if isinstance(error, _PlaintextError):
        return StoreRefusedError(
            f"the store at {place} leads to another machine, where everybody between could read along",
            hint="Use rediss. If the network is trusted, say so in the URL: ?plaintext=allowed.",
        )
    if isinstance(error.__cause__ or error.__context__, ssl.SSLCertVerificationError):
        return StoreRefusedError(
            f"the store at {place} shows a certificate that is not trusted",
            hint="name its authority in the URL (?ssl_ca_certs=PATH), and the host as the certificate does",
        )
    if isinstance(error, exceptions.OutOfMemoryError) or code == "OOM":
        return StoreFullError(
            f"the store at {place} is out of memory; what it serves is unchanged",
            hint="raise its maxmemory, or remove other data from it",
        )
    plain_no = type(error) is exceptions.ResponseError and not code
    if isinstance(error, _REFUSALS) or code in _REFUSED_CODES or plain_no:
        detail = f" ({code})" if code else ""
        return StoreRefusedError(
            f"the store at {place} refuses the command{detail}",
            hint="check the user, the password and the rights in the store's URL",
        )
    detail = code or type(error).__name__
    return StoreUnavailableError(f"the store at {place} cannot be reached or cannot answer now ({detail})")


class Connection:
    """What the parts of the Redis store share: one client, made at its first use, and the place to name.

    Attributes:
        place: The URL as messages show it.
    """

    def __init__(self, url: str) -> None:
        """Take a URL of `connect`. Raises UsageError for a malformed one."""
        base, kind, rest = require_form(url)
        self.place = shown(url)
        private_url(f"{base}://{rest}", self.place)
        self._url = url
        self._lock = threading.Lock()
        # A cluster client asks its nodes as soon as it is made; the others connect at their first command.
        self._client: Client | None = None if kind == "cluster" else connect(url)

    @property
    def client(self) -> Client:
        """The client. Raises StoreUnavailableError for a cluster that does not answer."""
        if self._client is None:
            with self._lock:
                if self._client is None:
                    self._client = connect(self._url)
        return self._client

    @property
    def is_cluster(self) -> bool:
        """Whether keys lie in slots of several nodes."""
        return type(self.client) is RedisCluster

    def twin(self) -> "Connection":
        """Another client of the same store, for a connection of its own."""
        return Connection(self._url)

    def pool_of(self, key: str) -> Any:
        """The pool of connections to the node that holds a key."""
        client = self.client
        if self.is_cluster:
            return client.get_redis_connection(client.get_node_from_key(key)).connection_pool
        return client.connection_pool

    def close(self) -> None:
        """Release every connection. May be called twice; a later use connects anew."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def __repr__(self) -> str:
        return f"Connection({self.place})"


def guarded(
    method: Callable[Concatenate[Any, P], R],
) -> Callable[Concatenate[Any, P], R]:
    """Let a method of something with a `place` raise our errors alone.

    Ours is raised outside the handler, so that it does not carry redis-py's along as its context.
    """

    @functools.wraps(method)
    def guard(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(self, *args, **kwargs)
        except FAILURES as error:
            problem = translated(error, self.place)
        raise problem

    return guard
