"""What a process that holds secrets does first: no core dumps, and a last look at every text that it logs."""

import contextlib
import logging
import resource
import sys
import threading
import traceback
from pathlib import Path
from types import TracebackType

from kemudi.schema.masking import scrubbed


class ScrubFilter(logging.Filter):
    """Masks every live secret in a record, its traceback included. It drops nothing."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Replace the message by what may be shown of it."""
        record.msg, record.args = scrubbed(record.getMessage()), ()
        if record.exc_info:
            record.exc_text = scrubbed(logging.Formatter().formatException(record.exc_info))
            record.exc_info = None
        if record.stack_info:
            record.stack_info = scrubbed(record.stack_info)
        return True


def harden() -> None:
    """For the whole process, before the first secret is opened. May be repeated."""
    forbid_core_dumps()
    for handler in (logging.lastResort, *logging.getLogger().handlers):
        if handler is not None and not any(isinstance(one, ScrubFilter) for one in handler.filters):
            handler.addFilter(ScrubFilter())
    sys.excepthook = _excepthook
    threading.excepthook = _thread_excepthook


def forbid_core_dumps() -> None:
    """No memory of this process and its children on disk: neither in a file nor piped to a collector."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # The limit does not hold for a kernel that pipes dumps to a program; what a dump contains does.
    with contextlib.suppress(OSError):
        Path("/proc/self/coredump_filter").write_text("0")


def _excepthook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    sys.stderr.write(scrubbed("".join(traceback.format_exception(kind, error, trace))))


def _thread_excepthook(arguments: threading.ExceptHookArgs) -> None:
    if arguments.exc_value is not None and not isinstance(arguments.exc_value, SystemExit):
        _excepthook(arguments.exc_type, arguments.exc_value, arguments.exc_traceback)
