// The size of the graph. Without labels: Neo4j then knows the number, and counts nothing.
MATCH ()-[r:MENGAMBIL]->()
RETURN count(r) AS edges
