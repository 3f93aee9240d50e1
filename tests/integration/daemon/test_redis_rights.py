"""The rights that `kemudi redis acl` prints, on real servers: enough for the real daemon and client, and no more."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import redis
from click.testing import CliRunner
from redis.exceptions import NoPermissionError

from kemudi.cli.commands.redis import redis_command
from kemudi.client.connection import connect_with
from kemudi.client.refresh import Pace
from kemudi.client.settings import ClientSettings
from kemudi.graph.cache import RedisCache
from kemudi.graph.rates import RateLimiter
from kemudi.store.keys import Keys
from kemudi.store.signing import SigningKey

PASSWORD = "a-long-enough-password-of-a-test"
KEYS = Keys("dev")
FAST = Pace(poll_least=0.2, poll_most=0.4, again=0.1, ask_again=0.5, copy_after=0.0, keys=0.2)
ROLES = {
    "daemon": ("--role", "daemon"),
    "app": ("--role", "reader", "--service", "app"),
    "graph-cache": ("--role", "graph-cache"),
}


def printed(*options: str, password: str = PASSWORD) -> str:
    """What the command prints, with the password on stdin."""
    result = CliRunner().invoke(
        redis_command, ["acl", "--env", "dev", "--password-stdin", *options], input=f"{password}\n"
    )
    assert result.exit_code == 0, result.output
    assert password not in result.output
    return result.stdout.strip()


@dataclass
class Guarded:
    """A server whose default user is off."""

    server: Any

    def url(self, role: str) -> str:
        return str(self.server.url(f"kemudi-dev-{role}:{PASSWORD}"))

    def client(self, role: str) -> redis.Redis:
        return redis.Redis.from_url(self.url(role))


@pytest.fixture
def guarded(server_kind: str, start_server: Any, tmp_path: Path) -> Guarded:
    """Users from an aclfile that the command wrote; nobody else gets in."""
    lines = ["user default off", f"user admin on >{PASSWORD} ~* &* +@all"]
    lines += [printed(*options, "--format", "file") for options in ROLES.values()]
    file = tmp_path / "users.acl"
    file.write_text("\n".join(lines) + "\n")
    return Guarded(start_server(server_kind, "--aclfile", str(file), login=f"admin:{PASSWORD}"))


@pytest.fixture
def open_client(guarded: Guarded, keys: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    SigningKey.load(keys.signing).verify_keys().save(tmp_path / "verify.pub")
    made: list[Any] = []

    def make(role: str = "app", service: str = "app") -> Any:
        settings = ClientSettings.resolved(
            {},
            env="dev",
            redis_url=guarded.url(role),
            service=service,
            verify_key=tmp_path / "verify.pub",
            state_dir=tmp_path / "client",
        )
        made.append(connect_with(settings, None, FAST))
        return made[-1]

    yield make
    for config in made:
        config.close()


def test_a_commit_reaches_a_client_and_its_word_comes_back(
    guarded: Guarded, repo: Any, settings: Any, locals_: Any, kit: Any, open_client: Any
) -> None:
    """Publish, hint, read, acknowledge, find drift and repair it: all under printed rights, the default user off."""
    with redis.Redis(port=guarded.server.port) as nobody, pytest.raises(redis.AuthenticationError):
        nobody.ping()
    first = repo.commit(kit.files())
    daemon = locals_(replace(settings, redis_url=guarded.url("daemon"))).start()
    kit.eventually(lambda: daemon.applied() == first)
    config = open_client()
    assert config["SYNC_BATCH_SIZE"] == 100
    second = repo.commit({"base/sync.yaml": "SYNC_BATCH_SIZE: 7\n"})
    kit.eventually(lambda: config["SYNC_BATCH_SIZE"] == 7)
    kit.eventually(lambda: [one["revision"] for one in daemon.status()["clients"]] == [second])
    assert daemon.get(f"/wait?env=dev&revision={second}&timeout=10")["converged"]
    with guarded.server.admin() as admin:
        admin.set(KEYS.current, b"altered by hand")
    kit.eventually(lambda: daemon.status()["drift"])
    kit.eventually(lambda: config.health().refusal == "" and config.health().connected)
    assert daemon.get("/drift")["environments"][0]["drift"] == []


def test_the_graph_cache_keeps_to_itself(guarded: Guarded) -> None:
    """The graph service's cache and its rates work under their own rights, and reach no config."""
    cache = RedisCache.connect(guarded.url("graph-cache"), "dev", lambda: 1)
    assert cache.through(("q",), 60, lambda: [{"a": 1}]) == [{"a": 1}]
    assert cache.through(("q",), 60, lambda: pytest.fail("it was kept")) == [{"a": 1}]
    cache.close()
    limiter = RateLimiter.connect(guarded.url("graph-cache"), "dev")
    assert limiter.wait("caller", 1) is None
    assert limiter.wait("caller", 1)
    limiter.close()
    with guarded.client("graph-cache") as client:
        for command in (("GET", KEYS.current), ("SET", KEYS.current, "x"), ("GET", "other"), ("KEYS", "*")):
            with pytest.raises(NoPermissionError):
                client.execute_command(*command)


@pytest.mark.parametrize("role", ROLES)
def test_what_nobody_may(guarded: Guarded, role: str) -> None:
    """Scripts, administration, other environments and other people's keys are denied to every role."""
    commands = [
        ("GET", "{kemudi:prod}:cur"),
        ("GET", f"kemudi:prod:blob:{'0' * 64}"),
        ("SET", "somebody-elses", "1"),
        ("EVAL", "return 1", "0"),
        ("EVALSHA", "0" * 40, "0"),
        ("FUNCTION", "LIST"),
        ("KEYS", "*"),
        ("FLUSHALL",),
        ("FLUSHDB",),
        ("MONITOR",),
        ("CONFIG", "GET", "*"),
        ("INFO",),
        ("CLIENT", "LIST"),
        ("CLIENT", "KILL", "ID", "1"),
        ("ACL", "LIST"),
        ("SLOWLOG", "GET"),
        ("MODULE", "LIST"),
        ("SHUTDOWN", "NOSAVE"),
        ("REPLICAOF", "127.0.0.1", "1"),
        ("SUBSCRIBE", "{kemudi:prod}:ch"),
        ("PSUBSCRIBE", "*"),
        ("PUBLISH", "{kemudi:prod}:ch", "x"),
        ("SORT", "somebody-elses"),
        ("MIGRATE", "127.0.0.1", "1", "k", "0", "1"),
        ("DUMP", "{kemudi:prod}:cur"),
    ]
    allowed = []
    with guarded.client(role) as client:
        for command in commands:
            try:
                client.execute_command(*command)
            except NoPermissionError:
                continue
            except redis.ResponseError as error:
                allowed.append((command, str(error)))
            else:
                allowed.append((command, "done"))
    assert allowed == []


def test_what_a_reader_may_not(guarded: Guarded) -> None:
    """A reader writes its own service's acknowledgement with SET, and nothing else in any way."""
    own, other = KEYS.acknowledgement("app", "i"), KEYS.acknowledgement("other", "i")
    denied = [
        ("SET", KEYS.current, "x"),
        ("SET", KEYS.lease, "x"),
        ("SET", KEYS.epoch, "99"),
        ("SET", KEYS.blob("0" * 64), "x"),
        ("SET", other, "x"),
        ("SET", own, "x", "GET"),
        ("GETSET", own, "x"),
        ("GETDEL", own),
        ("GETEX", own, "EX", "1"),
        ("APPEND", own, "x"),
        ("MSET", own, "x"),
        ("DEL", own),
        ("EXPIRE", KEYS.current, "1"),
        ("RENAME", own, KEYS.current),
        ("COPY", own, KEYS.current),
        ("HSET", KEYS.current, "a", "b"),
        ("XADD", KEYS.log, "*", "a", "b"),
        ("XRANGE", KEYS.log, "-", "+"),
        ("SCAN", "0"),
        ("MULTI",),
        ("WATCH", KEYS.current),
        ("PUBLISH", KEYS.channel, "x"),
        ("SPUBLISH", KEYS.channel, "x"),
        ("RESTORE", own, "0", "x"),
    ]
    with guarded.client("app") as client:
        for command in denied:
            with pytest.raises(NoPermissionError):
                client.execute_command(*command)
        assert client.execute_command("SET", own, "x", "PX", "1000")


def test_the_commands_for_redis_cli(server_kind: str, start_server: Any) -> None:
    """Line by line, as redis-cli splits them, they make the same users as the file; a placeholder makes none."""
    server = start_server(server_kind)
    with server.admin() as admin:
        for options in ROLES.values():
            for line in printed(*options).splitlines():
                assert admin.execute_command(*line.split(" ")) in {b"OK", True}
        made = {name: admin.acl_getuser(name) for name in ("kemudi-dev-app", "kemudi-dev-daemon")}
        assert all("on" in user["flags"] for user in made.values())
        bare = CliRunner().invoke(
            redis_command, ["acl", "--env", "dev", "--role", "daemon", "--user", "placeholder"]
        )
        with pytest.raises(redis.ResponseError):
            admin.execute_command(*bare.stdout.strip().split(" "))
        assert admin.acl_getuser("placeholder") is None


def test_before_redis_7_a_reader_only_reads(guarded: Guarded) -> None:
    """Without selectors the right to acknowledge would be the right to write every key: so it is left out."""
    rules = printed(*ROLES["app"], "--server", "6.2", "--user", "older").split(" ")
    assert not any(word.startswith(("(", "%")) for word in rules)
    with guarded.server.admin() as admin:
        admin.execute_command(*rules)
    url = guarded.server.url(f"older:{PASSWORD}")
    with redis.Redis.from_url(url) as client:
        assert client.get(KEYS.current) is None
        with pytest.raises(NoPermissionError):
            client.set(KEYS.acknowledgement("app", "i"), "x")


@pytest.mark.parametrize(
    ("options", "password"),
    [
        (("--role", "reader"), PASSWORD),
        (("--role", "daemon", "--user", "two words"), PASSWORD),
        (("--role", "daemon", "--user", "x on nopass ~* +@all"), PASSWORD),
        (("--role", "daemon"), "short"),
    ],
)
def test_usage(options: tuple[str, ...], password: str) -> None:
    """A reader without a service, a name that would be a rule, and a password worth guessing are refused."""
    result = CliRunner().invoke(
        redis_command, ["acl", "--env", "dev", "--password-stdin", *options], input=password
    )
    assert result.exception is not None
    assert "ACL SETUSER" not in result.output
