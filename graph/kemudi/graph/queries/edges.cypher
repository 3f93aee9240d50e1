// The pairs of a range of students, in order: what is compared with the registry.
MATCH (m:MahasiswaNode)-[:MENGAMBIL]->(k:KelasNode)
WHERE m.nim > $after AND m.nim <= $until
RETURN m.nim AS nim, k.kode AS kode
ORDER BY nim, kode
