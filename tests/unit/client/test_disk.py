"""The disk copy as a file."""

import os
import stat
from hashlib import sha256

import pytest

from kemudi.client.disk import DiskCopy, copy_path
from kemudi.client.errors import CopyRefusedError


def digest(blob):
    return sha256(blob).hexdigest()


def never(missing):
    raise AssertionError(f"asked for {missing}")


def test_what_was_saved_is_read_back(tmp_path):
    """Manifest and blobs come back; the file and its folder are the owner's alone."""
    copy = DiskCopy(tmp_path / "state" / "dev" / "a.copy")
    assert copy.read() is None
    blobs = {digest(blob): blob for blob in (b"one", b"", b"x" * 70_000)}
    assert copy.save(b"manifest", list(blobs), blobs, never)
    assert copy.read() == (b"manifest", blobs)
    assert stat.S_IMODE(copy.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(copy.path.parent.stat().st_mode) == 0o700
    assert list(copy.path.parent.iterdir()) == [copy.path]


def test_unchanged_blobs_come_from_the_copy_before(tmp_path):
    """Only what is new has to be at hand; what neither has is fetched; what nobody has keeps the old copy."""
    copy = DiskCopy(tmp_path / "a.copy")
    one, two, three = digest(b"one"), digest(b"two"), digest(b"three")
    assert copy.save(b"first", [one], {one: b"one"}, never)
    assert copy.save(b"second", [one, two], {two: b"two"}, never)
    assert copy.read() == (b"second", {one: b"one", two: b"two"})
    assert copy.save(
        b"third", [two, three], {}, lambda missing: {three: b"three"} if list(missing) == [three] else {}
    )
    assert copy.read() == (b"third", {two: b"two", three: b"three"})
    assert not copy.save(b"fourth", [one], {}, lambda _missing: {})
    assert copy.read()[0] == b"third"


@pytest.mark.parametrize(
    "damage", [b"", b"something else", b"kemudi-copy 1\n", b"kemudi-copy 1\n\0\0\0\0\0\0\0\x09cut"]
)
def test_a_damaged_copy_is_refused(tmp_path, damage):
    """An empty, foreign or cut-off file is refused, and replaced by the next save."""
    copy = DiskCopy(tmp_path / "a.copy")
    copy.path.write_bytes(damage)
    with pytest.raises(CopyRefusedError):
        copy.read()
    assert copy.save(b"manifest", [digest(b"one")], {digest(b"one"): b"one"}, never)
    assert copy.read()[0] == b"manifest"


def test_a_copy_that_is_a_link_is_refused(tmp_path):
    """A symbolic link in the place of the copy is not followed."""
    (tmp_path / "other").write_bytes(b"kemudi-copy 1\n")
    (tmp_path / "a.copy").symlink_to(tmp_path / "other")
    with pytest.raises(CopyRefusedError):
        DiskCopy(tmp_path / "a.copy").read()


def test_a_copy_that_cannot_be_written_leaves_the_one_before(tmp_path, monkeypatch):
    """When the disk is full nothing is left behind and the copy before stays whole."""
    copy = DiskCopy(tmp_path / "a.copy")
    one = digest(b"one")
    copy.save(b"first", [one], {one: b"one"}, never)

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        copy.save(b"second", [one], {}, never)
    assert copy.read()[0] == b"first"
    assert list(tmp_path.iterdir()) == [copy.path]


def test_services_and_categories_have_copies_of_their_own(tmp_path):
    """No two environments, services or choices of categories share a file, and no name leaves the folder."""
    paths = [
        copy_path(tmp_path, env, service, categories)
        for env in ("dev", "../../etc")
        for service in ("a", "../a", "A")
        for categories in (None, ["x"], ["x", "y"])
    ]
    assert len({str(path).casefold() for path in paths}) == len(paths)
    assert all(path.parent.parent == tmp_path for path in paths)
