// Students who take no class any more.
MATCH (m:MahasiswaNode)
WHERE NOT EXISTS { MATCH (m)-[:MENGAMBIL]->(:KelasNode) }
DELETE m
