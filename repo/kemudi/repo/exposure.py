"""What a recipient could ever read, from git history: what has to change at the source when they leave.

Sealed text says to which set of recipients it was sealed by a digest. Every set that any version of kemudi.yaml and
recipients.yaml can give is computed, so a digest is turned back into names without any key. A digest that history
does not explain counts as readable: it is better to change one secret too many.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
from typing import Final, NamedTuple

from kemudi.repo.git import SHA
from kemudi.repo.paths import READ_BYTES
from kemudi.repo.repository import ConfigRepository
from kemudi.schema.documents import Document, read_document
from kemudi.schema.envelope import Envelope, MalformedEnvelopeError, is_sealed, recipients_digest
from kemudi.schema.errors import UsageError
from kemudi.schema.manifest import FILE, RECIPIENTS_FILE, Recipients, read_manifest, read_recipients
from kemudi.schema.sops import BLOCK, SopsError, envelope_of, holds_encrypted, is_sops, read_block

_ENTRY: Final = re.compile(r":[0-7]{6} [0-7]{6} [0-9a-f]{40} ([0-9a-f]{40}) [A-Z][0-9]*", re.ASCII)
_NOTHING: Final = "0" * 40


class _Version(NamedTuple):
    """One file of the config repo as one commit left it."""

    path: str
    blob: str
    revision: str
    at: int


@dataclass(frozen=True, slots=True)
class Exposed:
    """A secret that the recipient could read at some time.

    Attributes:
        layer: Its layer.
        category: Its category.
        key: The setting.
        first: The oldest commit that they could read it in.
        last: The newest one that sealed it to them.
        at: When that was, by the commit.
        certain: False when history does not say to whom it was sealed.
        versions: How many different ciphertexts of it they could open.
    """

    layer: str
    category: str
    key: str
    first: str
    last: str
    at: datetime
    certain: bool
    versions: int

    def as_json(self) -> dict[str, object]:
        """For `--json`."""
        return {
            "layer": self.layer,
            "category": self.category,
            "key": self.key,
            "first": self.first,
            "last": self.last,
            "at": self.at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "certain": self.certain,
            "versions": self.versions,
        }


def rotate_plan(repository: ConfigRepository, recipient: str) -> tuple[Exposed, ...]:
    """Every secret that a recipient could ever read, on any branch or tag that this repository knows.

    Args:
        repository: Whole history: a shallow clone cannot answer.
        recipient: A name of recipients.yaml, now or at any time, or a public key.

    Raises UsageError for somebody who was never a recipient, or in a shallow clone; UnavailableError's family.
    """
    if repository.layout.is_shallow:
        raise UsageError("this clone is shallow, and what was readable is in the history that it lacks")
    versions = tuple(_versions(repository))
    shas = list(dict.fromkeys(version.blob for version in versions))
    blobs = dict(zip(shas, repository.objects.blobs(shas, limit=READ_BYTES), strict=True))
    history = _Recipients(versions, blobs)
    lines = [
        (version, key, envelope)
        for version in versions
        for key, envelope in _envelopes(version.path, blobs[version.blob], history)
    ]
    readable = history.digests_with(history.keys_of(recipient))
    found: dict[tuple[str, str, str], list[tuple[_Version, Envelope]]] = {}
    for version, key, envelope in lines:
        if envelope.rs in readable or envelope.rs not in history.digests:
            layer, _, name = version.path.partition("/")
            found.setdefault((layer, name.removesuffix(".yaml"), key), []).append((version, envelope))
    return tuple(_exposed(place, seen, readable) for place, seen in sorted(found.items()))


def _exposed(
    place: tuple[str, str, str], seen: list[tuple[_Version, Envelope]], readable: frozenset[str]
) -> Exposed:
    by_time = sorted(seen, key=lambda each: each[0].at)
    return Exposed(
        *place,
        first=by_time[0][0].revision,
        last=by_time[-1][0].revision,
        at=datetime.fromtimestamp(by_time[-1][0].at, UTC),
        certain=any(envelope.rs in readable for _, envelope in seen),
        versions=len({envelope.ciphertext for _, envelope in seen}),
    )


class _Recipients:
    """All that recipients.yaml and kemudi.yaml ever said."""

    def __init__(self, versions: Iterable[_Version], blobs: Mapping[str, bytes]) -> None:
        texts: dict[str, dict[bytes, None]] = {FILE: {}, RECIPIENTS_FILE: {}}
        for version in versions:
            if version.path in texts:
                texts[version.path][blobs[version.blob]] = None
        self._read: list[Recipients] = []
        self.digests: dict[str, frozenset[str]] = {}
        manifests = {
            manifest.environments: manifest
            for text in texts[FILE]
            if (manifest := read_manifest(text)[0]) is not None
        }
        # Which versions stood together is not asked: more sets than there ever were do no harm.
        for manifest, text in product(manifests.values(), texts[RECIPIENTS_FILE]):
            recipients, _ = read_recipients(text, manifest)
            if recipients is None:
                continue
            self._read.append(recipients)
            for layer in manifest.layers:
                keys = recipients.keys_for_layer(layer, manifest)
                self.digests[recipients_digest(keys)] = frozenset(keys)

    def keys_of(self, recipient: str) -> frozenset[str]:
        """Every public key that a name ever had, or the key itself. Raises UsageError."""
        people = [each for read in self._read for each in read.recipients.values()]
        keys = frozenset(each.key for each in people if recipient in (each.name, each.key))
        if any(recipient in members for members in self.digests.values()):
            keys |= {recipient}
        if not keys:
            names = ", ".join(sorted({each.name for each in people})) or "nobody"
            raise UsageError(f"{recipient!r} was never a recipient; history knows: {names}")
        return keys

    def add(self, keys: Iterable[str]) -> None:
        """A set that a SOPS file names itself."""
        members = frozenset(keys)
        self.digests[recipients_digest(members)] = members

    def digests_with(self, keys: frozenset[str]) -> frozenset[str]:
        """The digests of all sets that hold one of some keys."""
        return frozenset(digest for digest, members in self.digests.items() if members & keys)


def _envelopes(path: str, data: bytes, history: _Recipients) -> Iterator[tuple[str, Envelope]]:
    if b"ENC[" not in data:
        return
    document, _ = read_document(data, path)
    if document is not None and is_sops(document):
        yield from _of_sops(document, history)
        return
    for key, value in document.values.items() if document is not None else ():
        if is_sealed(value):
            try:
                yield key, Envelope.parse(str(value))
            except MalformedEnvelopeError:
                continue


def _of_sops(document: Document, history: _Recipients) -> Iterator[tuple[str, Envelope]]:
    try:
        block = read_block(document.values)
    except SopsError:
        return
    history.add(key for key, _ in block.age)
    for key, value in document.values.items():
        if key != BLOCK and holds_encrypted(value):
            yield key, envelope_of(document, block, key)


def _versions(repository: ConfigRepository) -> Iterator[_Version]:
    """Every content that every commit of every ref gave to a file of values, the manifest or the recipients."""
    prefix = f"{repository.prefix}/" if repository.prefix else ""
    out = repository.git.run(
        "log",
        "--all",
        "-m",
        "--root",
        "--full-history",
        "--no-renames",
        "--no-abbrev",
        "--raw",
        "-z",
        "--format=format:%H %ct",
        "--",
        *([prefix] if prefix else []),
        time_limit_seconds=300,
    )
    revision, at = "", 0
    fields = iter(out.decode("utf-8", "surrogateescape").split("\0"))
    for field in fields:
        for line in field.splitlines():
            words = line.split(" ")
            if len(words) == 2 and SHA.fullmatch(words[0]):
                revision, at = words[0], int(words[1])
                continue
            entry = _ENTRY.fullmatch(line)
            if entry is not None:
                path = next(fields).removeprefix(prefix)
                if entry[1] != _NOTHING and _matters(path):
                    yield _Version(path, entry[1], revision, at)


def _matters(path: str) -> bool:
    values = path.endswith(".yaml") and path.count("/") == 1 and not path.startswith((".", "contracts/"))
    return values or path in (FILE, RECIPIENTS_FILE)
