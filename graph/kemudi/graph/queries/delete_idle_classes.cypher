// Classes that nobody takes any more.
MATCH (k:KelasNode)
WHERE NOT EXISTS { MATCH (:MahasiswaNode)-[:MENGAMBIL]->(k) }
DELETE k
