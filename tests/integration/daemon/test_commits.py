"""Commits: applied, refused, rewritten, in bursts."""

import subprocess
from typing import Any

import pytest


def test_a_commit_is_served_and_a_correct_one_after_a_bad_one_goes_live_by_itself(
    repo: Any, daemon: Any, reader: Any, kit: Any
) -> None:
    """Last good is kept while the newest commit is bad; status names every error by line and column."""
    first = repo.commit(kit.files())
    daemon.start()
    assert daemon.applied() == first
    assert reader.values()["SYNC_BATCH_SIZE"] == 100

    bad = repo.commit(
        {"base/sync.yaml": "SYNC_BATCH_SIZE: nine\nSYNC_TIMEOUT: 0\n", "base/graph.yaml": "GRAPH: 1\n"}
    )
    kit.eventually(lambda: daemon.status()["attempted"] == bad)
    status = daemon.status()
    assert status["applied"]["revision"] == first
    assert {(one["file"], one["line"], one["column"]) for one in status["errors"]} == {
        ("base/sync.yaml", 1, 18),
        ("base/sync.yaml", 2, 15),
        ("base/graph.yaml", 1, 1),
    }
    assert daemon.reason() == "ValidationFailed"
    assert ("Stalled", "ValidationFailed") in daemon.conditions()
    assert reader.values()["SYNC_BATCH_SIZE"] == 100
    assert daemon.metric('kemudi_reconcile_failures_total{env="dev",reason="ValidationFailed"}') == 1

    good = repo.commit({"base/sync.yaml": "SYNC_BATCH_SIZE: 9\n", "base/graph.yaml": ""})
    kit.eventually(lambda: daemon.applied() == good)
    assert daemon.status()["errors"] == []
    assert reader.values()["SYNC_BATCH_SIZE"] == 9


def test_an_error_in_one_environment_lets_the_others_go_on(repo: Any, daemon: Any, kit: Any) -> None:
    """Invalid for prod alone: dev advances, prod stays at its last good."""
    first = repo.commit(kit.files({"dev": "commit", "prod": "commit"}))
    daemon.start()
    bad = repo.commit({"prod/sync.yaml": "SYNC_TIMEOUT: never\n"})
    kit.eventually(lambda: daemon.applied("dev") == bad and daemon.status("prod")["attempted"] == bad)
    assert daemon.applied("prod") == first
    assert daemon.status("prod")["errors"][0]["file"] == "prod/sync.yaml"
    assert daemon.status("dev")["errors"] == []


def test_a_start_on_a_bad_head_with_an_empty_redis_serves_the_newest_good_commit(
    repo: Any, daemon: Any, reader: Any, kit: Any
) -> None:
    """Ready, and saying why it is not the newest."""
    repo.commit(kit.files())
    good = repo.commit({"base/sync.yaml": "SYNC_BATCH_SIZE: 7\n"})
    for number in range(5):
        bad = repo.commit({"base/sync.yaml": f"SYNC_BATCH_SIZE: -{number}\n"})
    daemon.start()
    assert daemon.applied() == good
    assert daemon.status()["attempted"] == bad
    assert reader.values()["SYNC_BATCH_SIZE"] == 7
    code, body = daemon.call("GET", "/readyz")
    assert code == 200
    assert body["ready"]
    assert "ValidationFailed" in body["reason"]


def test_without_any_good_commit_nothing_is_served_and_readyz_says_so(
    repo: Any, daemon: Any, kit: Any
) -> None:
    """503 before the first publish, with the reason."""
    repo.commit(kit.files() | {"base/sync.yaml": "SYNC_BATCH_SIZE: x\n"})
    daemon.start()
    code, body = daemon.call("GET", "/readyz")
    assert code == 503
    assert "ValidationFailed" in body["reason"]
    assert daemon.call("GET", "/healthz")[0] == 200


def test_a_good_commit_between_two_looks_is_served_though_the_newest_is_bad(
    repo: Any, settings: Any, locals_: Any, kit: Any
) -> None:
    """What is served depends on history alone, not on when the daemon looked."""
    repo.commit(kit.files())
    daemon = locals_(settings, watch=False).start()
    good = repo.commit({"base/sync.yaml": "SYNC_BATCH_SIZE: 3\n"})
    bad = repo.commit({"base/sync.yaml": "SYNC_BATCH_SIZE: 0\n"})
    kit.eventually(lambda: daemon.status()["attempted"] == bad)
    assert daemon.applied() == good


def test_a_rewritten_history_is_held_until_it_is_accepted(
    repo: Any, daemon: Any, reader: Any, kit: Any
) -> None:
    """A rebase keeps the last good; accepting begins a new era, and readers never see a lower generation."""
    repo.commit(kit.files())
    served = repo.commit({"base/sync.yaml": "SYNC_BATCH_SIZE: 2\n"})
    daemon.start()
    before = daemon.generation()
    repo.git("commit", "-q", "--amend", "-m", "other words")
    repo.commit({"base/sync.yaml": "SYNC_BATCH_SIZE: 4\n"})
    kit.eventually(lambda: daemon.reason() == "HistoryRewritten")
    assert daemon.applied() == served
    assert reader.values()["SYNC_BATCH_SIZE"] == 2

    code, body = daemon.call("POST", "/accept-rewrite", {"env": "dev", "reason": "squashed the fix-ups"})
    assert code == 200
    assert body["applied"]["revision"] == repo.head
    after = daemon.generation()
    assert after > before
    assert after.era == before.era + 1
    assert reader.values()["SYNC_BATCH_SIZE"] == 4
    assert daemon.call("POST", "/accept-rewrite", {"env": "dev", "reason": "again"})[0] == 409

    next_ = repo.commit({"base/sync.yaml": "SYNC_BATCH_SIZE: 5\n"})
    kit.eventually(lambda: daemon.applied() == next_)
    assert daemon.generation() > after


def test_an_accepted_rewrite_does_not_let_the_next_one_pass(repo: Any, daemon: Any, kit: Any) -> None:
    """Acceptance is of one tip and what follows it."""
    repo.commit(kit.files())
    repo.commit({"base/sync.yaml": "SYNC_BATCH_SIZE: 2\n"})
    daemon.start()
    repo.git("commit", "-q", "--amend", "-m", "first rewrite")
    kit.eventually(lambda: daemon.reason() == "HistoryRewritten")
    assert daemon.call("POST", "/accept-rewrite", {"env": "dev", "reason": "fine"})[0] == 200
    repo.git("commit", "-q", "--amend", "-m", "second rewrite")
    kit.eventually(lambda: daemon.reason() == "HistoryRewritten")


def test_a_branch_that_is_moved_back_is_held_and_recovers_by_itself(repo: Any, daemon: Any, kit: Any) -> None:
    """Going back is a revert commit; a reset of the branch is a rewrite."""
    first = repo.commit(kit.files())
    second = repo.commit({"base/sync.yaml": "SYNC_BATCH_SIZE: 2\n"})
    daemon.start()
    repo.git("reset", "-q", "--hard", first)
    kit.eventually(lambda: daemon.reason() == "HistoryRewritten")
    assert daemon.applied() == second
    repo.git("reset", "-q", "--hard", second)
    kit.eventually(lambda: daemon.reason() == "Applied")


def test_a_detached_head_does_not_stop_commits_from_being_served(repo: Any, daemon: Any, kit: Any) -> None:
    """Commit mode follows the branch, wherever HEAD is."""
    first = repo.commit(kit.files())
    repo.commit({"base/sync.yaml": "SYNC_BATCH_SIZE: 2\n"})
    daemon.start()
    repo.git("checkout", "-q", "--detach", first)
    repo.git("branch", "-f", "main", repo.git("commit-tree", "main^{tree}", "-p", "main", "-m", "elsewhere"))
    kit.eventually(lambda: daemon.applied() == repo.git("rev-parse", "main"))


def test_a_deleted_and_an_unborn_branch_have_names_and_recover(repo: Any, daemon: Any, kit: Any) -> None:
    """Last good stays; the state says which."""
    served = repo.commit(kit.files())
    daemon.start()
    repo.git("checkout", "-q", "-b", "other")
    repo.git("branch", "-q", "-D", "main")
    kit.eventually(lambda: daemon.reason() == "BranchDeleted")
    assert daemon.applied() == served
    repo.git("branch", "main", "other")
    kit.eventually(lambda: daemon.reason() == "Applied")


def test_a_daemon_on_a_repository_without_commits_waits_for_the_first_one(
    repo: Any, settings: Any, locals_: Any, kit: Any
) -> None:
    """Unborn branch: named, and ended by the first commit."""
    for path, text in kit.files().items():
        repo.write(path, text)
    from dataclasses import replace

    daemon = locals_(replace(settings, environments=("dev",))).start()
    assert daemon.reason() == "UnbornBranch"
    assert daemon.call("GET", "/readyz")[0] == 503
    first = repo.commit()
    kit.eventually(lambda: daemon.applied() == first)


def test_a_thousand_commits_in_a_burst_settle_on_the_last_and_name_the_skipped(
    repo: Any, daemon: Any, reader: Any, kit: Any
) -> None:
    """Coalesced: far fewer publishes than commits, none of them lost from the log."""
    repo.commit(kit.files())
    daemon.start()
    stream = []
    for number in range(1, 1001):
        text = f"SYNC_BATCH_SIZE: {number}\n"
        stream.append(
            f"commit refs/heads/main\ncommitter T <t@example.org> {1700000000 + number} +0000\ndata 1\nx"
            + ("\nfrom refs/heads/main^0" if number == 1 else "")
            + f"\nM 100644 inline base/sync.yaml\ndata {len(text)}\n{text}"
        )
    subprocess.run(
        ["git", "fast-import", "--quiet"], cwd=repo.path, input="\n".join(stream).encode(), check=True
    )
    head = repo.git("rev-parse", "main")
    kit.eventually(lambda: daemon.applied() == head, 20)
    assert reader.values()["SYNC_BATCH_SIZE"] == 1000
    assert daemon.generation().depth == 1001
    assert daemon.daemon.reconciler.environments[0].bench.store.log(1)[0].kind in {"superseded", "applied"}
    skipped = {sha for entry in _log(daemon) if entry.kind == "superseded" for sha in entry.skipped}
    applied = {entry.revision for entry in _log(daemon) if entry.kind == "applied"}
    every = set(repo.git("rev-list", "main").splitlines())
    assert every <= skipped | applied
    assert daemon.metric('kemudi_skipped_revisions_total{env="dev"}') >= 900


def test_ten_thousand_files_in_one_commit_are_one_publish(
    repo: Any, daemon: Any, reader: Any, kit: Any
) -> None:
    """2,500 categories in four layers: one generation, every value there."""
    environments = {"dev": "commit", "staging": "commit", "prod": "commit"}
    repo.commit({"kemudi.yaml": kit.manifest(environments)})
    daemon.start()
    before = daemon.generation()
    files = {}
    for number in range(2500):
        key = f"K{number}"
        files[f"contracts/c{number}.schema.json"] = kit.contract(
            f"c{number}", {key: {"type": "integer", "default": 0}}
        )
        for value, layer in enumerate(("base", *environments)):
            files[f"{layer}/c{number}.yaml"] = f"{key}: {value}\n"
    commit = repo.commit(files)
    kit.eventually(lambda: daemon.applied("prod") == commit, 60)
    assert daemon.applied("dev") == commit
    assert daemon.generation().depth == before.depth + 1
    values = reader.values()
    assert len(values) == 2500
    assert set(values.values()) == {1}


@pytest.mark.parametrize("lock", ["index.lock", "HEAD.lock", "refs/heads/main.lock", "packed-refs.lock"])
def test_a_stale_lock_does_not_keep_commits_from_being_read(
    repo: Any, daemon: Any, kit: Any, lock: str
) -> None:
    """Reading needs no lock, and no lock is ever deleted."""
    repo.commit(kit.files())
    daemon.start()
    path = repo.path / ".git" / lock
    tree = repo.git("commit-tree", "main^{tree}", "-p", "main", "-m", "beside the lock")
    path.write_text("")
    (repo.path / ".git" / "refs" / "heads" / "main").write_text(f"{tree}\n")
    kit.eventually(lambda: daemon.applied() == tree)
    assert path.exists()


def _log(daemon: Any) -> list[Any]:
    return list(daemon.daemon.reconciler.environments[0].bench.store.log(5000))
