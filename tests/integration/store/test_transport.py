"""TLS with a real Redis that speaks it, and nothing else: authority and host name are verified."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kemudi.store.errors import StoreRefusedError
from kemudi.store.redis import RedisStore
from kemudi.store.signing import SigningKey

pytestmark = pytest.mark.redis
Make = Callable[..., RedisStore]


class Authority:
    """A certificate authority of one test."""

    def __init__(self, folder: Path, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.folder = folder
        self.path = folder / f"{name}.pem"
        made = self._builder(self._name, self._key, ca=True).sign(self._key, hashes.SHA256())
        self.path.write_bytes(made.public_bytes(serialization.Encoding.PEM))

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, ca: bool) -> Any:
        now = dt.datetime.now(dt.UTC)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name)
        builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - dt.timedelta(days=1))
        builder = builder.not_valid_after(now + dt.timedelta(days=1))
        return builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)

    def server(self, host: str) -> tuple[Path, Path]:
        """Certificate and key of a server, for a host name."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        builder = self._builder(name, key, ca=False)
        alternative = x509.SubjectAlternativeName([x509.DNSName(host)])
        made = builder.add_extension(alternative, critical=False).sign(self._key, hashes.SHA256())
        certificate, private = self.folder / f"{host}.crt", self.folder / f"{host}.key"
        certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        private.write_bytes(key.private_bytes(serialization.Encoding.PEM, *form))
        return certificate, private


@pytest.fixture
def over_tls(start_server: Any, tmp_path: Path) -> Callable[[str], tuple[int, Path]]:
    """A Redis without a plaintext port, with a certificate for a host name: its port and its authority."""

    def start(host: str) -> tuple[int, Path]:
        authority = Authority(tmp_path, "authority")
        certificate, key = authority.server(host)
        server = start_server(
            "redis",
            *("--port", "0", "--tls-port", "PORT", "--tls-auth-clients", "no"),
            *("--tls-cert-file", str(certificate), "--tls-key-file", str(key)),
            *("--tls-ca-cert-file", str(authority.path)),
        )
        return server.port, authority.path

    return start


def test_a_snapshot_over_tls(over_tls: Any, world: ModuleType, signing: SigningKey, make_store: Make) -> None:
    """Publishing, hints and reading work over TLS alone, with the authority named in the URL."""
    port, authority = over_tls("localhost")
    store = make_store(f"rediss://localhost:{port}/0?ssl_ca_certs={authority}")
    lease = store.acquire_lease("daemon", 30)
    assert lease is not None
    hints = store.hints()
    assert hints.wait(10)
    world.publish(store, lease, signing, 1)
    assert hints.wait(10)
    assert world.Reader(store, signing.verify_keys()).read() == 1
    hints.close()


def test_another_authority(over_tls: Any, tmp_path: Path, make_store: Make) -> None:
    """A server whose certificate another authority has signed is not spoken to, nor one of an unknown authority."""
    port, _ = over_tls("localhost")
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other", "other").path
    for url in (f"rediss://localhost:{port}/0?ssl_ca_certs={other}", f"rediss://localhost:{port}/0"):
        with pytest.raises(StoreRefusedError, match="certificate"):
            make_store(url).ping()


def test_another_host(over_tls: Any, make_store: Make) -> None:
    """A good certificate for another host is not enough."""
    port, authority = over_tls("redis.example.org")
    with pytest.raises(StoreRefusedError, match="certificate"):
        make_store(f"rediss://localhost:{port}/0?ssl_ca_certs={authority}").ping()
