"""The settings that the graph service and the sync service read: the contracts' source.

`CONTRACTS` names the model of each category; `contracts/` of a config repo is generated from it, and a test
holds the checked-in files of the worked example to these models.
"""

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from kemudi.schema.contract import setting
from kemudi.schema.secret import Secret

Algorithm = Literal["collaborative", "similarity", "hybrid"]
Weights = dict[Literal["collaborative", "similarity"], Annotated[float, Field(ge=0)]]

_OWNER: Final = "platform"
_FROZEN: Final = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Neo4jSettings(BaseModel):
    """Where the graph is kept when it is not embedded."""

    model_config = _FROZEN

    NEO4J_URI: str = setting(
        "bolt://localhost:7687",
        description="Address of the graph database; neo4j:// routes within a cluster.",
        requires_restart=True,
        owner=_OWNER,
        pattern=r"^[a-z][a-z0-9+.-]*://",
        json_schema_extra={"format": "uri"},
    )
    NEO4J_USER: str = setting(
        "neo4j", description="User of the graph database.", requires_restart=True, owner=_OWNER, min_length=1
    )
    NEO4J_PASSWORD: Secret[str] | None = setting(
        None,
        description="Password of the graph database; sealed with `kemudi secret set`.",
        sensitive=True,
        requires_restart=True,
        owner=_OWNER,
    )
    NEO4J_ENABLE_SYNC: bool = setting(
        True, description="Run the sync service; off: no sync service.", requires_restart=True, owner=_OWNER
    )


class GraphQuerySettings(BaseModel):
    """How the graph service answers."""

    model_config = _FROZEN

    GRAPH_CLASSMATES_LIMIT: int = setting(50, description="Most classmates in an answer.", owner=_OWNER, ge=1)
    GRAPH_RECOMMENDATIONS_LIMIT: int = setting(
        10, description="Most course recommendations in one answer.", owner=_OWNER, ge=1
    )
    GRAPH_FRIENDS_OF_FRIENDS_LIMIT: int = setting(
        20, description="Most friends of friends in one answer.", owner=_OWNER, ge=1
    )
    GRAPH_QUERY_TIMEOUT: int = setting(
        30, description="Longest time that one query may take.", owner=_OWNER, unit="seconds", ge=1
    )
    GRAPH_RECOMMENDATION_ALGORITHM: Algorithm = setting(
        "collaborative", description="How recommendations are ranked.", owner=_OWNER
    )
    GRAPH_HYBRID_WEIGHTS: Weights = setting(
        {"collaborative": 0.6, "similarity": 0.4},
        description="Weight of each ranking when the algorithm is hybrid.",
        owner=_OWNER,
        min_length=1,
    )


class SyncSettings(BaseModel):
    """How the sync service copies the registry into the graph; re-read between batches."""

    model_config = _FROZEN

    SYNC_BATCH_SIZE: int = setting(
        1000, description="Rows in one batch and one transaction.", owner=_OWNER, unit="rows", ge=1
    )
    SYNC_TIMEOUT: int = setting(
        3600,
        description="Longest time that one run may take; pauses do not count.",
        owner=_OWNER,
        unit="seconds",
        ge=1,
    )
    SYNC_RETRY_ATTEMPTS: int = setting(
        3, description="How often a failed batch is tried again before the run stops.", owner=_OWNER, ge=0
    )
    SYNC_PARALLELISM: int = setting(1, description="Key ranges that are copied at once.", owner=_OWNER, ge=1)


class PerformanceSettings(BaseModel):
    """What protects the graph service from load."""

    model_config = _FROZEN

    CACHE_TTL: int = setting(
        300, description="How long an answer stays in the query cache.", owner=_OWNER, unit="seconds", ge=1
    )
    API_RATE_LIMIT: int = setting(
        100,
        description="Requests of one client in a minute.",
        owner=_OWNER,
        unit="requests/minute",
        ge=1,
    )


class FeatureFlagSettings(BaseModel):
    """Switches of the two services."""

    model_config = _FROZEN

    GRAPH_FEATURE_ENABLED: bool = setting(
        True, description="Kill switch of the graph service; off: it answers 503.", owner=_OWNER
    )
    GRAPH_RECOMMENDATIONS_ENABLED: bool = setting(
        True, description="Personal recommendations; off: the most-taken classes.", owner=_OWNER
    )
    GRAPH_CACHE_ENABLED: bool = setting(True, description="Use the query cache.", owner=_OWNER)
    SYNC_PAUSED: bool = setting(False, description="The sync waits after its current batch.", owner=_OWNER)


CONTRACTS: Final[dict[str, type[BaseModel]]] = {
    "feature_flag": FeatureFlagSettings,
    "graph_query": GraphQuerySettings,
    "neo4j": Neo4jSettings,
    "performance": PerformanceSettings,
    "sync": SyncSettings,
}
