"""What a person does with git: start a repository, commit some files. The only module that imports GitPython.

A commit is built beside the user's index: from the tree of HEAD and the bytes of the named files, with no filter, no
hook and no other staged change. The branch then moves only if it still is where the caller read it.
"""

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from kemudi.repo import layout
from kemudi.repo.errors import GitFailedError, HeadMovedError, NoConfigRepositoryError
from kemudi.repo.git import NO_COMMIT, Git, locked_error, program
from kemudi.repo.landing import check_idle
from kemudi.repo.layout import Layout
from kemudi.repo.loose import read_regular, write_object
from kemudi.repo.people import KEMUDI, Author, identity
from kemudi.repo.refs import Head, Refs, check_ref_part
from kemudi.schema.errors import ConflictError, UsageError

try:
    from git import Actor, Repo, Tree
    from git import Commit as GitCommit
except ImportError:
    program()  # GitPython looks for git on import; where there is none, this says so and what to do
    raise

__all__ = [
    "KEMUDI",
    "Author",
    "commit_all",
    "commit_paths",
    "enclosing_repository",
    "identity",
    "initialise",
]

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class _Content(NamedTuple):
    mode: str
    sha: str


def enclosing_repository(folder: Path) -> Path | None:
    """The top of the work tree that a folder lies in, None outside of git."""
    with contextlib.suppress(NoConfigRepositoryError):
        return layout.find(folder).worktree
    return None


def initialise(folder: Path, *, branch: str = "main") -> None:
    """Make a folder a repository, without hooks or templates. Raises GitFailedError's family."""
    check_ref_part(branch)
    folder.mkdir(parents=True, exist_ok=True)
    git = Git(folder.resolve() / ".git")
    git.run("init", "--quiet", "--template=", f"--initial-branch={branch}", "--object-format=sha1")


def commit_all(folder: Path, message: str, author: Author | None = None) -> str:
    """Commit every file of the work tree that is not ignored; return the SHA. Raises as `commit_paths`."""
    where = layout.find(folder)
    git = Git(where.git_dir, worktree=_top(where))
    listed = git.run("ls-files", "-z", "--cached", "--others", "--exclude-standard")
    paths = [os.fsdecode(name) for name in listed.split(b"\0") if name]
    return commit_paths(_top(where), paths, message, author)


def commit_paths(
    folder: Path,
    paths: Iterable[str | Path],
    message: str,
    author: Author | None = None,
    *,
    expected: str | None = None,
) -> str:
    """Commit the named files as they are on disk, and nothing else; return the SHA of HEAD then.

    What the user has staged otherwise stays staged. When the files hold nothing new, no commit is made.

    Args:
        folder: Any folder of the work tree.
        paths: Files, absolute or relative to `folder`; a missing one is a deletion.
        message: Subject, empty line, body.
        author: Who made the change; git's `user.name` and `user.email` when left out.
        expected: The commit that the caller read; `NO_COMMIT` for a branch without commits.

    Raises HeadMovedError when HEAD is another commit, GitLockedError while another git writes, ConflictError in the
    middle of a merge or rebase (all three are ConflictError); UsageError for a path outside the work tree, a symlink
    or an empty message.
    """
    where = layout.find(folder)
    text = message.replace("\0", "").strip()
    if not text:
        raise UsageError("a commit needs a message")
    names = sorted({_inside(_top(where), folder.resolve() / path) for path in paths})
    with _index_locked(where), _scratch(where) as scratch:
        check_idle(where)
        head = Refs(where, Git(where.git_dir)).head()
        _check_head(head, expected)
        contents = {name: _stored(where, name) for name in names}
        tree = _tree(where, scratch / "tree", head.sha, contents)
        if head.sha is not None and tree == Git(where.git_dir).tree_of(head.sha):
            return head.sha
        sha = _new_commit(where, tree, head.sha, text, author or identity(where))
        mine = scratch / "index"
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(where.git_dir / "index", mine)
        _update_index(where, mine, contents)
        _move(where, head, sha, text)
        mine.replace(where.git_dir / "index")
    return sha


def _top(where: Layout) -> Path:
    if where.worktree is None:
        raise UsageError(f"{where.git_dir} is a bare repository; there are no files to commit")
    return where.worktree


def _inside(top: Path, path: Path) -> str:
    relative = os.path.relpath(os.path.normpath(path), top)
    parts = relative.split("/")
    if relative == "." or parts[0] == ".." or any(part.lower() == ".git" for part in parts):
        raise UsageError(f"{path} is no file of the work tree {top}")
    return relative


def _stored(where: Layout, name: str) -> _Content | None:
    """Store a file as a blob, byte for byte; None if it is missing."""
    *folders, last = name.split("/")
    handle = os.open(_top(where), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for folder in folders:
            below = os.open(folder, _FOLDER, dir_fd=handle)
            os.close(handle)
            handle = below
        found, data = read_regular(last, folder=handle)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"{name} cannot be committed: {error.strerror}") from None
    finally:
        os.close(handle)
    sha = write_object(where.common_dir, "blob", data, durable=True)
    return _Content("100755" if found.st_mode & stat.S_IXUSR else "100644", sha)


def _tree(where: Layout, index: Path, head: str | None, contents: Mapping[str, _Content | None]) -> str:
    git, extra = Git(where.git_dir), {"GIT_INDEX_FILE": str(index)}
    git.run("read-tree", *([head] if head is not None else ["--empty"]), extra=extra)
    _update_index(where, index, contents)
    return git.run("write-tree", extra=extra).decode().strip()


def _update_index(where: Layout, index: Path, contents: Mapping[str, _Content | None]) -> None:
    """Names and contents go in as data, so none of them can be taken for an option."""
    lines = b"".join(
        f"{found.mode if found else '0'} {found.sha if found else NO_COMMIT}\t".encode()
        + os.fsencode(name)
        + b"\0"
        for name, found in contents.items()
    )
    extra = {"GIT_INDEX_FILE": str(index)}
    Git(where.git_dir).run("update-index", "-z", "--index-info", data=lines, extra=extra)


def _new_commit(where: Layout, tree: str, parent: str | None, text: str, author: Author) -> str:
    person = Actor(author.name, author.email)
    with Repo(where.git_dir) as repo:
        made = GitCommit.create_from_tree(
            repo,
            Tree(repo, bytes.fromhex(tree)),
            text + "\n",
            parent_commits=[GitCommit(repo, bytes.fromhex(parent))] if parent is not None else [],
            author=person,
            committer=person,
        )
        return str(made.hexsha)


def _move(where: Layout, head: Head, sha: str, text: str) -> None:
    """Move the branch from the commit that was read to the new one; git compares and sets."""
    ref = "HEAD" if head.branch is None else f"refs/heads/{head.branch}"
    subject = text.partition("\n")[0]
    extra = {"GIT_COMMITTER_NAME": KEMUDI.name, "GIT_COMMITTER_EMAIL": KEMUDI.email}
    try:
        Git(where.git_dir).run(
            "update-ref",
            "-m",
            f"commit: {subject}",
            "--end-of-options",
            ref,
            sha,
            head.sha or NO_COMMIT,
            extra=extra,
        )
    except GitFailedError as error:
        if "but expected" in error.stderr or "already exists" in error.stderr:
            raise HeadMovedError(f"{ref} moved while the commit was made", hint="Try again.") from None
        raise


def _check_head(head: Head, expected: str | None) -> None:
    if expected is None or (head.sha or NO_COMMIT) == expected:
        return
    now = head.sha or "a branch without commits"
    raise HeadMovedError(f"HEAD is {now}, not {expected}", hint="Read the files again, then retry.")


@contextlib.contextmanager
def _index_locked(where: Layout) -> Iterator[None]:
    """Keep other gits from writing the index, by git's own lock. Raises GitLockedError."""
    lock = where.git_dir / "index.lock"
    try:
        handle = os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except FileExistsError:
        raise locked_error(lock) from None
    except OSError as error:
        raise ConflictError(f"{lock} cannot be made: {error.strerror}") from None
    os.close(handle)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)


@contextlib.contextmanager
def _scratch(where: Layout) -> Iterator[Path]:
    """A folder beside the index, on its file system, so that a new index is put in place by one rename."""
    with tempfile.TemporaryDirectory(prefix="kemudi-", dir=where.git_dir) as folder:
        yield Path(folder)
