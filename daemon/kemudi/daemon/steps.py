"""The ordered steps of a reconcile. Each takes the bench and the attempt, and either adds to the attempt or ends it.

detect → resolve → read → parse → verify → validate → layers → unseal → build → stage → swap. A step that ends the
reconcile raises `Stopped` (what is applied stays, for a named reason), `Rejected` (the candidate is bad) or
`NothingToDo`.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from kemudi.daemon.attempt import Attempt, NothingToDo, Rejected, Seen, Snapshot, Stopped
from kemudi.daemon.bench import Bench
from kemudi.daemon.conditions import Reason
from kemudi.daemon.order import AppliedPosition, Decision, Relation, Rewritten, Unchanged, decide
from kemudi.daemon.unseal import UnsealError, finding_at
from kemudi.daemon.verification import unverified, verify
from kemudi.schema.envelope import Envelope
from kemudi.schema.errors import UsageError
from kemudi.schema.findings import Finding
from kemudi.schema.generation import Generation
from kemudi.schema.paths import category_of_contract, contract_path
from kemudi.schema.rules import (
    MALFORMED_SEAL,
    MOVED_SEAL,
    NEEDLESS_SEAL,
    OUT_OF_BOUNDS,
    PLAINTEXT_SECRET,
    STALE_SEAL,
)
from kemudi.schema.secret import Secret
from kemudi.schema.state import ConfigState, ResolvedCategory
from kemudi.store.errors import FencedError, KeysetMissingError, StagingLostError, StaleError
from kemudi.store.manifest import Manifest
from kemudi.store.snapshot import Category, digest_of, encode_category, sealing_keys
from kemudi.store.values import LogEntry

Step = Callable[[Bench, Attempt], None]

_NEVER_HELD: Final = frozenset({PLAINTEXT_SECRET, MALFORMED_SEAL, MOVED_SEAL, STALE_SEAL, NEEDLESS_SEAL})
"""Errors that reject the commit as a whole, also with `reject: category`."""


def detect(bench: Bench, attempt: Attempt) -> None:
    """Look at git or the work tree; end here when there is nothing new."""
    if attempt.seen is None:
        attempt.seen = bench.source.look(bench.mode)
    if bench.is_settled(attempt.seen):
        raise NothingToDo


def resolve(bench: Bench, attempt: Attempt) -> None:
    """Find the candidate's place in history, and refuse one that does not contain what is applied."""
    seen, applied = attempt.candidate, bench.applied
    known = None
    if applied is not None:
        attempt.relation = _relation(bench, applied, seen)
        if attempt.relation is Relation.DESCENDANT and applied.base:
            known = (applied.base, applied.generation.depth)
        elif attempt.relation is Relation.SAME and bench.era == applied.generation.era:
            known = (seen.base, applied.generation.depth)
    attempt.position = bench.source.position(seen, known)
    decision = _decision(bench, attempt, ambiguous=False)
    if isinstance(decision, Rewritten):
        raise Stopped(Reason.HISTORY_REWRITTEN, _rewritten_message(bench, decision.relation, seen))


def read(bench: Bench, attempt: Attempt) -> None:
    """Fetch the bytes of the files that changed."""
    bench.source.read(attempt.candidate)


def parse(bench: Bench, attempt: Attempt) -> None:
    """Parse and check those files; everything else is shared with the state before."""
    attempt.state = bench.source.state(attempt.candidate)


def validate(bench: Bench, attempt: Attempt) -> None:
    """Reject the candidate for the errors that affect this environment, or hold back single categories."""
    state = attempt.config
    findings = tuple(finding for finding in state.findings_for(bench.env) if finding.severity == "error")
    if not findings:
        return
    names = [_category_of(finding, state) for finding in findings]
    whole = None in names or any(finding.rule in _NEVER_HELD for finding in findings)
    if bench.reject != "category" or whole:
        raise Rejected.for_findings(Reason.VALIDATION_FAILED, findings)
    attempt.findings = findings
    for name in sorted({name for name in names if name is not None}):
        touched = bench.overrides.touched(bench.snapshot.overrides or () if bench.snapshot else ())
        if bench.snapshot is None or name not in bench.snapshot.blobs or name in touched:
            _hold_at_older(bench, attempt, name, findings)
        else:
            attempt.held[name] = bench.snapshot.held.get(name, bench.snapshot.manifest.revision)


def layers(bench: Bench, attempt: Attempt) -> None:
    """Resolve the layers, and lay the overrides over them; what did not change is the identical object."""
    resolved = attempt.config.resolve(bench.env)
    older = attempt.resolved
    attempt.resolved = {name: item for name, item in resolved.items() if name not in attempt.held} | older
    laid = bench.overrides.lay_over(attempt.resolved)
    attempt.resolved, attempt.overrides, attempt.merged = laid.resolved, laid.served, laid.merged


def unseal(bench: Bench, attempt: Attempt) -> None:
    """Open the sealed values of the categories that changed, and check what was inside."""
    before = bench.snapshot.resolved if bench.snapshot is not None else {}
    errors: list[Finding] = []
    for name, category in attempt.resolved.items():
        attempt.counts[name] = len(category.settings)
        if before.get(name) is not category:
            attempt.fresh[name] = _plain(bench, category, errors)
    if errors:
        raise Rejected.for_findings(Reason.SECRET_REFUSED, tuple(errors))


def build(bench: Bench, attempt: Attempt) -> None:
    """Encode the categories that changed; take over the bytes of the others."""
    before: Mapping[str, tuple[bytes, ...]] = bench.snapshot.blobs if bench.snapshot is not None else {}
    sealer = bench.sealer
    for name in sorted({*attempt.resolved, *attempt.held}):
        fresh = attempt.fresh.get(name)
        if fresh is None and name in before:
            attempt.blobs[name] = before[name]
            assert bench.snapshot is not None  # noqa: S101  # `before` is its
            attempt.digests[name] = bench.snapshot.manifest.categories[name]
            attempt.counts.setdefault(name, bench.snapshot.counts.get(name, 0))
            attempt.sealed_with[name] = bench.snapshot.sealed_with.get(name, ())
            continue
        assert fresh is not None  # noqa: S101  # a category without bytes is always fresh
        if fresh.secrets and sealer is None:
            raise _no_keyset(attempt, name)
        try:
            blobs = encode_category(fresh, sealer, before.get(name, ()))
        except KeysetMissingError:
            raise _no_keyset(attempt, name) from None
        except UsageError as error:
            finding = Finding(contract_path(name), 1, 1, OUT_OF_BOUNDS, message=str(error))
            raise Rejected.for_findings(Reason.VALIDATION_FAILED, (finding,)) from None
        attempt.blobs[name] = blobs
        attempt.digests[name] = tuple(digest_of(blob) for blob in blobs)
        attempt.sealed_with[name] = sealing_keys(name, blobs) if fresh.secrets else ()


def stage(bench: Bench, attempt: Attempt) -> None:
    """Put the blobs that Redis does not have in place; end here when nothing may be published."""
    if bench.gate is not None:
        raise bench.gate
    attempt.snapshot = _unchanged_snapshot(bench, attempt)
    if attempt.snapshot is None:
        known = bench.snapshot.manifest.digests if bench.snapshot is not None else frozenset()
        missing = {digest: blob for digest, blob in _by_digest(attempt).items() if digest not in known}
        if missing:
            bench.store.stage(missing)


def swap(bench: Bench, attempt: Attempt) -> None:
    """Sign the manifest and make it the current one, in one fenced step."""
    if attempt.snapshot is not None:
        return
    lease = bench.keeper.lease
    if lease is None:
        raise Stopped(Reason.NOT_LEADER, "the lease ended during the reconcile")
    generation = _generation(bench, attempt)
    manifest = _manifest(bench, attempt, generation, lease.epoch)
    signed = manifest.sign(bench.signer)
    entry = _entry(bench, attempt, manifest, lease.holder)
    try:
        try:
            bench.store.publish(lease, signed, manifest.digests, entry, bench.pointer)
        except StagingLostError:
            bench.store.stage(_by_digest(attempt))
            bench.store.publish(lease, signed, manifest.digests, entry, bench.pointer)
    except FencedError as error:
        bench.keeper.drop()
        raise Stopped(Reason.FENCED, str(error)) from error
    except StaleError as error:
        raise Stopped(Reason.STALE, str(error)) from error
    bench.pointer = signed
    attempt.published = True
    attempt.snapshot = _snapshot(attempt, manifest, signed)


STEPS: Final[tuple[tuple[str, Step], ...]] = (
    ("detect", detect),
    ("resolve", resolve),
    ("read", read),
    ("parse", parse),
    ("verify", verify),
    ("validate", validate),
    ("layers", layers),
    ("unseal", unseal),
    ("build", build),
    ("stage", stage),
    ("swap", swap),
)


def _decision(bench: Bench, attempt: Attempt, *, ambiguous: bool) -> Decision:
    return decide(bench.applied, attempt.place, era=bench.era, relation=attempt.relation, ambiguous=ambiguous)


def _relation(bench: Bench, applied: AppliedPosition, seen: Seen) -> Relation:
    """To what is applied; to the accepted tip once a rewrite was accepted."""
    anchor = applied.base
    if bench.era > applied.generation.era and bench.accepted is not None:
        anchor = bench.accepted.tip
    if anchor:
        return bench.source.relation(anchor, seen.base)
    # An uncommitted tree was applied by a process whose memory is lost. Its depth is known from the generation, and
    # on a branch that was not rewritten a lesser depth means an ancestor.
    depth = bench.source.position(seen).depth
    return Relation.DESCENDANT if depth >= applied.generation.depth else Relation.BEHIND


def _rewritten_message(bench: Bench, relation: Relation, seen: Seen) -> str:
    applied = bench.applied
    served = applied.revision if applied is not None else ""
    what = {
        Relation.BEHIND: "was moved back behind",
        Relation.DIVERGED: "was rewritten and no longer contains",
        Relation.UNKNOWN: "does not know",
    }[relation]
    return (
        f"the branch at {seen.base[:12]} {what} what is applied, {served[:21]}; "
        "restore the branch, or accept it with `kemudi accept-rewrite`"
    )


def _category_of(finding: Finding, state: ConfigState) -> str | None:
    """The category that an error concerns; None when it concerns the config repo as a whole."""
    folder, _, name = finding.file.partition("/")
    if state.manifest is not None and folder in state.manifest.layers:
        return name.removesuffix(".yaml")
    return category_of_contract(finding.file)


def _hold_at_older(bench: Bench, attempt: Attempt, name: str, findings: tuple[Finding, ...]) -> None:
    """Hold a category that nobody has published yet: at its newest good commit."""
    for seen in bench.source.older(attempt.candidate, None):
        state = bench.source.state(seen)
        good = not any(finding.severity == "error" for finding in state.findings_for(bench.env, name))
        good = good and not unverified(bench, seen, state)
        if good and state.manifest is not None and name in (resolved := state.resolve(bench.env)):
            attempt.held[name] = seen.revision
            attempt.resolved[name] = resolved[name]
            return
    raise Rejected.for_findings(Reason.VALIDATION_FAILED, findings)


def _plain(bench: Bench, category: ResolvedCategory, errors: list[Finding]) -> Category:
    """A category with its secrets opened. What cannot be opened is added to `errors`."""
    values, defaults = {}, {}
    secrets: dict[str, tuple[str, Secret[object]]] = {}
    contract = category.contract
    for key, setting in category.settings.items():
        if isinstance(setting.value, Envelope):
            try:
                kind, secret = bench.unsealer.open(bench.repo_id, contract, setting, setting.value)
            except UnsealError as error:
                errors.append(finding_at(setting, error))
                continue
            if key in contract.sensitive:
                secrets[key] = kind, secret
            else:
                values[key] = secret.reveal()  # of a SOPS file, which encrypts what is no secret, too
        elif setting.layer == "default":
            defaults[key] = setting.value
        else:
            values[key] = setting.value
    restart = frozenset(key for key, spec in contract.settings.items() if spec.requires_restart)
    return Category(category.name, values, defaults, secrets, restart)


def _no_keyset(attempt: Attempt, name: str) -> Rejected:
    category = attempt.resolved[name]
    sealed = [item for item in category.settings.values() if isinstance(item.value, Envelope)]
    text = f"the daemon has no keyset for {name}, which holds secrets (KEMUDI_KEYSET)"
    error = UnsealError(text, MOVED_SEAL)
    return Rejected.for_findings(Reason.SECRET_REFUSED, tuple(finding_at(item, error) for item in sealed))


def _by_digest(attempt: Attempt) -> dict[str, bytes]:
    return {
        digest: blob
        for name, blobs in attempt.blobs.items()
        for digest, blob in zip(attempt.digests[name], blobs, strict=True)
    }


def _unchanged_snapshot(bench: Bench, attempt: Attempt) -> Snapshot | None:
    """What is applied, if it is this very revision with these very bytes: there is nothing to publish."""
    before = bench.snapshot
    if before is None or bench.pointer != before.signed:
        return None
    same = before.manifest.revision == attempt.candidate.revision
    if not same or dict(before.manifest.categories) != attempt.digests:
        return None
    return replace(
        before,
        base=attempt.candidate.base,
        blobs=attempt.blobs,
        resolved=attempt.resolved,
        counts=attempt.counts,
        held=attempt.held,
        findings=attempt.findings,
        sealed_with=attempt.sealed_with,
        overrides=attempt.overrides,
    )


def _generation(bench: Bench, attempt: Attempt) -> Generation:
    """The generation to publish under; a serial is reserved where the depth alone does not order it."""
    applied, seen = bench.applied, attempt.candidate
    content = f"{seen.revision} {sorted(attempt.digests.items())}"
    reserved = bench.reserved
    if (
        reserved is not None
        and reserved[0] == content
        and (applied is None or reserved[1] > applied.generation)
    ):
        return reserved[1]
    again = applied is not None and applied.revision == seen.revision
    lost = bench.snapshot is None and seen.is_commit and not attempt.held and not bench.overrides.involved
    if applied is not None and again and lost and applied.generation.era >= bench.era:
        # Redis lost what this very revision had published: the same plaintext under the same generation.
        return applied.generation
    decision = _decision(bench, attempt, ambiguous=again or not seen.is_commit or bool(attempt.held))
    if isinstance(decision, (Rewritten, Unchanged)):
        raise Stopped(Reason.STALE, "what is applied changed during the reconcile")
    if decision.advance:
        bench.take_serial(decision.floor)
    generation = decision.generation(bench.serial)
    if applied is not None and generation <= applied.generation:
        raise Stopped(Reason.INTERNAL_ERROR, f"generation {generation} would not follow {applied.generation}")
    bench.reserved = (content, generation)
    return generation


def _manifest(bench: Bench, attempt: Attempt, generation: Generation, epoch: int) -> Manifest:
    author, committed_at = bench.source.authorship(attempt.candidate, bench.wall())
    return Manifest(
        repo_id=bench.repo_id,
        env=bench.env,
        generation=generation,
        epoch=epoch,
        revision=attempt.candidate.revision,
        author=author,
        committed_at=committed_at,
        applied_at=bench.wall(),
        categories=attempt.digests,
        settings=sum(attempt.counts.values()),
    )


def _entry(bench: Bench, attempt: Attempt, manifest: Manifest, holder: str) -> LogEntry:
    before = bench.snapshot.manifest.categories if bench.snapshot is not None else {}
    names = sorted({*before, *attempt.digests})
    return LogEntry(
        kind="applied",
        revision=manifest.revision,
        generation=str(manifest.generation),
        at=manifest.applied_at,
        author=manifest.author,
        holder=holder,
        epoch=manifest.epoch,
        changed=tuple(name for name in names if before.get(name) != attempt.digests.get(name)),
    )


def _snapshot(attempt: Attempt, manifest: Manifest, signed: bytes) -> Snapshot:
    return Snapshot(
        manifest,
        signed,
        attempt.candidate.base,
        attempt.blobs,
        attempt.resolved,
        attempt.counts,
        attempt.held,
        attempt.findings,
        attempt.sealed_with,
        attempt.overrides,
    )
