// Relationships whose last live row is gone; both ends in clauses of their own, so that each is found by its key.
UNWIND $pairs AS pair
MATCH (m:MahasiswaNode {nim: pair.nim})
MATCH (k:KelasNode {kode: pair.kode})
MATCH (m)-[r:MENGAMBIL]->(k)
DELETE r
