// Who takes what in a batch. A statement of its own: Ladybug loses relationships of nodes made in the same statement.
// Two MATCH clauses, since Ladybug scans both tables for one with two patterns (5 times slower at 60,000 rows).
UNWIND $pairs AS pair
MATCH (m:MahasiswaNode {nim: pair.nim})
MATCH (k:KelasNode {kode: pair.kode})
MERGE (m)-[:MENGAMBIL]->(k)
