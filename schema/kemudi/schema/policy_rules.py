"""The rules that `policies` in `kemudi.yaml` can set: they judge a change, not a file."""

from typing import Final

from kemudi.schema.rule import Rule

POLICY: Final = "KEM080"
REASON: Final = "KEM081"
CHANGE_SIZE: Final = "KEM082"
FREEZE: Final = "KEM083"
PROMOTION: Final = "KEM084"
OWNERS: Final = "KEM085"
APPROVALS: Final = "KEM086"
PROPOSAL: Final = "KEM087"
EXCEPTION: Final = "KEM088"

POLICY_RULES: Final = (
    Rule(
        POLICY,
        "A policy in `kemudi.yaml` is wrong",
        "A policy that cannot be read protects nothing, and nobody would notice.",
        "Correct the field that the message names.",
    ),
    Rule(
        REASON,
        "A change has no reason",
        "The next person has only this sentence to know whether the value may be changed back.",
        "Say why in the commit message, or with `-m`.",
    ),
    Rule(
        CHANGE_SIZE,
        "A number changes by more than the policy allows",
        "A slip of a digit is ten times the value; a large step is better taken in several.",
        "Take smaller steps, or set the rule aside with a trailer that says why.",
    ),
    Rule(
        FREEZE,
        "The environment is frozen now",
        "A change at the wrong hour meets nobody who could take it back.",
        "Merge after the window, or set the rule aside with a trailer that says why.",
    ),
    Rule(
        PROMOTION,
        "The value has not run long enough in the environment before",
        "A value that another environment has run for a while is known to work.",
        "Change the other environment first and wait, or set the rule aside with a trailer that says why.",
    ),
    Rule(
        OWNERS,
        "The owner of a setting has not agreed",
        "Whoever answers for a setting should know of its change before it is live.",
        "Ask somebody of the team that the message names to approve; name an owner in the contract.",
    ),
    Rule(
        APPROVALS,
        "More people have to approve",
        "A second pair of eyes finds what its author cannot see.",
        "Ask for the approvals that are missing.",
    ),
    Rule(
        PROPOSAL,
        "The environment takes proposals only",
        "A direct commit is live within a second, and nobody has looked at it.",
        "Propose the change on a branch: `--propose`, or a pull request.",
    ),
    Rule(
        EXCEPTION,
        "A `Kemudi-Exception` trailer sets nothing aside",
        "An exception that names no rule, or no reason, cannot be understood afterwards.",
        "Write `Kemudi-Exception: <rule> <why>`, with a rule that allows exceptions.",
    ),
)
