// Who shares classes with a student's classmates but not with the student; via counts the classmates between.
MATCH (m:MahasiswaNode {nim: $nim})-[:MENGAMBIL]->(:KelasNode)<-[:MENGAMBIL]-(c:MahasiswaNode)
WHERE c.nim <> $nim
WITH DISTINCT c
MATCH (c)-[:MENGAMBIL]->(k:KelasNode)
WHERE NOT EXISTS { MATCH (:MahasiswaNode {nim: $nim})-[:MENGAMBIL]->(k) }
WITH c, k
MATCH (k)<-[:MENGAMBIL]-(f:MahasiswaNode)
WHERE NOT EXISTS { MATCH (:MahasiswaNode {nim: $nim})-[:MENGAMBIL]->(:KelasNode)<-[:MENGAMBIL]-(f) }
RETURN f.nim AS nim, f.nama AS nama, count(DISTINCT c.nim) AS via
ORDER BY via DESC, nim
LIMIT $limit
