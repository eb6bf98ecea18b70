"""Every resource of the management API with its operations, one line each."""

from collections.abc import Mapping

from . import clients, events, keys, networks, roles, secrets, token_requests
from .operations import Operation

RESOURCES: tuple[tuple[str, str, Mapping[str, Operation]], ...] = (
    # path, endpoint, operations by method
    ("/clients", "clients", {"GET": clients.list_clients, "POST": clients.create_client}),
    (
        "/clients/<key>",
        "client",
        {"GET": clients.get_one_client, "PATCH": clients.update_client, "DELETE": clients.delete_one_client},
    ),
    ("/clients/<key>/enable", "enable", {"POST": clients.enable_client}),
    ("/clients/<key>/disable", "disable", {"POST": clients.disable_client}),
    ("/clients/<key>/revoke-tokens", "revoke_tokens", {"POST": clients.revoke_all_tokens}),
    ("/clients/<key>/secrets", "secrets", {"GET": secrets.list_secrets, "POST": secrets.create_secret}),
    ("/clients/<key>/secrets/<secret_id>", "secret", {"GET": secrets.get_secret}),
    ("/clients/<key>/secrets/<secret_id>/end", "end_secret", {"POST": secrets.end_secret}),
    ("/clients/<key>/secrets/<secret_id>/pause", "pause_secret", {"POST": secrets.pause_secret}),
    ("/clients/<key>/secrets/<secret_id>/resume", "resume_secret", {"POST": secrets.resume_secret}),
    ("/clients/<key>/secrets/<secret_id>/end-date", "end_date", {"PUT": secrets.set_end_date}),
    ("/clients/<key>/keys", "keys", {"GET": keys.list_keys, "POST": keys.add_key}),
    ("/clients/<key>/keys/<key_id>", "key", {"GET": keys.get_key}),
    ("/clients/<key>/keys/<key_id>/end", "end_key", {"POST": keys.end_key}),
    ("/clients/<key>/keys/<key_id>/pause", "pause_key", {"POST": keys.pause_key}),
    ("/clients/<key>/keys/<key_id>/resume", "resume_key", {"POST": keys.resume_key}),
    ("/clients/<key>/keys/<key_id>/end-date", "key_end_date", {"PUT": keys.set_key_end_date}),
    ("/clients/<key>/networks", "networks", {"GET": networks.get_networks, "PUT": networks.put_networks}),
    ("/clients/<key>/token-requests", "client_token_requests", {"GET": token_requests.list_token_requests_of_client}),
    ("/clients/<key>/events", "client_events", {"GET": events.list_events_of_client}),
    ("/events", "events", {"GET": events.list_events}),
    ("/token-requests", "token_requests", {"GET": token_requests.list_token_requests}),
    ("/roles", "roles", {"GET": roles.list_roles}),
)
TAGS = {
    clients.TAG: "Identity clients of your account.",
    secrets.TAG: "The secrets of a client, never their values.",
    keys.TAG: "The public keys of a client, for `private_key_jwt`.",
    networks.TAG: "The networks from which a client may call.",
    token_requests.TAG: "What clients asked at the token endpoint.",
    events.TAG: "The audit log.",
    roles.TAG: "What a client may do at the API.",
}
"""The headings under which the document and the reference page group the operations."""
