// How many students take each of some classes.
MATCH (k:KelasNode)<-[:MENGAMBIL]-(m:MahasiswaNode)
WHERE k.kode IN $kodes
RETURN k.kode AS kode, count(m.nim) AS size
