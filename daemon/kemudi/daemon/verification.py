"""The step `verify`: where an environment asks for it, only signed commits are served.

What is applied decides what its successors need, so that no unsigned commit can switch the check off. The keys are the
daemon's own. Every first-parent commit since the applied one counts; who signs a merge vouches for what it brings.
"""

from collections.abc import Iterator

from kemudi.daemon.attempt import Attempt, Rejected, Seen
from kemudi.daemon.bench import Bench
from kemudi.daemon.conditions import Reason
from kemudi.repo.git import Git
from kemudi.repo.repository import ConfigRepository
from kemudi.repo.signatures import MOST_COMMITS, Method, first_parents_since
from kemudi.schema.findings import Finding
from kemudi.schema.manifest import FILE, RepoManifest, read_manifest
from kemudi.schema.rules import UNSIGNED_COMMIT
from kemudi.schema.state import ConfigState


def verify(bench: Bench, attempt: Attempt) -> None:
    """Step `verify`: refuse a candidate with a commit that must be signed and is not."""
    problem = unverified(bench, attempt.candidate, attempt.config)
    if problem:
        finding = Finding(FILE, 1, 1, UNSIGNED_COMMIT, message=problem)
        raise Rejected.for_findings(Reason.UNVERIFIED_COMMIT, (finding,))


def unverified(bench: Bench, seen: Seen, state: ConfigState) -> str:
    """Why a candidate may not be served for its signatures, "" when it may."""
    repository = bench.source.repository
    applied = bench.applied.base if bench.applied is not None else ""
    known = applied if applied and repository.objects.has_commit(applied) else None
    before = None if known is None else _asked_at(bench, repository, known)
    method = before or _asked(bench.env, state.manifest)
    if method is None:
        return ""
    asks = f"{bench.env} asks for `verify: {method}`"
    if not seen.is_commit:
        return f"{asks}, and uncommitted files cannot be signed"
    if bench.signatures.is_within(repository.worktree_root):
        return f"{asks}, and the allowed signers lie in the config repo that they shall guard"
    for sha in _to_verify(repository.git, seen.base, known, established=before is not None):
        problem = bench.signatures.problem(repository.git, sha, method)
        if problem:
            return f"the commit {sha[:12]} {problem}; {asks}"
    return ""


def _to_verify(git: Git, base: str, applied: str | None, *, established: bool) -> Iterator[str]:
    """The commits to verify, newest first.

    Where the check is new, or nothing is applied, the newest commit vouches for what it stands on. Raises Rejected for
    more commits than are looked at.
    """
    if base == applied:
        return
    if not established or applied is None:
        yield base
        return
    found = first_parents_since(git, base, applied)
    if len(found) > MOST_COMMITS:
        message = f"more than {MOST_COMMITS} commits at once are not verified; push them in several steps"
        finding = Finding(FILE, 1, 1, UNSIGNED_COMMIT, message=message)
        raise Rejected.for_findings(Reason.UNVERIFIED_COMMIT, (finding,))
    yield from found or (base,)


def _asked_at(bench: Bench, repository: ConfigRepository, sha: str) -> Method | None:
    """What the applied commit's `kemudi.yaml` asks for."""
    if bench.asked is None or bench.asked[0] != sha:
        file = repository.file(sha, FILE)
        found = None if file is None else read_manifest(file.data)[0]
        bench.asked = sha, _asked(bench.env, found)
    return bench.asked[1]


def _asked(env: str, manifest: RepoManifest | None) -> Method | None:
    environments = manifest.environments if manifest is not None else ()
    return next((each.verify for each in environments if each.name == env), None)
