from datetime import UTC, datetime

from flask import Blueprint, flash, redirect, render_template, request, session, url_for
from flask_login import LoginManager, login_user, logout_user
from flask_wtf import FlaskForm
from wtforms import EmailField, PasswordField
from wtforms.validators import DataRequired

from .models import Staff, db

bp = Blueprint("auth", __name__)
login_manager = LoginManager()
login_manager.login_view = "auth.enter"


class EnterForm(FlaskForm):
    mail = EmailField("E-mail", validators=[DataRequired()])
    password = PasswordField("Password", validators=[DataRequired()])


@login_manager.user_loader
def load(user_id):
    return db.session.get(Staff, int(user_id.removeprefix("staff-")))


@bp.route("/enter", methods=["GET", "POST"])
def enter():
    form = EnterForm()
    if form.validate_on_submit():
        found = db.session.scalar(db.select(Staff).filter_by(mail=form.mail.data))
        if found and found.check_password(form.password.data):
            session.clear()
            login_user(found)
            session["entered_at"] = datetime.now(UTC).isoformat()
            target = request.args.get("next", "")
            local = target.startswith("/") and not target.startswith(("//", "/\\"))
            return redirect(target if local else url_for("portal.home"), 303)
        flash("E-mail or password is wrong.")
    return render_template("enter.html", form=form)


@bp.post("/leave")
def leave():
    logout_user()
    session.clear()
    return redirect(url_for("auth.enter"), 303)


def init_app(app):
    login_manager.init_app(app)
    app.register_blueprint(bp)
