"""The lines of the `log` and `errors` plugins, as CoreDNS 1.13.2 writes them. Pure: records and `now` in, text out.

Nothing here writes, reads a clock or knows a configuration file; shardns.log puts the lines on standard output.
"""

from shardns.querylog.errors import ErrorLog, Pattern, error_line, panic_lines
from shardns.querylog.record import CLASSES, LogRecord, from_struct
from shardns.querylog.rules import QueryLog, Rule
from shardns.querylog.template import COMBINED, COMMON, LABELS, compile_format, expanded

__all__ = [
    "CLASSES",
    "COMBINED",
    "COMMON",
    "LABELS",
    "ErrorLog",
    "LogRecord",
    "Pattern",
    "QueryLog",
    "Rule",
    "compile_format",
    "error_line",
    "expanded",
    "from_struct",
    "panic_lines",
]
