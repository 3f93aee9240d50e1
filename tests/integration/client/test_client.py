"""A client and a real Redis, in fair weather."""

from kemudi.schema.secret import Secret


def test_reads_what_was_published(publisher, open_client):
    """A connected client serves values, contract defaults and secrets of the published snapshot."""
    revision = publisher.publish(
        {"sync": {"SYNC_BATCH_SIZE": 10}, "neo4j": {"NEO4J_PASSWORD": Secret("hunter2")}},
        defaults={"sync": {"SYNC_TIMEOUT": 3600}},
    )
    config = open_client(publisher)
    assert config["SYNC_BATCH_SIZE"] == 10
    assert config["SYNC_TIMEOUT"] == 3600
    assert config.get("SYNC_TIMEOUT", default=5) == 5
    assert config["NEO4J_PASSWORD"].reveal() == "hunter2"
    assert (config.revision, config.generation) == (revision, "0.1.0")


def test_follows_the_next_generation(publisher, open_client, wait_until):
    """A published change is served without a restart."""
    publisher.publish({"sync": {"SYNC_BATCH_SIZE": 10}})
    config = open_client(publisher)
    publisher.publish({"sync": {"SYNC_BATCH_SIZE": 11}})
    wait_until(lambda: config["SYNC_BATCH_SIZE"] == 11)
    assert config.generation == "0.2.0"
