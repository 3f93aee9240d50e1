// End what a process that stands still has open under an epoch, or an older one. Neo4j's own; no other store needs it.
SHOW TRANSACTIONS YIELD transactionId AS id, metaData
WHERE metaData.kemudi_epoch <= $epoch
TERMINATE TRANSACTIONS id YIELD message
RETURN message
