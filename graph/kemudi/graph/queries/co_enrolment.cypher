// For each class of a student and each class that the student does not take: how many students take both.
MATCH (m:MahasiswaNode {nim: $nim})-[:MENGAMBIL]->(s:KelasNode)<-[:MENGAMBIL]-(c:MahasiswaNode)
WHERE c.nim <> $nim
WITH s, c
MATCH (c)-[:MENGAMBIL]->(k:KelasNode)
WHERE NOT EXISTS { MATCH (:MahasiswaNode {nim: $nim})-[:MENGAMBIL]->(k) }
RETURN s.kode AS taken, k.kode AS kode, k.nama AS nama, count(c.nim) AS common
ORDER BY taken, kode
