"""What Neo4j makes of the queries: none that runs for a request or a batch looks at every student, or at every pair."""

from importlib.resources import files
from pathlib import PurePath
from typing import Any

import pytest

from kemudi.graph import queries
from kemudi.graph.queries import query
from kemudi.graph.stores.neo4j import Neo4jStore
from kemudi.schema.secret import Secret

WHOLE_GRAPH = {"counts", "delete_idle_students", "delete_idle_classes"}
"""Once in a run, and about everything."""

EVERY_CLASS = {"most_taken"}
"""Looks at each class, of which there are few, and at no relationship."""

NO_GRAPH = {"ddl_neo4j", "ddl_ladybug", "end_writes"}
SCANS = {
    "AllNodesScan",
    "NodeByLabelScan",
    "DirectedRelationshipTypeScan",
    "UndirectedRelationshipTypeScan",
}


def operators(plan: dict[str, Any]) -> list[str]:
    """Of a plan and of what it rests on."""
    found = [str(plan["operatorType"]).partition("@")[0]]
    return found + [name for child in plan.get("children", ()) for name in operators(child)]


@pytest.mark.neo4j
def test_no_query_of_a_request_or_a_batch_scans(neo4j_server: Any) -> None:
    """By EXPLAIN of every query file, on a graph with its constraints."""
    store = Neo4jStore(neo4j_server.uri, neo4j_server.user, Secret(neo4j_server.password))
    store.prepare()
    store.close()
    known = {PurePath(each.name).stem for each in files(queries).iterdir() if each.name.endswith(".cypher")}
    asked = sorted(known - NO_GRAPH - WHOLE_GRAPH)
    scanning = {}
    with neo4j_server.driver() as driver, driver.session() as session:
        for name in asked:
            plan = session.run(f"EXPLAIN {query(name)}").consume().plan
            scans = SCANS - {"NodeByLabelScan"} if name in EVERY_CLASS else SCANS
            found = scans & {*operators(plan)}
            if found:
                scanning[name] = found
    assert scanning == {}
    assert len(asked) > 20
