"""Live pydantic models."""

import gc
import pickle
from datetime import timedelta
from enum import StrEnum

import pytest
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from kemudi.client import BindingRefusedError, SecretUnreadableError
from kemudi.client.testing import InMemoryClient, override
from kemudi.schema.secret import Secret


class Sync(BaseModel):
    model_config = ConfigDict(extra="forbid")

    SYNC_BATCH_SIZE: int = Field(1000, ge=1)
    SYNC_TIMEOUT: int = 3600


def test_a_bound_model_is_always_current(bench):
    """An attribute is the value that is served now, after each swap and under an override."""
    config = bench.start({"sync": {"SYNC_BATCH_SIZE": 10, "OTHER": 1}})
    sync = config.bind(Sync)
    assert (sync.SYNC_BATCH_SIZE, sync.SYNC_TIMEOUT) == (10, 3600)
    bench.offer({"sync": {"SYNC_BATCH_SIZE": 20, "SYNC_TIMEOUT": 5}})
    assert (sync.SYNC_BATCH_SIZE, sync.SYNC_TIMEOUT) == (20, 5)
    with override(config, SYNC_BATCH_SIZE=30):
        assert sync.SYNC_BATCH_SIZE == 30
    assert sync.SYNC_BATCH_SIZE == 20
    bench.offer({"sync": {}})
    assert sync.SYNC_BATCH_SIZE == 1000


def test_a_bound_model_is_an_instance_of_the_model(bench):
    """It is equal to, dumped, copied and pickled like an instance of the model, and hashable by identity."""
    sync = bench.start({"sync": {"SYNC_BATCH_SIZE": 10}}).bind(Sync)
    assert isinstance(sync, Sync)
    assert sync == Sync(SYNC_BATCH_SIZE=10)
    assert Sync(SYNC_BATCH_SIZE=10) == sync
    assert sync.model_dump() == {"SYNC_BATCH_SIZE": 10, "SYNC_TIMEOUT": 3600}
    assert repr(sync) == "Sync(SYNC_BATCH_SIZE=10, SYNC_TIMEOUT=3600)"
    thawed = pickle.loads(pickle.dumps(sync))
    assert type(thawed) is Sync
    assert thawed == sync
    assert {sync: 1}[sync] == 1


def test_a_bound_model_is_read_only(bench):
    """An attribute cannot be set: what it says comes from the config repo alone."""
    sync = bench.start({"sync": {"SYNC_BATCH_SIZE": 10}}).bind(Sync)
    with pytest.raises(ValueError, match="frozen"):
        sync.SYNC_BATCH_SIZE = 1


def test_a_model_that_does_not_fit_refuses_the_snapshot(bench):
    """A value that the model does not accept refuses the whole snapshot, like a check, and names the field."""
    config = bench.start({"sync": {"SYNC_BATCH_SIZE": 10, "OTHER": 1}})
    sync = config.bind(Sync)
    refusal = bench.offer({"sync": {"SYNC_BATCH_SIZE": 0, "OTHER": 2}})
    assert refusal.kind == "binding"
    assert "SYNC_BATCH_SIZE: Input should be greater than or equal to 1" in refusal.reason
    assert (sync.SYNC_BATCH_SIZE, config["OTHER"]) == (10, 1)


def test_a_restart_value_that_would_not_fit_is_refused_now(bench):
    """A value that would break the model after the next restart is refused before."""

    class Neo4j(BaseModel):
        URI: str = Field(pattern="^bolt:")

    restart = {"neo4j": {"URI"}}
    config = bench.start({"neo4j": {"URI": "bolt:1"}}, restart=restart)
    neo4j = config.bind(Neo4j)
    assert bench.offer({"neo4j": {"URI": "http:2"}}, restart=restart) is not None
    assert bench.offer({"neo4j": {"URI": "bolt:2"}}, restart=restart) is None
    assert neo4j.URI == "bolt:1"
    assert bench.serving.restart_pending == ("URI",)


def test_binding_what_does_not_fit_raises(bench):
    """At bind the error names each field and what is wrong with it."""

    class Wrong(BaseModel):
        A: int
        B: int

    config = bench.start({"sync": {"A": "text"}})
    with pytest.raises(BindingRefusedError, match=r"Wrong does not fit: A: .*; B: Field required"):
        config.bind(Wrong)
    assert bench.offer({"sync": {"A": "other"}}) is None


def test_an_override_that_does_not_fit_raises(bench):
    """An override that a bound model refuses changes nothing."""
    config = bench.start({"sync": {"SYNC_BATCH_SIZE": 10}})
    sync = config.bind(Sync)
    with pytest.raises(BindingRefusedError), override(config, SYNC_BATCH_SIZE=0):
        pass
    assert (sync.SYNC_BATCH_SIZE, config["SYNC_BATCH_SIZE"]) == (10, 10)


def test_fields_are_found_by_alias(bench):
    """A field takes the setting that its alias names, or the first of its choices that there is."""

    class Aliased(BaseModel):
        batch: int = Field(alias="SYNC_BATCH_SIZE")
        limit: int = Field(validation_alias=AliasChoices("NEW_LIMIT", "OLD_LIMIT"))

    config = bench.start({"sync": {"SYNC_BATCH_SIZE": 10, "OLD_LIMIT": 1}})
    bound = config.bind(Aliased)
    assert (bound.batch, bound.limit) == (10, 1)
    bench.offer({"sync": {"SYNC_BATCH_SIZE": 11, "OLD_LIMIT": 1, "NEW_LIMIT": 2}})
    assert (bound.batch, bound.limit) == (11, 2)


def test_a_model_gives_its_own_types_and_rules(bench):
    """Enums, durations, validators of a field and of the whole model work, on each swap."""

    class Algorithm(StrEnum):
        HYBRID = "hybrid"
        SIMILARITY = "similarity"

    class Rich(BaseModel):
        ALGORITHM: Algorithm
        TIMEOUT: timedelta
        WEIGHTS: dict[str, float]

        @field_validator("WEIGHTS")
        @classmethod
        def sorted_weights(cls, value: dict[str, float]) -> dict[str, float]:
            return dict(sorted(value.items()))

        @model_validator(mode="after")
        def consistent(self) -> "Rich":
            if self.ALGORITHM is Algorithm.HYBRID and not self.WEIGHTS:
                raise ValueError("hybrid needs weights")
            return self

        @property
        def heaviest(self) -> str:
            return max(self.WEIGHTS, key=self.WEIGHTS.__getitem__)

    config = bench.start({"g": {"ALGORITHM": "hybrid", "TIMEOUT": 30, "WEIGHTS": {"b": 0.4, "a": 0.6}}})
    rich = config.bind(Rich)
    assert (rich.ALGORITHM, rich.TIMEOUT, rich.heaviest) == (Algorithm.HYBRID, timedelta(seconds=30), "a")
    assert (
        "hybrid needs weights"
        in bench.offer({"g": {"ALGORITHM": "hybrid", "TIMEOUT": 30, "WEIGHTS": {}}}).reason
    )
    assert bench.offer({"g": {"ALGORITHM": "similarity", "TIMEOUT": 30, "WEIGHTS": {"z": 1}}}) is None
    assert (rich.ALGORITHM, rich.heaviest) == (Algorithm.SIMILARITY, "z")


def test_a_secret_stays_masked(bench):
    """A sensitive setting is a Secret or a SecretStr, whatever the model declares; a field of plain text is refused."""

    class Login(BaseModel):
        OURS: Secret[str]
        THEIRS: SecretStr
        MAYBE: Secret[str] | None = None

    values = {"OURS": Secret("hunter2"), "THEIRS": Secret("hunter4")}
    config = bench.start({"neo4j": values})
    login = config.bind(Login)
    assert login.OURS.reveal() == "hunter2"
    assert login.THEIRS.get_secret_value() == "hunter4"
    assert login.MAYBE is None
    assert "hunter" not in f"{login!r} {login.model_dump()}"
    bench.offer({"neo4j": {**values, "MAYBE": Secret("later"), "OURS": Secret("changed")}})
    assert login.OURS.reveal() == "changed"
    assert login.MAYBE.reveal() == "later"

    class Careless(BaseModel):
        OURS: str

    with pytest.raises(BindingRefusedError, match=r"Careless.OURS holds a secret"):
        config.bind(Careless)


def test_a_refused_secret_is_not_told(bench):
    """The reason of a model that refuses a secret does not hold it."""

    class Login(BaseModel):
        P: Secret[str]

        @field_validator("P")
        @classmethod
        def long(cls, value: Secret[str]) -> Secret[str]:
            if len(value.reveal()) < 5:
                raise ValueError(f"{value.reveal()} is too short")
            return value

    config = bench.start({"neo4j": {"P": Secret("long enough")}})
    login = config.bind(Login)
    reason = bench.offer({"neo4j": {"P": Secret("sh0r")}}).reason
    assert "too short" in reason
    assert "sh0r" not in reason
    assert login.P.reveal() == "long enough"


def test_binding_a_secret_without_its_keyset_raises(bench_with):
    """The error names the keyset, as a read does."""

    class Login(BaseModel):
        P: Secret[str]

    config = bench_with(None).start({"neo4j": {"P": Secret("hunter2")}})
    with pytest.raises(SecretUnreadableError, match="KEMUDI_KEYSET"):
        config.bind(Login)


def test_every_reader_sees_one_snapshot_in_a_dump(bench):
    """A dump, taken while swaps go on, never mixes two snapshots."""
    import threading

    config = bench.start({"sync": {"SYNC_BATCH_SIZE": 1, "SYNC_TIMEOUT": 1}})
    sync = config.bind(Sync)
    mixed, stop = [], threading.Event()

    def read():
        while not stop.is_set():
            dump = dict(sync.__dict__)
            if dump["SYNC_BATCH_SIZE"] != dump["SYNC_TIMEOUT"]:
                mixed.append(dump)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(2, 300):
        bench.offer({"sync": {"SYNC_BATCH_SIZE": number, "SYNC_TIMEOUT": number}})
    stop.set()
    for thread in threads:
        thread.join()
    assert mixed == []


def test_a_dropped_model_refuses_nothing(bench):
    """A bound model that nobody holds any more has no say."""
    config = bench.start({"sync": {"SYNC_BATCH_SIZE": 10}})
    sync = config.bind(Sync)
    assert bench.offer({"sync": {"SYNC_BATCH_SIZE": 0}}) is not None
    del sync
    gc.collect()
    assert bench.offer({"sync": {"SYNC_BATCH_SIZE": 0}}) is None


def test_bound_fields_count_as_read(bench):
    """The settings behind a model are among those that the process reads."""
    config = bench.start({"sync": {"SYNC_BATCH_SIZE": 10, "OTHER": 1}})
    config.bind(Sync)
    assert bench.serving.keys_read == {"SYNC_BATCH_SIZE"}


def test_a_view_binds_a_fixed_model():
    """A pinned view gives a model of its own moment, which later swaps leave alone."""
    config = InMemoryClient({"SYNC_BATCH_SIZE": 10})
    with config.pin() as view:
        fixed = view.bind(Sync)
        config.publish(SYNC_BATCH_SIZE=20)
        assert (fixed.SYNC_BATCH_SIZE, view.bind(Sync).SYNC_BATCH_SIZE) == (10, 10)
    assert config.bind(Sync).SYNC_BATCH_SIZE == 20


def test_whatever_a_validator_raises_is_a_refusal(bench):
    """An error of a model's own code refuses the snapshot like a failed rule."""

    class Strange(BaseModel):
        A: int

        @field_validator("A")
        @classmethod
        def positive(cls, value: int) -> int:
            if value < 0:
                raise KeyError("negative")
            return value

    config = bench.start({"sync": {"A": 1}})
    strange = config.bind(Strange)
    assert "KeyError: 'negative'" in bench.offer({"sync": {"A": -1}}).reason
    assert strange.A == 1
