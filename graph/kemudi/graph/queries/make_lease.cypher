// The lease, free, where there is none.
MERGE (l:SyncLease {name: 'sync'})
ON CREATE SET l.epoch = 0, l.beat = 0, l.holder = '', l.since = ''
