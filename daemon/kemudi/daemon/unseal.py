"""Sealed values opened with the daemon's identity, checked against the contract, kept by ciphertext."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final

from kemudi.repo.errors import DamagedSealError, WrongSealedTypeError
from kemudi.repo.secrets import unseal
from kemudi.repo.sops import open_file
from kemudi.schema.contract import Contract
from kemudi.schema.envelope import Context, Envelope
from kemudi.schema.errors import KemudiError
from kemudi.schema.findings import Finding
from kemudi.schema.rules import MALFORMED_SEAL, MOVED_SEAL, WRONG_TYPE
from kemudi.schema.secret import Secret
from kemudi.schema.sops import SopsEnvelope
from kemudi.schema.state import ResolvedSetting

_KEPT: Final = 20_000


class UnsealError(KemudiError):
    """A sealed value cannot be served. The message names no value."""

    def __init__(self, message: str, rule: str) -> None:
        super().__init__(message)
        self.rule = rule


class Unsealer:
    """Opens each ciphertext once: a commit costs what it changed. One thread uses it."""

    def __init__(self, identities: Sequence[str]) -> None:
        self._identities = tuple(identities)
        self._file: tuple[bytes, Secret[dict[str, Any]]] | None = None
        self._opened: OrderedDict[tuple[Context, str, bytes], tuple[str, Secret[Any]]] = OrderedDict()

    def open(
        self, repo_id: str, contract: Contract, setting: ResolvedSetting, envelope: Envelope
    ) -> tuple[str, Secret[Any]]:
        """The type and the plaintext of a sealed setting. Raises UnsealError."""
        spec = contract.settings[setting.key]
        if isinstance(envelope, SopsEnvelope):
            type_, secret = spec.type, self._of_sops(setting, envelope)
        else:
            context = Context(repo_id, setting.layer, contract.category, setting.key)
            type_, secret = self._unsealed(context, envelope, spec.type)
        value = contract.normalise(setting.key, secret.reveal())
        if contract.check_value(setting.key, value):
            # Which rule it breaks is not said: a message about the value may quote it.
            raise UnsealError(f"the sealed value of {setting.key} does not satisfy its contract", WRONG_TYPE)
        return type_, Secret(value)

    def _of_sops(self, setting: ResolvedSetting, envelope: SopsEnvelope) -> Secret[Any]:
        """A value of a SOPS file, which is opened once, whole, its MAC checked."""
        if self._file is None or self._file[0] != envelope.file:
            name = setting.place.file if setting.place else "the file"
            if not self._identities:
                raise _no_identity(name)
            try:
                self._file = envelope.file, Secret(open_file(envelope.file, name, self._identities))
            except KemudiError as error:
                raise UnsealError(str(error), _rule(error)) from None
        return Secret(self._file[1].reveal()[envelope.key])

    def _unsealed(self, context: Context, envelope: Envelope, kind: str) -> tuple[str, Secret[Any]]:
        place = (context, kind, envelope.ciphertext)
        found = self._opened.get(place)
        if found is None:
            found = self._open(context, envelope, kind)
            self._opened[place] = found
            if len(self._opened) > _KEPT:
                self._opened.popitem(last=False)
        else:
            self._opened.move_to_end(place)
        return found

    def _open(self, context: Context, envelope: Envelope, kind: str) -> tuple[str, Secret[Any]]:
        if not self._identities:
            raise _no_identity(context.key)
        try:
            type_, value = unseal(str(envelope), context, self._identities, kind=kind)
        except KemudiError as error:
            raise UnsealError(str(error), _rule(error)) from None
        return type_, Secret(value)


def _no_identity(what: str) -> UnsealError:
    message = f"{what} is sealed, and this daemon was started without an identity (KEMUDI_IDENTITY)"
    return UnsealError(message, MOVED_SEAL)


def _rule(error: KemudiError) -> str:
    if isinstance(error, WrongSealedTypeError):
        return WRONG_TYPE
    return MALFORMED_SEAL if isinstance(error, DamagedSealError) else MOVED_SEAL


def finding_at(setting: ResolvedSetting, error: UnsealError) -> Finding:
    """The error at the place where the sealed value stands."""
    place = setting.place
    return Finding(
        file=place.file if place else "",
        line=place.line if place else 1,
        column=place.column if place else 1,
        rule=error.rule,
        pointer=f"/{setting.key}",
        key=setting.key,
        message=str(error),
        layer=setting.layer,
    )
