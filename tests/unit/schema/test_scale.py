"""Size: a repo of 10,000 files loads in bounded time, and a change in it costs what changed."""

import json
import time
from collections.abc import Callable

import pytest

from kemudi.schema.state import ConfigState, File

LAYERS = ("base", "dev", "staging", "prod")
CATEGORIES = 2_500


@pytest.fixture(scope="module")
def files() -> list[File]:
    """2,500 categories of 4 settings in 4 layers, with their contracts."""
    environments = [{"name": name, "layers": ["base", name]} for name in LAYERS[1:]]
    manifest = {"format": 1, "id": "0b7c1f4e-5d0a-4f43-9c39-6a1f2f0f8d21", "environments": environments}
    found = [File("kemudi.yaml", json.dumps(manifest).encode())]
    for number in range(CATEGORIES):
        keys = [f"C{number:04d}_S{setting}" for setting in range(4)]
        properties = {key: {"type": "integer", "default": 0, "description": "A size."} for key in keys}
        contract = json.dumps({"properties": properties}).encode()
        found.append(File(f"contracts/c{number}.schema.json", contract))
        for rank, layer in enumerate(LAYERS):
            text = "".join(f"{key}: {number + rank}\n" for key in keys)
            found.append(File(f"{layer}/c{number}.yaml", text.encode()))
    return found


def test_ten_thousand_files_load_in_bounded_time(
    files: list[File], record_property: Callable[[str, object], None]
) -> None:
    """About 1.5 s of CPU on a small machine, far below the bound; then one file costs milliseconds."""
    started = time.thread_time()
    state = ConfigState.load(files)
    loaded = time.thread_time() - started
    record_property("load_cpu_seconds", round(loaded, 2))
    assert state.findings == ()
    assert state.resolve("prod")["c7"].settings["C0007_S1"].value == 10
    assert loaded < 15
    costs = []
    for number in range(20):
        path = f"prod/c{number}.yaml"
        started = time.thread_time()
        new = state.update({path: File(path, f"C{number:04d}_S0: -1\n".encode())})
        costs.append(time.thread_time() - started)
        assert new.resolve("prod")[f"c{number}"].settings[f"C{number:04d}_S0"].value == -1
        untouched = [
            name for name, each in new.resolve("prod").items() if each is not state.resolve("prod")[name]
        ]
        assert untouched == [f"c{number}"]
    record_property("update_cpu_milliseconds", round(min(costs) * 1_000, 2))
    assert min(costs) < 0.02


def test_ten_thousand_errors_are_all_reported(files: list[File]) -> None:
    """One in each values file; the report is complete and in order."""
    broken = [
        File(each.path, each.data + b"NO_SUCH_KEY: 1\n") if each.path[-5:] == ".yaml" else each
        for each in files[1:]
    ]
    state = ConfigState.load([files[0], *broken])
    assert len(state.findings) == CATEGORIES * len(LAYERS)
    assert list(state.findings) == sorted(state.findings)
    assert {each.rule for each in state.findings} == {"KEM020"}
