"""HEAD and branches read in process say what git says."""

import time
from pathlib import Path

import pytest

from kemudi.repo.errors import CorruptObjectError, UnknownRevisionError, UnsupportedRepositoryError
from kemudi.repo.git import Git
from kemudi.repo.layout import Layout
from kemudi.repo.refs import Head, Refs


@pytest.fixture
def refs(sandbox) -> Refs:
    return Refs(
        Layout(sandbox.root / ".git", sandbox.root / ".git", sandbox.root), Git(sandbox.root / ".git")
    )


def test_head_names_its_branch_and_commit(sandbox, refs: Refs) -> None:
    """A loose ref is one small file."""
    assert refs.head() == Head("main", sandbox.git("rev-parse", "HEAD"))


def test_a_detached_head_has_no_branch(sandbox, refs: Refs) -> None:
    """The commit is known, the branch is not."""
    sandbox.git("checkout", "--quiet", "--detach")
    assert refs.head() == Head(None, sandbox.git("rev-parse", "HEAD"))


def test_an_unborn_branch_has_no_commit(sandbox, refs: Refs) -> None:
    """`git checkout --orphan` leaves HEAD on a branch that is not there."""
    sandbox.git("checkout", "--quiet", "--orphan", "fresh")
    assert refs.head() == Head("fresh", None)


def test_packed_refs_are_read_and_a_loose_one_wins(sandbox, refs: Refs) -> None:
    """`git pack-refs` and `git gc` move branches into one file; the next commit writes a loose one again."""
    first = sandbox.git("rev-parse", "HEAD")
    sandbox.git("tag", "-a", "-m", "annotated", "v1")
    sandbox.git("pack-refs", "--all")
    assert not (sandbox.root / ".git/refs/heads/main").exists()
    assert refs.branch_tip("main") == first
    second = sandbox.commit({"base/sync.yaml": "A: 3\n"})
    assert refs.branch_tip("main") == second
    sandbox.git("pack-refs", "--all")
    assert refs.branch_tip("main") == second


def test_packing_again_within_one_tick_of_the_clock_is_seen(sandbox, refs: Refs) -> None:
    """Packed refs of the same size, inode and time may still differ; a young file is read again."""
    shas = [sandbox.git("rev-parse", "HEAD"), sandbox.commit({"base/sync.yaml": "A: 3\n"})]
    sandbox.git("pack-refs", "--all")
    path = sandbox.root / ".git/packed-refs"
    text = path.read_text()
    for _ in range(200):
        for sha in shas:
            path.write_text(text.replace(shas[1], sha))
            assert refs.branch_tip("main") == sha


def test_a_branch_in_a_folder_and_a_missing_one(sandbox, refs: Refs) -> None:
    """`team/x` is a file in a folder; `team` is then no branch."""
    sandbox.git("branch", "team/x")
    assert refs.branch_tip("team/x") == sandbox.git("rev-parse", "HEAD")
    assert refs.branch_tip("team") is None
    assert refs.branch_tip("nowhere") is None
    assert refs.branch_tip("main/below") is None


def test_a_head_outside_of_the_branches_is_on_none(sandbox, refs: Refs) -> None:
    """As some tools leave it; the commit is known."""
    sandbox.git("update-ref", "refs/remotes/origin/main", "HEAD")
    sandbox.git("symbolic-ref", "HEAD", "refs/remotes/origin/main")
    assert refs.head() == Head(None, sandbox.git("rev-parse", "main"))


def test_a_head_that_is_a_symlink_is_left_to_git(sandbox, refs: Refs) -> None:
    """The way of git's first years."""
    (sandbox.root / ".git/HEAD").unlink()
    (sandbox.root / ".git/HEAD").symlink_to("refs/heads/main")
    assert refs.head() == Head("main", sandbox.git("rev-parse", "main"))


def test_a_deleted_branch_is_gone_at_the_next_look(sandbox, refs: Refs) -> None:
    """Loose or packed."""
    sandbox.git("branch", "loose")
    sandbox.git("branch", "packed")
    sandbox.git("pack-refs", "--all")
    sandbox.git("branch", "--force", "loose", "main")
    assert refs.branch_tip("packed") is not None
    sandbox.git("branch", "-D", "loose", "packed")
    assert (refs.branch_tip("loose"), refs.branch_tip("packed")) == (None, None)


@pytest.mark.parametrize(
    "name",
    [
        "../../config",
        "..",
        "a/../b",
        "/etc/passwd",
        "a//b",
        ".hidden",
        "x.lock",
        "a\nb",
        "a\0b",
        "a b",
        "",
        "a@{1}",
    ],
)
def test_a_branch_name_cannot_lead_out_of_the_refs(refs: Refs, name: str) -> None:
    """Git's own rules for names, held before any file is opened."""
    with pytest.raises(UnknownRevisionError):
        refs.branch_tip(name)


def test_a_symbolic_branch_is_left_to_git(sandbox, refs: Refs) -> None:
    """`refs/heads/alias` may stand for another branch."""
    sandbox.git("symbolic-ref", "refs/heads/alias", "refs/heads/main")
    assert refs.branch_tip("alias") == sandbox.git("rev-parse", "main")


def test_a_ref_that_is_a_symlink_is_not_followed_by_us(sandbox, refs: Refs, tmp_path: Path) -> None:
    """Its target's bytes are never taken for a commit; git, which is asked instead, finds none there either."""
    (tmp_path / "secret").write_text("no commit at all\n")
    (sandbox.root / ".git/refs/heads/trap").symlink_to(tmp_path / "secret")
    with pytest.raises(CorruptObjectError):
        refs.branch_tip("trap")


@pytest.mark.parametrize("content", [b"", b"nonsense\n", b"a" * 39 + b"\n", b"\0" * 41])
def test_a_damaged_ref_is_not_taken_for_a_missing_one(sandbox, refs: Refs, content: bytes) -> None:
    """A power failure can leave an empty file; a counter that starts anew would be worse than an error."""
    (sandbox.root / ".git/refs/heads/main").write_bytes(content)
    with pytest.raises(CorruptObjectError, match="main"):
        refs.branch_tip("main")


def test_a_repository_with_another_ref_store_is_left_to_git(sandbox, refs: Refs) -> None:
    """With reftable `refs/heads` is a file and HEAD a placeholder: git answers, or says that it cannot."""
    git_dir = sandbox.root / ".git"
    sandbox.git("pack-refs", "--all")
    sandbox.git("config", "core.repositoryformatversion", "1")
    sandbox.git("config", "extensions.refstorage", "nosuchstore")
    (git_dir / "refs/heads").rmdir()
    (git_dir / "refs/heads").write_text("this repository uses the reftable format\n")
    (git_dir / "HEAD").write_text("ref: refs/heads/.invalid\n")
    with pytest.raises(UnsupportedRepositoryError):
        refs.branch_tip("main")
    with pytest.raises(UnsupportedRepositoryError):
        refs.head()


def test_a_look_without_news_costs_no_process(refs: Refs) -> None:
    """Polling is reading two small files: far below the price of starting git."""
    refs.head()
    best = min(_timed(refs) for _ in range(50))
    assert best < 0.001


def _timed(refs: Refs) -> float:
    start = time.perf_counter()
    refs.head()
    return time.perf_counter() - start


def test_no_file_stays_open(refs: Refs) -> None:
    """A thousand looks leave no descriptor behind."""
    refs.head()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(1000):
        refs.head()
        refs.branch_tip("nowhere")
    assert len(list(Path("/proc/self/fd").iterdir())) == before
