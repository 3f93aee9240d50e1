"""The last defence: what a process logs is searched for the secrets that it holds, and its memory stays in it."""

import gc
import io
import json
import logging
import subprocess
import sys
from base64 import b64encode
from urllib.parse import quote

import pytest

from kemudi.daemon.logs import make_log
from kemudi.schema.hardening import ScrubFilter
from kemudi.schema.masking import scrubbed, scrubbed_event
from kemudi.schema.secret import Secret
from kemudi.web.logs import make_log as make_graph_log

CANARY = 'can"ary/ü\\9f41-plain'


@pytest.mark.parametrize(
    "leak",
    [
        CANARY,
        f"postgres://u:{quote(CANARY, safe='')}@host",
        json.dumps({"password": CANARY}),
        json.dumps({"password": CANARY}, ensure_ascii=False),
        repr(CANARY),
        CANARY.encode().hex(),
        CANARY.encode().hex().upper(),
        b64encode(CANARY.encode()).decode(),
        f"Basic {b64encode(f'user:{CANARY}'.encode()).decode()}",
        f"Basic {b64encode(f'user1:{CANARY}'.encode()).decode()}",
        f"Basic {b64encode(f'user12:{CANARY}!'.encode()).decode()}",
    ],
)
def test_each_spelling_of_a_live_secret(leak: str) -> None:
    """Raw, in a URL, in JSON, in Python, in hex, in base64 at any place: masked while the secret is held."""
    held = Secret(CANARY)
    assert scrubbed(leak) != leak
    assert "***" in scrubbed(leak)
    del held
    gc.collect()
    assert scrubbed(leak) == leak


def test_a_part_of_a_structure_is_searched_for_too() -> None:
    """Each text in a secret object counts; what is too short to mean anything does not."""
    held = Secret({"user": "app", "password": ["correct-horse", 1]})
    assert scrubbed("login of app with correct-horse, try 1") == "login of app with ***, try 1"
    assert scrubbed_event({"a": {"correct-horse": ["x correct-horse", 1, None]}, "b": True}) == {
        "a": {"***": ["x ***", 1, None]},
        "b": True,
    }
    assert held.reveal()


def test_a_record_with_its_traceback() -> None:
    """The filter masks message, arguments and traceback, and lets the record through."""
    held = Secret(CANARY)
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(ScrubFilter())
    log = logging.getLogger("kemudi.test.scrub")
    log.addHandler(handler)
    try:
        int(f"bad: {held.reveal()}")
    except ValueError:
        log.exception("failed with %s", held.reveal())
    log.removeHandler(handler)
    told = stream.getvalue()
    assert "failed with ***" in told
    assert "ValueError: invalid literal for int() with base 10: 'bad: ***'" in told
    assert CANARY not in told


@pytest.mark.parametrize("make", [make_log, make_graph_log], ids=["daemon", "graph"])
def test_the_structured_logs(make) -> None:
    """A line of daemon or service stays JSON, without the secret."""
    held = Secret(CANARY)
    stream = io.StringIO()
    make(stream).warning("odd", detail={"given": [held.reveal()]}, code=3)
    line = json.loads(stream.getvalue())
    assert (line["detail"], line["code"]) == ({"given": ["***"]}, 3)


def test_a_hardened_process() -> None:
    """No core dump, also not to a pipe; an exception that nobody caught, in any thread, names no secret."""
    program = (
        "import resource, threading, sys\n"
        "from kemudi.schema.hardening import harden\n"
        "from kemudi.schema.secret import Secret\n"
        "harden()\n"
        f"held = Secret({CANARY!r})\n"
        "print(resource.getrlimit(resource.RLIMIT_CORE), open('/proc/self/coredump_filter').read().strip())\n"
        "def fail(): raise RuntimeError(held.reveal())\n"
        "thread = threading.Thread(target=fail); thread.start(); thread.join()\n"
        "fail()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert done.stdout.split() == ["(0,", "0)", "00000000"]
    assert done.stderr.count("RuntimeError: ***") == 2
    assert "held.reveal()" in done.stderr or "fail" in done.stderr
    for spelling in (CANARY, repr(CANARY)[1:-1]):
        assert spelling not in done.stderr.replace(program, "")
