"""A commit as files, and what changed between two: the same as git says, restricted to the config repo."""

import os
import random
from collections.abc import Callable

import pytest

from kemudi.repo.errors import UnknownRevisionError
from kemudi.repo.paths import READ_BYTES
from kemudi.schema.paths import File


def test_files_are_those_that_may_mean_something(new_sandbox: Callable, opened) -> None:
    """Values, contracts and manifests are read; a README, an image and what lies deep are not."""
    sandbox = new_sandbox()
    sha = sandbox.commit(
        {
            "kemudi.yaml": "format: 1\n",
            "recipients.yaml": "{}\n",
            "base/sync.yaml": "A: 1\n",
            "prod/sync.yml": "A: 1\n",
            "contracts/sync.schema.json": "{}",
            "contracts/editor/sync.schema.json": "{}",
            "flags/x.yaml": "{}\n",
            "README.md": "no",
            "image.png": b"\x89PNG",
            "base/.sync.yaml.swp": "no",
            "base/sync.yaml~": "no",
            ".github/workflows/config.yml": "no",
            "a/b/c/d/e.yaml": "no",
        }
    )
    repository = opened(sandbox.root)
    files = repository.files(sha)
    assert sorted(files) == [
        "base/sync.yaml",
        "contracts/editor/sync.schema.json",
        "contracts/sync.schema.json",
        "flags/x.yaml",
        "kemudi.yaml",
        "prod/sync.yml",
        "recipients.yaml",
    ]
    assert files["base/sync.yaml"] == File("base/sync.yaml", b"A: 1\n")
    assert repository.file_ids(sha).keys() == files.keys()


def test_changes_name_only_what_differs(sandbox, opened) -> None:
    """An added, a changed and a deleted file; the rest is not looked at."""
    old = sandbox.git("rev-parse", "HEAD")
    new = sandbox.commit({"base/sync.yaml": "A: 5\n", "dev/sync.yaml": None, "prod/sync.yaml": "A: 7\n"})
    repository = opened(sandbox.root)
    assert repository.changes(old, new) == {
        "base/sync.yaml": File("base/sync.yaml", b"A: 5\n"),
        "dev/sync.yaml": None,
        "prod/sync.yaml": File("prod/sync.yaml", b"A: 7\n"),
    }
    assert repository.changes(new, new) == {}
    assert repository.changes(new, old)["dev/sync.yaml"] == File("dev/sync.yaml", b"A: 2\n")


def test_commits_outside_the_config_folder_change_nothing(new_sandbox: Callable, opened) -> None:
    """In a large repository only the config folder's own paths count; they are relative to it."""
    sandbox = new_sandbox()
    old = sandbox.commit({"cfg/kemudi.yaml": "format: 1\n", "cfg/base/a.yaml": "A: 1\n", "src/app.py": "1"})
    middle = sandbox.commit({"src/app.py": "2", "other.yaml": "x"})
    new = sandbox.commit({"cfg/base/a.yaml": "A: 2\n"})
    repository = opened(sandbox.root)
    assert repository.changes(old, middle) == {}
    assert repository.changes(old, new) == {"base/a.yaml": File("base/a.yaml", b"A: 2\n")}


def test_a_config_folder_that_is_gone_or_not_yet_there_has_no_files(new_sandbox: Callable, opened) -> None:
    """Commits before it was added, and after it was removed."""
    sandbox = new_sandbox()
    before = sandbox.commit({"README.md": "x"})
    there = sandbox.commit({"cfg/kemudi.yaml": "format: 1\n"})
    repository = opened(sandbox.root)
    gone = sandbox.commit({"cfg/kemudi.yaml": None})
    assert repository.files(before) == {}
    assert repository.changes(before, there).keys() == {"kemudi.yaml"}
    assert repository.changes(there, gone) == {"kemudi.yaml": None}


def test_links_and_submodules_are_reported_and_never_followed(sandbox, opened, tmp_path) -> None:
    """The target's bytes are nowhere in what is read, nor is its name."""
    secret = tmp_path / "outside-secret"
    secret.write_text("TOP: secret\n")
    old = sandbox.git("rev-parse", "HEAD")
    (sandbox.root / "base/sync.yaml").unlink()
    (sandbox.root / "base/sync.yaml").symlink_to(secret)
    (sandbox.root / "prod").symlink_to(tmp_path)
    sandbox.git("add", "--all")
    sandbox.git("update-index", "--add", "--cacheinfo", f"160000,{old},staging")
    sandbox.git("commit", "--quiet", "-m", "links")
    repository = opened(sandbox.root)
    changes = repository.changes(old, sandbox.git("rev-parse", "HEAD"))
    assert {path: (file.kind, file.data) for path, file in changes.items() if file} == {
        "base/sync.yaml": ("symlink", b""),
        "prod": ("symlink", b""),
        "staging": ("submodule", b""),
    }


def test_a_file_becomes_a_folder_and_back(sandbox, opened) -> None:
    """Both directions in one comparison."""
    shas = [sandbox.git("rev-parse", "HEAD")]
    shas.append(sandbox.commit({"base/sync.yaml": None}))
    shas.append(sandbox.commit({"base/sync.yaml/deep.yaml": "A: 1\n"}))
    repository = opened(sandbox.root)
    assert repository.changes(shas[0], shas[2]) == {
        "base/sync.yaml": None,
        "base/sync.yaml/deep.yaml": File("base/sync.yaml/deep.yaml", b"A: 1\n"),
    }
    assert repository.changes(shas[2], shas[0]).keys() == {"base/sync.yaml", "base/sync.yaml/deep.yaml"}


@pytest.mark.parametrize(
    "name",
    [
        "--output=x.yaml",
        "a\nb.yaml",
        "e\u0301.yaml",
        "\u00e9.yaml",
        "a b.yaml",
        "-.yaml",
        "a\tb.yaml",
        "\u202e.yaml",
    ],
)
def test_hostile_file_names_are_data(sandbox, opened, name: str) -> None:
    """Dashes, line breaks and both spellings of an accent come back as they were committed."""
    old = sandbox.git("rev-parse", "HEAD")
    new = sandbox.commit({f"base/{name}": "A: 1\n"})
    assert opened(sandbox.root).changes(old, new) == {f"base/{name}": File(f"base/{name}", b"A: 1\n")}


def test_a_name_that_is_no_text_can_still_be_printed(sandbox, opened) -> None:
    """Bytes that are not UTF-8 are spelled out."""
    (sandbox.root / "base" / os.fsdecode(b"\xff.yaml")).write_text("A: 1\n")
    sha = sandbox.commit({})
    (path,) = [path for path in opened(sandbox.root).files(sha) if "xff" in path]
    assert path == "base/\\xff.yaml"
    path.encode()


def test_a_huge_file_is_read_no_further_than_validation_needs(sandbox, opened) -> None:
    """One byte more than is allowed, so that it can be refused by its size."""
    sha = sandbox.commit({"base/big.yaml": b"#" * (READ_BYTES + 500_000)})
    assert len(opened(sandbox.root).files(sha)["base/big.yaml"].data) == READ_BYTES


@pytest.mark.parametrize("seed", range(4))
def test_any_two_commits_differ_as_git_says(new_sandbox: Callable, opened, seed: int) -> None:
    """Random histories: `changes` is `git diff-tree`, and applied to the old files gives the new ones."""
    pick = random.Random(seed)
    sandbox = new_sandbox()
    folders = ["base", "dev", "contracts", "contracts/editor"]
    present: set[str] = set()
    shas = [sandbox.commit({"kemudi.yaml": "format: 1\n"})]
    for _ in range(12):
        files: dict[str, str | bytes | None] = {}
        for _ in range(pick.randint(0, 5)):
            path = f"{pick.choice(folders)}/{pick.choice('abcdef')}.yaml"
            if path in present and path not in files and pick.random() < 0.4:
                files[path] = None
                present.discard(path)
            elif files.get(path, "") is not None:
                files[path] = f"A: {pick.randint(0, 3)}\n"
                present.add(path)
        shas.append(sandbox.commit(files))
    repository = opened(sandbox.root)
    for _ in range(25):
        old, new = pick.choice(shas), pick.choice(shas)
        named = sandbox.git("diff-tree", "-r", "-z", "--name-only", old, new).split("\0")
        changes = repository.changes(old, new)
        assert sorted(changes) == sorted(name for name in named if name)
        merged = {**repository.files(old), **changes}
        assert {path: file for path, file in merged.items() if file is not None} == repository.files(new)
        assert dict(repository.file_ids(new)) == {
            line.split("\t")[1]: ("file", line.split()[2])
            for line in sandbox.git("ls-tree", "-r", new).splitlines()
        }


def test_names_of_commits_are_resolved_as_git_does(sandbox, opened) -> None:
    """Branches, tags, short ids, steps back; a tag stands for its commit."""
    first = sandbox.git("rev-parse", "HEAD")
    second = sandbox.commit({"base/sync.yaml": "A: 3\n"})
    sandbox.git("tag", "-a", "-m", "annotated", "v1", first)
    repository = opened(sandbox.root)
    for name in ("HEAD", "main", second, second[:10], "refs/heads/main", "@"):
        assert repository.resolve(name) == second
    for name in ("HEAD~1", "v1", sandbox.git("rev-parse", "v1"), "main^"):
        assert repository.resolve(name) == first


@pytest.mark.parametrize(
    "name", ["nowhere", "a" * 40, "HEAD:kemudi.yaml", "HEAD^{tree}", "-x", "HEAD~99", "", "a\nb"]
)
def test_a_name_of_no_commit_is_an_error_of_usage(sandbox, opened, name: str) -> None:
    """Exit 2; a blob or a tree is no commit."""
    with pytest.raises(UnknownRevisionError) as caught:
        opened(sandbox.root).resolve(name)
    assert caught.value.exit_code == 2


def test_the_sha_of_a_tree_is_no_commit(sandbox, opened) -> None:
    """Also as forty digits."""
    with pytest.raises(UnknownRevisionError):
        opened(sandbox.root).resolve(sandbox.git("rev-parse", "HEAD^{tree}"))


def test_commit_info_takes_any_name(sandbox, opened) -> None:
    """Who, when and why, for a person to read."""
    repository = opened(sandbox.root)
    info = repository.commit_info(repository.resolve("main"))
    assert (info.author_name, info.subject) == ("Author", "first")
