// Take the lease as it was seen; no record when it has moved. Written before it is compared: a write waits for the
// other writers, and what is read after it is what they left.
MATCH (l:SyncLease {name: 'sync'})
SET l.beat = l.beat + 1
WITH l
WHERE l.epoch = $epoch AND l.beat = $beat + 1
SET l.epoch = $epoch + 1, l.holder = $holder, l.since = $since
RETURN l.epoch AS epoch
