// The size of the graph.
MATCH (:MahasiswaNode)-[r:MENGAMBIL]->(:KelasNode)
RETURN count(r) AS edges
