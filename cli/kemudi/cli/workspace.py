"""The config repo as the commands see it: the files of the work tree or of a commit, checked and resolved."""

from dataclasses import dataclass
from pathlib import Path

from kemudi.schema.state import ConfigState

from kemudi.schema.errors import FindingsError, UsageError


@dataclass(frozen=True, slots=True)
class Workspace:
    """A config repo at one revision.

    Attributes:
        root: The folder of kemudi.yaml.
        state: Its files, checked.
        revision: Full SHA, `worktree@<12 hex>` for uncommitted files, or None outside git.
    """

    root: Path
    state: ConfigState
    revision: str | None

    def require_environment(self, env: str) -> None:
        """Raises UsageError, with the known names, when the config repo has no such environment."""
        manifest = self.state.manifest
        names = [] if manifest is None else [each.name for each in manifest.environments]
        if env not in names:
            raise UsageError(
                f"there is no environment {env!r} in {self.root}; it has: {', '.join(names) or 'none'}"
            )

    def require_valid(self, env: str) -> None:
        """Raises FindingsError when the files of an environment do not validate."""
        findings = self.state.findings_for(env)
        if findings:
            raise FindingsError(f"{len(findings)} errors keep {env} from being resolved", findings)


def find_root(path: Path) -> Path:
    """The folder of kemudi.yaml: `path`, the nearest one above it, or its `config-repo` folder. Raises UsageError."""
    start = path.resolve()
    for folder in (start, start / "config-repo", *start.parents):
        if (folder / "kemudi.yaml").is_file():
            return folder
    raise UsageError(
        f"no kemudi.yaml in {path} or above it",
        hint="Name the config repo with --repo or KEMUDI_REPO, or start one with `kemudi init`.",
    )
