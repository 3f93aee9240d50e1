"""From files of values to resolved settings: each file against its contract, then the layers over each other."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from kemudi.schema import guard, rules
from kemudi.schema.contract import Contract, Problem
from kemudi.schema.documents import JSON, Document, Place, escape
from kemudi.schema.envelope import (
    Context,
    Envelope,
    MalformedEnvelopeError,
    context_digest,
    is_sealed,
    recipients_digest,
)
from kemudi.schema.findings import Finding, Severity
from kemudi.schema.nearest import nearest
from kemudi.schema.paths import contract_path


class Override(NamedTuple):
    """A value that a later layer replaced."""

    layer: str
    place: Place
    value: JSON | Envelope


class ResolvedSetting(NamedTuple):
    """The value of one setting in one environment, and where it comes from.

    Attributes:
        key: The setting.
        value: As it is served; an Envelope for a sensitive one.
        layer: The layer that set it; `default` for the contract's default.
        place: Where the value stands; None for a default.
        overrides: What it replaced, the nearest layer first.
    """

    key: str
    value: JSON | Envelope
    layer: str
    place: Place | None
    overrides: tuple[Override, ...] = ()


@dataclass(frozen=True, slots=True)
class ResolvedCategory:
    """All settings of one category in one environment; a sensitive one that no layer sets is absent."""

    name: str
    contract: Contract
    settings: Mapping[str, ResolvedSetting]


@dataclass(frozen=True, slots=True)
class Sealing:
    """What must be sealed in one layer, and what the text of a sealed value must say.

    Attributes:
        repo_id: Of the manifest.
        recipients: Digest of the layer's recipients; None if `recipients.yaml` is missing or wrong.
        count: How many recipients these are.
        names: Which keys are sensitive by their name.
    """

    repo_id: str
    recipients: str | None
    count: int = 0
    names: guard.SensitiveNames = guard.USUAL

    @classmethod
    def for_keys(
        cls, repo_id: str, keys: Iterable[str] | None, names: guard.SensitiveNames = guard.USUAL
    ) -> "Sealing":
        """The sealing of a layer with these public keys; None = they are not known."""
        if keys is None:
            return cls(repo_id, None, names=names)
        known = frozenset(keys)
        return cls(repo_id, recipients_digest(known), len(known), names)


@dataclass(frozen=True, slots=True, eq=False)
class LayerFile:
    """One layer's file of one category, checked against its contract.

    Attributes:
        layer: Its layer.
        document: None if it could not be read.
        values: By key, as they are served; wrong ones are left out.
        findings: Everything wrong with it.
        has_unknown: Whether some finding depends on which keys other contracts have.
        has_sealed: Whether something in it depends on the recipients.
    """

    layer: str
    document: Document | None
    values: Mapping[str, JSON | Envelope]
    findings: tuple[Finding, ...]
    has_unknown: bool = False
    has_sealed: bool = False


def check_file(
    layer: str,
    document: Document | None,
    parse_findings: tuple[Finding, ...],
    contract: Contract,
    sealing: Sealing,
    owners: Mapping[str, str],
) -> LayerFile:
    """Hold one file against its contract.

    Args:
        layer: The layer that the file belongs to.
        document: What was read of it.
        parse_findings: What reading it already found.
        contract: Of its category.
        sealing: What its sealed values must say.
        owners: The category of every key in the repo, to say where an unknown key belongs.
    """
    if document is None:
        return LayerFile(layer, None, {}, _with_layer(parse_findings, layer))
    sealed = b"ENC[" in document.data
    plain = not parse_findings and not document.large and contract.file_is_valid(document.values)
    if plain and not sealed and guard.is_quiet(document.data, document.values, sealing.names):
        values = _normalised(contract, document.values)
        return LayerFile(layer, document, values, ())
    check = _Check(layer, document, contract, sealing, owners)
    check.run()
    findings = tuple(sorted({*_with_layer(parse_findings, layer), *check.findings}))
    return LayerFile(layer, document, check.values, findings, check.has_unknown, sealed)


def _normalised(contract: Contract, values: Mapping[str, JSON]) -> Mapping[str, JSON | Envelope]:
    if contract.structured or contract.integers:
        return {key: contract.normalise(key, value) for key, value in values.items()}
    return values


def _with_layer(findings: tuple[Finding, ...], layer: str) -> tuple[Finding, ...]:
    return tuple(
        Finding(f.file, f.line, f.column, f.rule, f.pointer, f.key, f.message, f.hint, layer, f.severity)
        for f in findings
    )


class _Check:
    """The slow way through one file: every key, every finding."""

    def __init__(
        self,
        layer: str,
        document: Document,
        contract: Contract,
        sealing: Sealing,
        owners: Mapping[str, str],
    ) -> None:
        self._layer = layer
        self._document = document
        self._contract = contract
        self._sealing = sealing
        self._owners = owners
        self.values: dict[str, JSON | Envelope] = {}
        self.findings: list[Finding] = []
        self.has_unknown = False
        self._suspicious: set[str] = set()

    def run(self) -> None:
        for key, value in self._document.values.items():
            if key not in self._contract.settings:
                self._unknown(key)
                self._guarded(key, value)
            elif key in self._document.broken or self._guarded(key, value) == "error":
                continue
            elif key in self._contract.sensitive:
                self._sensitive(key, str(value))
            elif _holds_sealed(value):
                message = f"{key} is not sensitive, and holds a sealed value"
                self._note(Problem(rules.NEEDLESS_SEAL, key, message))
            else:
                self._plain(key, value)

    def _guarded(self, key: str, value: JSON) -> str | None:
        """Note what speaks against a value in plain text; the severity of that."""
        spec = self._contract.settings.get(key)
        said = spec.said_sensitive if spec is not None else None
        found = guard.inspect(key, value, sensitive=said, names=self._sealing.names, layer=self._layer)
        if found is None:
            return None
        self._suspicious.add(key)
        self._note(Problem(found.rule, key, found.message, found.hint), severity=found.severity)
        return found.severity

    def _plain(self, key: str, value: JSON) -> None:
        problems = self._contract.check_value(key, value)
        if not problems:
            self.values[key] = self._contract.normalise(key, value)
            return
        if key in self._suspicious:
            # The usual messages quote the value.
            for rule in dict.fromkeys(problem.rule for problem in problems):
                self._note(Problem(rule, key, f"{key} does not fit its contract; its value is not shown"))
            return
        written = self._document.written(f"/{escape(key)}")
        for problem in self._contract.check_value(key, value, written):
            self._note(problem)

    def _sensitive(self, key: str, value: str) -> None:
        try:
            envelope = Envelope.parse(value)
        except MalformedEnvelopeError as error:
            self._note(Problem(rules.MALFORMED_SEAL, key, f"{key}: {error}", _seal_again(key, self._layer)))
            return
        self.values[key] = envelope
        context = Context(self._sealing.repo_id, self._layer, self._contract.category, key)
        if envelope.at != context_digest(context):
            message = f"{key} was sealed for another place: another repository, layer, category or key"
            self._note(Problem(rules.MOVED_SEAL, key, message, _seal_again(key, self._layer)))
        if self._sealing.recipients is not None and (stale := self._stale(key, envelope)) is not None:
            hint = f"seal it for these: kemudi secret rekey --layer {self._layer}"
            self._note(Problem(rules.STALE_SEAL, key, stale, hint))

    def _stale(self, key: str, envelope: Envelope) -> str | None:
        if envelope.rs != self._sealing.recipients:
            return f"{key} was sealed to other recipients than {self._layer} has now"
        wanted, found = self._sealing.count, envelope.stanzas
        if found == wanted:
            return None
        return f"{key} says that it was sealed to the {wanted} recipients of {self._layer}, and holds {found}"

    def _unknown(self, key: str) -> None:
        self.has_unknown = True
        settings = self._contract.settings
        twin = next((known for known in settings if known.casefold() == key.casefold()), None)
        if twin is not None:
            message = f"{key} differs from {twin} only in case"
            self._note(Problem(rules.CASE_TWIN, key, message, f"write {twin}"), on_key=True)
            return
        owner = self._owners.get(key)
        if owner is not None:
            message = f"{key} is a setting of {owner}, not of {self._contract.category}"
            hint = f"{key} belongs in {self._layer}/{owner}.yaml"
            self._note(Problem(rules.WRONG_FILE, key, message, hint), on_key=True)
            return
        close = nearest(key, settings) or nearest(key, self._owners)
        elsewhere = self._owners.get(close or "", self._contract.category)
        suffix = "" if elsewhere == self._contract.category else f", in {self._layer}/{elsewhere}.yaml"
        guess = f"did you mean {close}{suffix}?" if close else None
        message = f"{key} is not in {contract_path(self._contract.category)}"
        self._note(Problem(rules.UNKNOWN_KEY, key, message, guess), on_key=True)

    def _note(self, problem: Problem, *, on_key: bool = False, severity: Severity = "error") -> None:
        pointer = f"/{escape(problem.key)}{problem.pointer}"
        document = self._document
        if on_key:
            place = document.place_of_key(problem.key)
        elif problem.pointer:
            place = document.place(pointer)
        else:
            place = document.place_of_value(problem.key)
        self.findings.append(
            Finding(
                place.file,
                place.line,
                place.column,
                problem.rule,
                pointer,
                problem.key,
                problem.message,
                problem.hint,
                self._layer,
                severity,
            )
        )


def default_findings(contract: Contract, names: guard.SensitiveNames) -> tuple[Finding, ...]:
    """What speaks against the defaults of a contract standing there in plain text."""
    found = []
    for key, default in contract.defaults.items():
        said = contract.settings[key].said_sensitive
        suspicion = guard.inspect(key, default, sensitive=said, names=names, layer="base")
        if suspicion is not None:
            place = contract.place_of(key)
            rule, severity, message, hint = suspicion
            pointer = f"/properties/{escape(key)}/default"
            found.append(
                Finding(
                    place.file, place.line, place.column, rule, pointer, key, message, hint, None, severity
                )
            )
    return tuple(found)


def _holds_sealed(value: JSON) -> bool:
    if isinstance(value, dict):
        return any(_holds_sealed(inner) for inner in value.values())
    if isinstance(value, list):
        return any(_holds_sealed(inner) for inner in value)
    return is_sealed(value)


def _seal_again(key: str, layer: str) -> str:
    return f"seal it for this place: {_command(key, layer)}"


def _command(key: str, layer: str) -> str:
    return f"kemudi secret set {key} --layer {layer}"


def resolve_category(contract: Contract, files: tuple[LayerFile, ...]) -> ResolvedCategory:
    """Lay files over each other, the lowest layer first. The last layer that sets a key wins, whole."""
    settings: dict[str, ResolvedSetting] = {}
    for each in files:
        document = each.document
        if document is None:
            continue
        for key, value in each.values.items():
            below = settings.get(key)
            overrides: tuple[Override, ...] = ()
            if below is not None and below.place is not None:
                overrides = (Override(below.layer, below.place, below.value), *below.overrides)
            settings[key] = ResolvedSetting(key, value, each.layer, document.place_of_value(key), overrides)
    for key, default in contract.defaults.items():
        if key not in settings:
            settings[key] = ResolvedSetting(key, default, "default", None)
    return ResolvedCategory(contract.category, contract, MappingProxyType(settings))


def check_resolved(resolved: ResolvedCategory, files: tuple[LayerFile, ...]) -> tuple[Finding, ...]:
    """The contract's rules between settings, each finding where a layer set the offending key."""
    contract = resolved.contract
    if not contract.has_cross_rules:
        return ()
    values = {key: _for_rules(setting.value) for key, setting in resolved.settings.items()}
    problems = contract.check_together(values)
    return tuple(_cross_finding(problem, resolved, files) for problem in problems)


def _for_rules(value: JSON | Envelope) -> JSON:
    return str(value) if isinstance(value, Envelope) else value


def _cross_finding(problem: Problem, resolved: ResolvedCategory, files: tuple[LayerFile, ...]) -> Finding:
    ranks = {each.layer: rank for rank, each in enumerate(files)}
    placed = [
        setting
        for key in problem.keys
        if (setting := resolved.settings.get(key)) is not None and setting.place is not None
    ]
    if placed:
        # The first key is the one whose value is wrong; among triggers the highest layer changed last.
        setting = placed[0] if placed[0].key == problem.key else max(placed, key=lambda s: ranks[s.layer])
        place = setting.place or Place(contract_path(resolved.name), 1, 1)
        pointer, layer = f"/{escape(setting.key)}", setting.layer
    else:
        readable = [each for each in files if each.document is not None]
        path = readable[-1].document.file if readable and readable[-1].document else None
        place = Place(path or contract_path(resolved.name), 1, 1)
        pointer, layer = "", readable[-1].layer if readable else "default"
    key = problem.key or None
    return Finding(
        place.file, place.line, place.column, problem.rule, pointer, key, problem.message, None, layer
    )
