"""What a client says of the snapshot that it runs."""

import time

import pytest
import redis
from pydantic import BaseModel, Field

from kemudi.client.acks import new_instance
from kemudi.schema.secret import Secret


@pytest.fixture
def said(publisher):
    """The acknowledgements in the store."""
    return publisher.store.acknowledgements


def test_a_client_acknowledges_at_once_and_each_swap(publisher, open_client, wait_until, said):
    """Service, instance, revision and generation are there as soon as they are served."""
    first = publisher.publish({"sync": {"A": 1}})
    config = open_client(publisher)
    wait_until(said)
    (one,) = said()
    assert (one.service, one.revision, one.generation, one.state) == ("tester", first, "0.1.0", "current")
    second = publisher.publish({"sync": {"A": 2}})
    wait_until(lambda: config["A"] == 2)
    begun = time.monotonic()
    wait_until(lambda: said()[0].revision == second)
    assert time.monotonic() - begun < 1
    assert said()[0].instance == one.instance


def test_names_read_and_names_pending_are_told_and_no_value(publisher, open_client, wait_until, said):
    """An acknowledgement carries the names of settings read and of those that wait for a restart; no values."""
    restart = {"neo4j": {"NEO4J_URI"}}
    publisher.publish({"neo4j": {"NEO4J_URI": "bolt://canary-one", "OTHER": 1}}, restart=restart)
    config = open_client(publisher)
    config["NEO4J_URI"]
    publisher.publish({"neo4j": {"NEO4J_URI": "bolt://canary-two", "OTHER": 1}}, restart=restart)
    wait_until(lambda: said() and said()[0].restart_pending == ("NEO4J_URI",))
    (one,) = said()
    assert one.keys_read == ("NEO4J_URI",)
    assert b"canary" not in one.encode()
    assert config["NEO4J_URI"] == "bolt://canary-one"


def test_a_refused_snapshot_is_named_with_its_reason(publisher, open_client, wait_until, said):
    """A check that refuses the new NEO4J_URI is named with its reason; the old value stays; a newer one clears it."""
    restart = {"neo4j": {"NEO4J_URI"}}
    first = publisher.publish(
        {"neo4j": {"NEO4J_URI": "bolt://good", "P": Secret("hunter2")}}, restart=restart
    )
    config = open_client(publisher)

    def check(values):
        if "bad" in values["NEO4J_URI"]:
            raise ConnectionError(f"{values['NEO4J_URI']} does not answer {values['P'].reveal()}")

    config.prepare("neo4j", check)
    second = publisher.publish(
        {"neo4j": {"NEO4J_URI": "bolt://bad", "P": Secret("hunter2")}}, restart=restart
    )
    wait_until(lambda: said() and said()[0].state == "refused")
    (one,) = said()
    assert (one.revision, one.refused_revision) == (first, second)
    assert one.reason == "neo4j: ConnectionError: bolt://bad does not answer ***"
    assert (config["NEO4J_URI"], config.revision) == ("bolt://good", first)
    assert config.health().refusal == one.reason
    assert config.health().refused == {"prepare": 1}
    third = publisher.publish(
        {"neo4j": {"NEO4J_URI": "bolt://good", "P": Secret("hunter2")}}, restart=restart
    )
    wait_until(lambda: said()[0].revision == third)
    assert said()[0].state == "current"
    assert config.health().refusal == ""


def test_a_refusal_is_asked_again_in_time(publisher, open_client, wait_until, said):
    """A check that refused is asked again by itself, and the snapshot is served when it consents."""
    publisher.publish({"neo4j": {"NEO4J_URI": "bolt://one"}})
    config = open_client(publisher)
    answers = [False, False, True]
    config.prepare("neo4j", lambda _values: answers.pop(0))
    publisher.publish({"neo4j": {"NEO4J_URI": "bolt://two"}})
    wait_until(lambda: config["NEO4J_URI"] == "bolt://two")
    assert answers == []
    wait_until(lambda: said()[0].state == "current")
    assert config.health().refused == {"prepare": 2}


def test_a_model_that_does_not_fit_is_a_refusal_too(publisher, open_client, wait_until, said):
    """A value that a bound model does not accept is refused and told like by a check."""

    class Sync(BaseModel):
        A: int = Field(ge=1)

    publisher.publish({"sync": {"A": 1}})
    config = open_client(publisher)
    sync = config.bind(Sync)
    publisher.publish({"sync": {"A": 0}})
    wait_until(lambda: said() and said()[0].state == "refused")
    assert "A: Input should be greater than or equal to 1" in said()[0].reason
    assert (sync.A, config["A"]) == (1, 1)


def test_a_closed_client_takes_its_word_back(publisher, open_client, wait_until, said):
    """After close nobody waits for this process any more."""
    publisher.publish({"sync": {"A": 1}})
    config = open_client(publisher)
    wait_until(said)
    config.close()
    config.close()
    assert said() == []


def test_a_reader_that_may_not_acknowledge_reads_all_the_same(
    own_redis, publisher_at, open_client, wait_until
):
    """With rights to read alone everything but the acknowledgement works."""
    publisher = publisher_at(own_redis.url)
    publisher.publish({"sync": {"A": 1}})
    with redis.Redis.from_url(own_redis.url) as admin:
        rules = [
            "on",
            ">right",
            "%R~{kemudi:dev}:*",
            "%R~kemudi:dev:blob:*",
            "resetchannels",
            "&{kemudi:dev}:*",
        ]
        commands = [
            "-@all",
            "+get",
            "+mget",
            "+exists",
            "+subscribe",
            "+unsubscribe",
            "+ping",
            "+hello",
            "+auth",
        ]
        admin.execute_command("ACL", "SETUSER", "reader", *rules, *commands)
    config = open_client(publisher, redis_url=own_redis.url.replace("redis://", "redis://reader:right@"))
    publisher.publish({"sync": {"A": 2}})
    wait_until(lambda: config["A"] == 2)
    assert config.health().connected
    assert publisher.store.acknowledgements() == []


def test_a_reader_with_generated_rights_acknowledges(own_redis, publisher_at, open_client, wait_until):
    """Under the least rights that Kemudi generates for a service, its acknowledgement is written and withdrawn."""
    from kemudi.store import acl

    publisher = publisher_at(own_redis.url)
    publisher.publish({"sync": {"A": 1}})
    with redis.Redis.from_url(own_redis.url) as admin:
        rules = acl.reader_rules("dev", "tester")
        admin.execute_command("ACL", "SETUSER", "reader", "on", ">right", *rules)
    config = open_client(publisher, redis_url=own_redis.url.replace("redis://", "redis://reader:right@"))
    wait_until(publisher.store.acknowledgements)
    config.close()
    assert publisher.store.acknowledgements() == []


def test_every_process_has_a_name_of_its_own():
    """Instances never collide, and are safe in a key."""
    names = {new_instance() for _ in range(100)}
    assert len(names) == 100
    assert all(name.replace("-", "").replace(".", "").isalnum() for name in names)
