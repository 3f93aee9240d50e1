// The pairs of the first students of a range, a record for each student in order: one for each pair costs the driver five
// times more.
MATCH (m:MahasiswaNode)-[:MENGAMBIL]->(k:KelasNode)
WHERE m.nim > $after AND m.nim <= $until
RETURN m.nim AS nim, collect(k.kode) AS kodes
ORDER BY nim
LIMIT $limit
