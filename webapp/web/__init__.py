"""The screens."""

from flask import Blueprint


def make_blueprint() -> Blueprint:
    return Blueprint("identity_clients", __name__)
