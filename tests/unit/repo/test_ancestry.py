"""Depth and ancestry computed in process are git's own answers, whatever the history looks like."""

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from kemudi.repo.errors import ShallowRepositoryError, UnknownRevisionError
from kemudi.repo.git import Git
from kemudi.repo.repository import ConfigRepository


@dataclass
class Graph:
    """Commits by number, made with any parents and dates."""

    shas: list[str]
    repository: ConfigRepository


@pytest.fixture
def graph_of(new_sandbox: Callable, opened) -> Callable[..., Graph]:
    """Make commits from lists of parents (numbers of earlier commits) and dates, in one go."""

    def make(parents: list[list[int]], dates: list[int] | None = None) -> Graph:
        sandbox = new_sandbox()
        sandbox.write({"kemudi.yaml": "format: 1\n"})
        lines = []
        for number, before in enumerate(parents):
            date = dates[number] if dates else 1_700_000_000 + number
            lines += [f"commit refs/heads/c{number}", f"mark :{number + 1}"]
            lines += [f"committer C <c@d> {date} +0000", f"data {len(str(number))}", str(number)]
            if before:
                lines += [f"from :{before[0] + 1}", *(f"merge :{each + 1}" for each in before[1:])]
            else:
                lines += ["deleteall"]
        sandbox.git("fast-import", "--quiet", "--force", data=("\n".join(lines) + "\n").encode())
        shas = sandbox.git("for-each-ref", "--format=%(refname:short) %(objectname)").splitlines()
        by_name = dict(line.split() for line in shas)
        return Graph([by_name[f"c{number}"] for number in range(len(parents))], opened(sandbox.root))

    return make


def _reachable(parents: list[list[int]], start: int) -> set[int]:
    found, pending = set(), [start]
    while pending:
        current = pending.pop()
        if current not in found:
            found.add(current)
            pending.extend(parents[current])
    return found


@pytest.mark.parametrize("seed", range(12))
def test_any_history_is_counted_exactly(graph_of, seed: int) -> None:
    """Merges, criss-crosses, several roots and lying dates: every pair of commits, with and without a known depth."""
    pick = random.Random(seed)
    parents: list[list[int]] = [[]]
    for number in range(1, 16):
        count = pick.choice([0, 1, 1, 1, 2, 2, 3]) if seed % 3 else pick.choice([1, 1, 1, 2])
        near = range(max(0, number - pick.choice([2, 4, 16])), number)
        parents.append(pick.sample(near, min(count, len(near))))
    dates = [pick.choice([0, 1, 4_070_908_800, 1_700_000_000 + pick.randint(-9, 9)]) for _ in parents]
    graph = graph_of(parents, dates)
    behind = [_reachable(parents, number) for number in range(len(parents))]
    repository = graph.repository
    for one, other in itertools.product(range(len(parents)), repeat=2):
        known = graph.shas[one], len(behind[one])
        assert repository.depth(graph.shas[other], known) == len(behind[other])
        assert repository.is_ancestor(graph.shas[one], graph.shas[other]) == (one in behind[other])
    assert repository.depth(graph.shas[-1]) == len(behind[-1])


def _no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*arguments: object, **_: object) -> bytes:
        raise AssertionError(f"a process was started: {arguments}")

    monkeypatch.setattr(Git, "run", run)


def test_linear_history_needs_no_process(graph_of, monkeypatch: pytest.MonkeyPatch) -> None:
    """The common case: one to sixty commits on top of the applied one."""
    graph = graph_of([[]] + [[number] for number in range(60)])
    _no_process(monkeypatch)
    assert graph.repository.depth(graph.shas[60], (graph.shas[0], 1)) == 61
    assert graph.repository.depth(graph.shas[1], (graph.shas[0], 1)) == 2
    assert graph.repository.is_ancestor(graph.shas[0], graph.shas[60])


def test_a_merged_pull_request_needs_no_process(graph_of, monkeypatch: pytest.MonkeyPatch) -> None:
    """Main is itself a row of merges; the branch left it a few merges ago."""
    parents: list[list[int]] = [[]]
    main = 0
    for _ in range(10):
        first = len(parents)
        parents += [[main], [first], [main, first + 1]]
        main = first + 2
    old, fork = main, main - 6
    parents += [[fork], [len(parents)], [main, len(parents) + 1]]
    graph = graph_of(parents)
    expected = len(_reachable(parents, len(parents) - 1))
    known = graph.shas[old], len(_reachable(parents, old))
    _no_process(monkeypatch)
    assert graph.repository.depth(graph.shas[-1], known) == expected
    assert graph.repository.is_ancestor(graph.shas[old], graph.shas[-1])


def test_a_burst_beyond_the_walk_is_left_to_git_and_right(graph_of) -> None:
    """A thousand commits at once."""
    graph = graph_of([[]] + [[number] for number in range(1000)])
    repository = graph.repository
    assert repository.depth(graph.shas[1000], (graph.shas[0], 1)) == 1001
    assert repository.is_ancestor(graph.shas[0], graph.shas[1000])
    assert not repository.is_ancestor(graph.shas[1000], graph.shas[0])
    assert repository.first_parents(graph.shas[1000], 5000) == tuple(reversed(graph.shas))
    assert repository.first_parents(graph.shas[1000], 3) == tuple(graph.shas[:-4:-1])


def test_an_amended_commit_is_no_descendant(sandbox, opened) -> None:
    """Amend and rebase rewrite history: neither is the other's ancestor, and depths may even be equal."""
    old = sandbox.commit({"base/sync.yaml": "A: 3\n"})
    repository = opened(sandbox.root)
    sandbox.git("commit", "--quiet", "--amend", "-m", "amended", date=1_700_000_100)
    new = sandbox.git("rev-parse", "HEAD")
    assert not repository.is_ancestor(old, new)
    assert not repository.is_ancestor(new, old)
    assert repository.depth(new, (old, 2)) == repository.depth(old) == 2


def test_a_commit_that_is_gone_is_nobodys_ancestor(sandbox, opened) -> None:
    """After a force push and a new mirror the applied commit may be unknown: that is a rewrite, not damage."""
    head = sandbox.git("rev-parse", "HEAD")
    repository = opened(sandbox.root)
    assert not repository.is_ancestor("a" * 40, head)
    assert repository.depth(head, ("a" * 40, 17)) == 1
    with pytest.raises(UnknownRevisionError):
        repository.is_ancestor(head, "a" * 40)


def test_a_shallow_clone_is_refused_with_the_way_out(sandbox, opened, tmp_path) -> None:
    """Its depth would shrink: exit 3 and `git fetch --unshallow`. What needs no history still works."""
    sandbox.commit({"base/sync.yaml": "A: 3\n"})
    sandbox.git("clone", "--quiet", "--depth=1", f"file://{sandbox.root}", str(tmp_path / "shallow"))
    repository = opened(tmp_path / "shallow")
    head = repository.head().sha
    for question in (
        lambda: repository.depth(head),
        lambda: repository.depth(head, (head, 2)),
        lambda: repository.is_ancestor("a" * 40, head),
    ):
        with pytest.raises(ShallowRepositoryError) as caught:
            question()
        assert "--unshallow" in str(caught.value.hint)
        assert caught.value.exit_code == 3
    assert repository.first_parents(head, 10) == (head,)
    assert len(repository.files(head)) == 3
