"""Where an environment asks for signed commits, nothing else is served: real ssh-keygen, real GnuPG, real git."""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from kemudi.daemon.signatures import Signatures
from kemudi.repo.signatures import TrustedKeys
from kemudi.schema.errors import UsageError

DEV = "format: 1\nid: {id}\nenvironments:\n  - {{name: dev, layers: [base, dev]{verify}}}\n"

pytestmark = pytest.mark.signing


def ran(*argv: str, **environ: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=os.environ | environ)
    assert done.returncode == 0, f"{argv}: {done.stderr}"
    return done.stdout


@dataclass
class Signer:
    """Somebody with a key of each kind."""

    folder: Path
    name: str

    @property
    def ssh(self) -> Path:
        return self.folder / self.name

    @property
    def home(self) -> Path:
        return self.folder / f"gnupg-{self.name}"

    def make_ssh(self) -> "Signer":
        ran("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", self.name, "-f", str(self.ssh))
        return self

    def make_gpg(self, expires: str = "never") -> "Signer":
        self.home.mkdir(mode=0o700)
        self.gpg("--quick-gen-key", f"{self.name} <{self.name}@example.org>", "ed25519", "sign", expires)
        return self

    def gpg(self, *arguments: str, home: Path | None = None) -> str:
        always = ("--batch", "--yes", "--quiet", "--pinentry-mode", "loopback", "--passphrase", "")
        return ran("gpg", "--homedir", str(home or self.home), *always, *arguments)

    def line(self, options: str = "") -> str:
        kind, key, *_ = self.ssh.with_suffix(".pub").read_text().split()
        return f"{self.name}@example.org {options} {kind} {key}\n"

    @property
    def with_ssh(self) -> tuple[str, ...]:
        return ("-c", "gpg.format=ssh", "-c", f"user.signingkey={self.ssh}", "-c", "commit.gpgsign=true")

    @property
    def with_gpg(self) -> tuple[str, ...]:
        return ("-c", f"user.signingkey={self.name}@example.org", "-c", "commit.gpgsign=true")


@dataclass
class World:
    """A daemon that was given allowed signers, and a repository to commit to."""

    repo: Any
    kit: Any
    settings: Any
    make: Any
    folder: Path
    count: int = 0
    daemon: Any = None
    homes: list[Signer] = field(default_factory=list)

    @property
    def allowed(self) -> Path:
        return self.folder / "allowed_signers"

    def manifest(self, verify: str) -> dict[str, str]:
        return {
            "kemudi.yaml": DEV.format(id=self.kit.repo_id, verify=f", verify: {verify}" if verify else "")
        }

    def commit(self, *options: str, files: dict[str, str] | None = None, home: Path | None = None) -> str:
        """A commit that changes a value, with these options of git's."""
        self.count += 1
        for path, text in (files or {"base/sync.yaml": f"SYNC_BATCH_SIZE: {self.count}\n"}).items():
            self.repo.write(path, text)
        self.repo.git("add", "-A")
        environ = {} if home is None else {"GNUPGHOME": str(home)}
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environ.items():
                patch.setenv(name, value)
            self.repo.git(*options, "commit", "-q", "--allow-empty", "-m", f"change {self.count}")
        return str(self.repo.head)

    def start(self, **keys: Path) -> None:
        self.daemon = self.make(replace(self.settings, **keys)).start()

    def applies(self, revision: str) -> None:
        self.kit.eventually(lambda: self.daemon.applied() == revision)

    def refuses(self, revision: str, good: str) -> str:
        """Wait until the daemon refuses a revision and serves another; its message."""
        self.kit.eventually(lambda: self.daemon.status()["rejected"] == revision)
        status = self.daemon.status()
        assert status["conditions"][0]["reason"] == "UnverifiedCommit", status
        assert ("Stalled", "UnverifiedCommit") in self.daemon.conditions()
        assert status["applied"]["revision"] == good
        assert [error["rule"] for error in status["errors"]] == ["KEM070"]
        return str(status["errors"][0]["message"])


@pytest.fixture
def world(repo: Any, kit: Any, settings: Any, locals_: Any, tmp_path: Path) -> Iterator[World]:
    made = World(repo, kit, settings, locals_, tmp_path)
    yield made
    for owner in made.homes:
        subprocess.run(["gpgconf", "--homedir", str(owner.home), "--kill", "all"], check=False)


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    """An allowed signer."""
    return Signer(tmp_path, "allowed").make_ssh()


@pytest.fixture
def stranger(tmp_path: Path) -> Signer:
    """A signer whom nobody allowed."""
    return Signer(tmp_path, "stranger").make_ssh()


@pytest.fixture
def guarded(world: World, signer: Signer) -> World:
    """A daemon that serves a signed first commit, in an environment that asks for that."""
    world.allowed.write_text(signer.line())
    first = world.commit(*signer.with_ssh, files=world.kit.files() | world.manifest("ssh"))
    world.start(allowed_signers=world.allowed)
    world.applies(first)
    return world


def test_signed_is_served_and_unsigned_is_not(guarded: World, signer: Signer, stranger: Signer) -> None:
    """An unsigned commit, a stranger's, and a signed one on top of either: refused by name; last good keeps serving."""
    good = guarded.commit(*signer.with_ssh)
    guarded.applies(good)
    assert "is not signed" in guarded.refuses(guarded.commit(), good)
    # The hole is below: who signs the top does not vouch for a line of commits.
    assert "is not signed" in guarded.refuses(guarded.commit(*signer.with_ssh), good)
    guarded.repo.git("reset", "-q", "--hard", good)
    message = guarded.refuses(guarded.commit(*stranger.with_ssh), good)
    assert "not by an allowed signer" in message
    assert "stranger" not in message
    guarded.repo.git("reset", "-q", "--hard", good)
    guarded.applies(guarded.commit(*signer.with_ssh))


def test_an_unsigned_commit_cannot_switch_the_check_off(guarded: World) -> None:
    """What is applied decides: neither a change of `verify` nor another file of signers in the repository helps."""
    good = guarded.repo.head
    for files in (
        guarded.manifest(""),
        guarded.manifest("gpg"),
        {"kemudi.yaml": guarded.manifest("")["kemudi.yaml"].replace("layers:", "mode: worktree, layers:")},
        {"kemudi.yaml": "format: 1\n"},
    ):
        guarded.refuses(guarded.commit(files=files), good)
        guarded.repo.git("reset", "-q", "--hard", good)
        guarded.kit.eventually(lambda: guarded.daemon.status()["rejected"] is None)


def test_the_configuration_of_the_repository_decides_nothing(
    guarded: World, stranger: Signer, tmp_path: Path
) -> None:
    """Programs, keys and trust that the repository's own configuration names are neither run nor read."""
    good, canary = guarded.repo.head, tmp_path / "canary"
    program = tmp_path / "yes"
    program.write_text(f"#!/bin/sh\ntouch {canary}\nexit 0\n")
    program.chmod(0o755)
    signers = tmp_path / "theirs"
    signers.write_text(stranger.line())
    for name, value in {
        "gpg.program": str(program),
        "gpg.openpgp.program": str(program),
        "gpg.x509.program": str(program),
        "gpg.ssh.program": str(program),
        "gpg.ssh.allowedSignersFile": str(signers),
        "gpg.ssh.revocationFile": str(signers),
        "gpg.minTrustLevel": "undefined",
        "alias.verify-commit": "!true",
    }.items():
        guarded.repo.git("config", name, value)
    # The signer's own git runs ssh-keygen all the same.
    commit = guarded.commit(*stranger.with_ssh, "-c", "gpg.ssh.program=ssh-keygen")
    guarded.refuses(commit, good)
    assert not canary.exists()


def test_a_merge_by_an_allowed_signer(guarded: World, signer: Signer) -> None:
    """Who signs a merge vouches for what it brings; unsigned commits on the first-parent line stay refused."""
    good = guarded.repo.head
    guarded.repo.git("switch", "-q", "-c", "topic")
    guarded.commit(files={"base/graph.yaml": "GRAPH_LIMIT: 11\n"})
    guarded.repo.git("switch", "-q", "main")
    guarded.repo.git(*signer.with_ssh, "merge", "-q", "--no-ff", "-m", "merge", "topic")
    merged = guarded.repo.head
    guarded.applies(merged)
    # The other way round the branch itself becomes the first-parent line: what is applied hides behind it.
    guarded.repo.git("switch", "-q", "-C", "smuggled", good)
    guarded.commit(files={"base/graph.yaml": "GRAPH_LIMIT: 12\n"})
    guarded.repo.git(*signer.with_ssh, "merge", "-q", "--no-ff", "-s", "ours", "-m", "merge", "main")
    smuggled = guarded.repo.head
    guarded.repo.git("switch", "-q", "-C", "main", smuggled)
    guarded.refuses(smuggled, merged)


def test_signers_come_and_go_without_a_restart(guarded: World, signer: Signer, stranger: Signer) -> None:
    """A line that is added makes a refused commit count; one that is taken away, no further commit."""
    good = guarded.repo.head
    commit = guarded.commit(*stranger.with_ssh)
    guarded.refuses(commit, good)
    guarded.allowed.write_text(signer.line() + stranger.line())
    guarded.applies(commit)
    guarded.allowed.write_text(stranger.line())
    guarded.refuses(guarded.commit(*signer.with_ssh), commit)


def test_a_key_counts_in_its_time(world: World, signer: Signer) -> None:
    """A commit that an expired key signed after its end is refused, one from before is served."""
    world.allowed.write_text(signer.line('valid-before="20260101"'))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIT_COMMITTER_DATE", "2025-06-01T12:00:00Z")
        first = world.commit(*signer.with_ssh, files=world.kit.files() | world.manifest("ssh"))
    world.start(allowed_signers=world.allowed)
    world.applies(first)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIT_COMMITTER_DATE", "2026-06-01T12:00:00Z")
        late = world.commit(*signer.with_ssh)
    world.refuses(late, first)


def test_it_can_be_switched_on_and_off_by_who_may(world: World, signer: Signer) -> None:
    """Switching on asks for one signed commit, whatever was before it; a signed commit switches it off."""
    world.allowed.write_text(signer.line())
    first = world.commit(files=world.kit.files() | world.manifest(""))
    world.start(allowed_signers=world.allowed)
    world.applies(first)
    world.refuses(world.commit(files=world.manifest("ssh")), first)
    signed = world.commit(*signer.with_ssh)
    world.applies(signed)
    off = world.commit(*signer.with_ssh, files=world.manifest(""))
    world.applies(off)
    world.applies(world.commit())


def test_a_daemon_without_keys_refuses(world: World, signer: Signer) -> None:
    """`verify` without keys serves nothing new; the message says what is missing."""
    first = world.commit(*signer.with_ssh, files=world.kit.files() | world.manifest("ssh"))
    world.start()
    world.kit.eventually(lambda: world.daemon.status()["rejected"] == first)
    status = world.daemon.status()
    assert status["applied"] is None
    assert "no ssh keys" in status["errors"][0]["message"]


def test_openpgp(world: World, signer: Signer, tmp_path: Path) -> None:
    """Keys of the daemon's own GnuPG folder count; strangers', revoked ones, and SSH signatures do not."""
    good_signer, unknown = Signer(tmp_path, "pgp").make_gpg(), Signer(tmp_path, "other").make_gpg()
    world.homes += [good_signer, unknown]
    home = Signer(tmp_path, "daemon")
    home.home.mkdir(mode=0o700)
    world.homes.append(home)
    public = tmp_path / "pgp.asc"
    public.write_text(good_signer.gpg("--armor", "--export"))
    home.gpg("--import", str(public))
    first = world.commit(
        *good_signer.with_gpg, files=world.kit.files() | world.manifest("gpg"), home=good_signer.home
    )
    world.allowed.write_text(signer.line())
    world.start(gpg_home=home.home, allowed_signers=world.allowed)
    world.applies(first)
    second = world.commit(*good_signer.with_gpg, home=good_signer.home)
    world.applies(second)
    for options, their_home in ((unknown.with_gpg, unknown.home), (signer.with_ssh, None), ((), None)):
        world.refuses(world.commit(*options, home=their_home), second)
        world.repo.git("reset", "-q", "--hard", second)
        world.kit.eventually(lambda: world.daemon.status()["rejected"] is None)
    revocation = next((good_signer.home / "openpgp-revocs.d").glob("*.rev"))
    certificate = tmp_path / "revocation.asc"
    certificate.write_text(revocation.read_text().replace(":-----BEGIN", "-----BEGIN"))
    third = world.commit(*good_signer.with_gpg, home=good_signer.home)
    world.applies(third)
    home.gpg("--import", str(certificate))
    world.refuses(world.commit(*good_signer.with_gpg, home=good_signer.home), third)


def test_keys_that_others_can_write_are_refused(tmp_path: Path) -> None:
    """Who can write the file decides whose commits count, so nobody else may."""
    file = tmp_path / "allowed_signers"
    with pytest.raises(UsageError, match="cannot be read"):
        Signatures(TrustedKeys(file, None))
    file.write_text("")
    file.chmod(0o664)
    with pytest.raises(UsageError, match="others can write"):
        Signatures(TrustedKeys(file, None))


def test_signers_in_the_repository_do_not_count(world: World, signer: Signer) -> None:
    """A file that a pull request can change cannot say whose pull requests count."""
    inside = world.repo.path / "allowed_signers"
    inside.write_text(signer.line())
    inside.chmod(0o644)
    first = world.commit(*signer.with_ssh, files=world.kit.files() | world.manifest("ssh"))
    world.start(allowed_signers=inside)
    world.kit.eventually(lambda: world.daemon.status()["rejected"] == first)
    assert "lie in the config repo" in world.daemon.status()["errors"][0]["message"]
