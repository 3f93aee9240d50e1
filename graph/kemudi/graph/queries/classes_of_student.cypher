// The classes that a student takes.
MATCH (m:MahasiswaNode {nim: $nim})-[:MENGAMBIL]->(k:KelasNode)
RETURN k.kode AS kode, k.nama AS nama
ORDER BY kode
