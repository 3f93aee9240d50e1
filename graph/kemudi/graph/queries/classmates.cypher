// Who shares classes with a student, most shared classes first, then by nim.
MATCH (m:MahasiswaNode {nim: $nim})-[:MENGAMBIL]->(k:KelasNode)<-[:MENGAMBIL]-(o:MahasiswaNode)
WHERE o.nim <> $nim
RETURN o.nim AS nim, o.nama AS nama, count(DISTINCT k.kode) AS shared_classes
ORDER BY shared_classes DESC, nim
LIMIT $limit
