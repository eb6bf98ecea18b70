"""Test now: try a token request with a secret, and show the response with its true reason."""

import json
from typing import Any

from flask import Response, request

from ...core.audit.actions import Action
from ...core.audit.events import record_event
from ...core.database.models import IdentityClient, TokenRequest
from ...core.database.outcomes import AuthenticationFailure, Outcome
from ...core.errors import FieldError
from ...core.i18n import gettext
from ...core.secrets.generation import Secret
from ...host import TokenTrial, author_of, services
from ..http.access import actor
from ..http.htmx import render
from ..http.loading import load_client
from ..http.transactions import event_transaction
from .explanations import Explanation, explain
from .forms import TokenTrialForm
from .outcomes import result

ANSWER_ID = "ic-test-answer"
"""The element that shows the answer; the handover asks for it alone."""


def try_token(key: str) -> Response:
    """Show the form; on POST ask the token endpoint as a caller would, and show what it answers and why.

    The secret is neither stored nor shown again, and no whole token is shown. The test is in the activity, and is not a
    token request of the request log.
    """
    client, form = load_client(key), TokenTrialForm()
    if not form.is_submitted():
        return _show(form, client)
    secret = form.client_secret.data or ""
    if not secret:
        form.add_errors([FieldError("client_secret", gettext("Enter the secret to test."))])
    if not form.validate():
        return _show(form, client, status=422)
    trial = services().try_token(client.client_id, Secret(secret), (form.scope.data or "").strip())
    if trial.outcome != Outcome.THROTTLED:  # so that the limit also bounds the events of refused tests
        with event_transaction() as session:
            issued = trial.outcome == Outcome.ISSUED
            record_event(session, author_of(actor()), Action.SECRET_TESTED, client, {"issued": [None, issued]})
    return _show(form, client, **_answer(trial, client))


def _answer(trial: TokenTrial, client: IdentityClient) -> dict[str, Any]:
    tried = TokenRequest(
        client_key=client.id,
        account_id=client.account_id,
        at=trial.at,
        outcome=trial.outcome,
        secret_label=trial.secret_label,
        address=trial.address,
        scope=trial.scope,
    )
    return {
        "trial": trial,
        "result": result(tried),
        "response": json.dumps(trial.body, indent=2, ensure_ascii=False),
        "explanation": _explain_own_address(trial)
        if trial.outcome == AuthenticationFailure.ADDRESS_NOT_ALLOWED
        else explain(tried, client, client.secrets),
    }


def _explain_own_address(trial: TokenTrial) -> Explanation:
    """Explain a refused address, which is that of the person: to allow it is rarely what they want."""
    return Explanation(
        trial.status,
        trial.body["error"],
        gettext(
            "The secret is right, but your own address, %(address)s, is not among the allowed addresses.",
            address=trial.address or "–",
        ),
        gettext("A caller from an allowed address gets past this. Test from there to see its token."),
    )


def _show(form: TokenTrialForm, client: IdentityClient, *, status: int = 200, **answer: Any) -> Response:
    in_handover = request.headers.get("HX-Target", "").endswith(f"#{ANSWER_ID}")
    if in_handover:
        fragment = "usage/_token_trial_answer.html"
    else:
        fragment = f"usage/_token_trial_{'form' if request.method == 'POST' else 'dialog'}.html"
    return render(
        "usage/token_trial.html",
        fragment,
        status=status,
        client=client,
        form=form,
        in_handover=in_handover,
        **{"trial": None, **answer},
    )
