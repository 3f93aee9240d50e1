"""The work tree read in process: what is there, cheaply, and nothing from outside of it."""

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kemudi.repo.errors import UnreadableFolderError
from kemudi.repo.paths import READ_BYTES
from kemudi.repo.worktree import WorkTree
from kemudi.schema.paths import File

LONG_AGO = 3.0


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "cfg"
    for name, content in {
        "kemudi.yaml": "format: 1\n",
        "base/sync.yaml": "A: 1\n",
        "dev/sync.yaml": "A: 2\n",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


@pytest.fixture
def count_opens(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files (not folders) that were opened."""
    opened: list[str] = []
    real = os.open

    def spy(path, flags, *args, **kwargs):
        if not flags & os.O_DIRECTORY:
            opened.append(str(path))
        return real(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", spy)
    return opened


def _age(*paths: Path) -> None:
    """Wait until no stamp of these files is young: then an unchanged stamp proves an unchanged file."""
    while any(time.time_ns() - path.stat().st_ctime_ns < 50_000_000 for path in paths):
        time.sleep(0.005)


def test_the_first_look_finds_everything(folder: Path) -> None:
    """Files, as changes, and a digest."""
    scan = WorkTree(folder).scan()
    assert dict(scan.files) == dict(scan.changes)
    assert scan.files["base/sync.yaml"] == File("base/sync.yaml", b"A: 1\n")
    assert sorted(scan.files) == ["base/sync.yaml", "dev/sync.yaml", "kemudi.yaml"]
    assert scan.revision == f"worktree@{scan.digest}"
    assert len(scan.digest) == 12
    assert scan.unsettled == ()


def test_the_digest_tells_contents_and_not_the_way_there(folder: Path, tmp_path: Path) -> None:
    """Two trees with the same files have the same digest, whatever was done to them before."""
    tree = WorkTree(folder, settle_seconds=0)
    first = tree.scan().digest
    (folder / "base/sync.yaml").write_text("A: 9\n")
    (folder / "base/other.yaml").write_text("B: 1\n")
    changed = tree.scan().digest
    assert changed != first
    assert WorkTree(folder).scan().digest == changed
    (folder / "base/other.yaml").unlink()
    (folder / "base/sync.yaml").write_text("A: 1\n")
    assert tree.scan().digest == first
    (folder / "base/sync.yaml").rename(folder / "base/sink.yaml")
    assert tree.scan().digest not in (first, changed)


def test_a_save_that_is_named_costs_that_file_alone(folder: Path, count_opens: list[str]) -> None:
    """Neither listing nor reading of anything else."""
    tree = WorkTree(folder)
    tree.scan()
    count_opens.clear()
    (folder / "dev/sync.yaml").write_text("A: 55\n")
    count_opens.clear()
    scan = tree.scan([folder / "dev" / "sync.yaml"])
    assert dict(scan.changes) == {"dev/sync.yaml": File("dev/sync.yaml", b"A: 55\n")}
    assert count_opens == ["sync.yaml"]
    assert len(scan.files) == 3


def test_an_unchanged_tree_is_not_read_again(folder: Path, count_opens: list[str]) -> None:
    """One stat a file, once the stamps are old enough to prove something."""
    tree = WorkTree(folder)
    _age(*folder.rglob("*.yaml"))
    before = tree.scan()
    count_opens.clear()
    after = tree.scan()
    assert count_opens == []
    assert dict(after.changes) == {}
    assert after.digest == before.digest


def test_two_saves_within_one_tick_of_the_clock_are_both_seen(folder: Path) -> None:
    """Same size, same inode, same time stamp: a file that is younger than the tick is read again."""
    tree = WorkTree(folder)
    path = folder / "base/sync.yaml"
    tree.scan()
    for number in range(300):
        path.write_text(f"A: {number % 10}\n")
        assert tree.scan().files["base/sync.yaml"].data == f"A: {number % 10}\n".encode()


def test_a_touched_file_is_no_change(folder: Path) -> None:
    """The same object goes on, so that nothing is parsed again."""
    tree = WorkTree(folder)
    before = tree.scan().files["base/sync.yaml"]
    os.utime(folder / "base/sync.yaml", (1, 1))
    (folder / "dev/sync.yaml").chmod(0o600)
    scan = tree.scan()
    assert dict(scan.changes) == {}
    assert scan.files["base/sync.yaml"] is before


def test_a_forged_time_stamp_hides_nothing(folder: Path) -> None:
    """`touch -r` can set the time of modification, not that of the change."""
    tree = WorkTree(folder)
    path = folder / "base/sync.yaml"
    _age(path)
    tree.scan()
    old = path.stat()
    path.write_text("A: 7\n")
    os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))
    assert tree.scan().changes["base/sync.yaml"].data == b"A: 7\n"


def test_editors_scratch_files_are_not_there(folder: Path) -> None:
    """Swap, backup and temporary files of the usual editors, also when they are named."""
    names = [
        "sync.yaml~",
        ".sync.yaml.swp",
        ".sync.yaml.swo",
        "4913",
        "sync.yaml.tmp",
        ".#sync.yaml",
        "#sync.yaml#",
    ]
    for name in names:
        (folder / "base" / name).write_text("A: 666\n")
    (folder / ".git").mkdir()
    (folder / ".git" / "x.yaml").write_text("A: 1\n")
    tree = WorkTree(folder)
    assert len(tree.scan().files) == 3
    assert dict(tree.scan([folder / "base" / name for name in names]).changes) == {}
    assert dict(tree.scan([folder / ".git" / "x.yaml"]).changes) == {}


def test_a_rename_over_the_file_is_one_change(folder: Path) -> None:
    """How `sed -i`, `git checkout` and careful editors save."""
    tree = WorkTree(folder)
    tree.scan()
    (folder / "base/sync.yaml.tmp").write_text("A: 3\n")
    (folder / "base/sync.yaml.tmp").replace(folder / "base/sync.yaml")
    scan = tree.scan([folder / "base/sync.yaml.tmp", folder / "base/sync.yaml"])
    assert dict(scan.changes) == {"base/sync.yaml": File("base/sync.yaml", b"A: 3\n")}


def test_a_file_that_is_renamed_away_before_it_is_written_anew_never_vanishes(folder: Path) -> None:
    """Vim's way to save; in between the settings of the file would fall back to a lower layer."""
    clock = Clock()
    tree = WorkTree(folder, clock=clock)
    tree.scan()
    (folder / "base/sync.yaml").rename(folder / "base/sync.yaml~")
    scan = tree.scan(["base/sync.yaml"])
    assert dict(scan.changes) == {}
    assert scan.unsettled == ("base/sync.yaml",)
    assert "base/sync.yaml" in scan.files
    (folder / "base/sync.yaml").write_text("A: 3\n")
    scan = tree.scan(["dev/sync.yaml"])
    assert scan.changes["base/sync.yaml"].data == b"A: 3\n"
    assert scan.unsettled == ()


def test_a_deleted_file_is_gone_after_the_time_to_settle(folder: Path) -> None:
    """By any later look, named or not."""
    clock = Clock()
    tree = WorkTree(folder, clock=clock)
    tree.scan()
    (folder / "base/sync.yaml").unlink()
    assert tree.scan().unsettled == ("base/sync.yaml",)
    clock.now += LONG_AGO
    assert dict(tree.scan([]).changes) == {"base/sync.yaml": None}
    assert "base/sync.yaml" not in tree.scan().files


def test_an_emptied_file_keeps_its_content_for_a_moment(folder: Path) -> None:
    """Between truncating and writing an editor must not switch the settings off."""
    tree = WorkTree(folder, settle_seconds=30)
    tree.scan()
    path = folder / "base/sync.yaml"
    path.write_text("")
    for scan in (tree.scan(), tree.scan([path])):
        assert dict(scan.changes) == {}
        assert scan.unsettled == ("base/sync.yaml",)
    path.write_text("A: 12\n")
    assert tree.scan([path]).changes["base/sync.yaml"].data == b"A: 12\n"


def test_an_empty_file_that_stays_empty_is_taken(folder: Path) -> None:
    """An empty file is a valid one."""
    tree = WorkTree(folder, settle_seconds=0.05)
    tree.scan()
    (folder / "base/sync.yaml").write_text("")
    _age(folder / "base/sync.yaml")
    assert tree.scan().changes["base/sync.yaml"].data == b""


def test_a_shrunken_file_waits_unless_its_writer_has_closed_it(folder: Path) -> None:
    """A poll may meet a save half way; an event that names the file says that it is complete."""
    path = folder / "base/sync.yaml"
    path.write_text("A: 1\nB: 2\n")
    tree = WorkTree(folder, settle_seconds=30)
    tree.scan()
    path.write_text("A: 1\n")
    assert tree.scan().unsettled == ("base/sync.yaml",)
    assert tree.scan([path]).changes["base/sync.yaml"].data == b"A: 1\n"


def test_links_are_reported_and_never_followed(folder: Path, tmp_path: Path) -> None:
    """A file, a folder and a parent that lead out; the bytes behind them are nowhere."""
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "sync.yaml").write_text("TOP: secret\n")
    tree = WorkTree(folder, settle_seconds=0)
    tree.scan()
    (folder / "dev/sync.yaml").unlink()
    (folder / "dev/sync.yaml").symlink_to(secret / "sync.yaml")
    (folder / "base/sync.yaml").unlink()
    (folder / "base").rmdir()
    (folder / "base").symlink_to(secret)
    scan = tree.scan([folder / "dev/sync.yaml", folder / "base/sync.yaml"])
    assert dict(scan.changes) == {
        "dev/sync.yaml": File("dev/sync.yaml", b"", "symlink"),
        "base": File("base", b"", "symlink"),
        "base/sync.yaml": None,
    }
    assert dict(WorkTree(folder).scan().files) == dict(scan.files)
    assert not any(b"secret" in file.data for file in scan.files.values())


@pytest.mark.parametrize("path", ["../outside.yaml", "/etc/passwd", "base/../../outside.yaml", "..", "/"])
def test_a_named_path_outside_of_the_tree_is_left_aside(
    folder: Path, count_opens: list[str], path: str
) -> None:
    """It is not even opened."""
    (folder.parent / "outside.yaml").write_text("A: 1\n")
    tree = WorkTree(folder)
    tree.scan()
    count_opens.clear()
    assert dict(tree.scan([path]).changes) == {}
    assert count_opens == []


def test_what_is_no_file_is_not_waited_for(folder: Path) -> None:
    """A FIFO or a socket in a file's place is left aside."""
    os.mkfifo(folder / "base/pipe.yaml")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "base/socket.yaml"))
        tree = WorkTree(folder)
        assert len(tree.scan().files) == 3
        assert dict(tree.scan(["base/pipe.yaml"]).changes) == {}


def test_a_nested_repository_is_a_submodule(folder: Path) -> None:
    """It is reported as one and not looked into."""
    (folder / "staging/.git").mkdir(parents=True)
    (folder / "staging/sync.yaml").write_text("A: 1\n")
    files = WorkTree(folder).scan().files
    assert files["staging"].kind == "submodule"
    assert "staging/sync.yaml" not in files


def test_folders_come_and_go(folder: Path) -> None:
    """A folder that is named stands for all that is in it."""
    tree = WorkTree(folder, settle_seconds=0)
    tree.scan()
    (folder / "prod").mkdir()
    (folder / "prod/sync.yaml").write_text("A: 5\n")
    (folder / "prod/graph.yaml").write_text("B: 5\n")
    assert tree.scan([folder / "prod"]).changes.keys() == {"prod/sync.yaml", "prod/graph.yaml"}
    (folder / "prod").rename(folder.parent / "away")
    assert dict(tree.scan([folder / "prod"]).changes) == {"prod/sync.yaml": None, "prod/graph.yaml": None}
    (folder / "prod").write_text("now a file")
    assert dict(tree.scan([folder / "prod"]).changes) == {}


def test_a_folder_in_the_place_of_a_file(folder: Path) -> None:
    """The file is gone, whatever is in the folder."""
    tree = WorkTree(folder, settle_seconds=0)
    tree.scan()
    (folder / "dev/sync.yaml").unlink()
    (folder / "dev/sync.yaml").mkdir()
    assert dict(tree.scan(["dev/sync.yaml"]).changes) == {"dev/sync.yaml": None}


def test_naming_the_root_looks_at_everything(folder: Path) -> None:
    """As no names at all."""
    tree = WorkTree(folder)
    assert len(tree.scan([folder]).changes) == 3


def test_a_huge_file_is_read_no_further_than_validation_needs(folder: Path) -> None:
    """And it is no commit's file of that length."""
    (folder / "base/big.yaml").write_bytes(b"#" * (READ_BYTES + 500_000))
    assert len(WorkTree(folder).scan().files["base/big.yaml"].data) == READ_BYTES


def test_a_tree_that_is_away_is_an_error_and_comes_back(folder: Path) -> None:
    """Exit 3; what was known stands, so nothing is lost when a folder is swapped."""
    tree = WorkTree(folder)
    tree.scan()
    folder.rename(folder.with_name("away"))
    with pytest.raises(UnreadableFolderError, match="cfg cannot be read") as caught:
        tree.scan()
    assert caught.value.exit_code == 3
    folder.with_name("away").rename(folder)
    assert dict(tree.scan().changes) == {}


def test_an_unreadable_file_is_an_error_with_its_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`chmod 000` must not switch its settings off."""
    tree = WorkTree(folder)
    tree.scan()
    (folder / "base/sync.yaml").write_text("A: 3\n")
    real = os.open

    def refuse(path, flags, *args, **kwargs):
        if path == "sync.yaml":
            raise PermissionError(
                13, "Permission denied", path
            )  # the tests may run as root, who may read anything
        return real(path, flags, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        with pytest.raises(UnreadableFolderError, match=r"/sync\.yaml cannot be read: Permission denied"):
            tree.scan()
    assert tree.scan().changes["base/sync.yaml"].data == b"A: 3\n"


def test_a_clean_tree_matches_its_commit_and_a_dirty_one_says_where(sandbox, opened: Callable) -> None:
    """So that a clean work tree is served under its commit's SHA."""
    repository = opened(sandbox.root)
    ids = repository.file_ids(repository.head().sha)
    tree = WorkTree(sandbox.root, settle_seconds=0)
    tree.scan()
    assert tree.matches(ids)
    assert tree.differences(ids) == ()
    (sandbox.root / "base/sync.yaml").write_text("A: 4\n")
    (sandbox.root / "base/new.yaml").write_text("B: 1\n")
    (sandbox.root / "dev/sync.yaml").unlink()
    tree.scan()
    assert not tree.matches(ids)
    assert tree.differences(ids) == ("base/new.yaml", "base/sync.yaml", "dev/sync.yaml")
    after = sandbox.commit({})
    assert tree.matches(repository.file_ids(after))
    (sandbox.root / "base/sync.yaml").rename(sandbox.root / "base/sink.yaml")
    tree.scan()
    assert not tree.matches(repository.file_ids(after))


def test_a_committed_symlink_matches(sandbox, opened: Callable) -> None:
    """Links are compared by their target, which is not kept."""
    (sandbox.root / "prod").symlink_to("/nowhere")
    sha = sandbox.commit({})
    tree = WorkTree(sandbox.root)
    tree.scan()
    assert tree.matches(opened(sandbox.root).file_ids(sha))


def test_no_file_stays_open(folder: Path) -> None:
    """Whatever a look meets."""
    tree = WorkTree(folder, settle_seconds=0)
    (folder / "base/link.yaml").symlink_to("nowhere")
    tree.scan()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(50):
        tree.scan()
        tree.scan(
            ["base/sync.yaml", "base/none.yaml", "none/none.yaml", "base/link.yaml", "base/link.yaml/x.yaml"]
        )
    assert len(list(Path("/proc/self/fd").iterdir())) == before
