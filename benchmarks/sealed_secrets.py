"""5,000 sealed settings: what a full load costs, and what a commit costs that changes one of them.

    python benchmarks/sealed_secrets.py [--secrets 5000] [--recipients 3] [--rounds 5] [--json]

Files are read, validated, resolved and every secret is opened and held against its contract, as the daemon does it,
without git and Redis. CPU time of this thread, median over the rounds. Goals: a full load under 2 s; a commit that
changes one secret opens one.
"""

import argparse
import json
import statistics
import sys
import time

from kemudi.daemon.unseal import Unsealer
from kemudi.repo.secrets import generate_identity, seal
from kemudi.schema.envelope import Context, Envelope
from kemudi.schema.state import ConfigState, File

GOAL_SECONDS = 2.0
REPO_ID = "0b7c1f4e-5d0a-4f43-9c39-6a1f2f0f8d21"
PER_FILE = 100


class Counting(Unsealer):
    """Counts the ciphertexts that are opened."""

    opened = 0

    def _open(self, context: Context, envelope: Envelope, kind: str) -> tuple[str, object]:
        self.opened += 1
        return super()._open(context, envelope, kind)


def repo(count: int, publics: list[str]) -> tuple[dict[str, bytes], str]:
    """The files, and the path of one file of values."""
    people = "".join(f"  r{index}: {{key: {public}, kind: daemon}}\n" for index, public in enumerate(publics))
    names = ", ".join(f"r{index}" for index in range(len(publics)))
    files = {
        "kemudi.yaml": f"format: 1\nid: {REPO_ID}\nenvironments:\n  - name: prod\n",
        "recipients.yaml": f"recipients:\n{people}environments:\n  prod: [{names}]\n",
    }
    path = ""
    for first in range(0, count, PER_FILE):
        category = f"vault_{first // PER_FILE}"
        keys = [f"SECRET_{number:05}" for number in range(first, min(count, first + PER_FILE))]
        setting = {"type": "string", "description": "A secret.", "x-kemudi-sensitive": True}
        schema = {"type": "object", "additionalProperties": False, "properties": dict.fromkeys(keys, setting)}
        files[f"contracts/{category}.schema.json"] = json.dumps(schema)
        path = f"prod/{category}.yaml"
        files[path] = "".join(f"{key}: {line(category, key, publics)}\n" for key in keys)
    return {name: text.encode() for name, text in files.items()}, path


def line(category: str, key: str, publics: list[str], value: str = "a password of usual length") -> str:
    """One sealed value."""
    return seal(Context(REPO_ID, "prod", category, key), "string", value, publics)


def open_all(state: ConfigState, unsealer: Unsealer, before: dict[str, object]) -> dict[str, object]:
    """Open what is sealed in the categories that are not the same objects as before, as the daemon does."""
    resolved = dict(state.resolve("prod"))
    for name, category in resolved.items():
        if before.get(name) is not category:
            for setting in category.settings.values():
                assert isinstance(setting.value, Envelope)
                unsealer.open(REPO_ID, category.contract, setting, setting.value)
    return dict(resolved)


def measure(count: int, recipients: int, rounds: int) -> dict[str, float]:
    """Medians in seconds, and how many ciphertexts a changed line opened."""
    identities, publics = zip(*(generate_identity() for _ in range(recipients)), strict=True)
    files, path = repo(count, list(publics))
    full, one, opened = [], [], 0
    for number in range(rounds):
        unsealer = Counting(identities[:1])
        start = time.thread_time()
        state = ConfigState.load(File(name, data) for name, data in files.items())
        before = open_all(state, unsealer, {})
        full.append(time.thread_time() - start)
        assert state.findings == ()
        assert unsealer.opened == count
        unsealer.opened = 0
        first, _, rest = files[path].partition(b"\n")
        key, category = first.split(b":")[0].decode(), path[len("prod/") : -len(".yaml")]
        changed = f"{key}: {line(category, key, list(publics), f'new {number}')}\n".encode() + rest
        start = time.thread_time()
        open_all(state.update({path: File(path, changed)}), unsealer, before)
        one.append(time.thread_time() - start)
        opened = unsealer.opened
    return {"full": statistics.median(full), "one": statistics.median(one), "opened": opened}


def main() -> int:
    """Print the figures; exit 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--secrets", type=int, default=5000)
    parser.add_argument("--recipients", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = measure(options.secrets, options.recipients, options.rounds)
    met = found["full"] < GOAL_SECONDS and found["opened"] == 1
    if options.json:
        print(json.dumps(found | {"met": met}))
    else:
        print(f"full load of {options.secrets} secrets: {found['full']:.2f} s (goal {GOAL_SECONDS:g} s)")
        print(f"a commit that changes one: {found['one'] * 1000:.1f} ms, {found['opened']} opened (goal 1)")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
