"""The checksum of Bech32 (BIP 173), by which a mistyped age recipient is told from a good one."""

from typing import Final

_ALPHABET: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)


def is_bech32(text: str) -> bool:
    """Whether a lower-case text is Bech32, of whatever prefix and length."""
    prefix, separator, data = text.rpartition("1")
    if not separator or not prefix or len(data) < 6 or any(letter not in _ALPHABET for letter in data):
        return False
    codes = [ord(letter) for letter in prefix]
    spread = [code >> 5 for code in codes] + [0] + [code & 31 for code in codes]
    return _checksum(spread + [_ALPHABET.index(letter) for letter in data]) == 1


def _checksum(values: list[int]) -> int:
    checksum = 1
    for value in values:
        top = checksum >> 25
        checksum = (checksum & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(_GENERATOR):
            if top >> bit & 1:
                checksum ^= generator
    return checksum
