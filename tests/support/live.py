"""An application served by this process over real connections, and a client for it."""

import contextlib
import re
from collections.abc import Iterator, Mapping
from threading import Thread
from typing import Any

import requests
from flask import Flask
from werkzeug.serving import make_server

from tests.support.host import PREFIX

Form = Mapping[str, str] | list[tuple[str, str]]


class Site:
    """The base URL of the application, with one browser's cookies."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.session = requests.Session()
        self.session.trust_env = False

    def get(self, path: str, **options: Any) -> requests.Response:
        """Send a GET."""
        return self.session.get(self.url + path, timeout=10, **options)

    def post(self, path: str, form: Form) -> requests.Response:
        """Post a form."""
        return self.session.post(self.url + path, data=form, timeout=10)

    def create(self, form: Mapping[str, str], prefix: str = PREFIX) -> requests.Response:
        """Create a client through the form as a browser does."""
        page = self.get(f"{prefix}/new").text
        hidden = {}
        for name in ("csrf_token", "creation_key"):
            found = re.search(rf'name="{name}"[^>]*value="([^"]*)"', page)
            assert found, page
            hidden[name] = found[1]
        return self.post(f"{prefix}/new", hidden | dict(form))


@contextlib.contextmanager
def serving(app: Flask) -> Iterator[Site]:
    """Serve the application within the block."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    site = Site(f"http://127.0.0.1:{server.server_port}")
    try:
        yield site
    finally:
        site.session.close()
        server.shutdown()
        thread.join()
        server.server_close()
