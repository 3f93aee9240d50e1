"""Matching a pattern in time linear in the text, whatever the pattern: an automaton built as it is needed."""

from functools import lru_cache
from typing import Final

from kemudi.schema.pattern_syntax import (
    Anchor,
    Characters,
    Choice,
    Part,
    PatternRefusedError,
    Ranges,
    Repeat,
    Sequence,
    parse,
)
from kemudi.schema.sentences import sentence

__all__ = ["CompiledPattern", "PatternRefusedError", "compile_pattern"]

_MOST_STATES: Final = 5_000
_MOST_CACHED: Final = 2_000


class CompiledPattern:
    """A pattern that can be searched for. Raises PatternRefusedError when it is malformed or too large."""

    def __init__(self, pattern: str) -> None:
        self._graph = _Graph()
        self._accept = self._graph.state()
        self._start = self._graph.build(parse(pattern), self._accept)
        self._forget()

    def search(self, text: str) -> bool:
        """Whether the pattern occurs anywhere in `text`."""
        current = self._state(self._graph.closure({self._start}, at_start=True, at_end=False))
        for character in text:
            if current.matched:
                return True
            following = current.moves.get(character)
            if following is None:
                following = self._move(current, character)
            current = following
        if current.matched:
            return True
        at_start = not text
        return self._accept in self._graph.closure(set(current.members), at_start=at_start, at_end=True)

    def _move(self, current: "_State", character: str) -> "_State":
        code = ord(character)
        reached = {self._start}
        for member in current.members:
            ranges, target = self._graph.edges[member]
            if target is not None and any(low <= code <= high for low, high in ranges):
                reached.add(target)
        following = self._state(self._graph.closure(reached, at_start=False, at_end=False))
        if len(self._states) > _MOST_CACHED:
            self._forget()
        current.moves[character] = following
        return following

    def _state(self, members: frozenset[int]) -> "_State":
        found = self._states.get(members)
        if found is None:
            found = self._states[members] = _State(members, matched=self._accept in members)
        return found

    def _forget(self) -> None:
        self._states: dict[frozenset[int], _State] = {}


@lru_cache(maxsize=256)
def compile_pattern(pattern: str) -> CompiledPattern:
    """Compile once per pattern. Raises PatternRefusedError."""
    return CompiledPattern(pattern)


class _State:
    __slots__ = ("matched", "members", "moves")

    def __init__(self, members: frozenset[int], *, matched: bool) -> None:
        self.members = members
        self.matched = matched
        self.moves: dict[str, _State] = {}


class _Graph:
    """States of a non-deterministic automaton: one edge by a character, others for free."""

    def __init__(self) -> None:
        self.edges: list[tuple[Ranges, int | None]] = []
        self._free: list[list[tuple[int, Anchor | None]]] = []

    def state(self, ranges: Ranges = (), target: int | None = None) -> int:
        if len(self.edges) >= _MOST_STATES:
            raise PatternRefusedError(
                sentence("the pattern is too large once its repeats are written out"), 0
            )
        self.edges.append((ranges, target))
        self._free.append([])
        return len(self.edges) - 1

    def build(self, part: Part, target: int) -> int:
        """The state from which `part` leads to `target`."""
        match part:
            case Characters(ranges):
                return self.state(ranges, target)
            case Anchor():
                state = self.state()
                self._free[state].append((target, part))
                return state
            case Sequence(parts):
                for each in reversed(parts):
                    target = self.build(each, target)
                return target
            case Choice(options):
                state = self.state()
                self._free[state].extend((self.build(option, target), None) for option in options)
                return state
            case Repeat():
                return self._repeat(part, target)

    def _repeat(self, repeat: Repeat, target: int) -> int:
        if repeat.most is None:
            loop = self.state()
            self._free[loop].append((self.build(repeat.part, loop), None))
            self._free[loop].append((target, None))
            target = loop
        else:
            after = target
            for _ in range(repeat.most - repeat.least):
                state = self.state()
                self._free[state].append((self.build(repeat.part, target), None))
                self._free[state].append((after, None))
                target = state
        for _ in range(repeat.least):
            target = self.build(repeat.part, target)
        return target

    def closure(self, states: set[int], *, at_start: bool, at_end: bool) -> frozenset[int]:
        """Every state reached for free; anchors hold only at their end of the text."""
        reached, waiting = set(states), list(states)
        while waiting:
            for target, anchor in self._free[waiting.pop()]:
                if anchor is not None and not (at_end if anchor.end else at_start):
                    continue
                if target not in reached:
                    reached.add(target)
                    waiting.append(target)
        return frozenset(reached)
