"""Logging as JSON lines, without any value that could be a secret (L4, L5, L6)."""

import json
import logging
import logging.config
import traceback
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any
from wsgiref.types import WSGIEnvironment

from flask import has_request_context, request

from ..http_request import request_id_of

VALUE_MAX_CHARACTERS = 200
REFUSED_PER_SECOND_MAX = 100
"""How many lines of refused requests a process writes in a second."""
REFUSED_SAMPLE = 100
"""Beyond, it writes one line of so many, with their number."""
FRAMES_MAX = 30
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


current_environ: ContextVar[WSGIEnvironment | None] = ContextVar("mas_request", default=None)
"""The WSGI environment of a request that the middleware handles without Flask, so that log lines contain its id."""


class JsonFormatter(logging.Formatter):
    """Formats a record, with the values given as `extra`, as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line. An exception is logged as types and code positions, without message or values (L5)."""
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _cut(record.getMessage()),
        }
        environ = request.environ if has_request_context() else current_environ.get()
        if environ is not None:
            line["request_id"] = request_id_of(environ)
        line |= {name: _cut(value) for name, value in vars(record).items() if name not in _STANDARD}
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = _error(record.exc_info[1])
        # ASCII only, so that no control character reaches a terminal.
        return json.dumps(line, ensure_ascii=True)


class BoundedHandler(logging.StreamHandler[Any]):
    """Writes lines to standard error, of refused requests only a sample where there are too many (D10).

    A sampled line has the field `lines_left_out`: the number of such lines since the last one that was written.
    """

    def __init__(self) -> None:
        super().__init__()
        self._second = 0
        self._in_this_second = 0
        self._left_out = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, unless it is left out; logging calls this with the handler's lock held."""
        if getattr(record, "status", 0) >= 400:
            if int(record.created) != self._second:
                self._second, self._in_this_second = int(record.created), 0
            self._in_this_second += 1
            beyond = self._in_this_second - REFUSED_PER_SECOND_MAX
            if beyond > 0 and beyond % REFUSED_SAMPLE:
                self._left_out += 1
                return
            if self._left_out:
                record.lines_left_out, self._left_out = self._left_out, 0
        super().emit(record)


class ThreadAdviceFilter(logging.Filter):
    """Drops the server's advice, logged at each start, to run fewer threads: their number is a decision (D7)."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is to be logged."""
        return not (record.name == "_granian" and "Python threads" in str(record.msg))


def _cut(value: Any) -> Any:
    return value if isinstance(value, int | float | None) else str(value)[:VALUE_MAX_CHARACTERS]


def _error(error: BaseException) -> list[dict[str, Any]]:
    """Return the types and code positions of an exception and its causes; their messages may contain input."""
    chain: list[dict[str, Any]] = []
    current: BaseException | None = error
    while current is not None and len(chain) < FRAMES_MAX:
        frames = traceback.extract_tb(current.__traceback__)[-FRAMES_MAX:]
        chain.append(
            {
                "type": f"{type(current).__module__}.{type(current).__qualname__}",
                "where": [_cut(f"{frame.filename}:{frame.lineno} {frame.name}") for frame in frames],
            }
        )
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return chain


def log_configuration() -> dict[str, Any]:
    """Return the `logging` configuration of this process, the server's own loggers included."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": JsonFormatter}},
        "filters": {"threads": {"()": ThreadAdviceFilter}},
        "handlers": {"json": {"()": BoundedHandler, "formatter": "json", "filters": ["threads"]}},
        "root": {"level": "INFO", "handlers": ["json"]},
        "loggers": {
            "_granian": {"level": "INFO", "handlers": ["json"], "propagate": False},
            "granian.access": {"level": "CRITICAL", "handlers": [], "propagate": False},
            "werkzeug": {"level": "WARNING"},  # its access lines carry query strings (L4)
            "alembic": {"level": "WARNING"},
        },
    }


def configure() -> None:
    """Write the logs of this process to standard error, as JSON lines."""
    logging.config.dictConfig(log_configuration())
