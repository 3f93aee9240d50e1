"""The graph service as a class: every call obeys the settings of one revision."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, Final, Protocol

from kemudi.graph.cache import NoCache, ResultCache
from kemudi.graph.errors import FeatureDisabledError, InvalidRequestError, StudentNotFoundError
from kemudi.graph.friends import friends_of_friends
from kemudi.graph.recommend import Candidate, by_similarity, fused, ordered, with_classmates
from kemudi.graph.stores.base import GraphStore, Record

ALGORITHMS: Final = ("collaborative", "similarity", "hybrid")
_EVERY: Final = 2**31 - 1


class Settings(Protocol):
    """The settings of one revision: a pinned view of `kemudi.client`."""

    @property
    def generation(self) -> str | None:
        """The place of the revision in order."""

    def __getitem__(self, key: str) -> Any:  # a setting has the type of its contract
        """A setting."""


class Config(Protocol):
    """What the service needs of a `kemudi.client`."""

    def pin(self) -> Any:  # a context manager that gives Settings
        """One revision for a unit of work."""


class GraphService:
    """Classmates, friends of friends and course recommendations.

    Limits, time limit, algorithm, cache and kill switch are read on each call, all from one revision, so a merged
    change holds from the next call on. Every method raises FeatureDisabledError while GRAPH_FEATURE_ENABLED is off,
    StudentNotFoundError, QueryTimeoutError, GraphUnavailableError, GraphRefusedError, and InvalidRequestError, which is
    a ValueError, for a limit below one.

    Args:
        config: A `kemudi.client`, or its twin `kemudi.client.testing.InMemoryClient`.
        store: The graph.
        cache: Of results; none by default. GRAPH_CACHE_ENABLED and CACHE_TTL steer it.
    """

    def __init__(self, config: Config, store: GraphStore, cache: ResultCache | None = None) -> None:
        self._config = config
        self._store = store
        self._cache = cache or NoCache()

    def at(self, settings: Settings) -> "GraphService":
        """The same service obeying one pinned revision, for a caller that must know which one it was."""
        return GraphService(_Pinned(settings), self._store, self._cache)

    def students(self, after: str = "", limit: int = 100) -> list[Record]:
        """A page of students `{nim, nama}` behind a nim, in its order."""
        with self._config.pin() as settings:
            _require_enabled(settings)
            return self._read(settings, "students", after=after, limit=_at_least_one(limit))

    def student(self, nim: str) -> Record:
        """One student: `{nim, nama, classes: [{kode, nama}]}`."""
        with self._config.pin() as settings:
            _require_enabled(settings)
            found = self._student(settings, nim)
            return found | {"classes": self._read(settings, "classes_of_student", nim=nim)}

    def classmates(self, nim: str, limit: int | None = None) -> list[Record]:
        """Who shares classes with the student: `{nim, nama, shared_classes}`, most first, then by nim.

        `limit` can only lower GRAPH_CLASSMATES_LIMIT.
        """

        def ask(settings: Settings, most: int) -> list[Record]:
            return self._read(settings, "classmates", nim=nim, limit=most)

        return self._listed("classmates", "GRAPH_CLASSMATES_LIMIT", nim, limit, ask)

    def friends_of_friends(self, nim: str, limit: int | None = None) -> list[Record]:
        """Classmates of classmates who share no class with the student: `{nim, nama, via}`, most first, then by nim.

        `via` counts the classmates between. `limit` can only lower GRAPH_FRIENDS_OF_FRIENDS_LIMIT.
        """

        def ask(settings: Settings, most: int) -> list[Record]:
            circle = self._read(settings, "circle", nim=nim)
            best = friends_of_friends(nim, (each["takers"] for each in circle), most)
            named = self._read(settings, "names", nims=[who for who, _ in best])
            names = {each["nim"]: each["nama"] for each in named}
            # Somebody without a name has left the graph since the first query.
            return [{"nim": who, "nama": names[who], "via": via} for who, via in best if who in names]

        return self._listed("friends_of_friends", "GRAPH_FRIENDS_OF_FRIENDS_LIMIT", nim, limit, ask)

    def recommendations(
        self, nim: str, limit: int | None = None, algorithm: str | None = None
    ) -> list[Record]:
        """Classes to take next: `{kode, nama, score, because}`, best first, then by kode.

        `algorithm` replaces GRAPH_RECOMMENDATION_ALGORITHM for this call; `limit` can only lower
        GRAPH_RECOMMENDATIONS_LIMIT. While GRAPH_RECOMMENDATIONS_ENABLED is off, the most-taken classes are given.
        Raises InvalidRequestError, which is a ValueError, for an unknown algorithm.
        """
        with self._config.pin() as settings:
            _require_enabled(settings)
            chosen = algorithm if algorithm is not None else settings["GRAPH_RECOMMENDATION_ALGORITHM"]
            if chosen not in ALGORITHMS:
                raise InvalidRequestError(
                    f"unknown recommendation algorithm {chosen!r}; there are: {', '.join(ALGORITHMS)}"
                )
            most = _lowered(settings["GRAPH_RECOMMENDATIONS_LIMIT"], limit)
            if not settings["GRAPH_RECOMMENDATIONS_ENABLED"]:
                chosen = "most_taken"
            ranked = {
                "collaborative": self._collaborative,
                "similarity": self._similar,
                "hybrid": self._hybrid,
                "most_taken": self._most_taken,
            }[chosen]

            def compute() -> list[Record]:
                self._student(settings, nim)
                return [candidate.as_json() for candidate in ranked(settings, nim, most)]

            weights = sorted(settings["GRAPH_HYBRID_WEIGHTS"].items()) if chosen == "hybrid" else None
            return self._cached(settings, ("recommendations", chosen, nim, most, weights), compute)

    def _listed(
        self,
        name: str,
        limit_key: str,
        nim: str,
        limit: int | None,
        ask: Callable[[Settings, int], list[Record]],
    ) -> list[Record]:
        with self._config.pin() as settings:
            _require_enabled(settings)
            most = _lowered(settings[limit_key], limit)

            def compute() -> list[Record]:
                found = ask(settings, most)
                if not found:  # an answer proves that the student exists; only an empty one leaves it open
                    self._student(settings, nim)
                return found

            return self._cached(settings, (name, nim, most), compute)

    def _collaborative(self, settings: Settings, nim: str, most: int) -> list[Candidate]:
        records = self._read(settings, "collaborative", nim=nim, limit=most)
        return self._explained(settings, nim, _counted(records))

    def _similar(self, settings: Settings, nim: str, most: int) -> list[Candidate]:
        common = self._read(settings, "co_enrolment", nim=nim)
        kodes = sorted({record[name] for record in common for name in ("taken", "kode")})
        sizes = {
            record["kode"]: record["size"] for record in self._read(settings, "class_sizes", kodes=kodes)
        }
        return by_similarity(common, sizes)[:most]

    def _hybrid(self, settings: Settings, nim: str, most: int) -> list[Candidate]:
        records = self._read(settings, "collaborative", nim=nim, limit=_EVERY)
        rankings = {
            "collaborative": ordered(
                Candidate(each["kode"], each["nama"], each["score"]) for each in records
            ),
            "similarity": self._similar(settings, nim, _EVERY),
        }
        best = fused(rankings, settings["GRAPH_HYBRID_WEIGHTS"])[:most]
        return self._explained(settings, nim, best)

    def _most_taken(self, settings: Settings, nim: str, most: int) -> list[Candidate]:
        return _counted(self._read(settings, "most_taken", nim=nim, limit=most))

    def _explained(self, settings: Settings, nim: str, candidates: list[Candidate]) -> list[Candidate]:
        if not candidates:
            return []
        kodes = [candidate.kode for candidate in candidates]
        return with_classmates(
            candidates, self._read(settings, "collaborative_because", nim=nim, kodes=kodes)
        )

    def _student(self, settings: Settings, nim: str) -> Record:
        found = self._read(settings, "student", nim=nim)
        if not found:
            raise StudentNotFoundError(nim)
        return found[0]

    def _read(self, settings: Settings, query: str, **parameters: Any) -> list[Record]:  # of the query
        return self._store.read(query, parameters, timeout=settings["GRAPH_QUERY_TIMEOUT"])

    def _cached(
        self, settings: Settings, name: tuple[Any, ...], compute: Callable[[], list[Record]]
    ) -> list[Record]:
        if not settings["GRAPH_CACHE_ENABLED"]:
            return compute()
        return self._cache.through((settings.generation, *name), settings["CACHE_TTL"], compute)


class _Pinned:
    """A configuration that is one revision for ever."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def pin(self) -> Any:  # a context manager, as of the client
        return nullcontext(self._settings)


def _counted(records: list[Record]) -> list[Candidate]:
    # A sum of integers is a Decimal on one store and an int on the other.
    return ordered(Candidate(each["kode"], each["nama"], int(each["score"])) for each in records)


def _require_enabled(settings: Settings) -> None:
    if not settings["GRAPH_FEATURE_ENABLED"]:
        raise FeatureDisabledError


def _at_least_one(limit: int) -> int:
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise InvalidRequestError("a limit is a whole number, at least 1")
    return limit


def _lowered(setting: int, limit: int | None) -> int:
    return setting if limit is None else min(setting, _at_least_one(limit))
