"""`kemudi.yaml`, `recipients.yaml` and `roles.yaml`: read, checked, and as values."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, cast, get_args

from kemudi.schema import rules
from kemudi.schema.bech32 import is_bech32
from kemudi.schema.documents import JSON, escape, read_document, read_list
from kemudi.schema.fields import Fields
from kemudi.schema.findings import Finding
from kemudi.schema.guard import DEFAULT_NAMES
from kemudi.schema.nearest import did_you_mean
from kemudi.schema.sentences import sentence

FILE: Final = "kemudi.yaml"
RECIPIENTS_FILE: Final = "recipients.yaml"
ROLES_FILE: Final = "roles.yaml"

Mode = Literal["commit", "worktree"]
Reject = Literal["commit", "category"]
Verify = Literal["ssh", "gpg"]
Kind = Literal["daemon", "human", "recovery"]
Role = Literal["viewer", "editor", "approver", "admin"]

NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,62}", re.ASCII)
RESERVED: Final = frozenset({"contracts", "flags", "default"})
_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)
_RECIPIENT: Final = re.compile(r"age1[0-9a-z]{58,4096}|ssh-(?:ed25519|rsa) [A-Za-z0-9+/=]+(?: .*)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Environment:
    """One environment.

    Attributes:
        name: `dev`, `prod`, …
        layers: From the lowest to the one that wins; usually `base` and the environment's own.
        mode: `worktree` also serves uncommitted saves.
        reject: What a bad commit holds back: the whole environment, or its category alone.
        verify: How every commit must be signed, None for not at all.
    """

    name: str
    layers: tuple[str, ...]
    mode: Mode = "commit"
    reject: Reject = "commit"
    verify: Verify | None = None


@dataclass(frozen=True, slots=True)
class RepoManifest:
    """`kemudi.yaml`.

    Attributes:
        id: The repository's UUID; sealed values are bound to it.
        environments: In promotion order.
        services: Which categories each service reads.
        policies: Kept as they are written; `kemudi.repo` reads them.
        sensitive_names: Patterns of keys that are sensitive by their name.
        format: 1.
    """

    id: str
    environments: tuple[Environment, ...]
    services: Mapping[str, tuple[str, ...]]
    policies: tuple[JSON, ...] = ()
    sensitive_names: tuple[str, ...] = DEFAULT_NAMES
    format: int = 1

    @property
    def layers(self) -> tuple[str, ...]:
        """Every layer once, in the order of first use."""
        return tuple(dict.fromkeys(layer for each in self.environments for layer in each.layers))

    def environment(self, name: str) -> Environment:
        """The environment of that name. Raises KeyError."""
        for each in self.environments:
            if each.name == name:
                return each
        raise KeyError(name)

    def environments_of(self, layer: str) -> tuple[str, ...]:
        """The names of the environments that a layer is part of."""
        return tuple(each.name for each in self.environments if layer in each.layers)


@dataclass(frozen=True, slots=True)
class Recipient:
    """One public key that values are sealed to."""

    name: str
    key: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Recipients:
    """`recipients.yaml`: who can read the sealed values of each environment."""

    recipients: Mapping[str, Recipient]
    environments: Mapping[str, tuple[str, ...]]

    def for_layer(self, layer: str, manifest: RepoManifest) -> tuple[Recipient, ...]:
        """Who reads a layer: the recipients of every environment that it is part of, by name."""
        names = {name for env in manifest.environments_of(layer) for name in self.environments.get(env, ())}
        return tuple(self.recipients[name] for name in sorted(names) if name in self.recipients)

    def keys_for_layer(self, layer: str, manifest: RepoManifest) -> tuple[str, ...]:
        """The public keys that a layer's values are sealed to, sorted."""
        return tuple(sorted({recipient.key for recipient in self.for_layer(layer, manifest)}))


@dataclass(frozen=True, slots=True)
class RoleGrant:
    """One line of `roles.yaml`: who may do what, where. An empty tuple means everywhere."""

    who: str
    role: Role
    environments: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()


def read_manifest(data: bytes) -> tuple[RepoManifest | None, tuple[Finding, ...]]:
    """Read `kemudi.yaml`. The manifest is None if its environments cannot be known."""
    document, findings = read_document(data, FILE)
    if document is None:
        return None, findings
    read = Fields(document, rules.MANIFEST, list(findings))
    read.known("", ("format", "id", "environments", "services", "policies", "sensitive_names"))
    read.one_of("/format", (1,), default=None)
    identity = read.text("/id", _UUID, "a UUID in lower case, such as uuidgen prints")
    environments = _environments(read)
    services = _services(read)
    policies = read.items("/policies", optional=True)
    names: tuple[str, ...] = DEFAULT_NAMES
    if "sensitive_names" in document.values:
        names = read.names("/sensitive_names", what=sentence("a list of name patterns such as *_PASSWORD"))
    found = tuple(sorted(read.findings))
    if identity is None or not environments:
        return None, found
    manifest = RepoManifest(identity, environments, MappingProxyType(services), tuple(policies), names)
    return manifest, found


def _services(read: "Fields") -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for name in read.keys("/services", optional=True):
        at = f"/services/{escape(name)}"
        if NAME.fullmatch(name):
            found[name] = read.names(at, what=sentence("a list of categories"))
        else:
            read.note(at, sentence("%(name)s cannot be the name of a service", name=repr(name)), on_key=True)
    return found


def _environments(read: "Fields") -> tuple[Environment, ...]:
    found: dict[str, Environment] = {}
    count = len(read.items("/environments"))
    if not count and not read.findings:
        read.note("/environments", sentence("environments must list at least one environment"))
    for position in range(count):
        at = f"/environments/{position}"
        if not read.is_mapping(at):
            continue
        read.known(at, ("name", "layers", "mode", "reject", "verify"))
        name = read.text(f"{at}/name", NAME, sentence("a name of a-z, 0-9, - and _, a letter first"))
        if name is None:
            continue
        if name in found or name in RESERVED:
            read.note(
                f"{at}/name",
                sentence("the name %(name)s is taken", name=name)
                if name in found
                else sentence("the name %(name)s is reserved", name=name),
            )
            continue
        layers = read.names(f"{at}/layers", what=sentence("a list of layers"), optional=True) or (
            "base",
            name,
        )
        mode = read.one_of(f"{at}/mode", get_args(Mode), default="commit")
        reject = read.one_of(f"{at}/reject", get_args(Reject), default="commit")
        verify = read.one_of(f"{at}/verify", get_args(Verify), default="")
        if verify and mode == "worktree":
            read.note(
                f"{at}/verify", sentence("uncommitted saves cannot be signed: verify needs `mode: commit`")
            )
        for index, layer in enumerate(layers):
            if layer in RESERVED or not NAME.fullmatch(layer):
                read.note(
                    f"{at}/layers/{index}",
                    sentence("%(layer)s cannot be the name of a layer", layer=repr(layer)),
                )
        found[name] = Environment(
            name, layers, cast("Mode", mode), cast("Reject", reject), cast("Verify | None", verify or None)
        )
    return tuple(found.values())


def read_recipients(data: bytes, manifest: RepoManifest) -> tuple[Recipients | None, tuple[Finding, ...]]:
    """Read `recipients.yaml`; its environments are held against the manifest's."""
    document, findings = read_document(data, RECIPIENTS_FILE)
    if document is None:
        return None, findings
    read = Fields(document, rules.RECIPIENTS, list(findings))
    read.known("", ("recipients", "environments"))
    people: dict[str, Recipient] = {}
    for name in read.keys("/recipients"):
        at = f"/recipients/{escape(name)}"
        if not read.is_mapping(at):
            continue
        read.known(at, ("key", "kind"))
        key = read.text(f"{at}/key", _RECIPIENT, "an age public key, `age1…`, or an SSH one")
        kind = read.one_of(f"{at}/kind", get_args(Kind), default=None)
        if key is not None and key.startswith("age1") and not is_bech32(key):
            read.note(
                f"{at}/key",
                sentence("recipients.%(name)s.key has a wrong checksum: it is mistyped or cut", name=name),
            )
        elif key is not None and kind is not None:
            people[name] = Recipient(name, key, cast("Kind", kind))
    environments: dict[str, tuple[str, ...]] = {}
    known = [each.name for each in manifest.environments]
    listed = read.keys("/recipients", optional=True)
    for name in read.keys("/environments"):
        at = f"/environments/{escape(name)}"
        if name not in known:
            read.note(
                at,
                sentence("%(file)s names no environment %(name)s", file=FILE, name=name),
                hint=did_you_mean(name, known),
                on_key=True,
            )
        environments[name] = read.names(at, what=sentence("a list of recipients"))
        for position, person in enumerate(environments[name]):
            if person not in listed:
                hint = did_you_mean(person, listed)
                read.note(
                    f"{at}/{position}", sentence("there is no recipient %(person)s", person=person), hint=hint
                )
    found = tuple(sorted(read.findings))
    return Recipients(MappingProxyType(people), MappingProxyType(environments)), found


def read_roles(data: bytes, manifest: RepoManifest) -> tuple[tuple[RoleGrant, ...], tuple[Finding, ...]]:
    """Read `roles.yaml`; its environments are held against the manifest's."""
    document, findings = read_list(data, ROLES_FILE)
    if document is None:
        return (), findings
    read = Fields(document, rules.ROLES, list(findings))
    known = [each.name for each in manifest.environments]
    grants: list[RoleGrant] = []
    for position in range(len(read.items(""))):
        at = f"/{position}"
        if not read.is_mapping(at):
            continue
        read.known(at, ("who", "role", "environments", "categories"))
        who = read.text(f"{at}/who", re.compile(r"\S(.*\S)?"), sentence("who it is about"))
        role = read.one_of(f"{at}/role", get_args(Role), default=None)
        environments = read.names(
            f"{at}/environments", what=sentence("a list of environments"), optional=True
        )
        categories = read.names(f"{at}/categories", what=sentence("a list of categories"), optional=True)
        for index, name in enumerate(environments):
            if name not in known:
                hint = did_you_mean(name, known)
                read.note(
                    f"{at}/environments/{index}",
                    sentence("%(file)s names no environment %(name)s", file=FILE, name=name),
                    hint=hint,
                )
        if who is not None and role is not None:
            grants.append(RoleGrant(who, cast("Role", role), environments, categories))
    return tuple(grants), tuple(sorted(read.findings))


def service_findings(
    data: bytes, manifest: RepoManifest, categories: Mapping[str, object]
) -> tuple[Finding, ...]:
    """Services of `kemudi.yaml` that read a category without a contract."""
    if all(name in categories for listed in manifest.services.values() for name in listed):
        return ()
    document, _ = read_document(data, FILE)
    if document is None:
        return ()
    read = Fields(document, rules.MANIFEST, [])
    for service, listed in manifest.services.items():
        for position, name in enumerate(listed):
            if name not in categories:
                at = f"/services/{escape(service)}/{position}"
                message = sentence("there is no contract of the category %(name)s", name=name)
                read.note(at, message, hint=did_you_mean(name, categories))
    return tuple(read.findings)
