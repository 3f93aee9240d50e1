// Uniqueness constraints: MERGE finds its node by an index, and two writers cannot make it twice.
CREATE CONSTRAINT mahasiswa_nim IF NOT EXISTS FOR (m:MahasiswaNode) REQUIRE m.nim IS UNIQUE;
CREATE CONSTRAINT kelas_kode IF NOT EXISTS FOR (k:KelasNode) REQUIRE k.kode IS UNIQUE;
CREATE CONSTRAINT sync_checkpoint_name IF NOT EXISTS FOR (s:SyncCheckpoint) REQUIRE s.name IS UNIQUE;
CREATE CONSTRAINT sync_lease_name IF NOT EXISTS FOR (l:SyncLease) REQUIRE l.name IS UNIQUE;
