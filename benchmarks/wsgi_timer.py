"""Time pages of a WSGI application in this process. Uses the standard library only, so that any interpreter can run it.

    python wsgi_timer.py MODULE:APPLICATION REPEATS < pages.json > times.json

`pages.json` has a list of [name, path, additions to the WSGI environment], `times.json` a list of [name, minimum ms,
median ms, status, bytes]. The first request of a page is not counted.
"""

import importlib
import io
import json
import statistics
import sys
import time
from urllib.parse import unquote


def main() -> None:
    """Time every page in the standard input."""
    module, _, name = sys.argv[1].partition(":")
    repeats = int(sys.argv[2])
    sys.path.insert(0, "")
    application = getattr(importlib.import_module(module), name)
    found = []
    for label, url, additions in json.load(sys.stdin):
        times = []
        for number in range(repeats + 1):
            started = time.perf_counter()
            status, size = get(application, url, additions)
            if number:
                times.append((time.perf_counter() - started) * 1000)
        found.append([label, min(times), statistics.median(times), status, size])
    json.dump(found, sys.stdout)


def get(application, url, additions):  # type: ignore[no-untyped-def]
    """Return status and size of the response to a GET."""
    path, _, query = url.partition("?")
    statuses = []
    environ = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote(path),
        "QUERY_STRING": query,
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "127.0.0.1",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "https",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        **additions,
    }
    body = application(environ, lambda status, _headers, _error=None: statuses.append(status))
    size = sum(map(len, body))
    if hasattr(body, "close"):
        body.close()
    return statuses[0], size


if __name__ == "__main__":
    main()
