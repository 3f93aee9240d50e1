"""The program in this process, in a folder of its own."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from kemudi.cli import main as program
from kemudi.cli.example import example_folder


@dataclass
class Outcome:
    """What one run printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture
def kemudi(monkeypatch, capfdbinary):
    """Run `kemudi` with arguments; errors become exit codes as for a user."""

    def run(*arguments: str, stdin: str | None = None) -> Outcome:
        monkeypatch.setattr("sys.argv", ["kemudi", *arguments])
        if stdin is not None:
            import io

            monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        with pytest.raises(SystemExit) as ended:
            program.main()
        out, err = capfdbinary.readouterr()
        return Outcome(int(ended.value.code or 0), out.decode(), err.decode())

    return run


@pytest.fixture
def example(tmp_path) -> Path:
    """A copy of the worked example, outside git."""
    folder = tmp_path / "config-repo"
    shutil.copytree(example_folder(), folder)
    return folder
