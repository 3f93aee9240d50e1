// Relationships whose last live row is gone.
UNWIND $pairs AS pair
MATCH (m:MahasiswaNode {nim: pair.nim})-[r:MENGAMBIL]->(k:KelasNode {kode: pair.kode})
DELETE r
