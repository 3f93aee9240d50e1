"""Changes in the files that govern the rest: whoever approves a value should see that its rules changed, too."""

from collections.abc import Iterator, Sequence

from kemudi.repo.plan_model import RepositoryChange
from kemudi.schema import manifest as manifests
from kemudi.schema.manifest import Environment, Recipients, RepoManifest
from kemudi.schema.state import ConfigState


def repository_changes(old: ConfigState, new: ConfigState) -> tuple[RepositoryChange, ...]:
    """What changed in `kemudi.yaml`, `recipients.yaml`, `roles.yaml` and `flags/`."""
    return (*_manifest(old, new), *_recipients(old, new), *_roles(old, new), *_flags(old, new))


def _manifest(old: ConfigState, new: ConfigState) -> Iterator[RepositoryChange]:
    before, after = old.manifest, new.manifest
    if before is None or after is None or before == after:
        return
    said = [*_identity(before, after), *_environments(before, after)]
    for name in sorted({*before.services, *after.services}):
        was, now = before.services.get(name), after.services.get(name)
        if was != now:
            said.append(f"service {name} reads {_names(was)} → {_names(now)}")
    if before.policies != after.policies:
        said.append(f"the policies change ({len(before.policies)} → {len(after.policies)}): read the diff")
    yield from (RepositoryChange(manifests.FILE, message) for message in said)


def _identity(before: RepoManifest, after: RepoManifest) -> Iterator[str]:
    if before.id != after.id:
        yield "the id changes: every sealed value must be sealed again, and no daemon goes on from here"


def _environments(before: RepoManifest, after: RepoManifest) -> Iterator[str]:
    was = {each.name: each for each in before.environments}
    now = {each.name: each for each in after.environments}
    yield from (f"environment {name} is removed" for name in was if name not in now)
    yield from (f"environment {name} is new: {_described(now[name])}" for name in now if name not in was)
    for name in was.keys() & now.keys():
        if was[name] != now[name]:
            yield f"environment {name}: {_described(was[name])} → {_described(now[name])}"
    kept = [name for name in now if name in was]
    if kept != [name for name in was if name in now]:
        yield f"the promotion order becomes {', '.join(now)}"


def _described(environment: Environment) -> str:
    layers = ", ".join(environment.layers)
    return f"layers {layers}; mode {environment.mode}; reject {environment.reject}"


def _recipients(old: ConfigState, new: ConfigState) -> Iterator[RepositoryChange]:
    before, after = old.recipients, new.recipients
    if before == after:
        return
    for env in sorted({*_readers(before), *_readers(after)}):
        was, now = _readers(before).get(env, {}), _readers(after).get(env, {})
        gained = sorted(name for name in now if was.get(name) != now[name])
        lost = sorted(name for name in was if now.get(name) != was[name])
        if gained:
            yield RepositoryChange(
                manifests.RECIPIENTS_FILE, f"{', '.join(gained)} can read secrets of {env}"
            )
        if lost:
            message = f"{', '.join(lost)} can no longer read secrets of {env} that are sealed from now on"
            yield RepositoryChange(manifests.RECIPIENTS_FILE, message)


def _readers(recipients: Recipients | None) -> dict[str, dict[str, str]]:
    """Name to public key, by environment: a key that was replaced is one lost and one gained."""
    if recipients is None:
        return {}
    known = recipients.recipients
    return {
        env: {name: known[name].key for name in names if name in known}
        for env, names in recipients.environments.items()
    }


def _roles(old: ConfigState, new: ConfigState) -> Iterator[RepositoryChange]:
    for grants, word in (
        (set(new.roles) - set(old.roles), "is"),
        (set(old.roles) - set(new.roles), "is no longer"),
    ):
        for grant in sorted(grants, key=repr):
            where = f" in {', '.join(grant.environments)}" if grant.environments else ""
            what = f" for {', '.join(grant.categories)}" if grant.categories else ""
            yield RepositoryChange(manifests.ROLES_FILE, f"{grant.who} {word} {grant.role}{where}{what}")


def _flags(old: ConfigState, new: ConfigState) -> Iterator[RepositoryChange]:
    for path in sorted({*old.files, *new.files}):
        if path.startswith("flags/") and old.files.get(path) != new.files.get(path):
            what = "is new" if path not in old.files else "is removed" if path not in new.files else "changes"
            yield RepositoryChange(path, f"the feature flag definition {what}")


def _names(names: Sequence[str] | None) -> str:
    return ", ".join(names) if names else "nothing"
