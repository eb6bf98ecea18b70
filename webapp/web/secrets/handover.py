"""Show the secret of a client once, with ready commands and code that request a token."""

from flask import Response, url_for

from ...core.database.models import IdentityClient
from ...core.secrets.generation import Secret
from ..http.forms import ScreenForm
from ..http.handover import show_secret
from .snippets import snippets_for


def hand_over(
    client: IdentityClient, secret: Secret, *, title: str, new: bool = False, note: str | None = None, done: str = ""
) -> Response:
    """Return the response that shows the secret of a client, with ready commands and code.

    :param new: whether the same POST created the client.
    :param note: a sentence on when the previous secrets end; None where they were replaced at once.
    :param done: the key of the message on the page that Done opens, if any.
    """
    return show_secret(
        "secrets/_handover.html",
        title=title,
        done_url=url_for(".details", key=client.id),
        done=done,
        changed=client.id,
        client=client,
        secret=secret.reveal(),
        snippets=snippets_for(client, secret),
        new=new,
        note=note,
        test_url=url_for(".try_token", key=client.id),
        test_form=ScreenForm(),
    )
