"""Merchants, staff and payouts."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade():
    op.create_table(
        "merchants",
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("trading_name", sa.String(80), nullable=False),
        sa.Column("plan", sa.String(10), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_merchants"),
    )
    op.create_table(
        "staff",
        sa.Column("staff_no", sa.Integer(), nullable=False),
        sa.Column("mail", sa.String(120), nullable=False),
        sa.Column("display_name", sa.String(80), nullable=False),
        sa.Column("duties", sa.String(120), nullable=False),
        sa.Column("password_hash", sa.String(200), nullable=False),
        sa.Column("merchant_number", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["merchant_number"], ["merchants.number"], name="fk_staff_merchant_number_merchants"),
        sa.PrimaryKeyConstraint("staff_no", name="pk_staff"),
        sa.UniqueConstraint("mail", name="uq_staff_mail"),
    )
    op.create_index("ix_staff_merchant_number", "staff", ["merchant_number"])
    op.create_table(
        "payouts",
        sa.Column("reference", sa.String(20), nullable=False),
        sa.Column("merchant_number", sa.Integer(), nullable=False),
        sa.Column("beneficiary", sa.String(80), nullable=False),
        sa.Column("pence", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["merchant_number"], ["merchants.number"], name="fk_payouts_merchant_number_merchants"),
        sa.PrimaryKeyConstraint("reference", name="pk_payouts"),
    )
    op.create_index("ix_payouts_merchant_number", "payouts", ["merchant_number"])


def downgrade():
    op.drop_table("payouts")
    op.drop_table("staff")
    op.drop_table("merchants")
