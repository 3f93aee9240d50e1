"""The graph service as a class: every call obeys the settings of one revision."""

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from typing import Any, Final, Literal, Protocol

from kemudi.graph.asking import Asking
from kemudi.graph.cache import NoCache, ResultCache
from kemudi.graph.errors import FeatureDisabledError, InvalidRequestError, StudentNotFoundError
from kemudi.graph.friends import friends_of_friends
from kemudi.graph.recommend import Candidate, by_similarity, fused, ordered, with_classmates
from kemudi.graph.stores.base import GraphStore, Record

ALGORITHMS: Final = ("collaborative", "similarity", "hybrid")
_EVERY: Final = 2**31 - 1
_KEPT_FORM: Final = 2
"""Of what is kept in the cache, so that processes of different versions may share one."""

Reason = Literal["no-classes", "no-classmates", "nothing-new", "no-weights"]
"""Why an answer is empty: the student takes no class; nobody else takes one of them; those around the student lead to
nothing that the student does not have; every weight of the hybrid ranking is zero."""


class Answer(list[Record]):
    """Records, best first.

    Attributes:
        reason: Why there are none; None when there are some.
    """

    __slots__ = ("reason",)

    def __init__(self, records: Iterable[Record] = (), reason: Reason | None = None) -> None:
        super().__init__(records)
        self.reason: Reason | None = reason


class Settings(Protocol):
    """The settings of one revision: a pinned view of `kemudi.client`."""

    @property
    def generation(self) -> str | None:
        """The place of the revision in order; None: declared defaults."""

    @property
    def revision(self) -> str | None:
        """The revision; None: declared defaults."""

    def __getitem__(self, key: str) -> Any:  # a setting has the type of its contract
        """A setting."""


class Config(Protocol):
    """What the service needs of a `kemudi.client`."""

    def pin(self) -> Any:  # a context manager that gives Settings
        """One revision for a unit of work."""


class GraphService:
    """Classmates, friends of friends and course recommendations.

    Limits, time limit, algorithm, cache and kill switch are read on each call, all from one revision, so a merged
    change holds from the next call on. GRAPH_QUERY_TIMEOUT is for a whole call, however many queries it needs. Every
    method raises FeatureDisabledError while GRAPH_FEATURE_ENABLED is off, StudentNotFoundError, QueryTimeoutError,
    GraphUnavailableError, GraphRefusedError, and InvalidRequestError, which is a ValueError, for a limit below one.

    Args:
        config: A `kemudi.client`, or its twin `kemudi.client.testing.InMemoryClient`.
        store: The graph.
        cache: Of results; none by default. GRAPH_CACHE_ENABLED and CACHE_TTL steer it.
    """

    def __init__(self, config: Config, store: GraphStore, cache: ResultCache | None = None) -> None:
        self._config = config
        self._store = store
        self._cache = cache or NoCache()
        self._began: float | None = None

    def at(self, settings: Settings) -> "GraphService":
        """The same service for one request, whose time limit counts from now: it obeys one pinned revision."""
        service = GraphService(_Pinned(settings), self._store, self._cache)
        service._began = time.monotonic()
        return service

    def students(self, after: str = "", limit: int = 100) -> Answer:
        """A page of students `{nim, nama}` behind a nim, in its order."""
        with self._config.pin() as settings:
            ask = self._asking(settings)
            return Answer(ask("students", after=after, limit=_at_least_one(limit)))

    def student(self, nim: str) -> Record:
        """One student: `{nim, nama, classes: [{kode, nama}]}`."""
        with self._config.pin() as settings:
            ask = self._asking(settings)
            return _student(ask, nim) | {"classes": ask("classes_of_student", nim=nim)}

    def classmates(self, nim: str, limit: int | None = None) -> Answer:
        """Who shares classes with the student: `{nim, nama, shared_classes}`, most first, then by nim.

        `limit` can only lower GRAPH_CLASSMATES_LIMIT.
        """
        with self._config.pin() as settings:
            ask = self._asking(settings)
            most = _lowered(settings["GRAPH_CLASSMATES_LIMIT"], limit)

            def compute() -> Answer:
                return _or_why(ask, nim, ask("classmates", nim=nim, limit=most), "no-classmates")

            return self._cached(settings, ("classmates", nim, most), compute)

    def friends_of_friends(self, nim: str, limit: int | None = None) -> Answer:
        """Classmates of classmates who share no class with the student: `{nim, nama, via}`, most first, then by nim.

        `via` counts the classmates between. `limit` can only lower GRAPH_FRIENDS_OF_FRIENDS_LIMIT.
        """
        with self._config.pin() as settings:
            ask = self._asking(settings)
            most = _lowered(settings["GRAPH_FRIENDS_OF_FRIENDS_LIMIT"], limit)

            def compute() -> Answer:
                with ask.turn():
                    circle = ask("circle", nim=nim)
                    best = friends_of_friends(nim, (each["takers"] for each in circle), most)
                named = ask("names", nims=[who for who, _ in best]) if best else []
                names = {each["nim"]: each["nama"] for each in named}
                # Somebody without a name has left the graph since the first query.
                found = [{"nim": who, "nama": names[who], "via": via} for who, via in best if who in names]
                return _or_why(ask, nim, found)

            return self._cached(settings, ("friends_of_friends", nim, most), compute)

    def recommendations(self, nim: str, limit: int | None = None, algorithm: str | None = None) -> Answer:
        """Classes to take next: `{kode, nama, score, because}`, best first, then by kode.

        `algorithm` replaces GRAPH_RECOMMENDATION_ALGORITHM for this call; `limit` can only lower
        GRAPH_RECOMMENDATIONS_LIMIT. While GRAPH_RECOMMENDATIONS_ENABLED is off, the most-taken classes are given.
        Raises InvalidRequestError, which is a ValueError, for an unknown algorithm.
        """
        with self._config.pin() as settings:
            ask = self._asking(settings)
            chosen = algorithm if algorithm is not None else settings["GRAPH_RECOMMENDATION_ALGORITHM"]
            if chosen not in ALGORITHMS:
                raise InvalidRequestError(
                    f"unknown recommendation algorithm {chosen!r}; there are: {', '.join(ALGORITHMS)}"
                )
            most = _lowered(settings["GRAPH_RECOMMENDATIONS_LIMIT"], limit)
            if not settings["GRAPH_RECOMMENDATIONS_ENABLED"]:
                chosen = "most_taken"
            weights = settings["GRAPH_HYBRID_WEIGHTS"] if chosen == "hybrid" else {}

            def compute() -> Answer:
                found = [each.as_json() for each in _ranked(ask, chosen, nim, most, weights)]
                if chosen == "most_taken":
                    if found:
                        _student(ask, nim)  # this answer proves nothing of the student
                    return _or_why(ask, nim, found, "nothing-new")
                blind = chosen == "hybrid" and not any(weights.values())
                return _or_why(ask, nim, found, "no-weights" if blind else None)

            name = ("recommendations", chosen, nim, most, sorted(weights.items()))
            return self._cached(settings, name, compute)

    def _asking(self, settings: Settings) -> Asking:
        if not settings["GRAPH_FEATURE_ENABLED"]:
            raise FeatureDisabledError
        return Asking(self._store, settings["GRAPH_QUERY_TIMEOUT"], self._began)

    def _cached(self, settings: Settings, name: tuple[Any, ...], compute: Callable[[], Answer]) -> Answer:
        if not settings["GRAPH_CACHE_ENABLED"]:
            return compute()

        def kept() -> list[Record]:
            answer = compute()
            return [{"items": answer, "reason": answer.reason}]

        name = (_KEPT_FORM, settings.generation, *name)
        (found,) = self._cache.through(name, settings["CACHE_TTL"], kept)
        return Answer(found["items"], found["reason"])


class _Pinned:
    """A configuration that is one revision for ever."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def pin(self) -> Any:  # a context manager, as of the client
        return nullcontext(self._settings)


def _ranked(
    ask: Asking, algorithm: str, nim: str, most: int, weights: Mapping[str, float]
) -> list[Candidate]:
    if algorithm == "collaborative":
        return _explained(ask, nim, _counted(ask("collaborative", nim=nim, limit=most)))
    if algorithm == "similarity":
        return _similar(ask, nim)[:most]
    if algorithm == "hybrid":
        rankings = {
            "collaborative": _counted(ask("collaborative", nim=nim, limit=_EVERY)),
            "similarity": _similar(ask, nim),
        }
        return _explained(ask, nim, fused(rankings, weights)[:most])
    return _counted(ask("most_taken", nim=nim, limit=most))


def _similar(ask: Asking, nim: str) -> list[Candidate]:
    common = ask("co_enrolment", nim=nim)
    kodes = sorted({record[name] for record in common for name in ("taken", "kode")})
    sizes = {record["kode"]: record["size"] for record in ask("class_sizes", kodes=kodes)} if kodes else {}
    return by_similarity(common, sizes)


def _explained(ask: Asking, nim: str, candidates: list[Candidate]) -> list[Candidate]:
    if not candidates:
        return []
    kodes = [candidate.kode for candidate in candidates]
    return with_classmates(candidates, ask("collaborative_because", nim=nim, kodes=kodes))


def _counted(records: list[Record]) -> list[Candidate]:
    # A sum of integers is a Decimal on one store and an int on the other.
    return ordered(Candidate(each["kode"], each["nama"], int(each["score"])) for each in records)


def _or_why(ask: Asking, nim: str, found: list[Record], reason: Reason | None = None) -> Answer:
    """What was found, else why there is nothing: `reason` when the student takes classes, or what is seen then."""
    if found:  # which proves that the student exists; only an empty answer leaves that open
        return Answer(found)
    if not ask("classes_of_student", nim=nim):
        _student(ask, nim)
        return Answer(reason="no-classes")
    if reason is None:
        reason = "nothing-new" if ask("classmates", nim=nim, limit=1) else "no-classmates"
    return Answer(reason=reason)


def _student(ask: Asking, nim: str) -> Record:
    found = ask("student", nim=nim)
    if not found:
        raise StudentNotFoundError(nim)
    return found[0]


def _at_least_one(limit: int) -> int:
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise InvalidRequestError("a limit is a whole number, at least 1")
    return limit


def _lowered(setting: int, limit: int | None) -> int:
    return setting if limit is None else min(setting, _at_least_one(limit))
