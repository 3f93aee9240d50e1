// Tables of the embedded store; the primary keys are its uniqueness constraints.
CREATE NODE TABLE IF NOT EXISTS MahasiswaNode(nim STRING PRIMARY KEY, nama STRING);
CREATE NODE TABLE IF NOT EXISTS KelasNode(kode STRING PRIMARY KEY, nama STRING);
CREATE REL TABLE IF NOT EXISTS MENGAMBIL(FROM MahasiswaNode TO KelasNode);
CREATE NODE TABLE IF NOT EXISTS SyncCheckpoint(name STRING PRIMARY KEY, after_id INT64, until_id INT64, version INT64, finished_at STRING, watermark STRING);
CREATE NODE TABLE IF NOT EXISTS SyncLease(name STRING PRIMARY KEY, epoch INT64, beat INT64, holder STRING, since STRING);
