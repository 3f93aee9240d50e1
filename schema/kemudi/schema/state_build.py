"""How the parts of a state follow from its files, and which of them a change touches."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from kemudi.schema import manifest as manifests
from kemudi.schema import rules
from kemudi.schema.contract import Contract
from kemudi.schema.contract_reader import read_contract
from kemudi.schema.documents import read_document
from kemudi.schema.file_check import check_file, default_findings
from kemudi.schema.findings import Finding
from kemudi.schema.layers import LayerFile, ResolvedCategory, check_resolved, resolve_category
from kemudi.schema.manifest import Environment, Recipients, RoleGrant
from kemudi.schema.paths import (
    CATEGORY,
    File,
    category_of_contract,
    contract_path,
    is_config,
    is_relevant,
    kind_finding,
    stray_finding,
    twin_findings,
    values_path,
)
from kemudi.schema.sentences import sentence
from kemudi.schema.state_parts import Parsed, Parts, Source


def build(before: Parts, changes: Mapping[str, File | None]) -> Parts:
    """The parts after some files changed; `before` itself if nothing did.

    Cost: the changed files, plus a copy of a few flat mappings. A new manifest or contract looks at what it governs.
    """
    changed = _real_changes(before.files, changes)
    return _Build(before, changed).run() if changed or not before.loaded else before


def _real_changes(files: Mapping[str, File], changes: Mapping[str, File | None]) -> dict[str, File | None]:
    found: dict[str, File | None] = {}
    for path, file in changes.items():
        new = file if file is not None and is_relevant(path, file.kind) else None
        if new != files.get(path):
            found[path] = new
    return found


class _Build:
    """One step from the parts before to the parts after: an ordered list of small steps."""

    def __init__(self, before: Parts, changed: Mapping[str, File | None]) -> None:
        self._before = before
        self._changed = changed
        self._dirty: set[str] = set()
        files = dict(before.files)
        for path, file in changed.items():
            files.pop(path, None)
            if file is not None:
                files[path] = file
        # The mappings of `before` are shared until a step replaces one.
        self._parts = replace(before, files=files, found=dict(before.found), loaded=True)

    def run(self) -> Parts:
        """Every step, in the order in which they need each other."""
        self._manifest()
        self._contracts()
        self._defaults()
        self._services()
        self._recipients()
        self._roles()
        self._values()
        self._resolve()
        self._strays()
        self._twins()
        return self._parts

    @property
    def _new_manifest(self) -> bool:
        return self._parts.manifest is not self._before.manifest

    @property
    def _new_categories(self) -> bool:
        known, before = self._parts.known_categories, self._before.known_categories
        return known is not before and known.keys() != before.keys()

    def _regular(self, path: str) -> File | None:
        file = self._parts.files.get(path)
        return file if file is not None and file.kind == "file" else None

    def _report(self, source: Source, path: str, findings: Iterable[Finding]) -> None:
        self._parts.found.pop((source, path), None)
        if found := tuple(findings):
            self._parts.found[source, path] = found

    def _manifest(self) -> None:
        path = manifests.FILE
        if path not in self._changed and self._before.loaded:
            return
        file = self._regular(path)
        manifest, findings = manifests.read_manifest(file.data) if file is not None else (None, ())
        if path not in self._parts.files:
            message = sentence("%(path)s is missing, so the environments are not known", path=path)
            findings = (
                Finding(path, 1, 1, rules.NO_MANIFEST, message=message, hint=sentence("run `kemudi init`")),
            )
        self._report("manifest", path, findings)
        if manifest != self._before.manifest:
            self._parts = replace(self._parts, manifest=manifest)

    def _contracts(self) -> None:
        changed = {path: name for path in self._changed if (name := category_of_contract(path)) is not None}
        if not changed:
            return
        contracts, known = dict(self._parts.contracts), dict(self._parts.known_categories)
        for path, category in changed.items():
            self._dirty.add(category)
            contracts.pop(category, None)
            known.pop(category, None)
            file = self._regular(path)
            contract, findings = self._contract(file, path, category) if file is not None else (None, ())
            self._report("contract", path, findings)
            if file is not None:
                known[category] = path
            if contract is not None:
                contracts[category] = contract
        contracts = dict(sorted(contracts.items()))
        self._parts = replace(self._parts, contracts=contracts, known_categories=known)
        self._key_owners()

    def _contract(self, file: File, path: str, category: str) -> tuple[Contract | None, tuple[Finding, ...]]:
        contract, findings = read_contract(file.data, path, category)
        if CATEGORY.fullmatch(category):
            return contract, findings
        message = sentence(
            "a category is named by a-z, 0-9 and _, a letter first, and this one is %(category)s",
            category=repr(category),
        )
        return None, (Finding(path, 1, 1, rules.PATH, message=message), *findings)

    def _key_owners(self) -> None:
        """The category of each key. The first contract in alphabetical order keeps a key that two claim."""
        owners: dict[str, str] = {}
        for category in self._dirty:
            self._report("keys", contract_path(category), ())
        for category, contract in self._parts.contracts.items():
            taken = [key for key in contract.settings if owners.setdefault(key, category) != category]
            self._report("keys", contract.file, [_taken(contract, key, owners[key]) for key in taken])
        if owners != self._before.owners:
            self._parts = replace(self._parts, owners=owners)

    def _defaults(self) -> None:
        """A contract is in git like any file, so its defaults are no place for a secret either."""
        names = self._parts.names
        for category in self._parts.contracts if self._new_manifest else tuple(self._dirty):
            contract = self._parts.contracts.get(category)
            found = () if contract is None else default_findings(contract, names)
            self._report("defaults", contract_path(category), found)

    def _services(self) -> None:
        """Services may only name categories that there are."""
        file, manifest = self._regular(manifests.FILE), self._parts.manifest
        if file is None or manifest is None or not (self._new_categories or manifests.FILE in self._changed):
            return
        _, findings = manifests.read_manifest(file.data)
        unknown = manifests.service_findings(file.data, manifest, self._parts.known_categories)
        self._report("manifest", manifests.FILE, (*findings, *unknown))

    def _recipients(self) -> None:
        path, manifest = manifests.RECIPIENTS_FILE, self._parts.manifest
        if not self._new_manifest and path not in self._changed:
            return
        file = self._regular(path)
        recipients: Recipients | None = None
        findings: tuple[Finding, ...] = ()
        if file is not None and manifest is not None:
            recipients, findings = manifests.read_recipients(file.data, manifest)
        self._report("manifest", path, findings)
        if recipients != self._before.recipients:
            self._parts = replace(self._parts, recipients=recipients)

    def _roles(self) -> None:
        path, manifest = manifests.ROLES_FILE, self._parts.manifest
        if not self._new_manifest and path not in self._changed:
            return
        file = self._regular(path)
        roles: tuple[RoleGrant, ...] = ()
        findings: tuple[Finding, ...] = ()
        if file is not None and manifest is not None:
            roles, findings = manifests.read_roles(file.data, manifest)
        self._report("manifest", path, findings)
        self._parts = replace(self._parts, roles=roles)

    def _values(self) -> None:
        """Read and check the files of values that the change touches."""
        parts = self._parts
        parsed, layer_files = dict(parts.parsed), dict(parts.layer_files)
        for layer, category in self._touched():
            path = values_path(layer, category)
            file = self._regular(path)
            if file is None:
                parsed.pop(path, None)
            elif path in self._changed or path not in parsed:
                parsed[path] = Parsed(*read_document(file.data, path))
            old = layer_files.pop((layer, category), None)
            new = self._check(layer, category, parsed.get(path))
            if new is not None and old is not None and category not in self._dirty and _alike(old, new):
                new = old
            if new is not None:
                layer_files[layer, category] = new
            if new is not old:
                self._dirty.add(category)
        self._parts = replace(parts, parsed=parsed, layer_files=layer_files)

    def _touched(self) -> list[tuple[str, str]]:
        parts, before = self._parts, self._before
        if self._new_manifest:
            here = [(layer, category) for layer in parts.layers for category in parts.known_categories]
            self._dirty.update(parts.known_categories)
            return list(dict.fromkeys([*here, *before.layer_files]))
        found: dict[tuple[str, str], None] = {}
        for path in self._changed:
            layer, _, name = path.partition("/")
            category = name.removesuffix(".yaml")
            if layer in parts.layers and name != category and "/" not in category:
                found[layer, category] = None
        for category in sorted(self._dirty):
            found.update(dict.fromkeys((layer, category) for layer in parts.layers))
        if parts.recipients is not before.recipients:
            found.update(dict.fromkeys(at for at, each in parts.layer_files.items() if each.has_sealed))
        if parts.owners is not before.owners:
            found.update(dict.fromkeys(at for at, each in parts.layer_files.items() if each.has_unknown))
        return list(found)

    def _check(self, layer: str, category: str, parsed: Parsed | None) -> LayerFile | None:
        parts, path = self._parts, values_path(layer, category)
        contract = parts.contracts.get(category)
        self._report("values", path, ())
        if parsed is None or layer not in parts.layers or category not in parts.known_categories:
            return None
        if contract is None:
            self._report("values", path, parsed.findings)
            return None
        sealing = parts.sealing(layer)
        checked = check_file(layer, parsed.document, parsed.findings, contract, sealing, parts.owners)
        self._report("values", path, checked.findings)
        return checked

    def _resolve(self) -> None:
        if not self._dirty and not self._new_manifest:
            return
        parts = self._parts
        environments = parts.manifest.environments if parts.manifest is not None else ()
        resolved = {env.name: dict(parts.resolved.get(env.name, {})) for env in environments}
        cross = {
            at: each for at, each in parts.cross.items() if at[0] in resolved and at[1] not in self._dirty
        }
        for env in environments:
            for category in self._dirty:
                old = resolved[env.name].pop(category, None)
                contract = parts.contracts.get(category)
                if contract is None:
                    continue
                files = self._layers(env, category)
                new = resolve_category(contract, files)
                resolved[env.name][category] = old if old is not None and _same(old, new) else new
                if findings := check_resolved(new, files):
                    cross[env.name, category] = findings
        self._parts = replace(parts, resolved=resolved, cross=cross)

    def _layers(self, env: Environment, category: str) -> tuple[LayerFile, ...]:
        found = (self._parts.layer_files.get((layer, category)) for layer in env.layers)
        return tuple(each for each in found if each is not None)

    def _strays(self) -> None:
        """Links, submodules, and files that look like values and are none."""
        parts = self._parts
        everything = self._new_manifest or self._new_categories
        for path in {**parts.files, **self._changed} if everything else self._changed:
            file = parts.files.get(path)
            found: Finding | None = None
            if file is not None and file.kind != "file":
                found = kind_finding(file) if is_config(path, parts.layers) else None
            elif file is not None and parts.manifest is not None:
                found = stray_finding(path, parts.layers, parts.known_categories)
            self._report("stray", path, () if found is None else (found,))

    def _twins(self) -> None:
        same_paths = all(
            (path in self._before.files) == (file is not None) for path, file in self._changed.items()
        )
        if same_paths and self._before.loaded and not self._new_manifest:
            return
        for at in [at for at in self._parts.found if at[0] == "twin"]:
            del self._parts.found[at]
        layers = self._parts.layers
        for path, finding in twin_findings(self._parts.files, layers).items():
            self._report("twin", path, (finding,))


def _taken(contract: Contract, key: str, owner: str) -> Finding:
    place = contract.place_of(key)
    message = sentence(
        "%(key)s stands in %(owner)s too; a key has one category", key=key, owner=contract_path(owner)
    )
    return Finding(place.file, place.line, place.column, rules.KEY_TAKEN, f"/properties/{key}", key, message)


def _alike(old: LayerFile, new: LayerFile) -> bool:
    return old.document is new.document and old.findings == new.findings and old.values == new.values


def _same(old: ResolvedCategory, new: ResolvedCategory) -> bool:
    # 1 == 1.0 == True in Python, and they are different values to serve.
    return old == new and repr(dict(old.settings)) == repr(dict(new.settings))
