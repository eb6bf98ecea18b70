"""The base classes of the schemas, and those that several resources share."""

import json
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from ..core.credentials import CLIENT_ID_MAX, CLIENT_ID_MIN, SECRET_MAX, SECRET_MIN
from ..core.database.models import (
    DESCRIPTION_MAX,
    NAME_MAX,
    NAME_MIN,
    OWNER_MAX,
    OWNER_MIN,
    TAG_MAX,
    TAGS_MAX,
    TOKEN_DURATION_MAX_MINUTES,
    TOKEN_DURATION_MIN_MINUTES,
)
from ..core.secrets.lifecycle import END_DATE_MAX_DAYS


class Input(BaseModel):
    """What a caller sends: JSON of exactly this form, without conversions. Unknown members are errors (I8).

    Types are checked here. The rules of values are those of core, which reports all errors at once; the schema
    publishes their limits, but does not check them.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


class Arguments(BaseModel):
    """The arguments of a query string. Unknown ones are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    @field_validator("*")
    @classmethod
    def _check_choice(cls, value: Any, info: ValidationInfo) -> Any:
        extra = cls.model_fields[str(info.field_name)].json_schema_extra
        choices = extra.get("enum") if isinstance(extra, dict) else None
        if isinstance(choices, list) and value not in choices:
            raise PydanticCustomError("choice", "Use one of: {choices}", {"choices": ", ".join(map(str, choices))})
        return value


def choice(values: Iterable[str], description: str, default: str = "") -> Any:
    """Return the field of an argument that has one of these values."""
    return Field(default=default, description=description, json_schema_extra={"enum": [str(value) for value in values]})


class Output(BaseModel):
    """The base of all response bodies. Later versions may add members."""

    model_config = ConfigDict(strict=True, frozen=True)


class CreatedOutput(Output):
    """What a caller gets of a request that set a secret."""

    client_secret: str | None = Field(
        description="The generated secret, in this response only; null where the request chose it, or was repeated."
    )


def documented(**keywords: Any) -> Any:
    """Return a field whose JSON Schema keywords are published, while core checks the values."""
    return Field(json_schema_extra=keywords)


ClientId = Annotated[str, documented(minLength=CLIENT_ID_MIN, maxLength=CLIENT_ID_MAX, pattern="^[!-~]([ -~]*[!-~])?$")]
_CONTROL = r"\x00-\x1f\x7f-\x9f"
ClientName = Annotated[str, documented(pattern=f"^([^{_CONTROL}]{{{NAME_MIN},{NAME_MAX}}})?$")]
Description = Annotated[
    str, documented(maxLength=DESCRIPTION_MAX, pattern=r"^[^\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f]*$")
]
Owner = Annotated[str, documented(pattern=f"^([^{_CONTROL}]{{{OWNER_MIN},{OWNER_MAX}}})?$")]
Tags = Annotated[
    list[str],
    documented(maxItems=TAGS_MAX, items={"type": "string", "pattern": f"^[^,{_CONTROL}]{{0,{TAG_MAX}}}$"}),
]


def _to_integer(value: Any) -> Any:
    """Return 15 for 15.0, which JSON Schema counts as an integer too; any other value unchanged."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


TokenDuration = Annotated[
    int,
    BeforeValidator(_to_integer),
    documented(minimum=TOKEN_DURATION_MIN_MINUTES, maximum=TOKEN_DURATION_MAX_MINUTES),
]
RoleKeys = Annotated[list[str], documented(minItems=1, uniqueItems=True)]
ChosenSecret = Annotated[str, documented(minLength=SECRET_MIN, maxLength=SECRET_MAX, pattern="^[ -~]*$")]


EndOfSecret = Annotated[
    AwareDatetime | None,
    Field(
        description=f"When the new secret ends, within {END_DATE_MAX_DAYS} days, or fewer where the platform sets a"
        " limit. Null: never, or at that limit."
    ),
]
PublicKey = str | dict[str, Any]
PUBLIC_KEY_FORMS = (
    "PEM (“BEGIN PUBLIC KEY”) as text, or a JWK as an object or as text: EC on P-256, Ed25519, or RSA of 2,048 to 4,096"
    " bits. Never send a private key: it is refused, and has to be treated as leaked."
)


def to_text(public_key: PublicKey) -> str:
    """Return a public key as the text that core reads."""
    return public_key if isinstance(public_key, str) else json.dumps(public_key)


TEXT_PATTERN = f"^[^{_CONTROL}]*$"
"""Text without control characters, which no stored text contains."""


class FieldProblem(Output):
    """What is wrong with one part of a request; one of the other members says with which."""

    detail: str = Field(description="What is wrong and how to correct it.")
    pointer: str | None = Field(default=None, description="The member of the body, as a JSON pointer.")
    parameter: str | None = Field(default=None, description="The argument of the query string.")
    header: str | None = Field(default=None, description="The header.")


class ProblemDetails(Output):
    """An error (RFC 9457)."""

    type: str = Field(
        description="The kind of problem: the address of its description.", json_schema_extra={"format": "uri"}
    )
    title: str = Field(description="The kind of problem in words, the same for each occurrence.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What is wrong with this request and how to correct it.")
    errors: list[FieldProblem] = Field(
        description="What is wrong with single parts of the request; empty for the whole."
    )
    to_confirm: list[str] | None = Field(
        default=None, description="With `confirmation-required`: the values that `confirmed` must contain."
    )
