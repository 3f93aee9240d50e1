// Those of some classes that nobody takes any more, so that a batch leaves none of them behind.
MATCH (k:KelasNode)
WHERE k.kode IN $kodes AND NOT EXISTS { MATCH (:MahasiswaNode)-[:MENGAMBIL]->(k) }
DELETE k
