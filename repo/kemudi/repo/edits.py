"""One setting of one file set or removed: every other byte of the file stays as its author wrote it.

ruamel.yaml says where the key and its value stand; only that span is written anew. A whole round trip through it
would indent lists its own way, re-quote text and spell `~` and `0x1F` otherwise: noise in a pull request.
"""

import json
import math
import os
import re
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.nodes import CollectionNode, MappingNode, Node, ScalarNode

from kemudi.repo.loose import read_regular, replace_file
from kemudi.schema.documents import JSON, Document, read_document
from kemudi.schema.envelope import is_sealed
from kemudi.schema.errors import ConflictError, FindingsError, UsageError
from kemudi.schema.refusals import LIMIT_BYTES
from kemudi.schema.scalars import read_plain
from kemudi.schema.sentences import sentence
from kemudi.schema.sops import is_sops

# Plain in every context and for every reader, YAML 1.1's included: it reads these words and digits otherwise.
_PLAIN: Final = re.compile(r"[A-Za-z_/][A-Za-z0-9_./@+=-]*(?::[A-Za-z0-9_./@+=,\]\[:-]*)?", re.ASCII)
_SEALED: Final = re.compile(r"ENC\[[A-Za-z0-9:,=+/]+\]", re.ASCII)
_WORDS: Final = frozenset(["y", "n", "yes", "no", "on", "off", "true", "false", "null"])


def set_value(path: Path, key: str, value: JSON) -> bool:
    """Give `key` a value in a file of values; the file is made when it is missing.

    Returns whether the file changed: it does not when the value is there already.
    Raises FindingsError when the file cannot be read as YAML, ConflictError when it changed meanwhile, UsageError.
    """
    return edit_text(path, lambda text: with_value(text, key, value, file=path.name))


def unset_value(path: Path, key: str) -> bool:
    """Take `key` out of a file of values. Returns whether it was there. Raises as `set_value`."""
    if not path.exists():
        return False
    return edit_text(path, lambda text: without_key(text, key, file=path.name))


def edit_text(path: Path, change: Callable[[str], str]) -> bool:
    """Write what `change` makes of a file's text; a missing file begins with its header line. Raises as `set_value`."""
    stamp, mode, data = _load(path)
    try:
        before = data.decode("utf-8")
    except UnicodeDecodeError:
        raise UsageError(sentence("%(path)s is not UTF-8", path=path)) from None
    after = change(before)
    if after == before:
        return False
    if _stamp(path) != stamp:
        raise ConflictError(
            sentence("%(path)s was changed by somebody else meanwhile", path=path),
            hint=sentence("Try again."),
        )
    try:
        replace_file(path, after.encode(), mode=mode, durable=True)
    except OSError as error:
        raise UsageError(
            sentence("%(path)s cannot be written: %(strerror)s", path=path, strerror=error.strerror)
        ) from None
    return True


def set_sealed(path: Path, sealed: Mapping[str, str]) -> bool:
    """Replace the sealed texts of many keys in one pass. Raises as `set_value`."""
    return edit_text(path, lambda text: _with_sealed(text, sealed, file=path.name))


def rename_key(path: Path, key: str, new: str) -> bool:
    """Give a top-level key another name on its line. Raises UsageError when `new` is there too; else as `set_value`."""
    return edit_text(path, lambda text: _with_name(text, key, new, file=path.name))


def with_value(text: str, key: str, value: JSON, *, file: str = "") -> str:
    """The text of a file with one top-level key set; comments, order and quoting of all else as they were."""
    before = _document(text, file)
    if key in before.values and key not in before.broken and _same(before.values[key], value):
        return text
    root = _compose(text)
    span = None if root is None else _span(root, key)
    if root is not None and root.flow_style and root.value:
        after = _round_trip(text, key, value)
    elif root is not None and root.flow_style:
        after = (
            text[: root.start_mark.index]
            + _line(text, key, value)
            + text[root.end_mark.index :].lstrip(" \r\n")
        )
    elif span is None:
        after = _appended(text, _line(text, key, value))
    else:
        after = _replaced(text, span, value)
    _check(before, _document(after, file), key, value)
    return after


def without_key(text: str, key: str, *, file: str = "") -> str:
    """The text of a file without one top-level key. Comments above it stay: they may be about more."""
    before = _document(text, file)
    root = _compose(text)
    span = None if root is None else _span(root, key)
    if root is None or span is None:
        return text
    if root.flow_style:
        raise UsageError(
            sentence("%(file)s is written as one {…}; take %(key)s out by hand", file=file, key=key)
        )
    start = text.rfind("\n", 0, span[0].start_mark.index) + 1
    end = text.find("\n", _end(text, span[1]))
    after = text[:start] + (text[end + 1 :] if end >= 0 else "")
    _check(before, _document(after, file), key, None, removed=True)
    return after


def _with_sealed(text: str, sealed: Mapping[str, str], *, file: str) -> str:
    before = _document(text, file)
    known = {str(before.values[key]): new for key, new in sealed.items() if is_sealed(before.values.get(key))}
    after = _SEALED.sub(lambda found: known.get(found[0], found[0]), text)
    if not _same({**before.values, **sealed}, dict(_document(after, file).values)):
        raise UsageError(
            sentence("%(file)s cannot be written without touching more; set its values one by one", file=file)
        )
    return after


def _with_name(text: str, key: str, new: str, *, file: str) -> str:
    before = _document(text, file)
    root = _compose(text)
    span = None if root is None else _span(root, key)
    if span is None or new in before.values:
        raise UsageError(
            sentence("%(file)s sets %(new)s already", file=file, new=new)
            if new in before.values
            else sentence("%(file)s does not set %(key)s", file=file, key=key)
        )
    after = text[: span[0].start_mark.index] + _text(new, "", flow=True) + text[span[0].end_mark.index :]
    wanted = {new if name == key else name: value for name, value in before.values.items()}
    if not _same(wanted, dict(_document(after, file).values)):
        raise UsageError(
            sentence("%(key)s cannot be renamed in %(file)s; edit it by hand", key=key, file=file)
        )
    return after


def render(value: JSON, *, quote: str = "", flow: bool = False) -> str:
    """A value as YAML 1.2 on one line. Text that any reader could take for something else is quoted.

    Raises UsageError for a number that is not finite.
    """
    if isinstance(value, str):
        return _text(value, quote, flow=flow)
    if isinstance(value, dict):
        return (
            "{"
            + ", ".join(f"{_text(k, '', flow=True)}: {render(v, flow=True)}" for k, v in value.items())
            + "}"
        )
    if isinstance(value, list):
        return "[" + ", ".join(render(item, flow=True) for item in value) + "]"
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(sentence("a number that is not finite cannot be a setting"))
    return json.dumps(value)


def header(path: Path) -> str:
    """The first line of a new file of values: it tells an editor the contract."""
    return f"# yaml-language-server: $schema=../contracts/editor/{path.stem}.schema.json\n"


def _text(text: str, quote: str, *, flow: bool) -> str:
    if not quote and _may_be_plain(text, flow=flow):
        return text
    if quote == "'" and text.isprintable():
        return "'" + text.replace("'", "''") + "'"
    # JSON's strings are YAML's; what no editor shows is spelled out.
    spelled = json.dumps(text, ensure_ascii=False)
    return "".join(each if each.isprintable() else _escape(ord(each)) for each in spelled)


def _escape(code: int) -> str:
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _may_be_plain(text: str, *, flow: bool) -> bool:
    if flow and re.search(r"[:,\[\]]", text):
        return False
    if text.lower() in _WORDS or text.endswith(":") or read_plain(text) != text:
        return False
    return bool(_PLAIN.fullmatch(text) or _SEALED.fullmatch(text))


def _line(text: str, key: str, value: JSON) -> str:
    return f"{_text(key, '', flow=True)}: {render(value)}{_newline(text)}"


def _replaced(text: str, span: tuple[Node, Node], value: JSON) -> str:
    key, old = span
    colon = text.index(":", key.end_mark.index) + 1
    end = _end(text, old)
    if isinstance(old, ScalarNode) and old.style in (None, "'", '"') and old.start_mark.index < end:
        quote = old.style or ""
        return text[: old.start_mark.index] + render(value, quote=quote) + text[end:]
    if isinstance(old, CollectionNode) and old.flow_style:
        return text[: old.start_mark.index] + render(value) + text[end:]
    # A block, or nothing at all: the value moves to the key's line, before a comment that stands there.
    rest_of_line = text[colon : _line_end(text, colon)]
    comment = rest_of_line[rest_of_line.index("#") :].rstrip() if "#" in rest_of_line else ""
    kept = f"  {comment}" if comment else ""
    after = _line_end(text, max(end, colon))
    return f"{text[:colon]} {render(value)}{kept}{text[after:]}"


def _appended(text: str, line: str) -> str:
    newline = _newline(text)
    if text and not text.endswith("\n"):
        text += newline
    if text.rstrip().endswith("\n..."):
        cut = text.rstrip().rindex("...")
        return text[:cut] + line + text[cut:]
    return text + line


def _round_trip(text: str, key: str, value: JSON) -> str:
    """For a file that is one `{…}`: there is no line to write."""
    import io

    yaml = _yaml()
    content = yaml.load(text)
    content[key] = value
    out = io.StringIO()
    yaml.dump(content, out)
    return out.getvalue()


def _compose(text: str) -> MappingNode | None:
    root = _yaml().compose(text)
    return root if isinstance(root, MappingNode) else None


def _yaml() -> Any:  # YAML has no usable types
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 1 << 30
    yaml.allow_duplicate_keys = True
    return yaml


def _span(root: MappingNode, key: str) -> tuple[Node, Node] | None:
    found = [
        (name, value) for name, value in root.value if isinstance(name, ScalarNode) and name.value == key
    ]
    if len(found) > 1:
        raise UsageError(
            sentence(
                "%(key)s stands in the file %(number)s times; take out all but one by hand",
                key=key,
                number=len(found),
            )
        )
    return found[0] if found else None


def _end(text: str, node: Node) -> int:
    """Where the content of a node ends: a block's own mark lies behind the comments that follow it."""
    if isinstance(node, CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(text, last[1] if isinstance(last, tuple) else last)
    end: int = node.end_mark.index
    # The marks of a literal block and of no value at all lie behind the line breaks that follow.
    loose = isinstance(node, ScalarNode) and (node.style in ("|", ">") or node.start_mark.index == end)
    return len(text[:end].rstrip()) if loose else end


def _line_end(text: str, start: int) -> int:
    """Where the line of a position ends, before its line break."""
    found = text.find("\n", start)
    end = len(text) if found < 0 else found
    return end - 1 if end > start and text[end - 1] == "\r" else end


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _document(text: str, file: str) -> Document:
    document, findings = read_document(text.encode(), file)
    if is_sops(document):
        raise UsageError(
            sentence("%(file)s is a file of SOPS, whose MAC any edit would break", file=file),
            hint=sentence("Change it with `sops`, or take it over: kemudi secret import-sops"),
        )
    if document is None:
        place = f"{findings[0].file}:{findings[0].line}" if findings else file
        raise FindingsError(
            sentence("%(place)s has to be mended by hand before it can be edited", place=place), findings
        )
    return document


def _check(before: Document, after: Document, key: str, value: JSON, *, removed: bool = False) -> None:
    """Hold the result against what was meant, so that an odd file is refused and never spoiled."""
    wanted = {name: each for name, each in before.values.items() if name != key}
    if not removed:
        wanted[key] = value
    if not _same(wanted, dict(after.values)):
        raise UsageError(
            sentence(
                "%(key)s cannot be changed in %(file)s without touching more; edit it by hand",
                key=key,
                file=before.file,
            )
        )


def _same(one: JSON, other: JSON) -> bool:
    """Equal in type, too: 1 is neither true nor 1.0."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return type(one) is type(other) and one == other


def _load(path: Path) -> tuple[tuple[int, ...] | None, int | None, bytes]:
    try:
        found, data = read_regular(path, LIMIT_BYTES + 1)
    except FileNotFoundError:
        return None, None, header(path).encode()
    except OSError as error:
        raise UsageError(
            sentence("%(path)s cannot be edited: %(strerror)s", path=path, strerror=error.strerror)
        ) from None
    return _stamp_of(found), stat.S_IMODE(found.st_mode), data


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        return _stamp_of(path.lstat())
    except FileNotFoundError:
        return None


def _stamp_of(found: os.stat_result) -> tuple[int, ...]:
    return (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
