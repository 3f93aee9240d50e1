"""A commit put into effect: the branch, the index and the files of the work tree go over together, or not at all.

The order is files, index, branch. So every state that a crash can leave is one that `git status` tells truly: a change
that is not committed yet. The other way round the index would hold the reverse of the new commit, and the next
`git commit` would take it back without a word. What a crash left is undone from a journal by the next writer; once
the branch has moved, there is nothing left to do.
"""

import contextlib
import fcntl
import json
import os
import secrets
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from kemudi.repo.errors import GitFailedError, HeadMovedError, UnknownRevisionError
from kemudi.repo.git import NO_COMMIT, Git
from kemudi.repo.index_swap import check_unlocked, own_folder, replace_entries, unlink_own_lock
from kemudi.repo.layout import Layout
from kemudi.repo.loose import read_regular, replace_file, sync_folder
from kemudi.repo.people import KEMUDI
from kemudi.repo.refs import Refs
from kemudi.repo.walk import blob_sha
from kemudi.schema.errors import ConflictError, UsageError
from kemudi.schema.failpoints import failpoint
from kemudi.schema.sentences import sentence

HEADS: Final = "refs/heads/"

_AGAIN_SECONDS: Final = 0.005
_PATIENCE_SECONDS: Final = 10.0
_UNDER_WAY: Final = {
    "MERGE_HEAD": sentence("a merge"),
    "CHERRY_PICK_HEAD": sentence("a cherry-pick"),
    "REVERT_HEAD": sentence("a revert"),
    "rebase-merge": sentence("a rebase"),
    "rebase-apply": sentence("a rebase"),
}


@dataclass(frozen=True, slots=True)
class Swap:
    """One file from one content to another.

    Attributes:
        path: From the top of the repository.
        old: SHA of the blob before, None for no file.
        new: SHA of the blob after, None for no file.
        executable: Whether git has it as such.
    """

    path: str
    old: str | None
    new: str | None
    executable: bool = False


@dataclass(frozen=True, slots=True)
class Landing:
    """What goes over together.

    Attributes:
        branch: The branch to move; made when `old` is None.
        old: The commit that it is on.
        new: The commit that it comes to.
        subject: For the reflog.
        swaps: Files of the work tree; empty when the branch is checked out nowhere.
    """

    branch: str
    old: str | None
    new: str
    subject: str
    swaps: tuple[Swap, ...] = ()


def land(where: Layout, landing: Landing) -> None:
    """Move the branch, and the work tree with it. The objects of the new commit have to be on disk.

    Raises HeadMovedError when the branch is no longer where it was, GitLockedError while another git writes,
    ConflictError when a file of the work tree has changes of its own; then everything is as it was.
    """
    with writing(where) as lock:
        _undo_rest(where)
        _check_tip(where, landing)
        if landing.swaps:
            check_idle(where)
            check_untouched(where, landing.swaps)
            _write_journal(where, landing)
        failpoint("changes.journal")
        try:
            _over(where, landing, lock)
        except BaseException:
            _undo_rest(where)
            raise
        failpoint("changes.landed")
        _journal(where).unlink(missing_ok=True)


def settle(where: Layout) -> None:
    """Wait until no other writer is in the middle of a landing, and undo what a dead one left."""
    with writing(where):
        _undo_rest(where)


def recover(where: Layout) -> bool:
    """Undo what a crash of another writer left half done. Returns whether there was anything."""
    if not _journal(where).exists():
        return False
    with writing(where):
        return _undo_rest(where)


def check_untouched(where: Layout, swaps: Sequence[Swap]) -> None:
    """Raise ConflictError if a file has changes that are not committed: they are not ours to overwrite."""
    staged = _staged(where, [swap.path for swap in swaps])
    for swap in swaps:
        if _on_disk(where, swap.path) != swap.old:
            raise ConflictError(
                sentence("%(path)s has changes that are not committed", path=swap.path),
                hint=sentence("Commit them, or set them aside with `git stash`; then try again."),
            )
        if staged.get(swap.path) != swap.old:
            raise ConflictError(
                sentence("%(path)s has staged changes", path=swap.path),
                hint=sentence("Commit them, or take them back; then try again."),
            )


def check_idle(where: Layout) -> None:
    """A commit in the middle of a merge would be neither the merge nor the change. Raises ConflictError."""
    for name, what in _UNDER_WAY.items():
        if (where.git_dir / name).exists():
            raise ConflictError(
                sentence("%(what)s is under way in %(worktree)s", what=what, worktree=where.worktree),
                hint=sentence("Finish it, or abort it."),
            )


def check_checked_out(where: Layout, branch: str) -> None:
    """Raise ConflictError if a branch is checked out in another work tree: its files would lag behind."""
    mine = where.git_dir.resolve()
    others = [where.common_dir, *sorted((where.common_dir / "worktrees").glob("*"))]
    for git_dir in others:
        if git_dir.resolve() == mine or _is_bare(git_dir):
            continue
        with contextlib.suppress(OSError):
            if (git_dir / "HEAD").read_text(encoding="utf-8").strip() == f"ref: {HEADS}{branch}":
                raise ConflictError(
                    sentence(
                        "the branch %(branch)s is checked out in another work tree (%(name)s)",
                        branch=branch,
                        name=git_dir.name,
                    ),
                    hint=sentence("Make the change there, or switch that work tree to another branch."),
                )


@contextlib.contextmanager
def writing(where: Layout) -> Iterator[int]:
    """Keep Kemudi's other writers out, by a lock that dies with its process. Gives the lock's handle."""
    folder = own_folder(where.common_dir)
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise ConflictError(
                        sentence("another Kemudi is writing here"), hint=sentence("Try again.")
                    ) from None
                time.sleep(_AGAIN_SECONDS)
        yield handle
    finally:
        os.close(handle)


def _check_tip(where: Layout, landing: Landing) -> None:
    if Refs(where, Git(where.git_dir)).tip(HEADS + landing.branch) != landing.old:
        raise HeadMovedError(
            sentence("the branch %(branch)s moved meanwhile", branch=landing.branch),
            hint=sentence("Try again."),
        )


def _over(where: Layout, landing: Landing, lock: int) -> None:
    for swap in landing.swaps:
        put_file(where, swap.path, None if swap.new is None else _blob(where, swap.new))
        failpoint("changes.file")
    if landing.swaps:
        replace_entries(where, {swap.path: (swap.new, swap.executable) for swap in landing.swaps})
    failpoint("changes.index")
    _move(where, landing, lock)
    failpoint("changes.ref")


def _move(where: Layout, landing: Landing, lock: int) -> None:
    """Move the branch from the commit that was read to the new one; git compares and sets."""
    extra = {"GIT_COMMITTER_NAME": KEMUDI.name, "GIT_COMMITTER_EMAIL": KEMUDI.email}
    ref = HEADS + landing.branch
    arguments = ("-m", f"commit: {landing.subject}", "--end-of-options", ref, landing.new)
    try:
        # Git keeps our lock while it runs: when we are killed, nobody judges the branch before git is done with it.
        Git(where.git_dir).run(
            "update-ref", *arguments, landing.old or NO_COMMIT, extra=extra, inherited=(lock,)
        )
    except GitFailedError as error:
        if any(word in error.stderr for word in ("but expected", "already exists", "unable to resolve")):
            message = sentence("the branch %(branch)s moved while the change was made", branch=landing.branch)
            raise HeadMovedError(message, hint=sentence("Try again.")) from None
        if "cannot create" in error.stderr or "refusing to update" in error.stderr:
            raise UnknownRevisionError(
                sentence("%(branch)s cannot be the name of a branch", branch=landing.branch)
            ) from None
        raise


def _undo_rest(where: Layout) -> bool:
    """With the lock held: bring files and index back to the branch, where an unfinished landing had them."""
    journal = _journal(where)
    for left in journal.parent.glob("*.tmp"):
        left.unlink(missing_ok=True)
    try:
        landing = _read_journal(journal)
    except FileNotFoundError:
        return False
    unlink_own_lock(where)
    if landing is not None and not _has_landed(where, landing):
        _take_back(where, landing)
    journal.unlink(missing_ok=True)
    return landing is not None


def _take_back(where: Layout, landing: Landing) -> None:
    head = Refs(where, Git(where.git_dir)).head()
    if head.branch != landing.branch:
        return  # the user has gone elsewhere, and git has settled these files with them
    wanted = _committed(where, head.sha, [swap.path for swap in landing.swaps])
    staged = _staged(where, [swap.path for swap in landing.swaps])
    back: dict[str, tuple[str | None, bool]] = {}
    for swap in landing.swaps:
        now = wanted.get(swap.path)
        if now == swap.new:
            continue
        # Whatever was edited since is not ours any more.
        if _on_disk(where, swap.path) == swap.new:
            put_file(where, swap.path, None if now is None else _blob(where, now))
        if staged.get(swap.path) == swap.new:
            back[swap.path] = (now, swap.executable)
    if back:
        replace_entries(where, back)


def _has_landed(where: Layout, landing: Landing) -> bool:
    git = Git(where.git_dir)
    tip = Refs(where, git).tip(HEADS + landing.branch)
    return tip is not None and (tip == landing.new or git.is_ancestor(landing.new, tip))


def put_file(where: Layout, path: str, data: bytes | None) -> None:
    """Put one file of the work tree in place by one rename, or take it away. Raises UsageError."""
    target = _target(where, path)
    try:
        if data is None:
            target.unlink(missing_ok=True)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else None
        # Not beside its target: what a crash leaves there would show in `git status`.
        beside = own_folder(where.git_dir) / f"{secrets.token_hex(6)}.tmp"
        replace_file(beside, data, mode=mode, durable=True)
        try:
            beside.replace(target)
        except OSError:
            beside.unlink(missing_ok=True)  # the repository is on another file system
            replace_file(target, data, mode=mode, durable=True)
        sync_folder(target.parent)
    except OSError as error:
        raise UsageError(
            sentence("%(path)s cannot be written: %(strerror)s", path=path, strerror=error.strerror)
        ) from None


def _target(where: Layout, path: str) -> Path:
    assert where.worktree is not None  # noqa: S101  # only a landing in a work tree has swaps
    folder = where.worktree
    for part in path.split("/")[:-1]:
        folder = folder / part
        if folder.is_symlink():
            raise UsageError(
                sentence(
                    "%(path)s cannot be written: %(folder)s is a symbolic link", path=path, folder=folder
                )
            )
    return where.worktree / path


def _on_disk(where: Layout, path: str) -> str | None:
    """The blob that a file of the work tree would be, None for no file."""
    target = _target(where, path)
    try:
        _, data = read_regular(target)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UsageError(
            sentence("%(path)s cannot be changed: %(strerror)s", path=path, strerror=error.strerror)
        ) from None
    return blob_sha(data)


def _staged(where: Layout, paths: Sequence[str]) -> dict[str, str]:
    listed = Git(where.git_dir, worktree=where.worktree).run("ls-files", "-z", "--stage", "--", *paths)
    found: dict[str, str] = {}
    for line in filter(None, listed.split(b"\0")):
        facts, _, name = line.partition(b"\t")
        found[os.fsdecode(name)] = facts.split()[1].decode()
    return found


def _committed(where: Layout, sha: str | None, paths: Sequence[str]) -> dict[str, str]:
    if sha is None:
        return {}
    listed = Git(where.git_dir).run("ls-tree", "-z", "--full-tree", sha, "--", *paths)
    found: dict[str, str] = {}
    for line in filter(None, listed.split(b"\0")):
        facts, _, name = line.partition(b"\t")
        found[os.fsdecode(name)] = facts.split()[2].decode()
    return found


def _blob(where: Layout, sha: str) -> bytes:
    return Git(where.git_dir).run("cat-file", "blob", sha)


def _journal(where: Layout) -> Path:
    return where.git_dir / "kemudi" / "landing.json"


def _write_journal(where: Layout, landing: Landing) -> None:
    check_unlocked(where)
    own_folder(where.git_dir)
    replace_file(_journal(where), json.dumps(asdict(landing)).encode(), mode=0o600, durable=True)


def _read_journal(path: Path) -> Landing | None:
    """None for what no version of this module has written."""
    try:
        found = json.loads(path.read_bytes())
        swaps = tuple(Swap(**swap) for swap in found.pop("swaps"))
        return Landing(**found, swaps=swaps)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _is_bare(git_dir: Path) -> bool:
    return git_dir.name != ".git" and git_dir.parent.name != "worktrees"
