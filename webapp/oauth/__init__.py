"""The identity endpoint."""

from flask import Blueprint


def make_blueprint() -> Blueprint:
    return Blueprint("identity", __name__)
