"""Texts on the outcome of a token request: the response that the caller got, the true reason, and advice (L2, P7)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flask import url_for

from ...core.addresses import is_allowed
from ...core.clients.roles import RoleCatalogue
from ...core.database.models import ClientSecret, IdentityClient, SecretState, TokenRequest, utc_now
from ...core.database.outcomes import AuthenticationFailure, Outcome
from ...core.i18n import gettext, lazy_gettext, ngettext
from ...host import services
from ..http.access import Access, actor
from ..i18n.credential_names import credential_title
from ..i18n.times import Times

OUTCOME_LABELS: Mapping[str, str] = {
    # Translators: the outcome of a token request, as are the next ones.
    Outcome.ISSUED: lazy_gettext("issued"),
    AuthenticationFailure.WRONG_SECRET: lazy_gettext("wrong secret"),
    AuthenticationFailure.ENDED_SECRET: lazy_gettext("secret ended"),
    AuthenticationFailure.PAUSED_SECRET: lazy_gettext("secret paused"),
    AuthenticationFailure.ADDRESS_NOT_ALLOWED: lazy_gettext("address not allowed"),
    AuthenticationFailure.DISABLED: lazy_gettext("client disabled"),
    AuthenticationFailure.DELETED: lazy_gettext("client deleted"),
    AuthenticationFailure.ACCOUNT_OFF: lazy_gettext("account switched off"),
    AuthenticationFailure.UNKNOWN: lazy_gettext("not this client ID"),
    AuthenticationFailure.WHITE_SPACE: lazy_gettext("white space around the client ID"),
    AuthenticationFailure.MALFORMED: lazy_gettext("malformed secret"),
    AuthenticationFailure.WRONG_KEY: lazy_gettext("no key of this client"),
    AuthenticationFailure.ENDED_KEY: lazy_gettext("key ended"),
    AuthenticationFailure.PAUSED_KEY: lazy_gettext("key paused"),
    # Translators: an assertion is a signed statement by which a client authenticates (RFC 7523), here and below.
    AuthenticationFailure.ASSERTION_ALGORITHM: lazy_gettext("assertion signed by another algorithm"),
    AuthenticationFailure.ASSERTION_MALFORMED: lazy_gettext("assertion lacks iss, sub, jti or a time"),
    AuthenticationFailure.ASSERTION_AUDIENCE: lazy_gettext("assertion for another audience"),
    AuthenticationFailure.ASSERTION_EXPIRED: lazy_gettext("assertion expired"),
    AuthenticationFailure.ASSERTION_EARLY: lazy_gettext("assertion not valid yet"),
    AuthenticationFailure.ASSERTION_LONG: lazy_gettext("assertion valid too long"),
    AuthenticationFailure.ASSERTION_NOT_STRICT: lazy_gettext("assertion not strict"),
    AuthenticationFailure.ASSERTION_USED: lazy_gettext("assertion used before"),
    Outcome.SCOPE_NOT_ALLOWED: lazy_gettext("scope not allowed"),
    Outcome.SCOPE_MALFORMED: lazy_gettext("scope malformed"),
    Outcome.NO_ROLES: lazy_gettext("no roles left"),
    Outcome.RESOURCE_NOT_ALLOWED: lazy_gettext("resource not allowed"),
    Outcome.THROTTLED: lazy_gettext("too many attempts"),
    Outcome.PLAIN_HTTP: lazy_gettext("sent without https"),
}
"""The options of the filter by reason, the most frequent first."""
Link = tuple[str, str, Access]
"""Label and URL of a screen, and the permission that it needs."""
INVALID_CLIENT = 401, "invalid_client"
RESPONSES: Mapping[str, tuple[int, str]] = {
    Outcome.ISSUED: (200, ""),
    **dict.fromkeys(AuthenticationFailure, INVALID_CLIENT),
    Outcome.SCOPE_NOT_ALLOWED: (400, "invalid_scope"),
    Outcome.SCOPE_MALFORMED: (400, "invalid_scope"),
    Outcome.NO_ROLES: (400, "invalid_scope"),
    Outcome.RESOURCE_NOT_ALLOWED: (400, "invalid_target"),
    Outcome.THROTTLED: (429, "temporarily_unavailable"),
    Outcome.PLAIN_HTTP: (400, "invalid_request"),
}
"""Status and error code of the response to each outcome."""
OTHER_SCOPE = "other"
"""What is recorded in place of a scope that no role of the catalogue has (L3)."""
_ADVICE: Mapping[str, tuple[str, str]] = {
    # The reason, and what to do, where both depend on the outcome alone.
    AuthenticationFailure.MALFORMED: (
        lazy_gettext("The secret was not one that a client can have: 6 to 100 letters, digits and signs."),
        lazy_gettext("Copy the secret to the caller again, whole and without a line break."),
    ),
    AuthenticationFailure.WRONG_KEY: (
        lazy_gettext("No key of this client fits the signature of the assertion."),
        lazy_gettext("Add the caller’s public key to this client, or let the caller sign with a key that is there."),
    ),
    AuthenticationFailure.ASSERTION_ALGORITHM: (
        lazy_gettext("The assertion was signed by another algorithm than that of its key."),
        lazy_gettext("Set the key’s algorithm in the caller’s settings."),
    ),
    AuthenticationFailure.ASSERTION_MALFORMED: (
        lazy_gettext("The assertion lacked “iss”, “sub”, “jti” or a time, or one of them was wrong."),
        lazy_gettext("Set “iss” and “sub” to the client ID, and let each assertion have a “jti” of its own."),
    ),
    AuthenticationFailure.ASSERTION_AUDIENCE: (
        lazy_gettext("The assertion was made for another recipient: its “aud” is not this issuer."),
        lazy_gettext("Correct the audience in the caller’s settings."),
    ),
    AuthenticationFailure.ASSERTION_EXPIRED: (
        lazy_gettext("The assertion had expired."),
        lazy_gettext("Check the caller’s clock, and let it sign a new assertion for each request."),
    ),
    AuthenticationFailure.ASSERTION_EARLY: (
        lazy_gettext("The assertion was not valid yet."),
        lazy_gettext("Set the caller’s clock."),
    ),
    AuthenticationFailure.ASSERTION_LONG: (
        lazy_gettext("The assertion was valid for too long."),
        lazy_gettext("Let the caller sign assertions for a shorter time."),
    ),
    AuthenticationFailure.ASSERTION_NOT_STRICT: (
        lazy_gettext("The account accepts only strict assertions, and this one was not."),
        lazy_gettext("Set the issuer as the only audience, and at most 5 minutes of life, in the caller’s settings."),
    ),
    AuthenticationFailure.ASSERTION_USED: (
        lazy_gettext("The same assertion was used before."),
        lazy_gettext("Let the caller sign a new assertion, with another “jti”, for each request."),
    ),
    AuthenticationFailure.DELETED: (
        lazy_gettext("The client is deleted."),
        lazy_gettext("Give the caller another client, or stop it. A deleted client does not come back."),
    ),
    AuthenticationFailure.WHITE_SPACE: (
        lazy_gettext("The caller sent the client ID with a space or line break before or after it."),
        lazy_gettext("Remove the space or line break from the client ID in the caller’s settings."),
    ),
    Outcome.SCOPE_MALFORMED: (
        lazy_gettext("The scope was not a list of scopes with one space between each."),
        lazy_gettext("Correct the scope in the caller’s settings, or leave it out to ask for all scopes."),
    ),
    Outcome.PLAIN_HTTP: (
        lazy_gettext("The request came over http, so that others on the way could read the secret."),
        lazy_gettext("Use https in the caller’s settings, and replace the secret: treat it as leaked."),
    ),
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """The outcome of one token request, as its screen shows it.

    :param status: the HTTP status of the response.
    :param error: the error code of the response, empty where a token was issued.
    :param reason: the true reason.
    :param advice: what to do; empty where nothing is to be done.
    :param links: the screens where it is done, as far as the actor may use them.
    """

    status: int
    error: str
    reason: str
    advice: str = ""
    links: Sequence[Link] = ()


def label_of(outcome: str) -> str:
    """Return the outcome as text, for use within a sentence."""
    return str(OUTCOME_LABELS.get(outcome, outcome))


def result(request: TokenRequest) -> str:
    """Return the outcome of a token request as text; the response to the caller gives less detail (P7)."""
    if request.outcome == Outcome.THROTTLED and request.secret_label:
        return gettext("too many tokens")
    return label_of(request.outcome)


def response_to(outcome: str) -> tuple[int, str]:
    """Return the HTTP status and the error code that the caller got; the code is empty where a token was issued."""
    return RESPONSES.get(outcome, INVALID_CLIENT)


def explain(request: TokenRequest, client: IdentityClient, secrets: Sequence[ClientSecret]) -> Explanation:
    """Return the response that the caller got, the true reason, and advice for the client's current state.

    :param secrets: all secrets of the client.
    """
    status, error = response_to(request.outcome)
    if request.outcome == Outcome.ISSUED:
        return Explanation(status, error, gettext("A token was issued."))
    reason, advice, links = _reason(request, client, secrets)
    allowed = [] if client.deleted_at else [link for link in links if link[2].allows(actor())]
    return Explanation(status, error, reason, advice, allowed)


def _reason(
    request: TokenRequest, client: IdentityClient, secrets: Sequence[ClientSecret]
) -> tuple[str, str, Sequence[Link]]:
    outcome, label = request.outcome, request.secret_label
    change_secret = (gettext("Change secret"), url_for(".secret", key=client.id), Access.SECRETS)
    match outcome:
        case Outcome.SCOPE_NOT_ALLOWED:
            return _scope_reason(request, client, services().catalogue)
        case Outcome.NO_ROLES:
            return (
                gettext("The account may give none of the client’s roles any more."),
                gettext("Choose other roles, or ask for the former ones at %(platform)s.", platform=_platform()),
                [(gettext("Edit the roles"), url_for(".edit", key=client.id), Access.EDIT)],
            )
        case Outcome.RESOURCE_NOT_ALLOWED:
            return (
                gettext("The caller asked for a token for another API, by the parameter “resource”."),
                gettext(
                    "Leave out “resource” in the caller’s settings, or send %(audience)s.",
                    audience=services().settings.audience,
                ),
                [],
            )
        case Outcome.THROTTLED if label:
            return (
                gettext("The client asked for more tokens within a minute than it may."),
                gettext("Let the caller keep its token and use it until it ends, and not ask for one each time."),
                [],
            )
        case Outcome.THROTTLED:
            return (
                gettext("Too many requests with a wrong secret had come from this address."),
                gettext("Find the caller with the wrong secret. After 5 minutes it may try again."),
                [change_secret],
            )
        case AuthenticationFailure.UNKNOWN:
            return (
                gettext("The caller sent a former client ID, or this one with other capitals."),
                gettext("Write %(client_id)s in the caller’s settings, exactly so.", client_id=client.client_id),
                [],
            )
        case AuthenticationFailure.WRONG_SECRET:
            return (
                gettext("The secret was none of this client’s."),
                gettext("Copy the secret to the caller again. If nobody has it any more, change it."),
                [change_secret],
            )
        case AuthenticationFailure.ENDED_SECRET | AuthenticationFailure.PAUSED_SECRET:
            return _secret_reason(request, client, secrets)
        case AuthenticationFailure.ENDED_KEY | AuthenticationFailure.PAUSED_KEY:
            return _key_reason(request)
        case AuthenticationFailure.DISABLED if client.enabled:
            return gettext("The client was disabled."), gettext("It is enabled now. Nothing to do."), []
        case AuthenticationFailure.DISABLED:
            return (
                gettext("The client is disabled."),
                gettext("Enable it if this caller may have tokens. If not, stop the caller."),
                [(gettext("Enable"), url_for(".enable", key=client.id), Access.EDIT)],
            )
        case AuthenticationFailure.ACCOUNT_OFF:
            return (
                gettext("Identity Clients was switched off for the account."),
                gettext("It is switched on again. Nothing to do."),
                [],
            )
        case AuthenticationFailure.ADDRESS_NOT_ALLOWED:
            return _address_reason(request, client)
    if outcome in _ADVICE:
        reason, advice = map(str, _ADVICE[outcome])
        leaked = (gettext("Replace leaked secret"), url_for(".leaked", key=client.id), Access.SECRETS)
        return reason, advice, [leaked] if outcome == Outcome.PLAIN_HTTP else []
    return gettext("%(reason)s.", reason=outcome), "", []


def _scope_reason(
    request: TokenRequest, client: IdentityClient, catalogue: RoleCatalogue
) -> tuple[str, str, Sequence[Link]]:
    """Name each scope that the client's roles do not have, and the roles that have it."""
    own = set(catalogue.scopes(catalogue.effective(client.roles, None)))
    missing = [scope for scope in request.scope.split() if scope not in own and scope != OTHER_SCOPE]
    reasons = []
    for scope in missing:
        names = [role.name for role in catalogue.values() if scope in role.scopes]
        roles = ", ".join(names)
        # Translators: roles is the name of a role, or several with commas.
        opened = ngettext("%(roles)s does.", "Each of these does: %(roles)s.", len(names), roles=roles)
        reasons.append(gettext("No role of this client opens %(scope)s. %(opened)s", scope=scope, opened=opened))
    is_unknown = OTHER_SCOPE in request.scope.split()
    if is_unknown:
        reasons.append(gettext("No role at all opens the scope that is shown as “other”."))
    if not reasons:
        return (
            gettext("No role of this client opened every scope at that time."),
            gettext("Its roles open all of them now. Nothing to do."),
            [],
        )
    advice = (
        gettext("Give the client such a role, or leave the scope out in the caller’s settings.")
        if missing
        else gettext("Correct the scope in the caller’s settings, or leave it out to ask for all scopes.")
    )
    edit = (gettext("Edit the roles"), url_for(".edit", key=client.id), Access.EDIT)
    return " ".join(reasons), advice, [edit] if missing else []


def _secret_reason(
    request: TokenRequest, client: IdentityClient, secrets: Sequence[ClientSecret]
) -> tuple[str, str, Sequence[Link]]:
    now, label = utc_now(), request.secret_label or ""
    used = next((secret for secret in secrets if secret.label == label), None)
    current = [secret.label for secret in secrets if secret.state_at(now) is SecretState.CURRENT]
    details = (gettext("See the secrets"), url_for(".details", key=client.id, _anchor="ic-h-secrets"), Access.VIEW)
    if request.outcome == AuthenticationFailure.PAUSED_SECRET:
        reason = gettext("Secret %(label)s was paused.", label=label)
        if used and used.state_at(now) is not SecretState.PAUSED:
            return reason, gettext("It is no longer paused."), [details]
        return reason, gettext("Resume it if this caller may have tokens. If not, stop the caller."), [details]
    reason = (
        gettext("Secret %(label)s ended on %(time)s.", label=label, time=_times().long(used.ends_at))
        if used and used.ends_at
        else gettext("The secret had ended.")
    )
    if current:
        advice = gettext("Give this caller secret %(label)s. If nobody has it any more, change it.", label=current[-1])
    else:
        advice = gettext("Change the secret, and give this caller the new one.")
    return reason, advice, [(gettext("Change secret"), url_for(".secret", key=client.id), Access.SECRETS)]


def _key_reason(request: TokenRequest) -> tuple[str, str, Sequence[Link]]:
    name = credential_title(request.secret_label or "")
    if request.outcome == AuthenticationFailure.PAUSED_KEY:
        return (
            gettext("%(key)s was paused.", key=name),
            gettext("Resume it if this caller may have tokens. If not, stop the caller."),
            [],
        )
    return gettext("%(key)s had ended.", key=name), gettext("Add a new key of the caller to this client."), []


def _address_reason(request: TokenRequest, client: IdentityClient) -> tuple[str, str, Sequence[Link]]:
    if request.address is None:
        return (
            gettext("The client may call from certain addresses only, and the address of this caller is not known."),
            gettext("Ask those who run %(platform)s why callers’ addresses do not arrive.", platform=_platform()),
            [],
        )
    reason = gettext("%(address)s was not among the allowed addresses.", address=request.address)
    if is_allowed(client.allowed_networks, request.address):
        return reason, gettext("It is allowed now. Nothing to do."), []
    return (
        reason,
        gettext("If this caller is one of yours, allow its address. If not, somebody else has the secret: replace it."),
        [
            (gettext("Allow this address"), url_for(".networks", key=client.id, address=request.address), Access.EDIT),
            (gettext("Replace leaked secret"), url_for(".leaked", key=client.id), Access.SECRETS),
        ],
    )


def _platform() -> str:
    return services().settings.platform_name


def _times() -> Times:
    return Times(services().settings.time_zone)
