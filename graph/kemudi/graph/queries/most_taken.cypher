// The most-taken classes that a student does not take: the fallback when recommendations are off.
MATCH (k:KelasNode)<-[:MENGAMBIL]-(o:MahasiswaNode)
WITH k, count(o.nim) AS score
WHERE NOT EXISTS { MATCH (:MahasiswaNode {nim: $nim})-[:MENGAMBIL]->(k) }
RETURN k.kode AS kode, k.nama AS nama, score
ORDER BY score DESC, kode
LIMIT $limit
