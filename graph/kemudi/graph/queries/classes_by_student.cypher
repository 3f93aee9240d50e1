// The pairs of a range of students, a record for each student: a record for each pair costs the driver five times more.
MATCH (m:MahasiswaNode)-[:MENGAMBIL]->(k:KelasNode)
WHERE m.nim > $after AND m.nim <= $until
RETURN m.nim AS nim, collect(k.kode) AS kodes
