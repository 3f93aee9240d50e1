"""What somebody typed or sent, as the value of a setting: by its contract, never by guessing."""

import json

from kemudi.schema.contract import Contract, SettingSpec
from kemudi.schema.documents import JSON


class InvalidValueError(Exception):
    """A value that does not fit. `detail` is the contract's sentence, empty where the words for the type say it."""

    def __init__(self, key: str, detail: str = "") -> None:
        super().__init__(key)
        self.key = key
        self.detail = detail


def from_text(spec: SettingSpec, text: str) -> JSON:
    """The value that a form's field stands for. Raises InvalidValueError."""
    kinds = spec.type.split("|")
    text = text.replace("\r\n", "\n")
    if kinds == ["string"]:
        return text
    try:
        value = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        if "string" in kinds or "any" in kinds:
            return text
        raise InvalidValueError(spec.key) from None
    parsed: JSON = value
    return parsed


def checked(contract: Contract, spec: SettingSpec, value: JSON) -> JSON:
    """The value as it is served. Raises InvalidValueError, for a sensitive setting without the contract's sentence."""
    problems = contract.check_value(spec.key, value)
    if problems:
        raise InvalidValueError(spec.key, "" if spec.sensitive else problems[0].message)
    return contract.normalise(spec.key, value)


def _refuse(name: str) -> None:
    raise ValueError(name)
