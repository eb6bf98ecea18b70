from flask_login import UserMixin
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import ForeignKey, MetaData, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from werkzeug.security import check_password_hash, generate_password_hash


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


db = SQLAlchemy(model_class=Base)


class Merchant(db.Model):
    __tablename__ = "merchants"

    number: Mapped[int] = mapped_column(primary_key=True)
    trading_name: Mapped[str] = mapped_column(String(80))
    plan: Mapped[str] = mapped_column(String(10))
    """`basic` or `plus`."""
    staff: Mapped[list["Staff"]] = relationship(back_populates="merchant")


class Staff(UserMixin, db.Model):
    __tablename__ = "staff"

    staff_no: Mapped[int] = mapped_column(primary_key=True)
    mail: Mapped[str] = mapped_column(String(120), unique=True)
    display_name: Mapped[str] = mapped_column(String(80))
    duties: Mapped[str] = mapped_column(String(120))
    """Separated by blanks: `owner`, `payouts`, `integrations`."""
    password_hash: Mapped[str] = mapped_column(String(200))
    merchant_number: Mapped[int] = mapped_column(ForeignKey("merchants.number"), index=True)
    merchant: Mapped[Merchant] = relationship(back_populates="staff", lazy="joined")

    def get_id(self):
        return f"staff-{self.staff_no}"

    def set_password(self, password):
        self.password_hash = generate_password_hash(password)

    def check_password(self, password):
        return check_password_hash(self.password_hash, password)


class Payout(db.Model):
    __tablename__ = "payouts"

    reference: Mapped[str] = mapped_column(String(20), primary_key=True)
    merchant_number: Mapped[int] = mapped_column(ForeignKey("merchants.number"), index=True)
    beneficiary: Mapped[str] = mapped_column(String(80))
    pence: Mapped[int]
