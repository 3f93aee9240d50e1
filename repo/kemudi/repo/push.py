"""A branch sent to where others see it. The commit is safe in the local repository before, during and after.

Here git runs with the user's own configuration, for that is where their addresses and credentials are; its hooks and
whatever a repository could make it start stay off.
"""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from kemudi.repo import layout
from kemudi.repo.errors import GitTimeoutError, UnknownRevisionError
from kemudi.repo.git import Git, program, without_credentials
from kemudi.repo.landing import HEADS
from kemudi.repo.layout import Layout
from kemudi.repo.refs import Refs, check_ref_part
from kemudi.schema.errors import UsageError
from kemudi.schema.sentences import sentence

TIME_LIMIT_SECONDS: Final = 60.0

PushState = Literal["pushed", "moved", "rejected", "unreachable", "no-remote"]

_ADVICE: Final[dict[PushState, str]] = {
    "pushed": "",
    # A merge: what a daemon beside this clone has served already must stay part of the history.
    "moved": sentence("Somebody pushed first. `git pull --no-rebase` brings both together; then push again."),
    "rejected": sentence(
        "The branch is protected there. Push a branch of its own and propose it: `kemudi set … --propose`."
    ),
    "unreachable": sentence("The commit is safe here. Push again when the remote answers: `git push`."),
    "no-remote": sentence("Name one with `git remote add origin URL`, or leave out --push."),
}


@dataclass(frozen=True, slots=True)
class PushResult:
    """What became of a push.

    Attributes:
        state: `moved`: the remote has commits that are not here. `rejected`: it does not take the branch.
        branch: The branch.
        remote: The remote's name.
        revision: The local tip, which is not lost whatever the state is.
        message: One sentence, without credentials.
        advice: What to do next; empty when it is done.
    """

    state: PushState
    branch: str
    remote: str
    revision: str | None
    message: str
    advice: str = ""

    @property
    def is_done(self) -> bool:
        """Whether the remote has it."""
        return self.state == "pushed"

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "state": self.state,
            "branch": self.branch,
            "remote": self.remote,
            "revision": self.revision,
            "message": self.message,
            "advice": self.advice,
        }


@dataclass(frozen=True, slots=True)
class Unpushed:
    """What a branch has that its remote has not, as far as was last heard of it.

    Attributes:
        branch: The branch.
        remote: The remote's name; None when there is none, and nothing to push to.
        commits: How many are not pushed yet; None when the remote's branch was never seen.
    """

    branch: str
    remote: str | None
    commits: int | None


def push(
    root: Path,
    branch: str,
    remote: str = "origin",
    *,
    time_limit_seconds: float = TIME_LIMIT_SECONDS,
) -> PushResult:
    """Push one branch, never with force. Does not raise for what a remote may do.

    Raises UsageError for impossible names, UnknownRevisionError for a branch that is not there.
    """
    where = layout.find(root)
    check_ref_part(branch)
    _check_remote(remote)
    tip = Refs(where, Git(where.git_dir)).branch_tip(branch)
    if tip is None:
        raise UnknownRevisionError(sentence("there is no branch %(branch)s", branch=repr(branch)))
    if remote not in remotes(root):
        return _result(
            "no-remote", branch, remote, tip, sentence("there is no remote %(remote)s", remote=remote)
        )
    ref = f"{HEADS}{branch}"
    try:
        code, told = ask_remote(
            where, "push", "--porcelain", "--", remote, f"{ref}:{ref}", limit=time_limit_seconds
        )
    except GitTimeoutError as error:
        return _result("unreachable", branch, remote, tip, error.message)
    return _result(state_of(code, told), branch, remote, tip, _sentence(code, told, remote, branch))


def unpushed(root: Path, branch: str, remote: str = "origin") -> Unpushed:
    """What is still to be pushed, without asking the remote."""
    where = layout.find(root)
    check_ref_part(branch)
    _check_remote(remote)
    if remote not in remotes(root):
        return Unpushed(branch, None, None)
    git = Git(where.git_dir)
    refs = Refs(where, git)
    tip, there = refs.branch_tip(branch), refs.tip(f"refs/remotes/{remote}/{branch}")
    if tip is None or there is None:
        return Unpushed(branch, remote, None)
    return Unpushed(branch, remote, git.count(tip, without=there) if tip != there else 0)


def remotes(root: Path) -> tuple[str, ...]:
    """The names of the remotes."""
    listed = Git(layout.find(root).git_dir).run("remote")
    return tuple(listed.decode("utf-8", "replace").split())


def ask_remote(where: Layout, *arguments: str, limit: float) -> tuple[int, str]:
    """Run git with the user's configuration: its exit code, and what it told, without credentials.

    For this portion's own modules. Raises GitTimeoutError.
    """
    argv = [
        program(),
        "-c",
        "core.hooksPath=/dev/null",
        "-c",
        "protocol.ext.allow=never",
        "-c",
        "core.fsmonitor=false",
        f"--git-dir={where.git_dir}",
        *arguments,
    ]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    passed = {name: os.environ[name] for name in ("GIT_SSH_COMMAND", "GIT_ASKPASS") if name in os.environ}
    extra = {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", "LANGUAGE": "C"}
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=kept | passed | extra,
            check=False,
            timeout=limit,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        raise GitTimeoutError(sentence("the remote did not answer within %(limit)s s", limit=limit)) from None
    told = (done.stdout + b"\n" + done.stderr).decode("utf-8", "replace")
    return done.returncode, without_credentials(told)


def state_of(code: int, told: str) -> PushState:
    """What an answer of `git push` means."""
    if code == 0:
        return "pushed"
    if (
        "fetch first" in told
        or "non-fast-forward" in told
        or "stale info" in told
        or "cannot lock ref" in told
    ):
        return "moved"
    if "[rejected]" in told or "[remote rejected]" in told or "protected branch" in told.lower():
        return "rejected"
    return "unreachable"


def _sentence(code: int, told: str, remote: str, branch: str) -> str:
    if code == 0:
        return sentence("%(branch)s is on %(remote)s", branch=branch, remote=remote)
    return sentence(
        "%(branch)s was not pushed to %(remote)s: %(reason)s",
        branch=branch,
        remote=remote,
        reason=reason_of(told),
    )


def reason_of(told: str) -> str:
    """The line in which git says why."""
    lines = [line.strip() for line in told.splitlines() if line.strip()]
    said = [line for line in lines if line.startswith(("!", "remote: error", "fatal:", "error:"))]
    return (said or lines or ["no reason given"])[0][:300]


def _result(state: PushState, branch: str, remote: str, tip: str, message: str) -> PushResult:
    return PushResult(state, branch, remote, tip, message, _ADVICE[state])


def _check_remote(remote: str) -> None:
    if not remote or remote.startswith("-") or "/" in remote or not remote.isprintable():
        raise UsageError(sentence("%(name)s cannot be the name of a remote", name=repr(remote[:60])))
