import click
from flask.cli import with_appcontext

from .models import Merchant, Payout, Staff, db

STAFF = (
    ("ana@tidewater.example", "Ana Costa", "owner payouts", 1),
    ("ben@tidewater.example", "Ben Okoye", "integrations", 1),
    ("cai@tidewater.example", "Cai Morgan", "payouts", 1),
    ("dee@lowland.example", "Dee Visser", "owner", 2),
    ("eli@saltmarsh.example", "Eli Park", "owner", 3),
)


@click.command("seed")
@click.argument("password")
@with_appcontext
def seed(password):
    """Add a few merchants with staff and payouts."""
    db.session.add_all(
        [
            Merchant(number=1, trading_name="Tidewater Foods", plan="plus"),
            Merchant(number=2, trading_name="Lowland Bikes", plan="basic"),
            Merchant(number=3, trading_name="Saltmarsh Hotels", plan="plus"),
        ]
    )
    db.session.flush()
    for mail, name, duties, merchant in STAFF:
        person = Staff(mail=mail, display_name=name, duties=duties, merchant_number=merchant)
        person.set_password(password)
        db.session.add(person)
    db.session.add(Payout(reference="P-1001", merchant_number=1, beneficiary="Hull Fish Market", pence=1250000))
    db.session.commit()
