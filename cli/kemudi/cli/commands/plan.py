"""`kemudi plan`: what a change does to every environment, before it does it."""

import sys
from pathlib import Path

import click

from kemudi.cli.options import any_env_option, repo_option
from kemudi.cli.output import json_option, print_json, print_plain


@click.command(
    "plan",
    epilog="""\b
Exit code 0: planned, whether something changes or not.
          1: the files do not validate, or --live found drift.
          3: git or, with --live, the daemon cannot be reached.
          5: a policy refuses the change.

\b
Examples:
  kemudi plan                          # what this branch and the unsaved edits do
  kemudi plan --base origin/main       # what a pull request to main does
  kemudi plan --head HEAD~3            # what going back three commits would do
  kemudi plan --live --env prod        # what Redis serves now against these files""",
)
@click.option(
    "--base",
    metavar="REF",
    help="Compare with this commit. Without it: where the branch left the default branch; there, the last commit.",
)
@click.option(
    "--head", metavar="REF", help="The state to plan; `worktree` or nothing: the files as they are."
)
@click.option("--live", is_flag=True, help="Compare with what Redis serves; ask the daemon for drift.")
@any_env_option
@click.option(
    "--daemon",
    "daemon_url",
    envvar="KEMUDI_DAEMON_URL",
    metavar="URL",
    help="Ask this daemon who reads a setting and how long a value ran; never needed.  [KEMUDI_DAEMON_URL]",
)
@repo_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "md", "json"]),
    default="text",
    show_default=True,
    help="Form of the plan.",
)
@json_option
def plan_command(  # one parameter for each option
    base: str | None,
    head: str | None,
    live: bool,
    env: str | None,
    daemon_url: str | None,
    repo: Path,
    form: str,
    as_json: bool,
) -> None:
    """Show what a change does: old and new value of every setting, after the layers, in each environment.

    Needs no server and no key. A sensitive value is never shown; its fingerprint says whether it changed.
    """
    from kemudi.cli.plans import PlanRequest, make_plan
    from kemudi.repo.plan_text import as_markdown, as_text
    from kemudi.repo.verdict import refused

    plan = make_plan(PlanRequest(repo, base, head, env, daemon_url, live))
    if as_json or form == "json":
        print_json(plan.as_json())
    else:
        print_plain(as_markdown(plan) if form == "md" else as_text(plan))
    stopped = refused(plan)
    errors = [each for each in plan.findings if each.severity == "error" and each not in stopped]
    if errors or any(each.drift for each in plan.environments):
        sys.exit(1)
    if stopped:
        sys.exit(5)
