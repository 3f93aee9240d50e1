"""The files of a new config repo: small enough to read whole, complete enough to be served."""

import json
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kemudi.cli.example import example_folder
from kemudi.schema.contract import editor_rendering
from kemudi.schema.errors import ConflictError

ENVIRONMENTS: Final = ("dev", "staging", "prod")
HEADER: Final = "# yaml-language-server: $schema=../contracts/editor/app.schema.json\n"

CONTRACT: Final[dict[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "app",
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "APP_PAGE_SIZE": {
            "type": "integer",
            "minimum": 1,
            "default": 50,
            "description": "Rows on one page.",
            "x-kemudi-unit": "rows",
        },
        "APP_SIGN_UP_ENABLED": {
            "type": "boolean",
            "default": True,
            "description": "Kill switch: whether new people may sign up.",
        },
    },
}

MANIFEST: Final = """\
# The config repo: its identity, its environments in promotion order, and who reads what.
format: 1
id: {id}
environments:
  - name: dev
    layers: [base, dev]
    mode: worktree      # saves are served too, for development
    reject: commit
  - name: staging
    layers: [base, staging]
    mode: commit
    reject: commit
  - name: prod
    layers: [base, prod]
    mode: commit
    reject: commit
services:
  app: [app]
policies: []
"""

RECIPIENTS: Final = """\
# Who can open sealed values, by environment. `kemudi secret keygen` prints the daemon's public key.
recipients: {}
environments:
  dev: []
  staging: []
  prod: []
"""

WORKFLOW: Final = ".github/workflows/config.yml"


@dataclass(frozen=True, slots=True)
class Started:
    """A new config repo. `committed` is False inside an existing git repository."""

    folder: Path
    files: tuple[str, ...]
    committed: bool

    def as_json(self) -> dict[str, object]:
        """For `--json`."""
        return {"folder": str(self.folder), "files": list(self.files), "committed": self.committed}

    def next_steps(self) -> list[str]:
        """Commands to type, in order."""
        first = [] if self.committed else [f"git add {self.folder} && git commit -m 'Start the config repo'"]
        return [
            f"kemudi validate {self.folder}",
            f"kemudi list --env dev --repo {self.folder}",
            *first,
            "kemudi secret keygen --out keys --repo " + str(self.folder),
        ]


def start(folder: Path, *, example: bool) -> Started:
    """Write the files and, outside git, make the repository with a first commit. Raises ConflictError if not empty."""
    from kemudi.repo.porcelain import commit_all, enclosing_repository, initialise

    if folder.exists() and any(folder.iterdir()):
        raise ConflictError(f"{folder} is not empty", hint="Name a new folder.")
    folder.mkdir(parents=True, exist_ok=True)
    if example:
        shutil.copytree(example_folder(), folder, dirs_exist_ok=True)
    else:
        _write_starter(folder)
    files = tuple(sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()))
    inside = enclosing_repository(folder) is not None
    if not inside:
        initialise(folder, branch="main")
        commit_all(folder, "Start the config repo")
    return Started(folder, files, committed=not inside)


def _write_starter(folder: Path) -> None:
    contents = {
        "kemudi.yaml": MANIFEST.format(id=uuid.uuid4()),
        "recipients.yaml": RECIPIENTS,
        "contracts/app.schema.json": _pretty(CONTRACT),
        "contracts/editor/app.schema.json": _pretty(editor_rendering(CONTRACT)),
        "base/app.yaml": HEADER + "APP_PAGE_SIZE: 50\n",
        "dev/app.yaml": HEADER + "APP_PAGE_SIZE: 10\n",
        "staging/app.yaml": HEADER,
        "prod/app.yaml": HEADER,
        WORKFLOW: (example_folder() / WORKFLOW).read_text(encoding="utf-8"),
    }
    for name, text in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def _pretty(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
