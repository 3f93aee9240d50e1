"""The log: one JSON object per line, whatever the text in it."""

import contextlib
import json
import sys
import traceback
from typing import Any, Final, TextIO, cast

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

from kemudi.schema.masking import scrubbed_event

Log = FilteringBoundLogger
_INFO: Final = 20


def _as_line(event: dict[str, Any], **_options: object) -> str:
    # ASCII only: line ends, terminal escapes and bidi controls of a commit message become \uXXXX.
    return json.dumps(scrubbed_event(event), ensure_ascii=True, default=str, separators=(", ", ": "))


def _without_values(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    """Reduce an exception to its type and the lines it passed: messages of libraries may quote values."""
    error = event.pop("error", None)
    if isinstance(error, BaseException):
        frames = traceback.extract_tb(error.__traceback__)
        event["error"] = type(error).__name__
        event["trace"] = [
            f"{frame.filename.rpartition('/kemudi/')[2]}:{frame.lineno} {frame.name}" for frame in frames
        ]
    elif error is not None:
        event["error"] = error
    return event


class _Unfailing:
    """A stream whose loss costs log lines and nothing else: the reader of a pipe may go, a disk may fill up."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, or lose the text."""
        with contextlib.suppress(OSError, ValueError):
            return self._stream.write(text)
        return 0

    def flush(self) -> None:
        """Flush, or not."""
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()


def make_log(stream: TextIO | None = None, **bound: object) -> Log:
    """A logger of its own, not the process-wide one: the stream is standard error unless another is given."""
    log: Log = structlog.wrap_logger(
        structlog.PrintLogger(cast("TextIO", _Unfailing(stream or sys.stderr))),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _without_values,
            structlog.processors.EventRenamer("event"),
            structlog.processors.JSONRenderer(serializer=_as_line),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_INFO),
        cache_logger_on_first_use=True,
    )
    return log.bind(**bound) if bound else log
