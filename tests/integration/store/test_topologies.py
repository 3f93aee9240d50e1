"""The same store behind Sentinel, on a cluster, with replicas, over TLS and on a Unix socket."""

import datetime as dt
import itertools
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kemudi.store.errors import FencedError, StoreRefusedError, StoreUnavailableError
from kemudi.store.redis import RedisStore
from kemudi.store.signing import SigningKey
from kemudi.store.values import Acknowledgement

Make = Callable[..., RedisStore]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Nodes:
    """Servers of one test, started with any options and killed after it."""

    def __init__(self, folder: Path, binary: str) -> None:
        self.folder = folder
        self.binary = binary
        self.processes: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, *options: str, config: str = "") -> int:
        port = free_port()
        home = self.folder / str(port)
        home.mkdir()
        (home / "server.conf").write_text(config)
        argv = [self.binary, str(home / "server.conf"), "--port", str(port), "--bind", "127.0.0.1"]
        argv += ["--dir", str(home), *([] if "--sentinel" in options else ["--save", ""]), *options]
        self.processes[port] = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with suppress(redis.ConnectionError), redis.Redis(port=port) as client:
                client.ping()
                return port
            time.sleep(0.02)
        raise TimeoutError("the server does not answer")

    def replica_of(self, master: int) -> int:
        port = self.start("--replicaof", "127.0.0.1", str(master))
        with redis.Redis(port=master) as client:
            deadline = time.monotonic() + 20
            while client.info("replication").get("slave0", {}).get("state") != "online":
                assert time.monotonic() < deadline, "the replica does not reach its master"
                time.sleep(0.02)
        return port

    def kill(self, port: int) -> None:
        process = self.processes.pop(port)
        process.kill()
        process.wait()

    def close(self) -> None:
        for port in list(self.processes):
            self.kill(port)


@pytest.fixture
def nodes(tmp_path: Path, own_redis: Any) -> Iterator[Nodes]:
    made = Nodes(tmp_path, own_redis.process.args[0])
    yield made
    made.close()


def live_through(store: RedisStore, world: ModuleType, signing: SigningKey) -> None:
    """All that a daemon and a client do."""
    hints = store.hints()
    assert hints.wait(10)
    lease = store.acquire_lease("daemon", 30)
    assert lease is not None
    assert store.acquire_lease("rival", 30) is None
    assert store.renew(lease, 30)
    reader = world.Reader(store, signing.verify_keys())
    for number in (1, 2, 3):
        current = world.publish(store, lease, signing, number)
        assert hints.wait(10)
        assert reader.read() == number
    blobs = world.build(3, lease.epoch, signing)[1]
    assert store.inspect(current, blobs) == ()
    assert store.sweep(blobs) == 0
    assert [entry.generation for entry in store.log(2)] == ["0.3.0", "0.2.0"]
    said = Acknowledgement("graph", "host-1", "a" * 40, "0.3.0", "current")
    store.acknowledge(said, 30)
    assert store.acknowledgements() == [said]
    store.release(lease)
    again = store.acquire_lease("rival", 30)
    assert again is not None
    with pytest.raises(FencedError):
        world.publish(store, lease, signing, 4)
    assert store.current() == current
    store.release(again)
    hints.close()


class TestCluster:
    @pytest.fixture
    def url(self, nodes: Nodes, eventually: Callable[..., None]) -> str:
        buses = [free_port() for _ in range(3)]
        ports = [nodes.start("--cluster-enabled", "yes", "--cluster-port", str(bus)) for bus in buses]
        bounds = [(0, 5460), (5461, 10922), (10923, 16383)]
        clients = [redis.Redis(port=port) for port in ports]
        for client, (first, last) in zip(clients, bounds, strict=True):
            client.execute_command("CLUSTER ADDSLOTSRANGE", first, last)
            client.execute_command("CLUSTER MEET", "127.0.0.1", ports[0], buses[0])

        def is_whole(client: redis.Redis) -> bool:
            info: Any = client.execute_command("CLUSTER INFO")
            return bool(info["cluster_state"] == "ok" and info["cluster_known_nodes"] == "3")

        eventually(lambda: all(map(is_whole, clients)), 30)
        for client in clients:
            client.close()
        return f"redis+cluster://127.0.0.1:{ports[0]},127.0.0.1:{ports[1]}"

    def test_life(self, url: str, world: ModuleType, signing: SigningKey, make_store: Make) -> None:
        """On three masters, blobs in any slot, the pointer in one: all works, fencing included."""
        live_through(make_store(url), world, signing)

    def test_orphans_of_every_node(
        self, url: str, world: ModuleType, signing: SigningKey, make_store: Make
    ) -> None:
        """A sweep finds orphans on every node."""
        store = make_store(url)
        orphans = {
            digest: blob
            for number in range(1, 6)
            for digest, blob in world.build(number, 1, signing)[1].items()
        }
        store.stage(orphans)
        for digest in orphans:
            store._client.persist(store._keys.blob(digest))
        assert store.sweep([]) == len(orphans)


class TestSentinel:
    def test_life_and_failover(
        self, nodes: Nodes, world: ModuleType, signing: SigningKey, make_store: Make, eventually: Any
    ) -> None:
        """The master is found by name; after a failover the store goes on with the new one, and hints as well."""
        master = nodes.start("--repl-diskless-sync-delay", "0")
        nodes.replica_of(master)
        config = (
            f"sentinel monitor main 127.0.0.1 {master} 1\n"
            "sentinel down-after-milliseconds main 500\n"
            "sentinel failover-timeout main 2000\n"
        )
        sentinel = nodes.start("--sentinel", config=config)
        with redis.Redis(port=sentinel) as asked:
            eventually(lambda: asked.sentinel_master("main")["num-slaves"] == 1, 20)
        store = make_store(f"redis+sentinel://127.0.0.1:{sentinel}/main/0", replicas=1, replica_seconds=1.5)
        live_through(store, world, signing)
        before = store.current()
        hints = store.hints()
        assert hints.wait(5)
        nodes.kill(master)
        assert not hints.wait(0.2) or not hints.wait(0.2)

        def goes_on() -> bool:
            with suppress(StoreUnavailableError):
                return store.current() == before and store.acquire_lease("daemon", 0.2) is not None
            return False

        eventually(goes_on, 30)
        assert hints.wait(20)
        hints.close()


class TestReplicas:
    def test_waits(
        self, nodes: Nodes, world: ModuleType, signing: SigningKey, make_store: Make, eventually: Any
    ) -> None:
        """A publish reports the replicas that have it, and does not wait long for one that sleeps."""
        master = nodes.start("--repl-diskless-sync-delay", "0")
        replica = nodes.replica_of(master)
        store = make_store(f"redis://127.0.0.1:{master}", replicas=1, replica_seconds=0.5)
        lease = store.acquire_lease("daemon", 60)
        assert lease is not None
        numbers = itertools.count(1)

        def publish() -> int | None:
            number = next(numbers)
            signed, blobs = world.build(number, lease.epoch, signing)
            store.stage(blobs)
            return store.publish(lease, signed, blobs, world.entry(number), store.current()).replicas

        eventually(lambda: publish() == 1)  # a replica that has just come acknowledges once a second
        with redis.Redis(port=replica) as client:
            assert client.get("{kemudi:prod}:cur") == store.current()
        nodes.processes[replica].send_signal(signal.SIGSTOP)
        started = time.monotonic()
        assert publish() == 0
        assert 0.4 < time.monotonic() - started < 10
        nodes.processes[replica].send_signal(signal.SIGCONT)
        eventually(lambda: publish() == 1)


def certificate(folder: Path, host: str) -> Path:
    """A self-signed certificate with its key in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path = folder / f"{host}.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM) + key.private_bytes(serialization.Encoding.PEM, *form)
    )
    return path


@pytest.fixture
def tls(tmp_path: Path, front: Any) -> Callable[[str], str]:
    """Start a TLS front of the server with a certificate for a host name; gives the URL."""

    def start(host: str) -> str:
        path = certificate(tmp_path, host)
        return f"rediss://localhost:{front.start(path)}/0?ssl_ca_certs={path}"

    return start


class TestTls:
    def test_life(
        self, tls: Callable[[str], str], world: ModuleType, signing: SigningKey, make_store: Make
    ) -> None:
        """Over TLS all works, the hints as well, at every new connection."""
        url = tls("localhost")
        for _ in range(20):
            store = make_store(url)
            store.ping()
            store.close()
        live_through(make_store(url), world, signing)

    def test_unknown_authority(self, tls: Callable[[str], str], make_store: Make) -> None:
        """A certificate of an unknown authority is refused, and the message says what to name."""
        store = make_store(tls("localhost").partition("?")[0])
        with pytest.raises(StoreRefusedError, match="certificate") as caught:
            store.ping()
        assert "ssl_ca_certs" in (caught.value.hint or "")

    def test_other_host(self, tls: Callable[[str], str], make_store: Make) -> None:
        """A certificate for another host is refused."""
        store = make_store(tls("elsewhere.example.com"))
        with pytest.raises(StoreRefusedError, match="certificate"):
            store.ping()


def test_unix_socket(
    nodes: Nodes, tmp_path: Path, world: ModuleType, signing: SigningKey, make_store: Make
) -> None:
    """On a Unix socket all works."""
    path = tmp_path / "s"
    nodes.start("--save", "", "--unixsocket", str(path))
    live_through(make_store(f"unix://{path}"), world, signing)
