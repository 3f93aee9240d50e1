// For each class of a student and each class that the student does not take: how many students take both.
// The student's classes as a list: asking for each candidate whether the student takes it costs ten times as much.
MATCH (:MahasiswaNode {nim: $nim})-[:MENGAMBIL]->(mine:KelasNode)
WITH collect(mine.kode) AS own
MATCH (:MahasiswaNode {nim: $nim})-[:MENGAMBIL]->(s:KelasNode)<-[:MENGAMBIL]-(c:MahasiswaNode)
WHERE c.nim <> $nim
WITH own, s, c
MATCH (c)-[:MENGAMBIL]->(k:KelasNode)
WHERE NOT k.kode IN own
RETURN s.kode AS taken, k.kode AS kode, k.nama AS nama, count(c.nim) AS common
ORDER BY taken, kode
