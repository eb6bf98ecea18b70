"""Identity Clients within the portal: who is signed in, in its words."""

from datetime import datetime

from flask import session
from flask_login import current_user
from identity_clients import Actor, IdentityClients

identity_clients = IdentityClients()

ROLES = {"owner": "MerchantAdmin", "integrations": "ManageIdentityClients"}


@identity_clients.actor_loader
def actor():
    if not current_user.is_authenticated:
        return None
    merchant = current_user.merchant
    return Actor(
        id=current_user.get_id(),
        label=current_user.display_name,
        account_id=str(merchant.number),
        account_name=merchant.trading_name,
        roles=frozenset(ROLES[duty] for duty in current_user.duties.split() if duty in ROLES),
        feature_enabled=merchant.plan == "plus",
        signed_in_at=datetime.fromisoformat(session["entered_at"]),
    )
