// For some classes: the classmates of a student who take them, with the number of classes shared.
MATCH (m:MahasiswaNode {nim: $nim})-[:MENGAMBIL]->(s:KelasNode)<-[:MENGAMBIL]-(c:MahasiswaNode)
WHERE c.nim <> $nim
WITH c, count(DISTINCT s.kode) AS weight
MATCH (c)-[:MENGAMBIL]->(k:KelasNode)
WHERE k.kode IN $kodes
RETURN k.kode AS kode, c.nim AS nim, weight
ORDER BY kode, weight DESC, nim
