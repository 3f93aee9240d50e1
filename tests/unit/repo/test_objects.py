"""Objects read through one kept process are git's own, or a typed error."""

import os
import shutil
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

import pytest

from kemudi.repo.errors import (
    CorruptObjectError,
    GitFailedError,
    GitTimeoutError,
    MissingObjectError,
    UnknownRevisionError,
    WrongObjectKindError,
)
from kemudi.repo.formats import parse_commit, parse_tree
from kemudi.repo.git import Git
from kemudi.repo.objects import Objects


@pytest.fixture
def objects(sandbox) -> Iterator[Objects]:
    with Objects(Git(sandbox.root / ".git")) as found:
        yield found


def _process_id(objects: Objects) -> int:
    assert objects._process is not None
    return objects._process._process.pid


def _stream(
    objects: Objects, shas: Sequence[str], limit: int = 1 << 20, time_limit_seconds: float = 60
) -> Iterator[bytes]:
    return objects.stream(shas, limit=limit, time_limit_seconds=time_limit_seconds)


def test_a_commit_tells_who_when_and_why(sandbox, objects: Objects) -> None:
    """Names, UTC times, subject and the whole message."""
    parent = sandbox.git("rev-parse", "HEAD")
    sha = sandbox.commit({"base/sync.yaml": "A: 9\n"}, "Raise A\n\nBecause.\n\nRefs: 1", date=1_234_567_890)
    commit = objects.commit(sha)
    assert (commit.sha, commit.parents) == (sha, (parent,))
    assert commit.tree == sandbox.git("rev-parse", "HEAD^{tree}")
    assert (commit.author_name, commit.author_email) == ("Author", "author@example.org")
    assert commit.authored_at == datetime(2009, 2, 13, 23, 31, 30, tzinfo=UTC)
    assert (commit.subject, commit.message) == ("Raise A", "Raise A\n\nBecause.\n\nRefs: 1\n")


def test_trees_and_blobs_are_what_git_lists(sandbox, objects: Objects) -> None:
    """Entry by entry and byte by byte."""
    tree = objects.tree(sandbox.git("rev-parse", "HEAD^{tree}"))
    listed = sandbox.git("ls-tree", "HEAD").splitlines()
    assert len(tree) == len(listed) == 3
    for line in listed:
        _, kind, rest = line.split(" ", 2)
        sha, name = rest.split("\t")
        entry = tree[name.encode()]
        assert (entry.kind, entry.sha) == ("file" if kind == "blob" else kind, sha)
    assert objects.blob(tree[b"kemudi.yaml"].sha) == b"format: 1\n"


def test_many_objects_of_all_sizes_come_in_order(sandbox, objects: Objects) -> None:
    """Requests are pipelined in portions; sizes around the buffer's change nothing."""
    sizes = [0, 1, 4095, 4096, 65_535, 65_536, 262_143, 262_144, 262_145, 700_000] + [
        n % 257 for n in range(400)
    ]
    contents = [bytes([n % 251 + 1]) * size for n, size in enumerate(sizes)]
    sandbox.commit({f"f{n:04}": content for n, content in enumerate(contents)})
    tree = objects.tree(sandbox.git("rev-parse", "HEAD^{tree}"))
    shas = [tree[f"f{n:04}".encode()].sha for n in range(len(contents))]
    assert objects.blobs(shas) == contents
    assert objects.blobs(shas, limit=100) == [content[:100] for content in contents]
    assert objects.blobs(list(reversed(shas))) == contents[::-1]
    assert objects.blobs([]) == []
    for limit in (100, 1 << 20):
        assert list(_stream(objects, shas, limit)) == [content[:limit] for content in contents]
    assert list(_stream(objects, [])) == []


def test_a_process_that_was_killed_is_started_again(sandbox, objects: Objects) -> None:
    """The question that meets its death is asked anew."""
    sha = sandbox.git("rev-parse", "HEAD:kemudi.yaml")
    assert objects.blob(sha) == b"format: 1\n"
    first = _process_id(objects)
    os.kill(first, 9)
    assert objects.blob(sha) == b"format: 1\n"
    assert _process_id(objects) != first


def test_a_missing_object_is_named_and_the_next_answer_is_right(sandbox, objects: Objects) -> None:
    """The answers stay in step with the questions."""
    known = sandbox.git("rev-parse", "HEAD:kemudi.yaml")
    with pytest.raises(MissingObjectError, match="a" * 40) as caught:
        objects.blobs([known, "a" * 40, known])
    assert caught.value.sha == "a" * 40
    assert caught.value.exit_code == 3
    assert objects.blob(known) == b"format: 1\n"


def test_a_stream_gives_what_comes_before_a_bad_object_and_names_it(sandbox, objects: Objects) -> None:
    """Missing, of another kind, damaged, or no name of an object at all."""
    known = sandbox.git("rev-parse", "HEAD:kemudi.yaml")
    damaged = sandbox.git("rev-parse", "HEAD:base/sync.yaml")
    sandbox.damage(damaged, zlib.compress(b"blob 5\0A: 2\n"))
    for bad, error in (
        ("a" * 40, MissingObjectError),
        (sandbox.git("rev-parse", "HEAD^{tree}"), WrongObjectKindError),
        (damaged, CorruptObjectError),
    ):
        found = _stream(objects, [known, bad, known])
        assert next(found) == b"format: 1\n"
        with pytest.raises(error) as caught:
            next(found)
        assert caught.value.sha == bad
    with pytest.raises(UnknownRevisionError):
        next(_stream(objects, [f"{known}\n{known}"]))


def test_a_stream_of_a_git_that_hangs_or_dies_is_a_typed_error(sandbox, objects: Objects, fake_git) -> None:
    """It hangs until its time limit; one that dies is an error of git, for no object is damaged."""
    sha = sandbox.git("rev-parse", "HEAD:kemudi.yaml")
    fake_git("exec sleep 600")
    with pytest.raises(GitTimeoutError, match=r"git cat-file took more than 0\.5 s"):
        next(_stream(objects, [sha], time_limit_seconds=0.5))
    fake_git("exit 1")
    with pytest.raises(GitFailedError, match="no object is to blame"):
        next(_stream(objects, [sha]))


def test_an_object_of_another_kind_is_refused(sandbox, objects: Objects) -> None:
    """A tree is no blob."""
    tree = sandbox.git("rev-parse", "HEAD^{tree}")
    with pytest.raises(WrongObjectKindError, match="is a tree, not a blob"):
        objects.blob(tree)
    assert b"kemudi.yaml" in objects.tree(tree)


@pytest.mark.parametrize("bad", ["HEAD", "HEAD:kemudi.yaml", "a" * 39, "a\n" + "b" * 38, ""])
def test_nothing_but_a_sha_is_asked_for(objects: Objects, bad: str) -> None:
    """A name with a line break would shift every later answer."""
    with pytest.raises(UnknownRevisionError):
        objects.blob(bad)


@pytest.mark.parametrize("damage", ["empty", "garbage", "cut", "flipped", "other"])
def test_a_damaged_loose_object_is_named_and_harms_no_other(sandbox, objects: Objects, damage: str) -> None:
    """Whatever is wrong with its file: a typed error, no wrong bytes, and no crash of the reader."""
    sandbox.write({"base/sync.yaml": "A: " + "1" * 500 + "\n"})
    sha = sandbox.git("hash-object", "-w", "base/sync.yaml")
    good = sandbox.git("rev-parse", "HEAD:kemudi.yaml")
    raw = sandbox.object_path(sha).read_bytes()
    content = {
        "empty": b"",
        "garbage": b"garbage" * 20,
        "cut": raw[: len(raw) // 2],
        "flipped": raw[:12] + bytes([raw[12] ^ 0x10]) + raw[13:],
        "other": zlib.compress(b"blob 5\0A: 2\n"),
    }[damage]
    sandbox.damage(sha, content)
    with pytest.raises(CorruptObjectError) as caught:
        objects.blobs([good, sha, good])
    assert caught.value.sha == sha
    assert objects.blob(good) == b"format: 1\n"


def test_a_truncated_pack_is_a_typed_error(sandbox, objects: Objects) -> None:
    """The disk has lost the end of a file."""
    sha = sandbox.git("rev-parse", "HEAD:kemudi.yaml")
    sandbox.git("repack", "-a", "-d", "--quiet")
    (pack,) = (sandbox.root / ".git/objects/pack").glob("*.pack")
    pack.chmod(0o644)
    pack.write_bytes(pack.read_bytes()[:40])
    with pytest.raises(CorruptObjectError):
        objects.blob(sha)


def test_objects_survive_a_gc_and_new_packs_are_seen(sandbox, objects: Objects) -> None:
    """Repacking while the process runs changes no answer."""
    first = sandbox.git("rev-parse", "HEAD")
    assert objects.commit(first).subject == "first"
    second = sandbox.commit({"base/sync.yaml": "A: 3\n"}, "second")
    sandbox.git("gc", "--quiet", "--prune=now")
    pid = _process_id(objects)
    assert objects.blob(sandbox.git("rev-parse", "HEAD:base/sync.yaml")) == b"A: 3\n"
    assert objects.commit(second).parents == (first,)
    third = sandbox.commit({"base/sync.yaml": "A: 4\n"}, "third")
    sandbox.git("gc", "--quiet", "--prune=now")
    assert objects.commit(third).subject == "third"
    assert objects.blob(sandbox.git("rev-parse", "HEAD~2:base/sync.yaml")) == b"A: 1\n"
    assert _process_id(objects) == pid


def test_replacements_and_grafts_of_the_repository_change_nothing(sandbox, objects: Objects) -> None:
    """`git replace` would let one commit stand for another; what is read is what was signed and reviewed."""
    first = sandbox.git("rev-parse", "HEAD")
    second = sandbox.commit({"base/sync.yaml": "A: 3\n"}, "second")
    sandbox.git("replace", first, second)
    sandbox.git(
        "replace",
        sandbox.git("rev-parse", "HEAD~1:base/sync.yaml"),
        sandbox.git("hash-object", "kemudi.yaml"),
    )
    assert objects.commit(first).subject == "first"
    assert Git(sandbox.root / ".git").count(second) == 2


def test_many_threads_get_their_own_answers(sandbox, objects: Objects) -> None:
    """One is answered at a time, none gets another's bytes."""
    sandbox.commit({f"f{n}": f"content {n}" for n in range(40)})
    tree = objects.tree(sandbox.git("rev-parse", "HEAD^{tree}"))
    wrong: list[int] = []

    def read() -> None:
        for _ in range(10):
            wrong.extend(
                n for n in range(40) if objects.blob(tree[f"f{n}".encode()].sha) != f"content {n}".encode()
            )

    threads = [threading.Thread(target=read) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_closing_ends_the_process(sandbox) -> None:
    """And a later question starts a new one."""
    with Objects(Git(sandbox.root / ".git")) as objects:
        objects.commit(sandbox.git("rev-parse", "HEAD"))
        pid = _process_id(objects)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert objects.commit(sandbox.git("rev-parse", "HEAD")).subject == "first"
    objects.close()
    objects.close()


def test_a_commit_with_odd_content_is_still_read(sandbox, objects: Objects) -> None:
    """Other encodings, dates before 1970 and far away, signatures, no message."""
    tree = sandbox.git("rev-parse", "HEAD^{tree}")
    odd = [
        (b"author A <a@b> 99999999999999 +0000\ncommitter C <c@d> -5 +0000\n\n", 9999),
        (b"author Andr\xe9 <a@b> 0 +0000\ncommitter C <c@d> 0 +0000\nencoding latin-1\n\nna\xefve\n", 1970),
        (
            b"author \xff\xfe <> +\ncommitter <x\nencoding nonsense\ngpgsig -----X\n a\n \n b\n\n\n\nsubject\n",
            1970,
        ),
    ]
    for body, year in odd:
        data = f"tree {tree}\n".encode() + body
        sha = sandbox.git("hash-object", "-t", "commit", "-w", "--literally", "--stdin", data=data)
        commit = objects.commit(sha)
        assert commit.authored_at.year == year
    assert parse_commit("x", f"tree {tree}\n".encode() + odd[1][0]).author_name == "André"
    assert parse_commit("x", f"tree {tree}\n".encode() + odd[1][0]).subject == "naïve"
    assert parse_commit("x", f"tree {tree}\n".encode() + odd[2][0]).subject == "subject"


@pytest.fixture
def fake_git(tmp_path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Put a git first on PATH that does something else for `--batch`."""
    real = shutil.which("git")
    folder = tmp_path / "bin"
    folder.mkdir()

    def put(batch: str) -> None:
        (folder / "git").write_text(f'#!/bin/sh\ncase "$*" in *--batch*) {batch};; esac\nexec {real} "$@"\n')
        (folder / "git").chmod(0o755)
        monkeypatch.setenv("PATH", str(folder), prepend=":")

    return put


def test_a_reader_that_always_dies_is_an_error_of_git(sandbox, objects: Objects, fake_git) -> None:
    """No object is blamed that is not damaged."""
    fake_git("exit 1")
    sha = sandbox.git("rev-parse", "HEAD")
    with pytest.raises(GitFailedError, match="no object is to blame"):
        objects.commit(sha)


def test_a_reader_that_hangs_is_given_up_and_the_next_one_answers(sandbox, fake_git) -> None:
    """At the time limit, as on a network file system that is away."""
    sha = sandbox.git("rev-parse", "HEAD")
    with Objects(Git(sandbox.root / ".git"), time_limit_seconds=2) as objects:
        fake_git("exec sleep 600")
        with pytest.raises(GitTimeoutError):
            objects.commit(sha)
        fake_git("true")
        assert objects.commit(sha).subject == "first"


@pytest.mark.parametrize("data", [b"100644 a", b"100644 a\0short", b"x", b"100644 a\0" + b"1" * 19])
def test_a_tree_that_ends_early_is_no_tree(data: bytes) -> None:
    """ValueError, which the reader makes a CorruptObjectError."""
    with pytest.raises(ValueError, match=r"."):
        parse_tree(data)


@pytest.mark.parametrize("data", [b"", b"tree x", b"nonsense\n\nmessage", b"parent x\n\n"])
def test_a_commit_without_its_headers_is_no_commit(data: bytes) -> None:
    """ValueError, which the reader makes a CorruptObjectError."""
    with pytest.raises(ValueError, match=r"."):
        parse_commit("x", data)


def test_a_commit_object_that_names_no_objects_is_corrupt(sandbox, objects: Objects) -> None:
    """Its tree is no SHA."""
    data = b"tree main\nauthor A <a@b> 0 +0000\ncommitter C <c@d> 0 +0000\n\n"
    sha = sandbox.git("hash-object", "-t", "commit", "-w", "--literally", "--stdin", data=data)
    with pytest.raises(CorruptObjectError, match="no SHA-1 objects"):
        objects.commit(sha)


def test_a_slow_reader_and_a_small_pipe_do_not_stop_each_other(sandbox: Callable, objects: Objects) -> None:
    """Even where a pipe holds one page only, as for a user with very many pipes."""
    import fcntl

    sandbox.commit({f"f{n:03}": "x" * 3000 + str(n) for n in range(300)})
    tree = objects.tree(sandbox.git("rev-parse", "HEAD^{tree}"))
    process = objects._process
    assert process is not None
    for pipe in (process._process.stdin, process._process.stdout):
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 4096)
    shas = [tree[f"f{n:03}".encode()].sha for n in range(300)]
    assert [len(blob) for blob in objects.blobs(shas)] == [3000 + len(str(n)) for n in range(300)]
