"""One file of values held against its contract: every key, every finding."""

from collections.abc import Mapping

from kemudi.schema import guard, rules
from kemudi.schema.contract import Contract, Problem
from kemudi.schema.documents import JSON, Document, escape
from kemudi.schema.envelope import Context, Envelope, MalformedEnvelopeError, context_digest, is_sealed
from kemudi.schema.findings import Finding, Severity
from kemudi.schema.layers import LayerFile, Sealing
from kemudi.schema.nearest import nearest
from kemudi.schema.paths import contract_path
from kemudi.schema.sentences import sentence
from kemudi.schema.sops import (
    BLOCK,
    SopsBlock,
    SopsError,
    envelope_of,
    holds_encrypted,
    is_sops,
    read_block,
    stands_plain,
)


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
        block = self._sops_block() if is_sops(self._document) else None
        for key, value in self._document.values.items():
            if is_sops(self._document) and (key == BLOCK or key in self._contract.settings):
                if block is not None and key != BLOCK and key not in self._document.broken:
                    self._of_sops(key, value, block)
            elif key not in self._contract.settings:
                self._unknown(key)
                self._guarded(key, value)
            elif key in self._document.broken or self._guarded(key, value) == "error":
                continue
            elif key in self._contract.sensitive:
                self._sensitive(key, str(value))
            elif _holds_sealed(value):
                message = sentence("%(key)s is not sensitive, and holds a sealed value", key=key)
                self._note(Problem(rules.NEEDLESS_SEAL, key, message))
            else:
                self._plain(key, value)

    def _sops_block(self) -> SopsBlock | None:
        try:
            block = read_block(self._document.values)
        except SopsError as error:
            self._note(Problem(rules.SOPS_FILE, BLOCK, error.args[0], error.hint), on_key=True)
            return None
        if self._sealing.recipients not in (None, block.digest):
            message = sentence(
                "SOPS encrypted this file to other recipients than %(layer)s has now", layer=self._layer
            )
            hint = sentence(
                "bring it up to date with `sops updatekeys` and `sops rotate`, or `kemudi secret import-sops`"
            )
            self._note(Problem(rules.STALE_SEAL, BLOCK, message, hint), on_key=True)
        return block

    def _of_sops(self, key: str, value: JSON, block: SopsBlock) -> None:
        """A value that is checked, and opened, together with its whole file."""
        sensitive, encrypted = key in self._contract.sensitive, holds_encrypted(value)
        if sensitive and stands_plain(value):
            self._guarded(key, value)
            return
        if not sensitive and not encrypted:
            if self._guarded(key, value) != "error":
                self._plain(key, value)
            if block.only_encrypted or key not in self.values:
                return
        self.values[key] = envelope_of(self._document, block, key)

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
                self._note(
                    Problem(
                        rule,
                        key,
                        sentence("%(key)s does not fit its contract; its value is not shown", key=key),
                    )
                )
            return
        written = self._document.written(f"/{escape(key)}")
        for problem in self._contract.check_value(key, value, written):
            self._note(problem)

    def _sensitive(self, key: str, value: str) -> None:
        try:
            envelope = Envelope.parse(value)
        except MalformedEnvelopeError as error:
            self._note(
                Problem(
                    rules.MALFORMED_SEAL,
                    key,
                    sentence("%(key)s: %(error)s", key=key, error=error.args[0]),
                    _seal_again(key, self._layer),
                )
            )
            return
        self.values[key] = envelope
        context = Context(self._sealing.repo_id, self._layer, self._contract.category, key)
        if envelope.at != context_digest(context):
            message = sentence(
                "%(key)s was sealed for another place: another repository, layer, category or key", key=key
            )
            self._note(Problem(rules.MOVED_SEAL, key, message, _seal_again(key, self._layer)))
        if self._sealing.recipients is not None and (stale := self._stale(key, envelope)) is not None:
            hint = sentence("seal it for these: kemudi secret rekey --layer %(layer)s", layer=self._layer)
            self._note(Problem(rules.STALE_SEAL, key, stale, hint))

    def _stale(self, key: str, envelope: Envelope) -> str | None:
        if envelope.rs != self._sealing.recipients:
            return sentence(
                "%(key)s was sealed to other recipients than %(layer)s has now", key=key, layer=self._layer
            )
        wanted, found = self._sealing.count, envelope.stanzas
        if found == wanted:
            return None
        return sentence(
            "%(key)s says that it was sealed to the %(wanted)s recipients of %(layer)s, and holds %(found)s",
            key=key,
            wanted=wanted,
            layer=self._layer,
            found=found,
        )

    def _unknown(self, key: str) -> None:
        self.has_unknown = True
        settings = self._contract.settings
        twin = next((known for known in settings if known.casefold() == key.casefold()), None)
        if twin is not None:
            message = sentence("%(key)s differs from %(twin)s only in case", key=key, twin=twin)
            self._note(
                Problem(rules.CASE_TWIN, key, message, sentence("write %(name)s", name=twin)), on_key=True
            )
            return
        owner = self._owners.get(key)
        if owner is not None:
            message = sentence(
                "%(key)s is a setting of %(owner)s, not of %(category)s",
                key=key,
                owner=owner,
                category=self._contract.category,
            )
            hint = sentence(
                "%(key)s belongs in %(layer)s/%(owner)s.yaml", key=key, layer=self._layer, owner=owner
            )
            self._note(Problem(rules.WRONG_FILE, key, message, hint), on_key=True)
            return
        close = nearest(key, settings) or nearest(key, self._owners)
        elsewhere = self._owners.get(close or "", self._contract.category)
        suffix = (
            ""
            if elsewhere == self._contract.category
            else sentence(", in %(layer)s/%(elsewhere)s.yaml", layer=self._layer, elsewhere=elsewhere)
        )
        guess = sentence("did you mean %(close)s%(suffix)s?", close=close, suffix=suffix) if close else None
        message = sentence(
            "%(key)s is not in %(category)s", key=key, category=contract_path(self._contract.category)
        )
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
    return sentence("seal it for this place: %(key)s", key=_command(key, layer))


def _command(key: str, layer: str) -> str:
    return f"kemudi secret set {key} --layer {layer}"
