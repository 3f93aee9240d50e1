// Those of some classes that nobody takes any more, so that a batch leaves none of them behind.
UNWIND $kodes AS kode
MATCH (k:KelasNode {kode: kode})
WHERE NOT EXISTS { MATCH (:MahasiswaNode)-[:MENGAMBIL]->(k) }
DELETE k
