"""Settings changed by a program: prepared without effect, committed as one commit, refused with a reason."""

import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kemudi.repo.changes import UNSET, ChangeRequest, Edit, apply, commit, prepare
from kemudi.repo.errors import HeadMovedError, PolicyRefusedError, StaleSettingError
from kemudi.repo.messages import compose, reason_of, trailers_of
from kemudi.repo.people import Author
from kemudi.repo.repository import ConfigRepository
from kemudi.schema.errors import ConflictError, FindingsError, UsageError
from kemudi.schema.secret import Secret
from kemudi.schema.state import ConfigState

ROOT = Path(__file__).parents[3]
PERSON = Author("Author", "author@example.org")
OTHER = Author("Other", "other@example.org")


@pytest.fixture
def example(new_sandbox: Any) -> Any:
    """The worked example in a repository, in a folder of it."""
    made = new_sandbox("config")
    shutil.copytree(ROOT / "config-repo", made.root / "config-repo")
    (made.root / "other.txt").write_text("not ours\n")
    made.git("add", "--all")
    made.git("commit", "--quiet", "-m", "first")
    return made


def test_what_was_read_already_gives_the_same_preparation(example: Any) -> None:
    """A caller who holds the state of the commit is asked for it by the commit's id, and nothing else differs."""
    asked: list[str] = []

    def known(sha: str) -> ConfigState:
        asked.append(sha)
        with ConfigRepository.open(example.root) as repository:
            return ConfigState.load(repository.files(sha).values())

    edits = ask(Edit("prod", "SYNC_BATCH_SIZE", 400), Edit("base", "CACHE_TTL", 77))
    assert prepare(example.root, edits, states=known) == prepare(example.root, edits)
    assert asked == [example.git("rev-parse", "HEAD")]


def ask(*edits: Edit, **fields: Any) -> ChangeRequest:
    return ChangeRequest(edits, fields.pop("reason", "load is lower"), fields.pop("author", PERSON), **fields)


def set_batch(value: Any, **fields: Any) -> ChangeRequest:
    return ask(Edit("prod", "SYNC_BATCH_SIZE", value), **fields)


class TestOneCommit:
    def test_a_request_is_one_commit_of_its_lines_alone(self, example: Any) -> None:
        """Author the person, committer Kemudi, reason the body; index and work tree go with the branch."""
        before = (example.root / "config-repo/prod/sync.yaml").read_text()
        done = apply(
            example.root,
            ask(
                Edit("prod", "SYNC_BATCH_SIZE", 400),
                Edit("dev", "API_RATE_LIMIT", 50),
                trailers={"Ticket": "OPS-1"},
            ),
        )
        assert example.git("rev-parse", "HEAD") == done.revision
        assert example.git("status", "--porcelain") == ""
        assert example.git("log", "-1", "--format=%an|%ae|%cn|%s|%P") == (
            "Author|author@example.org|Kemudi|Change 2 settings in prod, dev|"
            + example.git("rev-parse", "HEAD~1")
        )
        assert example.git("log", "-1", "--format=%b").strip() == (
            "load is lower\n\nTicket: OPS-1\nKemudi-Change: set"
        )
        after = (example.root / "config-repo/prod/sync.yaml").read_text()
        assert after == before.replace("SYNC_BATCH_SIZE: 5000", "SYNC_BATCH_SIZE: 400")
        assert example.git("diff", "--stat", "HEAD~1").endswith(
            "2 files changed, 2 insertions(+), 2 deletions(-)"
        )
        example.git("fsck", "--strict")

    def test_preparing_has_no_effect_and_tells_the_whole_effect(self, example: Any) -> None:
        """The diff is the one that git shows afterwards; the plan is that of the two states."""
        head = example.git("rev-parse", "HEAD")
        prepared = prepare(example.root, set_batch(400))
        assert example.git("rev-parse", "HEAD") == head
        assert example.git("status", "--porcelain") == ""
        (change,) = prepared.plan.changes
        assert (change.env, change.key, change.old, change.new) == ("prod", "SYNC_BATCH_SIZE", 5000, 400)
        commit(prepared)
        shown = example.git("diff", "--relative=config-repo", "HEAD~1").splitlines()
        mine = prepared.diff.splitlines()
        assert [line for line in shown if line[:1] in "+-"] == [line for line in mine if line[:1] in "+-"]

    def test_what_is_so_already_is_no_commit(self, example: Any) -> None:
        """Also asked twice: the second time nothing has to be changed."""
        first = apply(example.root, set_batch(400))
        again = apply(example.root, set_batch(400))
        assert (again.changed, again.revision) == (False, first.revision)

    def test_a_line_is_taken_out_and_a_missing_file_is_made(self, example: Any) -> None:
        """The new file names its contract in its first line."""
        (example.root / "config-repo/prod/feature_flag.yaml").exists()
        done = apply(
            example.root, ask(Edit("prod", "SYNC_PAUSED", True), Edit("prod", "SYNC_BATCH_SIZE", UNSET))
        )
        made = example.git("show", f"{done.revision}:config-repo/prod/feature_flag.yaml")
        assert made.splitlines()[0].startswith(
            "# yaml-language-server: $schema=../contracts/editor/feature_flag"
        )
        assert "SYNC_BATCH_SIZE" not in example.git("show", f"{done.revision}:config-repo/prod/sync.yaml")

    def test_it_works_in_a_bare_repository(self, example: Any, tmp_path: Path) -> None:
        """Where there is no work tree, only the branch moves."""
        bare = tmp_path / "bare.git"
        example.git("clone", "--quiet", "--bare", ".", str(bare))
        done = apply(bare, set_batch(400))
        example.git("fetch", "--quiet", str(bare), "main")
        assert example.git("rev-parse", "FETCH_HEAD") == done.revision
        assert example.git("diff", "--name-only", "HEAD", "FETCH_HEAD") == "config-repo/prod/sync.yaml"

    def test_a_secret_is_sealed_on_the_way(self, example: Any) -> None:
        """Its plaintext is in no file, no diff, no plan and no message."""
        prepared = prepare(example.root, ask(Edit("prod", "NEO4J_PASSWORD", Secret("correct-horse-battery"))))
        done = commit(prepared)
        told = "".join([prepared.diff, repr(prepared), str(prepared.plan.as_json())])
        assert "correct-horse" not in told
        assert "correct-horse" not in example.git("show", done.revision)
        assert "+NEO4J_PASSWORD: ENC[kemudi:v1," in prepared.diff


class TestProposals:
    def test_a_proposal_is_a_branch_and_leaves_head_alone(self, example: Any) -> None:
        """Two of the same kind get two names."""
        head = example.git("rev-parse", "HEAD")
        one = apply(example.root, set_batch(400, propose=True))
        two = apply(example.root, set_batch(401, propose=True))
        assert (one.branch, two.branch) == (
            "kemudi/set-sync-batch-size-in-prod",
            "kemudi/set-sync-batch-size-in-prod-2",
        )
        assert example.git("rev-parse", "HEAD") == head
        assert example.git("status", "--porcelain") == ""
        assert example.git("rev-parse", f"{one.branch}~1") == head

    def test_a_named_branch_is_continued(self, example: Any) -> None:
        """A second change of a proposal stands on the first."""
        one = apply(example.root, set_batch(400, propose=True, branch="topic"))
        two = apply(example.root, set_batch(401, propose=True, branch="topic"))
        assert example.git("rev-parse", "topic~1") == one.revision
        assert example.git("rev-parse", "topic") == two.revision

    @pytest.mark.parametrize("name", ["-x", "a..b", "a b", "refs/../x", "x.lock"])
    def test_an_impossible_name_is_refused(self, example: Any, name: str) -> None:
        """Before anything is written."""
        with pytest.raises(UsageError):
            apply(example.root, set_batch(400, propose=True, branch=name))

    def test_a_branch_of_another_work_tree_is_left_alone(self, example: Any, tmp_path: Path) -> None:
        """Its files would be behind its branch."""
        example.git("worktree", "add", "--quiet", "-b", "topic", str(tmp_path / "linked"))
        with pytest.raises(ConflictError, match="checked out in another work tree"):
            apply(example.root, set_batch(400, propose=True, branch="topic"))
        done = apply(tmp_path / "linked", set_batch(400))
        assert done.branch == "topic"
        assert example.git("-C", str(tmp_path / "linked"), "status", "--porcelain") == ""


class TestRefusals:
    @pytest.mark.parametrize("value", [0, "many", None, [1], True])
    def test_a_value_that_breaks_the_contract_is_never_written(self, example: Any, value: Any) -> None:
        """The finding names the setting and what it must be."""
        with pytest.raises(FindingsError) as refused:
            prepare(example.root, set_batch(value))
        assert "SYNC_BATCH_SIZE" in refused.value.findings[0].message

    def test_a_wrong_secret_is_refused_without_being_shown(self, example: Any) -> None:
        """Neither message nor finding holds it."""
        with pytest.raises(FindingsError) as refused:
            prepare(example.root, ask(Edit("prod", "NEO4J_PASSWORD", Secret(123456789))))
        assert "123456789" not in str(refused.value) + repr(refused.value.findings)

    @pytest.mark.parametrize(
        ("layer", "key"),
        [("prd", "SYNC_BATCH_SIZE"), ("prod", "SYNC_BATCH_SIZ"), ("../x", "SYNC_BATCH_SIZE")],
    )
    def test_unknown_names_are_refused_with_the_nearest(self, example: Any, layer: str, key: str) -> None:
        """Layers and keys are looked up, never joined to a path."""
        with pytest.raises(UsageError):
            prepare(example.root, ask(Edit(layer, key, 1)))

    def test_the_same_line_twice_is_refused(self, example: Any) -> None:
        """Which one would win?"""
        with pytest.raises(UsageError, match="twice"):
            prepare(example.root, ask(Edit("prod", "SYNC_TIMEOUT", 1), Edit("prod", "SYNC_TIMEOUT", 2)))

    def test_a_broken_repository_can_be_mended_step_by_step(self, example: Any) -> None:
        """Old errors elsewhere do not stop a change; new ones do."""
        example.commit({"config-repo/dev/sync.yaml": "SYNC_BATCH_SIZE: many\nSYNC_TIMEOUT: long\n"}, "broken")
        done = apply(example.root, ask(Edit("dev", "SYNC_BATCH_SIZE", 5)))
        assert done.changed

    def test_a_policy_refuses_a_commit_and_not_a_proposal(self, example: Any) -> None:
        """With the rule's id; the proposal's plan says what will be needed."""
        manifest = (example.root / "config-repo/kemudi.yaml").read_text()
        lines = manifest.partition("policies:")[0] + "policies:\n  - {rule: change-size, percent: 10}\n"
        example.commit({"config-repo/kemudi.yaml": lines}, "policy")
        prepared = prepare(example.root, set_batch(400))
        with pytest.raises(PolicyRefusedError) as refused:
            commit(prepared)
        assert refused.value.findings[0].rule == "KEM082"
        assert apply(example.root, set_batch(400, propose=True)).changed
        granted = set_batch(400, trailers={"Kemudi-Exception": "KEM082 the machines were replaced"})
        assert apply(example.root, granted).changed

    def test_a_proposal_is_asked_for_its_reason(self, example: Any) -> None:
        """Its message is written now; a reason that is missing could never be given."""
        manifest = (example.root / "config-repo/kemudi.yaml").read_text()
        lines = manifest.partition("policies:")[0] + "policies:\n  - {rule: reason, minimum: 10}\n"
        example.commit({"config-repo/kemudi.yaml": lines}, "policy")
        with pytest.raises(PolicyRefusedError, match="needs a reason of at least 10 characters"):
            apply(example.root, set_batch(400, propose=True, reason="why not"))
        assert apply(example.root, set_batch(400, propose=True)).changed

    def test_a_known_token_in_a_reason_is_refused(self, example: Any) -> None:
        """It would stand in git for ever."""
        token = "gh" + "p_" + "a1B2" * 9
        with pytest.raises(UsageError, match="GitHub token") as refused:
            prepare(example.root, set_batch(400, reason=f"new token {token}"))
        assert token not in str(refused.value)


class TestOthersWork:
    def test_uncommitted_edits_of_the_same_file_are_refused(self, example: Any) -> None:
        """And are still there afterwards; those of other files do not matter, staged or not."""
        path = example.root / "config-repo/prod/sync.yaml"
        path.write_text(path.read_text() + "# mine\n")
        with pytest.raises(ConflictError, match="not committed"):
            apply(example.root, set_batch(400))
        assert path.read_text().endswith("# mine\n")
        example.git("add", "config-repo/prod/sync.yaml")
        with pytest.raises(ConflictError, match="not committed"):
            apply(example.root, set_batch(400))
        done = apply(example.root, ask(Edit("prod", "CACHE_TTL", 5)))
        assert (
            example.git("show", "--name-only", "--format=", done.revision)
            == "config-repo/prod/performance.yaml"
        )
        assert example.git("status", "--porcelain") == "M  config-repo/prod/sync.yaml"

    def test_a_staged_change_that_was_taken_back_on_disk_is_refused(self, example: Any) -> None:
        """The index is somebody's work, too."""
        path = example.root / "config-repo/prod/sync.yaml"
        text = path.read_text()
        path.write_text(text + "# mine\n")
        example.git("add", "config-repo/prod/sync.yaml")
        path.write_text(text)
        with pytest.raises(ConflictError, match="staged"):
            apply(example.root, set_batch(400))

    def test_in_the_middle_of_a_merge_nothing_is_changed(self, example: Any) -> None:
        """The commit would be neither."""
        (example.root / ".git/MERGE_HEAD").write_text(example.git("rev-parse", "HEAD") + "\n")
        with pytest.raises(ConflictError, match="a merge is under way"):
            apply(example.root, set_batch(400))

    def test_the_branch_moved_after_preparing(self, example: Any) -> None:
        """The commit is refused, and everything is as the other left it."""
        prepared = prepare(example.root, set_batch(400))
        other = apply(example.root, ask(Edit("prod", "SYNC_TIMEOUT", 60), author=OTHER))
        with pytest.raises((HeadMovedError, ConflictError)):
            commit(prepared)
        assert example.git("rev-parse", "HEAD") == other.revision
        assert example.git("status", "--porcelain") == ""

    def test_a_change_of_the_same_setting_since_is_a_conflict(self, example: Any) -> None:
        """It says who changed it to what; an unrelated change of the same file is none."""
        seen = example.git("rev-parse", "HEAD")
        apply(example.root, ask(Edit("prod", "SYNC_TIMEOUT", 60), author=OTHER))
        assert apply(example.root, set_batch(400, expected=seen)).changed
        with pytest.raises(StaleSettingError) as refused:
            apply(example.root, ask(Edit("prod", "SYNC_TIMEOUT", 61), expected=seen))
        assert (refused.value.current, refused.value.author) == (60, "Other <other@example.org>")
        assert refused.value.exit_code == 4

    def test_a_change_below_the_edited_layer_is_a_conflict_too(self, example: Any) -> None:
        """The author saw what base says; what other environments set is not theirs."""
        seen = example.git("rev-parse", "HEAD")
        apply(example.root, ask(Edit("dev", "CACHE_TTL", 6), Edit("base", "GRAPH_QUERY_TIMEOUT", 31)))
        assert apply(example.root, ask(Edit("prod", "CACHE_TTL", 7), expected=seen)).changed
        with pytest.raises(StaleSettingError):
            apply(example.root, ask(Edit("prod", "GRAPH_QUERY_TIMEOUT", 9), expected=seen))

    def test_a_changed_secret_is_a_conflict_that_shows_nothing(self, example: Any) -> None:
        """Only that it changed."""
        seen = example.git("rev-parse", "HEAD")
        apply(example.root, ask(Edit("prod", "NEO4J_PASSWORD", Secret("first-new-secret"))))
        with pytest.raises(StaleSettingError) as refused:
            apply(example.root, ask(Edit("prod", "NEO4J_PASSWORD", Secret("second")), expected=seen))
        assert refused.value.current is None
        assert "ENC[" not in str(refused.value)

    def test_two_writers_of_one_setting_one_wins_and_the_other_is_told(self, example: Any) -> None:
        """Also many at once, each a thread with a repository of its own; nothing is lost or made twice."""
        seen = example.git("rev-parse", "HEAD")
        outcomes: list[str] = []

        def write(number: int) -> None:
            try:
                apply(example.root, set_batch(100 + number, expected=seen))
                outcomes.append("won")
            except StaleSettingError:
                outcomes.append("told")

        threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outcomes) == ["told", "told", "told", "won"]
        assert example.git("rev-list", "--count", f"{seen}..HEAD") == "1"
        assert example.git("status", "--porcelain") == ""

    def test_writers_of_different_settings_all_win(self, example: Any) -> None:
        """One after the other, in the same file."""
        keys = ["SYNC_BATCH_SIZE", "SYNC_TIMEOUT", "SYNC_RETRY_ATTEMPTS", "SYNC_PARALLELISM"]
        threads = [
            threading.Thread(target=apply, args=(example.root, ask(Edit("prod", key, 9)))) for key in keys
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        text = example.git("show", "HEAD:config-repo/prod/sync.yaml")
        assert all(f"{key}: 9" in text for key in keys)
        assert example.git("status", "--porcelain") == ""


class TestMessages:
    def test_a_reason_cannot_forge_a_trailer(self) -> None:
        """What is read back as trailers is what was given as such."""
        text = compose("Set A", "because\n\nKemudi-Exception: KEM082 because", [("Ticket", "1")], "set")
        assert trailers_of(text) == (("Ticket", "1"), ("Kemudi-Change", "set"))
        assert reason_of(text) == "because\n\nKemudi-Exception: KEM082 because"
        assert trailers_of(compose("Set A", "Kemudi-Exception: KEM082 x", [], "set")) == (
            ("Kemudi-Change", "set"),
        )

    @pytest.mark.parametrize("value", ["a\nKemudi-Exception: x", "", "  ", "a\x00b", "x" * 2000])
    def test_a_trailer_stays_one_line(self, value: str) -> None:
        """Whatever it holds."""
        with pytest.raises(UsageError):
            compose("Set A", "why", [("Ticket", value)], "set")

    def test_a_subject_and_a_reason_hold_no_control_characters(self) -> None:
        """Terminals and log readers are not steered by them."""
        text = compose("Set\nA", "a\x1b[31mred\x00", [], "set")
        assert text.splitlines()[0] == "Set A"
        assert "\x1b" not in text
        assert "\x00" not in text


def test_a_request_is_a_value() -> None:
    """So that a caller can keep it, and ask again."""
    request = set_batch(1)
    assert replace(request, expected="x").edits == request.edits
