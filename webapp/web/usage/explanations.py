"""Explain one token request: the response that the caller got, the true reason, and advice (L2, P7)."""

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
from .outcomes import response_to

Link = tuple[str, str, Access]
"""Label and URL of a screen, and the permission that it needs."""
Reason = tuple[str, str, Sequence[Link]]
"""The true reason, what to do about it, and the screens where that is done."""
_AUTHENTICATION_FAILURES = frozenset(AuthenticationFailure)
OTHER_SCOPE = "other"
"""What is recorded in place of a scope that no role of the catalogue has (L3)."""
_FIXED_TEXTS: Mapping[str, tuple[str, str]] = {
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
"""The reason and the advice, where both depend on the outcome alone."""


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


def _reason(request: TokenRequest, client: IdentityClient, secrets: Sequence[ClientSecret]) -> Reason:
    outcome = request.outcome
    if outcome in _FIXED_TEXTS:
        reason, advice = map(str, _FIXED_TEXTS[outcome])
        leaked = (gettext("Replace leaked secret"), url_for(".leaked", key=client.id), Access.SECRETS)
        return reason, advice, [leaked] if outcome == Outcome.PLAIN_HTTP else []
    if outcome in _AUTHENTICATION_FAILURES:
        return _authentication_reason(request, client, secrets)
    return _authorization_reason(request, client)


def _authentication_reason(request: TokenRequest, client: IdentityClient, secrets: Sequence[ClientSecret]) -> Reason:
    """Return the reason why the client was not authenticated, or is not allowed to get tokens at all."""
    match request.outcome:
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
                [_change_secret(client)],
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
    return _unknown_reason(request)


def _authorization_reason(request: TokenRequest, client: IdentityClient) -> Reason:
    """Return the reason why the token was refused that the request asked for."""
    match request.outcome:
        case Outcome.SCOPE_NOT_ALLOWED:
            return _scope_reason(request, client, services().catalogue)
        case Outcome.NO_ROLES:
            return (
                gettext("The account may give none of the client’s roles any more."),
                gettext("Choose other roles, or ask for the former ones at %(platform)s.", platform=_platform()),
                [_edit_roles(client)],
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
        case Outcome.THROTTLED if request.secret_label:
            return (
                gettext("The client asked for more tokens within a minute than it may."),
                gettext("Let the caller keep its token and use it until it ends, and not ask for one each time."),
                [],
            )
        case Outcome.THROTTLED:
            return (
                gettext("Too many requests with a wrong secret had come from this address."),
                gettext("Find the caller with the wrong secret. After 5 minutes it may try again."),
                [_change_secret(client)],
            )
    return _unknown_reason(request)


def _unknown_reason(request: TokenRequest) -> Reason:
    """Return the reason of an outcome of another release."""
    return gettext("%(reason)s.", reason=request.outcome), "", []


def _change_secret(client: IdentityClient) -> Link:
    return gettext("Change secret"), url_for(".secret", key=client.id), Access.SECRETS


def _edit_roles(client: IdentityClient) -> Link:
    return gettext("Edit the roles"), url_for(".edit", key=client.id), Access.EDIT


def _scope_reason(request: TokenRequest, client: IdentityClient, catalogue: RoleCatalogue) -> Reason:
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
    return " ".join(reasons), advice, [_edit_roles(client)] if missing else []


def _secret_reason(request: TokenRequest, client: IdentityClient, secrets: Sequence[ClientSecret]) -> Reason:
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
    return reason, advice, [_change_secret(client)]


def _key_reason(request: TokenRequest) -> Reason:
    name = credential_title(request.secret_label or "")
    if request.outcome == AuthenticationFailure.PAUSED_KEY:
        return (
            gettext("%(key)s was paused.", key=name),
            gettext("Resume it if this caller may have tokens. If not, stop the caller."),
            [],
        )
    return gettext("%(key)s had ended.", key=name), gettext("Add a new key of the caller to this client."), []


def _address_reason(request: TokenRequest, client: IdentityClient) -> Reason:
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
