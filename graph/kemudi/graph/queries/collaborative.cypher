// Classes that a student's classmates take and the student does not, each classmate weighed by the classes shared.
MATCH (:MahasiswaNode {nim: $nim})-[:MENGAMBIL]->(mine:KelasNode)
WITH collect(mine.kode) AS own
MATCH (:MahasiswaNode {nim: $nim})-[:MENGAMBIL]->(s:KelasNode)<-[:MENGAMBIL]-(c:MahasiswaNode)
WHERE c.nim <> $nim
WITH own, c, count(DISTINCT s.kode) AS weight
MATCH (c)-[:MENGAMBIL]->(k:KelasNode)
WHERE NOT k.kode IN own
RETURN k.kode AS kode, k.nama AS nama, sum(weight) AS score
ORDER BY score DESC, kode
LIMIT $limit
