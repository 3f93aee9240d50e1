"""Names from outside never leave their place."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.cluster import key_slot

from kemudi.schema.errors import UsageError
from kemudi.store.keys import Keys, escaped, is_digest

HOSTILE = [
    "{",
    "}",
    "{}",
    "*",
    "?",
    "[a]",
    ":",
    "a:b",
    "a\r\nFLUSHALL\r\n",
    "\0",
    "\u00e9",
    "e\u0301",
    "\u0430",
    " ",
    "%",
    "%41",
]
DIGEST = "0123456789abcdef" * 4
NAMES = st.text(min_size=1, max_size=40)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_in_place(name: str) -> None:
    """A name cannot close the hash tag, act as a pattern or end a command."""
    keys = Keys(name)
    made = [keys.current, keys.epoch, keys.lease, keys.log, keys.channel, keys.acknowledgement(name, name)]
    assert {key_slot(key.encode()) for key in made} == {key_slot(keys.current.encode())}
    for key in [*made, keys.blob(DIGEST)]:
        assert key.isascii()
        assert key.isprintable()
        assert not set(key) & set("*?[]\\ ")
        assert key.count("{") + key.count("}") in (0, 2)


@given(st.lists(st.tuples(NAMES, NAMES, NAMES), min_size=2, max_size=6, unique=True))
def test_names_do_not_collide(names: list[tuple[str, str, str]]) -> None:
    """Different environments, services and instances have different keys."""
    made = {Keys(env).acknowledgement(service, instance) for env, service, instance in names}
    assert len(made) == len(names)


@given(NAMES, NAMES)
def test_no_prefix_of_another(one: str, other: str) -> None:
    """What one environment or service may touch never begins with what another may."""
    if one == other:
        return
    for left, right in itertools.permutations((one, other)):
        assert not Keys(left).tagged.startswith(Keys(right).tagged)
        assert not Keys(left).blobs.startswith(Keys(right).blobs)
        assert not (
            Keys("e").service_acknowledgements(left).startswith(Keys("e").service_acknowledgements(right))
        )


def test_layout() -> None:
    """Plain names stand as they are."""
    keys = Keys("prod")
    assert keys.current == "{kemudi:prod}:cur"
    assert keys.channel == "{kemudi:prod}:ch"
    assert keys.acknowledgement("graph", "host-1.x_2") == "{kemudi:prod}:ack:graph:host-1.x_2"
    assert keys.blob(DIGEST) == f"kemudi:prod:blob:{DIGEST}"
    assert keys.digest(keys.blob(DIGEST)) == DIGEST
    assert keys.digest("kemudi:prod:blob:short") is None
    assert keys.digest(Keys("dev").blob(DIGEST)) is None


@pytest.mark.parametrize("name", ["", "a" * 201, "\ud800"])
def test_refused_names(name: str) -> None:
    """An empty, an overlong and an invalid name are refused."""
    with pytest.raises(UsageError):
        escaped(name)


@pytest.mark.parametrize("digest", ["", DIGEST[:-1], DIGEST.upper(), DIGEST + "\n", f"{DIGEST[:-1]}٣", "*"])
def test_digests(digest: str) -> None:
    """Only a digest names a blob."""
    assert not is_digest(digest)
    with pytest.raises(UsageError):
        Keys("prod").blob(digest)
