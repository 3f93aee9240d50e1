"""Whether a commit is signed by somebody who may: git's own check, with keys that do not come from the repository.

Which program checks, and with which keys, is set on git's command line, above whatever the repository's configuration
says; the programs of the other kinds of signature are switched off. Only the programs of this machine's PATH run.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from kemudi.repo.errors import GitFailedError
from kemudi.repo.git import Git, check_sha, run
from kemudi.schema.errors import UnavailableError

Method = Literal["ssh", "gpg"]

MOST_COMMITS: Final = 1_000
"""How many commits between two applied ones are looked at; a longer row counts as not verified."""

_NO_PROGRAM: Final = "false"
_MARKS: Final[dict[Method, bytes]] = {
    "ssh": b"gpgsig -----BEGIN SSH SIGNATURE-----",
    "gpg": b"gpgsig -----BEGIN PGP SIGNATURE-----",
}
_PROGRAMS: Final[dict[Method, str]] = {"ssh": "ssh-keygen", "gpg": "gpg"}


@dataclass(frozen=True, slots=True)
class TrustedKeys:
    """Whose signatures count.

    Attributes:
        allowed_signers: OpenSSH's file of that name (ssh-keygen(1)); None where no SSH signature counts.
        gpg_home: A GnuPG folder whose public keys all count; None where no OpenPGP signature counts.
    """

    allowed_signers: Path | None
    gpg_home: Path | None

    def have(self, method: Method) -> bool:
        """Whether there is any key of a kind."""
        return (self.allowed_signers if method == "ssh" else self.gpg_home) is not None


def first_parents_since(git: Git, sha: str, base: str | None) -> tuple[str, ...]:
    """`sha` and its first parents, newest first, without what `base` contains; at most MOST_COMMITS + 1.

    Raises as `Git.run`.
    """
    limit = f"--max-count={MOST_COMMITS + 1}"
    without = [f"^{check_sha(base)}"] if base is not None else []
    found = git.run("rev-list", "--first-parent", limit, check_sha(sha), *without, "--")
    return tuple(found.decode("ascii").split())


def signature_problem(git: Git, sha: str, method: Method, keys: TrustedKeys) -> str:
    """What is wrong with a commit's signature, "" when an allowed signer made it.

    A good signature of another kind than `method` does not count. Raises UnavailableError's family.
    """
    head = git.run("cat-file", "commit", check_sha(sha)).partition(b"\n\n")[0]
    if b"\ngpgsig " not in head:
        return "is not signed"
    if b"\n" + _MARKS[method] not in head:
        return f"is signed in another way than {method}"
    if not keys.have(method):
        return f"is signed with {method}, and this daemon was given no {method} keys to verify it with"
    told, extra = _configured(method, keys)
    options = [word for setting in told for word in ("-c", setting)]
    argv = git.argv(*options, "verify-commit", "--raw", "--end-of-options", sha)
    limit = git.time_limit_seconds
    try:
        run(argv, name="verify-commit", data=b"", extra=extra, time_limit_seconds=limit)
    except GitFailedError:
        # What git says quotes names that a signer chose; it is not passed on.
        return "has a signature that is bad, expired, revoked, or not by an allowed signer"
    return ""


def _configured(method: Method, keys: TrustedKeys) -> tuple[list[str], dict[str, str]]:
    """Settings and environment of git that leave it no choice."""
    program = shutil.which(_PROGRAMS[method])
    if program is None:
        raise UnavailableError(f"there is no {_PROGRAMS[method]} program on PATH to verify commits with")
    ssh, gpg = (program, _NO_PROGRAM) if method == "ssh" else (_NO_PROGRAM, program)
    settings = [
        f"gpg.format={'ssh' if method == 'ssh' else 'openpgp'}",
        f"gpg.program={gpg}",
        f"gpg.openpgp.program={gpg}",
        f"gpg.x509.program={_NO_PROGRAM}",
        f"gpg.ssh.program={ssh}",
        f"gpg.ssh.allowedSignersFile={keys.allowed_signers or '/dev/null'}",
        "gpg.ssh.revocationFile=",
        # An SSH key that no line of the file names is "undefined"; a key in the GnuPG folder counts without more.
        f"gpg.minTrustLevel={'fully' if method == 'ssh' else 'undefined'}",
    ]
    return settings, {} if keys.gpg_home is None else {"GNUPGHOME": str(keys.gpg_home)}
