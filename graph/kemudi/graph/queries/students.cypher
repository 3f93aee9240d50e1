// A page of students behind a nim.
MATCH (m:MahasiswaNode)
WHERE m.nim > $after
RETURN m.nim AS nim, m.nama AS nama
ORDER BY nim
LIMIT $limit
