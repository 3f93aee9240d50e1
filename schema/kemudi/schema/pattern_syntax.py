r"""The regular expressions that a contract may use: those that every engine can match in linear time.

A subset of ECMA-262: literals, `.`, classes, `\d \w \s` and their negations, groups, alternation, `* + ?` and
bounded repeats (lazy ones too), `^` and `$`. Lookaround, back-references, word boundaries, flags and Unicode
properties are refused, because the engines differ in them or need backtracking.
"""

from dataclasses import dataclass
from typing import Final

from kemudi.schema.sentences import sentence

Ranges = tuple[tuple[int, int], ...]

LARGEST_REPEAT: Final = 1_000
_LAST: Final = 0x10FFFF
_DIGIT: Final[Ranges] = ((48, 57),)
_WORD: Final[Ranges] = ((48, 57), (65, 90), (95, 95), (97, 122))
_SPACE: Final[Ranges] = (
    (9, 13),
    (32, 32),
    (0xA0, 0xA0),
    (0x1680, 0x1680),
    (0x2000, 0x200A),
    (0x2028, 0x2029),
    (0x202F, 0x202F),
    (0x205F, 0x205F),
    (0x3000, 0x3000),
    (0xFEFF, 0xFEFF),
)
_ESCAPES: Final = {"n": 10, "r": 13, "t": 9, "f": 12, "v": 11, "0": 0}
_SPECIAL: Final = frozenset("\\^$.*+?()[]{}|/-")


class PatternRefusedError(ValueError):
    """The pattern is malformed or outside of the subset; `position` counts characters from 0."""

    def __init__(self, message: str, position: int) -> None:
        super().__init__(message)
        self.position = position


@dataclass(frozen=True, slots=True)
class Characters:
    """One character out of some ranges of code points."""

    ranges: Ranges


@dataclass(frozen=True, slots=True)
class Anchor:
    """`^` or `$`."""

    end: bool


@dataclass(frozen=True, slots=True)
class Sequence:
    """Parts one after the other."""

    parts: tuple["Part", ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some parts."""

    options: tuple["Part", ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """A part, `least` to `most` times; None is without end."""

    part: "Part"
    least: int
    most: int | None


Part = Characters | Anchor | Sequence | Choice | Repeat


def parse(pattern: str) -> Part:
    """The structure of a pattern. Raises PatternRefusedError."""
    parser = _Parser(pattern)
    part = parser.choice(0)
    if parser.position < len(pattern):
        raise PatternRefusedError(sentence("a `)` without its `(`"), parser.position)
    return part


class _Parser:
    _DEEPEST = 50

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.position = 0

    def choice(self, depth: int) -> Part:
        if depth > self._DEEPEST:
            raise PatternRefusedError(sentence("groups are nested too deep"), self.position)
        options = [self._sequence(depth)]
        while self._take("|"):
            options.append(self._sequence(depth))
        return options[0] if len(options) == 1 else Choice(tuple(options))

    def _sequence(self, depth: int) -> Part:
        parts: list[Part] = []
        while self.position < len(self.pattern) and self._peek() not in "|)":
            parts.append(self._repeated(self._atom(depth)))
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def _repeated(self, part: Part) -> Part:
        bounds = self._bounds()
        if bounds is None:
            return part
        if isinstance(part, Anchor):
            raise PatternRefusedError(sentence("an anchor cannot be repeated"), self.position)
        self._take("?")  # lazy: which of several matches is found makes no difference here
        if self._peek() in ("*", "+", "?"):
            raise PatternRefusedError(sentence("a repeat of a repeat"), self.position)
        return Repeat(part, *bounds)

    def _bounds(self) -> tuple[int, int | None] | None:
        for sign, bounds in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self._take(sign):
                return bounds
        if self._peek() != "{":
            return None
        start = self.position
        closing = self.pattern.find("}", start)
        inside = self.pattern[start + 1 : closing] if closing > 0 else ""
        least, comma, most = inside.partition(",")
        numbers = [least] + ([most] if most else [])
        if not all(number.isascii() and number.isdigit() and len(number) <= 4 for number in numbers):
            raise PatternRefusedError(sentence("a `{` that is not a repeat is written \\{"), start)
        self.position = closing + 1
        low = int(least)
        high = int(most) if most else (None if comma else low)
        if (high is not None and high < low) or max(low, high or 0) > LARGEST_REPEAT:
            raise PatternRefusedError(
                sentence(
                    "a repeat goes from its least to its most, up to %(largest_repeat)s",
                    largest_repeat=LARGEST_REPEAT,
                ),
                start,
            )
        return low, high

    def _atom(self, depth: int) -> Part:
        start = self.position
        character = self._next()
        if character == "(":
            return self._group(start, depth)
        if character == "[":
            return Characters(self._class(start))
        if character == ".":
            return Characters(_complement(((10, 10),)))
        if character in "^$":
            return Anchor(end=character == "$")
        if character == "\\":
            return Characters(self._escape(start))
        if character in "*+?{}]":
            raise PatternRefusedError(
                sentence(
                    "a `%(character)s` that stands for itself is written \\%(character)s", character=character
                ),
                start,
            )
        return Characters(_one(ord(character)))

    def _group(self, start: int, depth: int) -> Part:
        if self._take("?") and not self._take(":"):
            kind = self.pattern[start : start + 4]
            if kind.startswith(("(?=", "(?!", "(?<=", "(?<!")):
                raise PatternRefusedError(sentence("lookaround cannot be matched in linear time"), start)
            raise PatternRefusedError(
                sentence("flags and named groups are not read; use (…) or (?:…)"), start
            )
        part = self.choice(depth + 1)
        if not self._take(")"):
            raise PatternRefusedError(sentence("a `(` without its `)`"), start)
        return part

    def _class(self, start: int) -> Ranges:
        negated = self._take("^")
        ranges: list[tuple[int, int]] = []
        while not self._take("]"):
            if self.position >= len(self.pattern):
                raise PatternRefusedError(sentence("a `[` without its `]`"), start)
            low = self._member(start)
            if self._peek() == "-" and self.pattern[self.position + 1 : self.position + 2] not in ("]", ""):
                self.position += 1
                high = self._member(start)
                if len(low) != 1 or len(high) != 1 or low[0][0] > high[0][0]:
                    raise PatternRefusedError(
                        sentence("a range goes from a lower to a higher character"), start
                    )
                low = ((low[0][0], high[0][0]),)
            ranges.extend(low)
        if not ranges:
            raise PatternRefusedError(sentence("an empty class"), start)
        merged = _merged(ranges)
        return _complement(merged) if negated else merged

    def _member(self, start: int) -> Ranges:
        character = self._next()
        if character == "\\":
            return self._escape(self.position - 1)
        if character == "[" or (character in "&~-" and self._peek() == character):
            # Other engines read nested classes and set operations here.
            raise PatternRefusedError(
                sentence("a `%(character)s` within a class is written \\%(character)s", character=character),
                start,
            )
        return _one(ord(character))

    def _escape(self, start: int) -> Ranges:
        character = self._next()
        for name, ranges in (("d", _DIGIT), ("w", _WORD), ("s", _SPACE)):
            if character == name:
                return ranges
            if character == name.upper():
                return _complement(ranges)
        if character in _SPECIAL:
            return _one(ord(character))
        if character in _ESCAPES:
            return _one(_ESCAPES[character])
        if character in "xu":
            return _one(self._hexadecimal(2 if character == "x" else 4, start))
        if character.isdigit() or character == "k":
            raise PatternRefusedError(sentence("a back-reference cannot be matched in linear time"), start)
        raise PatternRefusedError(
            sentence("the escape \\%(character)s is not read", character=character), start
        )

    def _hexadecimal(self, count: int, start: int) -> int:
        digits = self.pattern[self.position : self.position + count]
        if len(digits) != count or not all(digit in "0123456789abcdefABCDEF" for digit in digits):
            raise PatternRefusedError(
                sentence(
                    "\\%(value)s takes %(count)s hexadecimal digits",
                    value="x" if count == 2 else "u",
                    count=count,
                ),
                start,
            )
        self.position += count
        code = int(digits, 16)
        if 0xD800 <= code <= 0xDFFF:
            raise PatternRefusedError(sentence("half of a surrogate pair is not a character"), start)
        return code

    def _peek(self) -> str:
        return self.pattern[self.position : self.position + 1]

    def _take(self, character: str) -> bool:
        if self._peek() == character:
            self.position += 1
            return True
        return False

    def _next(self) -> str:
        if self.position >= len(self.pattern):
            raise PatternRefusedError(sentence("the pattern ends too early"), self.position)
        self.position += 1
        return self.pattern[self.position - 1]


def _one(code: int) -> Ranges:
    return ((code, code),)


def _merged(ranges: list[tuple[int, int]]) -> Ranges:
    merged: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    return tuple(merged)


def _complement(ranges: Ranges) -> Ranges:
    gaps: list[tuple[int, int]] = []
    start = 0
    for low, high in ranges:
        if low > start:
            gaps.append((start, low - 1))
        start = high + 1
    if start <= _LAST:
        gaps.append((start, _LAST))
    return tuple(gaps)
