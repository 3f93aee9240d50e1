"""Plans as the command makes them: two revisions of a repository, its policies, and what the daemon knows, if asked."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from kemudi.cli.daemon_api import DaemonApi
from kemudi.cli.live import served_by
from kemudi.cli.options import DEFAULT_DAEMON_URL
from kemudi.repo.comparison import Comparison, compare, state_of
from kemudi.repo.errors import UnknownRevisionError
from kemudi.repo.evidence import Evidence
from kemudi.repo.messages import reason_of, trailers_of
from kemudi.repo.plan import Drift, EnvironmentPlan, Plan, Readers, plan, with_readers
from kemudi.repo.policy import PolicyContext, judge, policies_of
from kemudi.repo.repository import ConfigRepository
from kemudi.schema.errors import ConflictError, KemudiError, UsageError
from kemudi.schema.nearest import did_you_mean
from kemudi.schema.state import ConfigState


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """What to plan.

    Attributes:
        path: The config repo, or a folder above it.
        base: A name of git's, or None; see `kemudi.repo.comparison.compare`.
        head: Likewise.
        env: Only this environment.
        daemon_url: Whom to ask who reads a setting and how long a value ran; None: nobody.
        live: Compare with what Redis serves instead of with a base.
        now: The time that policies judge by.
    """

    path: Path
    base: str | None = None
    head: str | None = None
    env: str | None = None
    daemon_url: str | None = None
    live: bool = False
    now: datetime | None = None


def make_plan(request: PlanRequest) -> Plan:
    """The plan, judged by the policies. Raises UsageError, UnavailableError, ConflictError."""
    if request.live and request.base is not None:
        raise UsageError("--live compares with what Redis serves, so it takes no --base")
    with ConfigRepository.open(request.path) as repository:
        comparison = compare(repository, base=request.base, head=request.head)
        daemon = _Daemon(request)
        planned = _only(_plain(comparison), request.env, comparison)
        if request.live:
            asked = [each.env for each in planned.environments]
            planned = _only(_live(repository, comparison, asked, daemon), request.env, comparison)
        if (readers := daemon.readers()) is not None:
            planned = with_readers(planned, readers)
        planned = _judged(planned, comparison, Evidence(repository, partial(served_by, daemon.url)), request)
    return replace(planned, notes=(*comparison.ends.notes, *planned.notes, *daemon.notes))


def _plain(comparison: Comparison) -> Plan:
    return plan(comparison.old, comparison.new, base=comparison.ends.base, head=comparison.ends.head)


def _only(planned: Plan, env: str | None, comparison: Comparison) -> Plan:
    if env is None:
        return planned
    names = [each.env for each in planned.environments]
    if env not in names and comparison.new.manifest is not None:
        raise UsageError(f"there is no environment {env!r}", hint=did_you_mean(env, names))
    kept = tuple(each for each in planned.environments if each.env == env)
    quiet = tuple(replace(each, environments=(env,)) for each in planned.quiet if env in each.environments)
    return replace(planned, environments=kept, quiet=quiet)


def _judged(planned: Plan, comparison: Comparison, evidence: Evidence, request: PlanRequest) -> Plan:
    """By the policies of the base: a change cannot loosen the rules that it is judged by."""
    before, after = policies_of(comparison.old), policies_of(comparison.new)
    chosen = after if comparison.old.manifest is None or before.findings else before
    commits = comparison.commits
    committed = comparison.ends.is_committed and commits
    context = PolicyContext(
        request.now or datetime.now(UTC),
        author=commits[0].author_email if committed else None,
        reason="\n".join(reason_of(each.message) for each in commits) if committed else None,
        trailers=tuple(pair for each in commits for pair in trailers_of(each.message)),
        live_since=evidence.live_since,
    )
    judged = judge(planned, chosen.policies, context)
    return replace(judged, findings=tuple(dict.fromkeys([*judged.findings, *after.findings])))


def _live(
    repository: ConfigRepository, comparison: Comparison, asked: Sequence[str], daemon: "_Daemon"
) -> Plan:
    """The environments that are asked for against what Redis serves, with what in Redis nobody published."""
    served = daemon.served()
    drift = daemon.drift()
    known = [env for env in asked if env in served]
    if not known:
        raise UsageError(f"the daemon at {daemon.url} does not serve {', '.join(asked) or 'any environment'}")
    others = sorted(set(asked) - set(known))
    plans: dict[str | None, Plan] = {}
    environments: list[EnvironmentPlan] = []
    for env in known:
        revision = served[env]
        if revision not in plans:
            old = _served_state(repository, comparison, env, revision)
            plans[revision] = plan(old, comparison.new, base=revision, head=comparison.ends.head)
        own = next(one for one in plans[revision].environments if one.env == env)
        environments.append(replace(own, base=revision, drift=drift.get(env, ())))
    first = next(iter(plans.values()))
    return replace(
        first,
        base=first.base if len(plans) == 1 else None,
        environments=tuple(environments),
        contracts=_merged(one.contracts for one in plans.values()),
        repository=_merged(one.repository for one in plans.values()),
        quiet=first.quiet if len(plans) == 1 else (),
        notes=(*first.notes, *(f"{env} is not compared: the daemon does not serve it" for env in others)),
    )


def _merged(groups: Iterable[Sequence[Any]]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(item for group in groups for item in group))


def _served_state(
    repository: ConfigRepository, comparison: Comparison, env: str, revision: str | None
) -> ConfigState:
    if revision is None:
        return ConfigState.load(())
    if revision == comparison.ends.head:
        return comparison.new
    if revision.startswith("worktree@"):
        raise ConflictError(
            f"Redis serves {env} from uncommitted files ({revision}) that are not these",
            hint="Run it where the daemon runs, or commit first.",
        )
    try:
        return state_of(repository, repository.resolve(revision))
    except UnknownRevisionError as error:
        raise ConflictError(
            f"Redis serves {revision[:12]} in {env}, which is not in this repository", hint="Run `git fetch`."
        ) from error


class _Daemon:
    """What the daemon knows, asked at most once for each thing. Away without --live, it is a note, not an error."""

    def __init__(self, request: PlanRequest) -> None:
        self.url = request.daemon_url or (DEFAULT_DAEMON_URL if request.live else None)
        self._api = DaemonApi(self.url) if self.url is not None else None
        self._must_answer = request.live
        self._status: list[Mapping[str, Any]] | None = None
        self.notes: list[str] = []
        if self._api is not None:
            self._status = self._asked(lambda api: list(api.get("/status")["environments"]))

    def readers(self) -> Readers | None:
        """Services by environment and key; None when nobody could be asked."""
        if self._status is None:
            return None
        return {each["env"]: _by_key(each.get("clients", ())) for each in self._status}

    def served(self) -> dict[str, str | None]:
        """The revision that Redis serves, by environment."""
        return {each["env"]: (each.get("applied") or {}).get("revision") for each in self._status or ()}

    def drift(self) -> dict[str, tuple[Drift, ...]]:
        """What in Redis is not what was published, by environment."""
        answer = self._asked(lambda api: api.get("/drift")["environments"]) or ()
        return {
            each["env"]: tuple(Drift(item["category"], item["key"], item["kind"]) for item in each["drift"])
            for each in answer
        }

    def _asked(self, question: Callable[[DaemonApi], Any]) -> Any:
        if self._api is None:
            return None
        try:
            return question(self._api)
        except KemudiError as error:
            if self._must_answer:
                raise
            note = f"the daemon was not of help: {error}"
            if note not in self.notes:
                self.notes.append(note)
            return None


def _by_key(clients: Iterable[Mapping[str, Any]]) -> dict[str, tuple[str, ...]]:
    found: dict[str, set[str]] = {}
    for client in clients:
        for key in client.get("keys_read", ()):
            found.setdefault(key, set()).add(client["service"])
    return {key: tuple(sorted(services)) for key, services in found.items()}
