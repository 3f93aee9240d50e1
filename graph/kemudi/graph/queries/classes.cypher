// A page of classes behind a kode.
MATCH (k:KelasNode)
WHERE k.kode > $after
RETURN k.kode AS kode, k.nama AS nama
ORDER BY kode
LIMIT $limit
