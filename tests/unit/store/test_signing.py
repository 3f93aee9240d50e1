"""Key files: who may read them, what they may hold, and what is never printed."""

import json
import os
import pickle
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from kemudi.store.errors import KeyFileRefusedError
from kemudi.store.private_files import read_key_file, write_key_file
from kemudi.store.signing import SigningKey, VerifyKeys


def test_round_trip(tmp_path: Path) -> None:
    """A saved key signs what the saved public half verifies; the private file is the owner's alone."""
    key = SigningKey.generate()
    key.save(tmp_path / "sign")
    key.verify_keys().save(tmp_path / "verify")
    signature = SigningKey.load(tmp_path / "sign").sign(b"message")
    pinned = VerifyKeys.load(str(tmp_path / "verify"))
    assert pinned.verifies(key.key_id, signature, b"message")
    assert not pinned.verifies(key.key_id, signature, b"massage")
    assert not pinned.verifies("0" * 16, signature, b"message")
    assert stat.S_IMODE((tmp_path / "sign").stat().st_mode) == 0o600
    assert [item.name for item in tmp_path.iterdir() if item.name.startswith(".")] == []


def test_raw_keys(tmp_path: Path) -> None:
    """Raw keys of 32 bytes are read as well."""
    key = Ed25519PrivateKey.generate()
    write_key_file(tmp_path / "sign", key.private_bytes_raw(), private=True)
    write_key_file(tmp_path / "verify", key.public_key().public_bytes_raw(), private=False)
    signing = SigningKey.load(tmp_path / "sign")
    assert VerifyKeys.load(tmp_path / "verify").verifies(signing.key_id, signing.sign(b"x"), b"x")


def test_several_pinned_keys(tmp_path: Path) -> None:
    """During a rotation both keys are trusted, and no third one."""
    old, new, other = (SigningKey.generate() for _ in range(3))
    old.verify_keys().merged(new.verify_keys()).save(tmp_path / "verify")
    pinned = VerifyKeys.load(tmp_path / "verify")
    assert pinned.ids == {old.key_id, new.key_id}
    for key, trusted in ((old, True), (new, True), (other, False)):
        assert pinned.verifies(key.key_id, key.sign(b"x"), b"x") is trusted


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o610, 0o601])
def test_open_private_files_are_refused(tmp_path: Path, mode: int) -> None:
    """Any right for group or others is too much; the message says how to mend it."""
    path = tmp_path / "sign"
    SigningKey.generate().save(path)
    path.chmod(mode)
    with pytest.raises(KeyFileRefusedError, match="open to others") as caught:
        SigningKey.load(path)
    assert caught.value.hint == f"chmod 600 {path}"


def test_link_to_an_open_file_is_refused(tmp_path: Path) -> None:
    """The file that is read counts, not the link to it."""
    path, link = tmp_path / "sign", tmp_path / "link"
    SigningKey.generate().save(path)
    link.symlink_to(path)
    SigningKey.load(link)
    path.chmod(0o644)
    with pytest.raises(KeyFileRefusedError, match="open to others"):
        SigningKey.load(link)


def test_strange_files(tmp_path: Path) -> None:
    """Missing files, folders, pipes, other keys and garbage are refused in one sentence that quotes nothing."""
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "folder").mkdir(mode=0o700)
    other = generate_private_key(SECP256R1())
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    write_key_file(tmp_path / "other", other.private_bytes(*form), private=True)
    write_key_file(tmp_path / "garbage", b"-----BEGIN PRIVATE KEY-----\nhunter2\n", private=True)
    write_key_file(tmp_path / "empty", b"", private=True)
    for name in ("missing", "pipe", "folder", "other", "garbage", "empty"):
        for load in (SigningKey.load, VerifyKeys.load):
            with pytest.raises(KeyFileRefusedError) as caught:
                load(tmp_path / name)
            assert "hunter2" not in str(caught.value)
    with pytest.raises(KeyFileRefusedError):
        SigningKey.generate().save(tmp_path / "no-such-folder" / "sign")


def test_private_half_is_no_verify_key(tmp_path: Path) -> None:
    """A reader that is given the private key by mistake says so instead of using it."""
    SigningKey.generate().save(tmp_path / "sign")
    with pytest.raises(KeyFileRefusedError, match="something other"):
        VerifyKeys.load(tmp_path / "sign")


def test_replaced_whole(tmp_path: Path) -> None:
    """A key file is replaced in one step and keeps its mode whatever the umask is."""
    path = tmp_path / "sign"
    before = os.umask(0)
    try:
        write_key_file(path, b"one", private=True)
        write_key_file(path, b"two", private=True)
    finally:
        os.umask(before)
    assert read_key_file(path, private=True) == b"two"


def test_never_printed() -> None:
    """A key shows its id only."""
    key = SigningKey.generate()
    for text in (repr(key), str(key), f"{key}", repr(pickle.loads(pickle.dumps(key)))):
        assert key.key_id in text
        assert len(text) < 40
    with pytest.raises(TypeError):
        json.dumps(key)
    assert key.key_id in repr(key.verify_keys())
