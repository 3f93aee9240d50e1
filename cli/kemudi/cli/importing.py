"""From what was found to commits: the config repo it goes to, its keys, the plan, and the doing."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kemudi.cli.keys import KeyFiles, extend_keys, make_keys
from kemudi.repo import layout
from kemudi.repo.errors import NoConfigRepositoryError
from kemudi.repo.importing.commits import Imported, commit_steps, imported_rows, steps
from kemudi.repo.importing.drafting import Draft, draft
from kemudi.repo.importing.found import Gathered
from kemudi.repo.importing.fresh import fresh_state, recipients_text, with_service
from kemudi.repo.people import identity
from kemudi.repo.porcelain import enclosing_repository, initialise
from kemudi.repo.repository import ConfigRepository
from kemudi.repo.worktree import WorkTree
from kemudi.schema.errors import ConflictError, RefusedError, UsageError
from kemudi.schema.manifest import RECIPIENTS_FILE
from kemudi.schema.state import ConfigState


@dataclass
class ImportPlan:
    """One import on its way. `carry_out` does it; without that it is a dry run.

    Attributes:
        folder: The config repo, or the folder that becomes one.
        draft: What would happen.
        is_new: Whether the config repo is made.
        keys: Where keys are to be made; of a config repo that is there, where its keysets are to be extended.
        recipients: Name → public key, for a new config repo.
        done: Ids of log rows that are in git already.
        imported: What was committed, once it was.
    """

    folder: Path
    draft: Draft
    is_new: bool
    keys: Path | None
    recipients: dict[str, str]
    done: frozenset[str]
    imported: Imported | None = None
    made: KeyFiles | None = field(default=None)

    def carry_out(self) -> None:
        """Seal, commit. Raises RefusedError when there is nobody to seal to, ConflictError, FindingsError."""
        extra = self._fresh_files() if self.is_new else {}
        author = identity(_surroundings(self.folder))
        found = steps(self.draft, author, extra=extra, done=self.done)
        where = self._repository()
        assert where.worktree is not None  # noqa: S101  # a config folder is in a work tree
        prefix = self.folder.resolve().relative_to(where.worktree.resolve()).as_posix().removeprefix(".")
        self.imported = commit_steps(where, prefix, found)
        if self.keys is not None and not self.is_new:
            extend_keys(self.keys, self.draft.state)

    def as_json(self) -> dict[str, Any]:
        """For `--json`: the plan, and what became of it. No value of a sensitive setting."""
        done = self.imported
        return {
            "repo": str(self.folder),
            "source": self.draft.gathered.source,
            "layer": self.draft.layer,
            "settings": [row.as_json() for row in self.draft.rows],
            "left": [{"name": each.name, "why": each.why} for each in self.draft.left],
            "log_rows": self.log_rows,
            "imported": done is not None,
            "revision": done.revision if done else None,
            "commits": done.commits if done else 0,
        }

    @property
    def log_rows(self) -> int:
        """How many rows of the log are not in git yet."""
        return sum(change.id not in self.done for change in self.draft.gathered.log)

    def summary(self) -> str:
        """One line: what happened, or would happen."""
        kinds = [row.kind for row in self.draft.rows]
        new = sum(row.is_new for row in self.draft.rows)
        sealed = sum(row.sensitive and row.kind in ("new", "change") for row in self.draft.rows)
        text = (
            f"{new} new settings ({sealed} sealed), {kinds.count('change')} changed values, "
            f"{kinds.count('same') + kinds.count('kept')} as they were, {self.log_rows} changes from the log"
        )
        if self.imported is None:
            return f"would import into {self.folder}, layer {self.draft.layer}: {text}"
        if self.imported.revision is None:
            return f"nothing to import: {self.folder} has it all"
        commits = f"{self.imported.commits} commit{'s' if self.imported.commits != 1 else ''}"
        return f"imported into {self.folder}, layer {self.draft.layer}: {text}; {commits} on {self.imported.branch}"

    def remarks(self) -> list[str]:
        """What a person should know next."""
        lines = []
        if self.made is not None:
            lines.append(f"keys of the daemon are in {self.made.folder}; keep a copy of identity.txt offline")
        unread = self._unread()
        if unread:
            lines.append(f"no service reads {', '.join(unread)} yet: add them under services in kemudi.yaml")
        if self.imported is None and self.draft.must_seal and not self._can_seal():
            lines.append(f"there is nobody to seal to yet: {_HINT}")
        return lines

    def _unread(self) -> list[str]:
        manifest = self.draft.state.manifest
        if self.is_new or manifest is None:
            return []
        read = {category for categories in manifest.services.values() for category in categories}
        return sorted({row.category for row in self.draft.rows if row.is_new} - read)

    def _can_seal(self) -> bool:
        state = self.draft.state
        if self.recipients or (self.keys is not None and self.is_new):
            return True
        if state.recipients is None or state.manifest is None:
            return False
        return bool(state.recipients.keys_for_layer(self.draft.layer, state.manifest))

    def _fresh_files(self) -> dict[str, bytes]:
        state = self.draft.state
        files = with_service(state, state.contracts)
        if self.keys is not None:
            manifest = state.update(_as_files(files))
            self.made = make_keys(self.keys, manifest)
            self.recipients["daemon"] = self.made.recipient
        if self.draft.must_seal and not self.recipients:
            raise RefusedError("there are secrets to seal and nobody to seal them to", hint=_HINT)
        assert state.manifest is not None  # noqa: S101  # a fresh state has one
        names = [env.name for env in state.manifest.environments]
        return files | {RECIPIENTS_FILE: recipients_text(self.recipients, names).encode()}

    def _repository(self) -> layout.Layout:
        self.folder.mkdir(parents=True, exist_ok=True)
        if enclosing_repository(self.folder) is None:
            initialise(self.folder, branch="main")
        return layout.find(self.folder.resolve())


_HINT = "--keys DIR makes the daemon's keys, --recipient daemon=age1… names a key that is there."


def plan_import(
    gathered: Gathered,
    repo: Path,
    layer: str,
    category: str | None,
    *,
    keys: Path | None,
    recipients: tuple[str, ...],
) -> ImportPlan:
    """Hold what was found against the config repo in `repo`, which may not be there yet. Changes nothing.

    Raises UsageError, ConflictError when the folder holds something else, FindingsError.
    """
    named = dict(_named(each) for each in recipients)
    folder = _config_folder(repo)
    if folder is not None:
        if named:
            raise UsageError(
                f"{folder} has its recipients already", hint=f"They are in {folder / RECIPIENTS_FILE}."
            )
        state = ConfigState.load(WorkTree(folder).scan().files.values())
        return ImportPlan(folder, draft(state, gathered, layer, category), False, keys, {}, _done(folder))
    if repo.exists() and any(repo.iterdir()):
        raise ConflictError(
            f"{repo} is neither a config repo nor empty", hint="Name another folder with --repo."
        )
    planned = draft(fresh_state(layer), gathered, layer, category)
    return ImportPlan(repo, planned, True, keys, named, frozenset())


def _done(folder: Path) -> frozenset[str]:
    try:
        with ConfigRepository.open(folder) as repository:
            return imported_rows(repository, repository.head().sha)
    except NoConfigRepositoryError:
        raise UsageError(
            f"{folder} is in no git repository", hint=f"git init {folder}, and commit what is there."
        ) from None


def _config_folder(repo: Path) -> Path | None:
    for folder in (repo, repo / "config-repo"):
        if (folder / "kemudi.yaml").is_file():
            return folder
    return None


def _named(text: str) -> tuple[str, str]:
    name, equals, key = text.partition("=")
    if not equals or not name or key.startswith("AGE-SECRET"):
        raise UsageError("a recipient is NAME=KEY with a public key", hint="Such as daemon=age1….")
    return name, key


def _surroundings(folder: Path) -> layout.Layout:
    """The repository that a folder is in, or will be."""
    there = folder.resolve()
    while not there.exists():
        there = there.parent
    if enclosing_repository(there) is not None:
        return layout.find(there)
    return layout.Layout(folder / ".git", folder / ".git", folder)


def _as_files(files: dict[str, bytes]) -> dict[str, Any]:
    from kemudi.schema.state import File

    return {path: File(path, data) for path, data in files.items()}
