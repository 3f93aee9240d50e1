"""Every rule that a finding can name: why it exists and how to satisfy it.

`docs/reference/rules/` has one page per rule; a test keeps the two lists equal.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from kemudi.schema.policy_rules import POLICY_RULES
from kemudi.schema.rule import Rule

NOT_UTF8: Final = "KEM001"
TOO_LARGE: Final = "KEM002"
SYNTAX: Final = "KEM003"
DUPLICATE_KEY: Final = "KEM004"
ALIAS: Final = "KEM005"
TAG: Final = "KEM006"
SEVERAL_DOCUMENTS: Final = "KEM007"
KEY_NOT_TEXT: Final = "KEM008"
NUMBER: Final = "KEM009"
TOO_DEEP: Final = "KEM010"
TOO_MANY_NODES: Final = "KEM011"
CHARACTER: Final = "KEM012"
NOT_A_MAPPING: Final = "KEM013"
UNKNOWN_KEY: Final = "KEM020"
WRONG_FILE: Final = "KEM021"
CASE_TWIN: Final = "KEM022"
WRONG_TYPE: Final = "KEM023"
OUT_OF_BOUNDS: Final = "KEM024"
NOT_A_CHOICE: Final = "KEM025"
STRUCTURE: Final = "KEM026"
CROSS_KEY: Final = "KEM027"
PLAINTEXT_SECRET: Final = "KEM030"  # noqa: S105  # the id of a rule
NEEDLESS_SEAL: Final = "KEM031"
MALFORMED_SEAL: Final = "KEM032"
MOVED_SEAL: Final = "KEM033"
STALE_SEAL: Final = "KEM034"
LIKELY_SECRET: Final = "KEM035"  # noqa: S105  # the id of a rule
SOPS_FILE: Final = "KEM036"
CONTRACT_JSON: Final = "KEM040"
CONTRACT_SHAPE: Final = "KEM041"
CONTRACT_ANNOTATION: Final = "KEM042"
NO_DESCRIPTION: Final = "KEM043"
NO_DEFAULT: Final = "KEM044"
BAD_DEFAULT: Final = "KEM045"
KEY_NAME: Final = "KEM046"
KEY_TAKEN: Final = "KEM047"
PATTERN: Final = "KEM048"
REFERENCE: Final = "KEM049"
NO_MANIFEST: Final = "KEM060"
MANIFEST: Final = "KEM061"
RECIPIENTS: Final = "KEM062"
ROLES: Final = "KEM063"
UNKNOWN_CATEGORY: Final = "KEM064"
UNKNOWN_LAYER: Final = "KEM065"
NOT_A_FILE: Final = "KEM066"
PATH: Final = "KEM067"
UNSIGNED_COMMIT: Final = "KEM070"

_LIST: Final = (
    Rule(
        NOT_UTF8,
        "The file is not UTF-8",
        "Every reader must see the same characters; tools guess other encodings differently.",
        "Save the file as UTF-8.",
    ),
    Rule(
        TOO_LARGE,
        "The file is larger than 1 MiB",
        "A bound on size bounds the time and memory of every reader.",
        "Split the category, or keep the data elsewhere and the settings here.",
    ),
    Rule(
        SYNTAX,
        "The file is not well-formed YAML",
        "A file that parsers read differently, or not at all, cannot be served.",
        "Correct the text at the place named; a tab cannot indent, and text with `: ` or ` #` needs quotes.",
    ),
    Rule(
        DUPLICATE_KEY,
        "A key stands twice in one mapping",
        "Most parsers keep the last one silently, so a reviewer may read the wrong value.",
        "Delete one of the two lines.",
    ),
    Rule(
        ALIAS,
        "Anchors, aliases and merge keys are not read",
        "They make a value depend on another line, and a few lines can expand to gigabytes.",
        "Write the value out.",
    ),
    Rule(
        TAG,
        "Explicit tags are not read",
        "A tag such as `!!python/object` asks a parser to build something that is not plain data.",
        "Remove the tag; quote the value where it must be text.",
    ),
    Rule(
        SEVERAL_DOCUMENTS,
        "One file holds one document",
        "Readers differ in which of several documents they take, and directives change what the text means.",
        "Keep one document, without directives.",
    ),
    Rule(
        KEY_NOT_TEXT,
        "A key is not text",
        "`1:` and `true:` are a number and a boolean, which JSON objects cannot have as keys.",
        "Quote the key.",
    ),
    Rule(
        NUMBER,
        "A number cannot be served exactly",
        "NaN and infinity are not JSON, and integers beyond ±2^53 change their value in many readers.",
        "Write a finite number; for identifiers use text, or `x-kemudi-bigint` in the contract (64 bits).",
    ),
    Rule(
        TOO_DEEP,
        "Values are nested more than 64 deep",
        "Unbounded nesting exhausts the stack of the readers.",
        "Flatten the value.",
    ),
    Rule(
        TOO_MANY_NODES,
        "The file holds more than 100,000 values",
        "A bound on the number of values bounds the time and memory of every reader.",
        "Split the category.",
    ),
    Rule(
        CHARACTER,
        "A control or invisible character",
        "Characters that are not shown, or that reorder what is shown, hide a change from a reviewer.",
        "Delete the character; inside double quotes an escape such as `\\u200B` makes it visible.",
    ),
    Rule(
        NOT_A_MAPPING,
        "The file is not a mapping of keys to values",
        "A values file is a list of `KEY: value` lines.",
        "Write one `KEY: value` per line.",
    ),
    Rule(
        UNKNOWN_KEY,
        "The contract does not know the key",
        "A mistyped key would change nothing, silently.",
        "Correct the key, or add it to the contract first.",
    ),
    Rule(
        WRONG_FILE,
        "The key belongs to another category",
        "Each key has one category, and its values stand in that category's files.",
        "Move the line to the file that the message names.",
    ),
    Rule(
        CASE_TWIN,
        "Two keys differ only in case",
        "Readers that ignore case, such as environment variables on some systems, could not tell them apart.",
        "Keep the spelling of the contract.",
    ),
    Rule(
        WRONG_TYPE,
        "The value has the wrong type",
        "Processes read typed values; a text where a number belongs fails far from here.",
        "Write a value of the type that the message names.",
    ),
    Rule(
        OUT_OF_BOUNDS,
        "The value is outside the limits of the contract",
        "The limits of a contract are what the code that reads the setting was written for.",
        "Choose a value within the limits, or change the contract in its own review.",
    ),
    Rule(
        NOT_A_CHOICE,
        "The value is not one of the choices",
        "The code that reads the setting knows these choices and no others.",
        "Use one of the choices that the message lists.",
    ),
    Rule(
        STRUCTURE,
        "The value has the wrong structure",
        "A list or mapping must have the members that the contract describes.",
        "Add, remove or correct the member that the message names.",
    ),
    Rule(
        CROSS_KEY,
        "Settings of one category contradict each other",
        "A contract can tie keys together; the rule is checked on the resolved values of each environment.",
        "Change one of the keys, in the layer that the message names.",
    ),
    Rule(
        PLAINTEXT_SECRET,
        "A sensitive value stands in plain text",
        "Whoever can read the repository, now or later, can read the value; git keeps it for good.",
        "Change the secret at its source, then seal the new one with `kemudi secret set`.",
    ),
    Rule(
        NEEDLESS_SEAL,
        "A sealed value under a key that is not sensitive",
        "Only sensitive settings are unsealed; this one would be served as ciphertext.",
        "Write the plain value, or mark the setting `x-kemudi-sensitive` in the contract.",
    ),
    Rule(
        MALFORMED_SEAL,
        "A sealed value is damaged",
        "It cannot be unsealed: it was cut, wrapped or edited by hand.",
        "Seal the value again with `kemudi secret set`.",
    ),
    Rule(
        MOVED_SEAL,
        "A sealed value was sealed for another place",
        "A sealed value belongs to one repository, layer, category and key, so that nobody can move it.",
        "Seal the value for this place with `kemudi secret set`.",
    ),
    Rule(
        STALE_SEAL,
        "A sealed value was sealed to other recipients",
        "The recipients changed since: somebody who should read it cannot, or somebody who should not can.",
        "Seal it again with `kemudi secret set`; after a removal also change the secret at its source.",
    ),
    Rule(
        LIKELY_SECRET,
        "A value looks like a secret",
        "A known form of token, or text that looks random, may be a secret that nobody marked as one. A warning only.",
        "Change the secret at its source, mark the key `x-kemudi-sensitive`, seal the new one; else leave it.",
    ),
    Rule(
        SOPS_FILE,
        "A SOPS file that is not read",
        "Of SOPS only age is read, with the MAC enforced; other keys need services or programs of their own.",
        "Encrypt the file to age recipients with `sops`, or seal its secrets with `kemudi secret set`.",
    ),
    Rule(
        CONTRACT_JSON,
        "A contract is not JSON",
        "A contract that readers cannot parse protects nothing.",
        "Correct the JSON at the place named.",
    ),
    Rule(
        CONTRACT_SHAPE,
        "A contract is not a JSON Schema of a category",
        "A contract is a JSON Schema 2020-12 of an object whose properties are the settings.",
        "Correct the keyword that the message names.",
    ),
    Rule(
        CONTRACT_ANNOTATION,
        "An unknown or ill-typed `x-kemudi-` annotation",
        "A mistyped `x-kemudi-sensitive` would leave a secret unprotected, silently.",
        "Use the annotations of the reference, with values of their types.",
    ),
    Rule(
        NO_DESCRIPTION,
        "A setting has no description",
        "Whoever changes it on a bad night has only this sentence.",
        "Add a `description`.",
    ),
    Rule(
        NO_DEFAULT,
        "A setting has no default",
        "Without one a process that cannot reach the store has nothing to run on.",
        "Add a `default`, or mark the setting `x-kemudi-sensitive`; a sensitive setting has none.",
    ),
    Rule(
        BAD_DEFAULT,
        "A default does not satisfy its own contract",
        "It would be served wherever no layer sets the key.",
        "Correct the default or the limits.",
    ),
    Rule(
        KEY_NAME,
        "A key has a form that is not allowed",
        "Keys are also names of variables and of Redis fields: `A-Z`, `0-9` and `_`, a letter first.",
        "Rename the key.",
    ),
    Rule(
        KEY_TAKEN,
        "A key stands in two contracts",
        "A process asks for a key without its category, so a key has one.",
        "Rename one of the two.",
    ),
    Rule(
        PATTERN,
        "A pattern cannot be matched in linear time",
        "Lookaround and back-references need engines that a short text can keep busy for hours.",
        "Write the pattern without them.",
    ),
    Rule(
        REFERENCE,
        "A `$ref` leaves the contract, or runs in a circle",
        "A contract means the same everywhere and always; nothing is fetched to read it.",
        "Refer to `#/$defs/…` of the same file, without a circle.",
    ),
    Rule(
        NO_MANIFEST,
        "`kemudi.yaml` is missing",
        "It makes a folder a config repo: it names the environments and their layers.",
        "Run `kemudi init`, or restore the file.",
    ),
    Rule(
        MANIFEST,
        "`kemudi.yaml` is wrong",
        "The file names the environments, their layers, and who reads what.",
        "Correct the field that the message names.",
    ),
    Rule(
        RECIPIENTS,
        "`recipients.yaml` is wrong",
        "The file names who can read the sealed values of each environment.",
        "Correct the field that the message names.",
    ),
    Rule(
        ROLES,
        "`roles.yaml` is wrong",
        "The file names who may change what.",
        "Correct the field that the message names.",
    ),
    Rule(
        UNKNOWN_CATEGORY,
        "A values file of an unknown category",
        "Its values would reach nobody, silently.",
        "Name the file after a contract, or add the contract.",
    ),
    Rule(
        UNKNOWN_LAYER,
        "A values file in an unknown layer",
        "Its values would reach nobody, silently.",
        "Move the file to a layer that `kemudi.yaml` names, or add the environment there.",
    ),
    Rule(
        NOT_A_FILE,
        "A symbolic link or submodule where a file belongs",
        "A link reads what no reviewer saw, even files outside the repository.",
        "Replace it by a regular file.",
    ),
    Rule(
        PATH,
        "Two paths differ only in case, or a path has characters that are not allowed",
        "Some file systems cannot tell them apart, so a checkout would lose one.",
        "Rename one of the files.",
    ),
    Rule(
        UNSIGNED_COMMIT,
        "A commit is not signed by an allowed signer",
        "The environment serves signed commits only, so that a stolen push token alone changes nothing.",
        "Take the commit out of the branch and make it again, signed with a key that the daemon was given.",
    ),
)

RULES: Final[Mapping[str, Rule]] = MappingProxyType({rule.id: rule for rule in (*_LIST, *POLICY_RULES)})
