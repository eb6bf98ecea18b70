from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask_login import current_user, login_required

from .models import Payout, db

bp = Blueprint("portal", __name__)


def payouts_of_merchant():
    return db.select(Payout).filter_by(merchant_number=current_user.merchant_number).order_by(Payout.reference)


@bp.get("/")
@login_required
def home():
    return render_template("home.html")


@bp.route("/payouts", methods=["GET", "POST"])
@login_required
def payouts():
    if request.method == "POST":
        if "payouts" not in current_user.duties.split():
            abort(403)
        payout = Payout(
            reference=request.form["reference"],
            merchant_number=current_user.merchant_number,
            beneficiary=request.form["beneficiary"],
            pence=round(float(request.form["amount"]) * 100),
        )
        db.session.add(payout)
        db.session.commit()
        return redirect(url_for(".payouts"), 303)
    return render_template("payouts.html", payouts=db.session.scalars(payouts_of_merchant()).all())


@bp.get("/payouts/<reference>")
@login_required
def payout(reference):
    found = db.session.scalar(payouts_of_merchant().filter_by(reference=reference))
    return render_template("payout.html", payout=found or abort(404))
