"""Exchanges of proposals and notes: killed at any point, the next ones end right on both sides, and they do end."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kemudi.repo.approvals import Seal, Statement, add_statement, delete_branch
from kemudi.repo.changes import ChangeRequest, Edit, apply
from kemudi.repo.note_lines import REF
from kemudi.repo.people import Author
from kemudi.repo.proposal_exchange import exchange
from kemudi.repo.proposals import GONE
from kemudi.repo.repository import ConfigRepository

ROOT = Path(__file__).parents[3]
SEAL = Seal(b"a key of at least thirty-two bytes")
AUTHOR = Author("Author", "author@example.org")
POINTS = ("exchange.fetched", "exchange.compared", "exchange.applied", "exchange.pushed")
FOLLOWER = """
import sys
from pathlib import Path
from kemudi.repo.proposal_exchange import exchange
exchange(Path(sys.argv[1]), "main")
"""
STOPS = """#!/bin/sh
echo $$ > "{folder}/receiving"
kill -STOP $$
"""


def git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=True)
    return done.stdout.decode().strip()


@dataclass(frozen=True)
class Side:
    """A clone."""

    root: Path

    def propose(self, name: str, value: int) -> str:
        """A commit on a proposal; the next one of the same name stands on it."""
        done = apply(
            self.root,
            ChangeRequest((Edit("prod", "SYNC_TIMEOUT", value),), "why", AUTHOR, branch=f"kemudi/{name}"),
        )
        assert done.revision is not None
        return done.revision

    def say(self, sha: str, email: str) -> None:
        said = Statement(Author("Reviewer", email), datetime.now(UTC))
        with ConfigRepository.open(self.root) as repository:
            add_statement(repository, sha, said, SEAL)

    def withdraw(self, name: str, tip: str) -> None:
        with ConfigRepository.open(self.root) as repository:
            delete_branch(repository, f"kemudi/{name}", tip, mark=GONE + name)

    def refs(self, start: str) -> dict[str, str]:
        listed = git(self.root, "for-each-ref", "--format=%(refname) %(objectname)", start)
        return dict(line.split() for line in listed.splitlines())


@dataclass(frozen=True)
class World:
    """Two clones and their remote, with something to bring each way."""

    here: Side
    other: Side
    remote: Side
    tips: dict[str, str]
    gone: str
    asked: str

    def killed(self, point: str) -> None:
        """One exchange from here that does not live to its end."""
        argv = [sys.executable, "-c", FOLLOWER, str(self.here.root)]
        done = subprocess.run(argv, env=os.environ | {"KEMUDI_FAILPOINT": point}, check=False, timeout=60)
        assert done.returncode == -signal.SIGKILL
        self.check_whole()

    def check_whole(self) -> None:
        """Whatever happened, no object is missing or damaged, no lock is left, and the branch is what it was."""
        for side in (self.here, self.other, self.remote):
            git(side.root, "fsck", "--strict", "--full")
            assert not list(side.root.rglob("*.lock"))
        assert git(self.here.root, "status", "--porcelain") == ""
        assert git(self.here.root, "rev-parse", "main") == git(self.remote.root, "rev-parse", "main")

    def check_agreed(self) -> None:
        """After the next exchanges both clones and the remote have everything that either of them had."""
        for side in (self.here, self.other, self.here):
            done = exchange(side.root, "main")
            assert (done.state, done.unsent) == ("pushed", ()), done
        assert not exchange(self.other.root, "main").changed
        for side in (self.here, self.other, self.remote):
            found = side.refs("refs/heads/kemudi")
            assert {ref.rpartition("/")[2]: tip for ref, tip in found.items()} == self.tips
            assert side.refs(GONE) == {}
            lines = git(side.root, "notes", f"--ref={REF}", "show", self.asked).splitlines()
            assert sorted(line.split("<")[1].split(">")[0] for line in lines) == [
                "first@example.org",
                "second@example.org",
            ]
        assert self.here.refs(REF) == self.other.refs(REF) == self.remote.refs(REF)
        self.check_whole()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The worked example as a bare remote."""
    folder = tmp_path_factory.mktemp("exchange-crash")
    shutil.copytree(ROOT / "config-repo", folder / "seed")
    git(folder / "seed", "init", "-q", "-b", "main")
    git(folder / "seed", "add", "--all")
    identity = ("-c", "user.name=Author", "-c", "user.email=author@example.org")
    git(folder / "seed", *identity, "commit", "-q", "-m", "first")
    git(folder, "clone", "-q", "--bare", "seed", "remote.git")
    return folder / "remote.git"


@pytest.fixture
def world(template: Path, tmp_path: Path) -> World:
    """A new one, a changed one, one that both have changed, one taken away, and a word on the same commit by each."""
    remote = Path(shutil.copytree(template, tmp_path / "remote.git"))
    here, other = (Side(tmp_path / name) for name in ("here", "other"))
    for side in (here, other):
        git(tmp_path, "clone", "-q", str(remote), str(side.root))
    gone, asked = here.propose("gone", 901), here.propose("both", 902)
    follow(here, other)
    theirs, both = other.propose("theirs", 903), other.propose("both", 904)
    other.say(asked, "second@example.org")
    follow(other)
    mine, ours = here.propose("mine", 905), here.propose("both", 906)
    here.say(asked, "first@example.org")
    here.withdraw("gone", gone)
    tips = {"theirs": theirs, "both": both, "mine": mine, "both-2": ours}
    return World(here, other, Side(remote), tips, gone, asked)


def follow(*sides: Side) -> None:
    for side in sides:
        assert exchange(side.root, "main").state == "pushed"


@pytest.mark.parametrize("point", POINTS[2:])
def test_killed_at_a_named_point(world: World, point: str) -> None:
    """Before the push, or before it is noted: nothing is lost, nothing stands twice, and nothing is left to send."""
    world.killed(point)
    world.check_agreed()


def test_killed_at_every_point_in_turn(world: World) -> None:
    """Each exchange begins with what the one before has left."""
    for point in POINTS:
        world.killed(point)
    world.check_agreed()


def test_killed_with_the_push_half_way(world: World, until: Callable[..., None]) -> None:
    """Git and the receiving side die as well, after the remote got the objects and before it has moved a ref."""
    hook, told = world.remote.root / "hooks/pre-receive", world.remote.root / "receiving"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(STOPS.format(folder=world.remote.root))
    hook.chmod(0o755)
    process = subprocess.Popen([sys.executable, "-c", FOLLOWER, str(world.here.root)])
    with process:
        until(lambda: told.is_file() and told.read_text().strip(), "the push at the remote", timeout=60)
        pushing = os.getpgid(int(told.read_text()))
        process.kill()
        os.killpg(pushing, signal.SIGKILL)
    hook.unlink()
    told.unlink()
    assert "refs/heads/kemudi/mine" not in world.remote.refs("refs/heads/kemudi")
    world.check_agreed()


def test_exchanges_come_to_an_end(world: World) -> None:
    """Also when both spoke of the same commit at once and one of them wrote a remark by hand, which is kept."""
    by_hand = ("-c", "user.name=Author", "-c", "user.email=author@example.org", "notes", f"--ref={REF}")
    git(world.here.root, *by_hand, "append", "-m", "looks fine from here", world.asked)
    for side in (world.here, world.other, world.here, world.other):
        exchange(side.root, "main")
    assert [exchange(side.root, "main").changed for side in (world.here, world.other)] == [False, False]
    assert world.here.refs(REF) == world.other.refs(REF) == world.remote.refs(REF)
    told = git(world.other.root, "notes", f"--ref={REF}", "show", world.asked)
    assert all(each in told for each in ("first@example.org", "second@example.org", "looks fine from here"))
