// Who takes what in a batch. A statement of its own: Ladybug loses relationships of nodes made in the same statement.
UNWIND $pairs AS pair
MATCH (m:MahasiswaNode {nim: pair.nim}), (k:KelasNode {kode: pair.kode})
MERGE (m)-[:MENGAMBIL]->(k)
