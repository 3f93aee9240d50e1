"""A config repo with secrets of its own, in memory and in git, and the identities that open them."""

import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kemudi.repo.sealing import seal_setting
from kemudi.repo.secrets import generate_identity
from kemudi.schema.contract import contract_text
from kemudi.schema.state import ConfigState, File

REPO_ID = "0b7c1f4e-5d0a-4f43-9c39-6a1f2f0f8d21"
SENSITIVE = {"description": "A secret.", "x-kemudi-sensitive": True}
MANIFEST = f"""\
format: 1
id: {REPO_ID}
environments:
  - name: staging
    layers: [base, staging]
  - name: prod
    layers: [base, prod]
"""
CONTRACT = {
    "MAIL_PASSWORD": {"type": "string", **SENSITIVE},
    "MAIL_RELAY_PASSWORD": {"type": "string", **SENSITIVE},
    "MAIL_PIN": {"type": "integer", **SENSITIVE},
    "MAIL_ACCOUNTS": {"type": "object", **SENSITIVE},
    "MAIL_HOST": {"type": "string", "description": "A host.", "default": "localhost"},
    "MAIL_PORT": {"type": "integer", "description": "A port.", "default": 25},
    "MAIL_TAGS": {"type": "array", "description": "Tags.", "default": []},
}


@dataclass
class Vault:
    """A config repo as files, and who reads it."""

    identities: dict[str, str] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)

    @property
    def state(self) -> ConfigState:
        return ConfigState.load(File(path, data) for path, data in self.files.items())

    def write(self, files: Mapping[str, str]) -> "Vault":
        self.files |= {path: text.encode() for path, text in files.items()}
        return self

    def contract(self, settings: Mapping[str, object] = CONTRACT) -> "Vault":
        schema = {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "description": "Mail.",
            "additionalProperties": False,
            "properties": settings,
        }
        return self.write({"contracts/mail.schema.json": contract_text(schema)})

    def readers(self, **environments: list[str]) -> "Vault":
        """Make identities for new names and write recipients.yaml."""
        lines = ["recipients:"]
        for name in sorted({each for names in environments.values() for each in names}):
            if name not in self.identities:
                identity, public = generate_identity()
                self.identities[name] = identity
                self.publics[name] = public
            kind = "daemon" if name == "daemon" else "human"
            lines.append(f"  {name}: {{key: {self.publics[name]}, kind: {kind}}}")
        lines += ["environments:", *(f"  {env}: [{', '.join(names)}]" for env, names in environments.items())]
        return self.write({"recipients.yaml": "\n".join(lines) + "\n"})

    publics: dict[str, str] = field(default_factory=dict)

    def seal(self, layer: str, key: str, value: object) -> str:
        return seal_setting(self.state, layer, key, value)  # type: ignore[arg-type]  # any JSON

    def rules(self) -> list[tuple[str, str | None]]:
        return [(each.rule, each.key) for each in self.state.findings]


@pytest.fixture
def vault() -> Vault:
    """Two environments, both read by the daemon and a person, no values yet."""
    both = ["daemon", "person"]
    return Vault().write({"kemudi.yaml": MANIFEST}).contract().readers(staging=both, prod=both)


@dataclass
class Clone:
    """A work tree with the real git, none of the developer's configuration in it."""

    root: Path

    def git(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        env |= {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
        for role in ("AUTHOR", "COMMITTER"):
            env |= {f"GIT_{role}_NAME": role.title(), f"GIT_{role}_EMAIL": f"{role.lower()}@example.org"}
        return subprocess.run(
            ["git", *arguments], cwd=self.root, env=env, capture_output=True, text=True, check=check
        )

    def write(self, files: Mapping[str, bytes]) -> None:
        for name, data in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    def commit(self, files: Mapping[str, bytes], message: str = "change") -> str:
        self.write(files)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD").stdout.strip()


@pytest.fixture
def clone(tmp_path: Path) -> Callable[[], Clone]:
    """Make a repository."""

    def make() -> Clone:
        folder = tmp_path / "clone"
        folder.mkdir()
        made = Clone(folder)
        made.git("init", "--quiet", "--initial-branch=main")
        return made

    return make
