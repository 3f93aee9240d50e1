"""`policies` of `kemudi.yaml`: read and checked, each mistake at its line and column."""

import json
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo

from kemudi.repo.freeze import Calendar, Window, read_moment
from kemudi.repo.policy_model import (
    Approvals,
    BreakGlass,
    ChangeSize,
    Freeze,
    Owners,
    Policy,
    Promotion,
    ProposalsOnly,
    ReadPolicies,
    Reason,
    Scope,
    Terms,
)
from kemudi.schema import manifest as manifests
from kemudi.schema import policy_rules as rules
from kemudi.schema.documents import escape, read_document
from kemudi.schema.fields import Fields
from kemudi.schema.manifest import RepoManifest
from kemudi.schema.nearest import did_you_mean
from kemudi.schema.sentences import sentence

COMMON: Final = ("rule", "environments", "categories", "keys", "level", "exceptions")
_TEXT: Final = re.compile(r"\S(?:.*\S)?")
_GLOB: Final = re.compile(r"[A-Za-z0-9_*?]+", re.ASCII)

Reader = Callable[["Fields", str, RepoManifest], Terms | None]


def read_policies(manifest: RepoManifest, data: bytes | None = None) -> ReadPolicies:
    """The policies of a manifest.

    Args:
        manifest: Of the config repo.
        data: The bytes of its `kemudi.yaml`, so that findings have their lines and columns.
    """
    if not manifest.policies:
        return ReadPolicies(())
    source = data if data is not None else json.dumps({"policies": list(manifest.policies)}).encode()
    document, _ = read_document(source, manifests.FILE)
    if document is None:
        return ReadPolicies(())  # a finding of the manifest already
    read = Fields(document, rules.POLICY, [])
    found = [_policy(read, f"/policies/{position}", manifest) for position in range(len(manifest.policies))]
    return ReadPolicies(tuple(each for each in found if each is not None), tuple(sorted(read.findings)))


def _policy(read: Fields, at: str, manifest: RepoManifest) -> Policy | None:
    if not read.is_mapping(at):
        return None
    name = read.text(f"{at}/rule", _TEXT, sentence("one of %(names)s", names=", ".join(_KINDS)))
    if name is None:
        return None
    if name not in _KINDS:
        read.note(
            f"{at}/rule",
            sentence("there is no policy %(name)s", name=repr(name)),
            hint=did_you_mean(name, _KINDS),
        )
        return None
    rule, fields, reader = _KINDS[name]
    before = len(read.findings)
    read.known(at, (*COMMON, *fields))
    scope = _scope(read, at, manifest)
    terms = reader(read, at, manifest)
    level = read.one_of(f"{at}/level", ("error", "warning"), default="error")
    exceptions = read.flag(f"{at}/exceptions", default=True)
    if terms is None or len(read.findings) > before:
        return None
    return Policy(name, rule, scope, terms, read.place(at), level == "warning", exceptions)


def _scope(read: Fields, at: str, manifest: RepoManifest) -> Scope:
    environments = read.names(f"{at}/environments", what=sentence("a list of environments"), optional=True)
    for position, name in enumerate(environments):
        _known_environment(read, f"{at}/environments/{position}", name, manifest)
    categories = read.names(f"{at}/categories", what=sentence("a list of categories"), optional=True)
    keys = read.names(f"{at}/keys", what=sentence("a list of settings"), optional=True)
    for position, key in enumerate(keys):
        if not _GLOB.fullmatch(key):
            read.note(
                f"{at}/keys/{position}",
                sentence("%(key)s is no name of settings, with * for any characters", key=repr(key)),
            )
    return Scope(environments, categories, keys)


def _known_environment(read: Fields, at: str, name: str, manifest: RepoManifest) -> None:
    known = [each.name for each in manifest.environments]
    if name not in known:
        read.note(
            at,
            sentence("%(file)s names no environment %(name)s", file=manifests.FILE, name=name),
            hint=did_you_mean(name, known),
        )


def _reason(read: Fields, at: str, _: RepoManifest) -> Terms | None:
    minimum = read.number(f"{at}/minimum", least=1, default=1)
    return None if minimum is None else Reason(int(minimum))


def _change_size(read: Fields, at: str, _: RepoManifest) -> Terms | None:
    percent = read.number(f"{at}/percent", least=0)
    return None if percent is None else ChangeSize(percent)


def _freeze(read: Fields, at: str, _: RepoManifest) -> Terms | None:
    name = (
        read.text(f"{at}/timezone", _TEXT, sentence("a time zone, such as Asia/Jakarta"), optional=True)
        or "UTC"
    )
    windows = [
        _window(read, f"{at}/windows/{position}") for position in range(len(read.items(f"{at}/windows")))
    ]
    zone = _zone(name)
    if zone is None:
        read.note(f"{at}/timezone", sentence("there is no time zone %(name)s", name=repr(name)))
        return None
    return Freeze(Calendar(zone, tuple(window for window in windows if window is not None)))


def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):  # a folder, a path, an unknown name
        return None


def _window(read: Fields, at: str) -> Window | None:
    if not read.is_mapping(at):
        return None
    read.known(at, ("from", "to"))
    texts = [
        read.text(f"{at}/{name}", _TEXT, sentence("a moment, such as fri 16:00")) for name in ("from", "to")
    ]
    if None in texts:
        return None
    start, end = read_moment(texts[0] or "", is_end=False), read_moment(texts[1] or "", is_end=True)
    for name, text, moment in (("from", texts[0], start), ("to", texts[1], end)):
        if moment is None:
            read.note(
                f"{at}/{name}",
                sentence("%(text)s is no moment", text=repr(text)),
                hint=sentence("write fri 16:00, 22:00 or 2026-12-20 18:00"),
            )
    if start is None or end is None:
        return None
    if start.repeats != end.repeats:
        read.note(
            f"{at}/to",
            sentence(
                "the window starts %(repeats)s and ends %(repeats_2)s",
                repeats=start.repeats,
                repeats_2=end.repeats,
            ),
        )
        return None
    if start.at == end.at or (start.repeats == "once" and end.at < start.at):
        read.note(f"{at}/to", sentence("the window ends before it starts"))
        return None
    return Window(start, end)


def _promotion(read: Fields, at: str, manifest: RepoManifest) -> Terms | None:
    source = read.text(f"{at}/from", _TEXT, sentence("the environment that must have run the value"))
    hours = read.number(f"{at}/hours", least=0, default=0)
    if source is None or hours is None:
        return None
    _known_environment(read, f"{at}/from", source, manifest)
    return Promotion(source, hours)


def _owners(read: Fields, at: str, _: RepoManifest) -> Terms | None:
    members: dict[str, tuple[str, ...]] = {}
    for team in read.keys(f"{at}/members", optional=True):
        members[team] = read.names(f"{at}/members/{escape(team)}", what=sentence("a list of people"))
    return Owners(MappingProxyType(members))


def _approvals(read: Fields, at: str, _: RepoManifest) -> Terms | None:
    required = read.number(f"{at}/required", least=1, default=1)
    own = read.flag(f"{at}/own", default=False)
    return None if required is None else Approvals(int(required), own)


def _proposals_only(_: Fields, __: str, ___: RepoManifest) -> Terms | None:
    return ProposalsOnly()


def _break_glass(read: Fields, at: str, _: RepoManifest) -> Terms | None:
    if not read.items(f"{at}/keys"):
        read.note(f"{at}/keys", sentence("keys must name the settings that may be changed at once"))
        return None
    return BreakGlass()


_KINDS: Final[Mapping[str, tuple[str | None, tuple[str, ...], Reader]]] = {
    "reason": (rules.REASON, ("minimum",), _reason),
    "change-size": (rules.CHANGE_SIZE, ("percent",), _change_size),
    "freeze": (rules.FREEZE, ("timezone", "windows"), _freeze),
    "promotion": (rules.PROMOTION, ("from", "hours"), _promotion),
    "owners": (rules.OWNERS, ("members",), _owners),
    "approvals": (rules.APPROVALS, ("required", "own"), _approvals),
    "proposals-only": (rules.PROPOSAL, (), _proposals_only),
    "break-glass": (None, (), _break_glass),
}

NAMES: Final = MappingProxyType({name: rule for name, (rule, _, _) in _KINDS.items() if rule is not None})
"""The rule of each policy that has findings."""
