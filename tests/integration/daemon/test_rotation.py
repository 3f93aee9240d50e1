"""The keys at rest are replaced while a daemon publishes and readers read: no restart, no failed read."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from kemudi.cli.rotation import KeysetFiles, Rotation
from kemudi.client.connection import connect_with
from kemudi.client.refresh import Pace
from kemudi.client.settings import ClientSettings
from kemudi.repo.secrets import generate_identity, seal
from kemudi.schema.envelope import Context
from kemudi.schema.errors import ConflictError
from kemudi.store.sealing import KeysetBundle
from kemudi.store.signing import SigningKey

FAST = Pace(poll_least=0.2, poll_most=0.4, again=0.1, ask_again=0.5, copy_after=0.0, keys=0.1)
PROGRAM = """
import sys, threading
import kemudi.client
config = kemudi.client.connect()
stop = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
print("ready", flush=True)
reads, wrong = 0, 0
while not stop.is_set():
    with config.pin() as view:
        wrong += not view["TOKEN"].reveal().startswith("canary-")
    reads += 1
print(reads, wrong, flush=True)
"""


@dataclass
class Estate:
    """A daemon with one secret, its keys, and readers."""

    daemon: Any
    kit: Any
    repo: Any
    keys: Any
    public: str
    redis_url: str
    folder: Path
    _stack: ExitStack = field(default_factory=ExitStack)

    @property
    def service_file(self) -> Path:
        return Path(self.keys.folder / "keyset-app.json")

    def commit(self, text: str) -> str:
        sealed = seal(Context(self.kit.repo_id, "base", "vault", "TOKEN"), "string", text, [self.public])
        return str(self.repo.commit({"base/vault.yaml": f"TOKEN: {sealed}\n"}))

    def settings(self, name: str = "app", keyset: Path | None = None) -> ClientSettings:
        return ClientSettings.resolved(
            {},
            env="dev",
            redis_url=self.redis_url,
            service=name,
            keyset=keyset or self.service_file,
            verify_key=self.folder / "verify.pub",
            state_dir=self.folder / f"state-{name}",
        )

    def connect(self, name: str = "app", keyset: Path | None = None) -> Any:
        return self._stack.enter_context(connect_with(self.settings(name, keyset), None, FAST))

    def rotation(self, said: list[str], *more: Path, timeout: float = 20.0) -> Rotation:
        files = KeysetFiles.found(self.keys.keyset, more)
        return Rotation(files, lambda: self.daemon.get("/status"), (), timeout, said.append)

    def bundle(self) -> KeysetBundle:
        return KeysetBundle.load(self.keys.keyset)

    def close(self) -> None:
        self._stack.close()


@pytest.fixture
def estate(
    repo: Any, keys: Any, settings: Any, locals_: Any, redis_url: str, kit: Any, tmp_path: Path
) -> Iterator[Estate]:
    identity, public = generate_identity()
    keys.identity.write_text(identity)
    keys.identity.chmod(0o600)
    KeysetBundle.load(keys.keyset).subset(["vault"]).save(keys.folder / "keyset-app.json")
    SigningKey.load(keys.signing).verify_keys().save(tmp_path / "verify.pub")
    recipients = (
        f"recipients:\n  daemon: {{key: {public}, kind: daemon}}\n  safe: {{key: {public}, kind: recovery}}\n"
    )
    schema = {"TOKEN": {"type": "string", "x-kemudi-sensitive": True}}
    sealed = seal(Context(kit.repo_id, "base", "vault", "TOKEN"), "string", "canary-1", [public])
    repo.commit(
        kit.files()
        | {
            "recipients.yaml": recipients + "environments:\n  dev: [daemon, safe]\n",
            "contracts/vault.schema.json": kit.contract("vault", schema),
            "base/vault.yaml": f"TOKEN: {sealed}\n",
        }
    )
    daemon = locals_(replace(settings, identity=keys.identity)).start()
    kit.eventually(lambda: daemon.reason() == "Applied")
    made = Estate(daemon, kit, repo, keys, public, redis_url, tmp_path)
    yield made
    made.close()


@contextmanager
def reading(read: Callable[[], Any]) -> Iterator[list[Any]]:
    """A thread that reads without a pause; yields what went wrong."""
    failures: list[Any] = []
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            try:
                value = read()
                if not value.startswith("canary-"):
                    failures.append(value)
            except Exception as error:  # noqa: BLE001  # whatever it is, it is a failed read
                failures.append(error)
                return

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield failures
    finally:
        stop.set()
        thread.join(10)


def test_a_rotation_under_traffic(estate: Estate) -> None:
    """Readers in this and in another process read all through it, commits go on, and only the new key is left."""
    config = estate.connect()
    before = estate.bundle().keyset("vault").sealing_id
    assert estate.daemon.status()["sealed_with"] == {"vault": [before]}
    variables = {
        "KEMUDI_ENV": "dev",
        "KEMUDI_REDIS_URL": estate.redis_url,
        "KEMUDI_SERVICE": "other",
        "KEMUDI_KEYSET": str(estate.service_file),
        "KEMUDI_VERIFY_KEY": str(estate.folder / "verify.pub"),
        "KEMUDI_STATE_DIR": str(estate.folder / "other"),
    }
    said: list[str] = []
    untouched = config.pin()
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "ready\n"
        estate.kit.eventually(lambda: len(estate.daemon.status()["clients"]) == 2)
        with reading(lambda: str(config["TOKEN"].reveal())) as failures:
            sealing = estate.rotation(said).run()
            commit = estate.commit("canary-2")
            estate.kit.eventually(lambda: config.revision == commit)
        read, wrong = other.communicate("", timeout=20)[0].split()
    assert failures == []
    assert (int(read) > 0, wrong) == (True, "0")
    after = estate.bundle().keyset("vault")
    assert after.key_ids == (after.sealing_id,)
    assert before not in after.key_ids
    assert f"vault:{after.sealing_id}" in sealing
    assert KeysetBundle.load(estate.service_file).keyset("vault").key_ids == after.key_ids
    assert estate.daemon.status()["sealed_with"] == {"vault": [after.sealing_id]}
    assert config["TOKEN"].reveal() == "canary-2"
    # A view that was taken before, and whose secret nobody had asked for, is still the old one.
    with untouched as view:
        assert view["TOKEN"].reveal() == "canary-1"


def test_the_same_revision_rises_in_generation_and_nobody_is_told_of_a_change(estate: Estate) -> None:
    """What is sealed anew has the same plaintext: a serial more, an entry in the log, no callback."""
    config = estate.connect()
    told: list[Any] = []
    config.subscribe("*", told.append)
    before, revision = estate.daemon.generation(), config.revision
    estate.rotation([]).run()
    after = estate.daemon.generation()
    assert (after.era, after.depth) == (before.era, before.depth)
    assert after.serial > before.serial
    assert config.revision == revision
    assert told == []
    store = estate.kit.store(estate.redis_url)
    try:
        assert "resealed" in [entry.kind for entry in store.log(10)]
    finally:
        store.close()


def test_a_reader_without_the_new_key_holds_the_rotation_up(estate: Estate, tmp_path: Path) -> None:
    """Nothing is switched before everybody knows the key; brought to the reader, the next run goes on from there."""
    elsewhere = tmp_path / "elsewhere.json"
    KeysetBundle.load(estate.service_file).save(elsewhere)
    config = estate.connect("remote", elsewhere)
    estate.kit.eventually(lambda: estate.daemon.status()["clients"])
    before = estate.bundle().keyset("vault").sealing_id
    said: list[str] = []
    with pytest.raises(ConflictError, match="remote/"):
        estate.rotation(said, timeout=0.6).run()
    added = estate.bundle().keyset("vault")
    assert (len(added.key_ids), added.sealing_id) == (2, before)
    assert estate.daemon.status()["sealed_with"] == {"vault": [before]}
    said.clear()
    estate.rotation(said, elsewhere).run()
    assert said[0].startswith("going on with the rotation of")
    after = estate.bundle().keyset("vault")
    assert after.key_ids == (added.key_ids[-1],)
    assert config["TOKEN"].reveal() == "canary-1"


@pytest.mark.parametrize("hit", range(1, 7))
def test_killed_between_any_two_files_it_goes_on(estate: Estate, hit: int) -> None:
    """The keyset files are its memory: whatever was written last, the next run ends with one key and no failed read."""
    config = estate.connect()
    program = (
        "import sys, pathlib; from kemudi.cli.rotation import *; from kemudi.cli.daemon_api import DaemonApi; "
        "files = KeysetFiles.found(pathlib.Path(sys.argv[1]), ()); "
        "Rotation(files, lambda: DaemonApi(sys.argv[2]).get('/status'), (), 20.0, lambda text: None).run()"
    )
    with reading(lambda: str(config["TOKEN"].reveal())) as failures:
        killed = subprocess.run(
            [sys.executable, "-c", program, str(estate.keys.keyset), estate.daemon.url],
            env=os.environ | {"KEMUDI_FAILPOINT": f"rotation.half-saved@{hit}"},
            check=False,
            timeout=60,
        )
        assert killed.returncode == -9
        estate.rotation([]).run()
    assert failures == []
    after = estate.bundle().keyset("vault")
    assert len(after.key_ids) == 1
    assert KeysetBundle.load(estate.service_file).keyset("vault").key_ids == after.key_ids
    estate.kit.eventually(lambda: estate.daemon.status()["sealed_with"] == {"vault": [after.sealing_id]})


def test_while_the_newest_commit_is_bad_it_rotates_all_the_same(estate: Estate) -> None:
    """What is served is sealed anew without git: the last good snapshot stays, under the new key."""
    config = estate.connect()
    good = config.revision
    bad = estate.repo.commit({"base/sync.yaml": "SYNC_BATCH_SIZE: no\n"})
    estate.kit.eventually(lambda: estate.daemon.status()["rejected"] == bad)
    estate.rotation([]).run()
    status = estate.daemon.status()
    assert (status["applied"]["revision"], status["rejected"]) == (good, bad)
    assert status["sealed_with"] == {"vault": [estate.bundle().keyset("vault").sealing_id]}
    assert config["TOKEN"].reveal() == "canary-1"
