"""URLs of rows, built from one pattern."""

import uuid

from flask import Flask, url_for

from webapp.web.http.urls import url_builder


def test_the_urls_of_rows_are_those_of_url_for() -> None:
    app = Flask(__name__)
    app.add_url_rule("/{clients} of/<key>/requests/<number>", "request")
    app.url_defaults(lambda _endpoint, values: values.setdefault("lang", "de"))
    with app.test_request_context(base_url="https://mas.example/a prefix"):
        build = url_builder("request", "key", "number")
        for key, number in ((uuid.uuid4(), "1774353127000000-12"), (uuid.uuid4(), "0-1")):
            assert build(key, number) == url_for("request", key=key, number=number)
