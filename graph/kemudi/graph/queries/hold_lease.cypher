// The last statement of a transaction of the sync: no record, and so a rollback, when the lease is another's.
// The beat is written before the epoch is compared, as in take_lease; it also shows that the holder lives.
MATCH (l:SyncLease {name: 'sync'})
SET l.beat = l.beat + 1
WITH l
WHERE l.epoch = $epoch
RETURN l.beat AS beat
