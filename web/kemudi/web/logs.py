"""The log of a service: one JSON object per line on standard error. Never a request's body, a cookie or a token."""

import sys
import traceback
from typing import Any, Final, TextIO

import orjson
import structlog
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

from kemudi.schema.masking import scrubbed_event

_INFO: Final = 20


def make_log(stream: TextIO | None = None) -> FilteringBoundLogger:
    """A logger of its own, not the process-wide one."""
    log: FilteringBoundLogger = structlog.wrap_logger(
        structlog.PrintLogger(stream or sys.stderr),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _trace,
            structlog.processors.JSONRenderer(serializer=_as_line),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_INFO),
        cache_logger_on_first_use=True,
    )
    return log


def _as_line(event: dict[str, Any], **_options: object) -> str:
    return orjson.dumps(scrubbed_event(event), default=str).decode()


def _trace(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    """Reduce the exception at hand to its type and the lines it passed: its message may quote what was sent."""
    given = event.pop("exc_info", None)
    error: Any = given if isinstance(given, BaseException) else sys.exc_info()[1] if given else None
    if error is not None:
        event["exception"] = type(error).__name__
        event["trace"] = [
            f"{frame.filename.rpartition('/kemudi/')[2]}:{frame.lineno} {frame.name}"
            for frame in traceback.extract_tb(error.__traceback__)
        ]
    return event
