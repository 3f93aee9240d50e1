"""Plain scalars by the YAML 1.2.2 core schema alone: `no` is text, `017` is 17, `1e3` is a float."""

import math
import re
from enum import Enum
from typing import Final

from kemudi.schema.sentences import sentence

EXACT_INTEGER: Final = 2**53
"""Integers up to here survive every JSON reader; beyond it a contract must say `x-kemudi-bigint`."""

LARGEST_INTEGER: Final = 2**63 - 1
"""No integer beyond 64 bits is read at all."""

_LONGEST_NUMBER: Final = 128
_INTEGER: Final = re.compile(r"[-+]?[0-9]+", re.ASCII)
_OCTAL: Final = re.compile(r"0o[0-7]+", re.ASCII)
_HEXADECIMAL: Final = re.compile(r"0x[0-9a-fA-F]+", re.ASCII)
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)
_NON_FINITE: Final = re.compile(r"[-+]?(\.inf|\.Inf|\.INF)|\.nan|\.NaN|\.NAN", re.ASCII)
_NUMBER_STARTS: Final = frozenset("0123456789+-.")

CONSTANTS: Final[dict[str, bool | None]] = {
    "": None,
    "~": None,
    "null": None,
    "Null": None,
    "NULL": None,
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}


class NumberFault(Enum):
    """Why a scalar that reads as a number is refused."""

    NON_FINITE = sentence("not a finite number")
    TOO_LARGE = sentence("an integer of more than 64 bits")
    OVERFLOW = sentence("too large for a 64-bit float")
    TOO_LONG = sentence("a number of more than 128 characters")


def read_plain(text: str) -> bool | int | float | str | NumberFault | None:
    """The value of an unquoted scalar. Constant time in the length of an overlong number."""
    if text in CONSTANTS:
        return CONSTANTS[text]
    if text[0] not in _NUMBER_STARTS:
        return text
    return _read_number(text)


def _read_number(text: str) -> int | float | str | NumberFault:
    if _NON_FINITE.fullmatch(text):
        return NumberFault.NON_FINITE
    if _INTEGER.fullmatch(text):
        return _bounded(text, 10)
    if _OCTAL.fullmatch(text):
        return _bounded(text[2:], 8)
    if _HEXADECIMAL.fullmatch(text):
        return _bounded(text[2:], 16)
    if not _FLOAT.fullmatch(text):
        return text
    if len(text) > _LONGEST_NUMBER:
        return NumberFault.TOO_LONG
    value = float(text)
    return value if math.isfinite(value) else NumberFault.OVERFLOW


def _bounded(digits: str, base: int) -> int | NumberFault:
    if len(digits) > _LONGEST_NUMBER:
        return NumberFault.TOO_LONG
    value = int(digits, base)
    return value if -LARGEST_INTEGER - 1 <= value <= LARGEST_INTEGER else NumberFault.TOO_LARGE
