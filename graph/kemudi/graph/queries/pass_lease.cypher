// Give the lease on, or back with no holder: the next epoch, so that nothing of this one is written any more.
MATCH (l:SyncLease {name: 'sync'})
SET l.beat = l.beat + 1
WITH l
WHERE l.epoch = $epoch
SET l.epoch = $epoch + 1, l.holder = $holder, l.since = $since
RETURN l.epoch AS epoch
