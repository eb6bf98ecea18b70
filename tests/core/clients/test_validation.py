"""The limits of every field, with values on both sides of each (I1, I2, A4)."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.factories import CATALOGUE
from webapp.core.clients.validation import (
    check_client_id,
    check_description,
    check_name,
    check_owner,
    check_roles,
    check_tags,
    check_token_duration,
)
from webapp.core.errors import FieldError

FAMILY = "👨‍👩‍👧"  # one visible character, five code points
CONTROLS = ("\x00", "\x01", "\x1b", "\x1f", "\x7f", "\x80", "\x85", "\x9f")
BIDIRECTIONAL = ("\u061c", "\u200e", "\u200f", "\u202a", "\u202e", "\u2066", "\u2069")
SURROGATES = ("\ud800", "\udbff", "\udc00", "\udfff")


@pytest.mark.parametrize(
    "value",
    ["a" * 6, "a" * 100, "ACME-1", "acme 1", "acme:1", "a/b?c=d&e", "~!@#$%^&*()_+", "'; DROP TABLE x --", "<script>"],
)
def test_client_id_is_stored_as_typed(value: str) -> None:
    assert check_client_id(value) == value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "Enter a client ID of 6 to 100 characters."),
        ("      ", "Enter a client ID of 6 to 100 characters."),
        ("a" * 5, "This client ID has 5 characters. Use 6 to 100."),
        ("a", "This client ID has 1 character. Use 6 to 100."),
        ("a" * 101, "This client ID has 101 characters. Use 6 to 100."),
        (" acme-1", "This client ID starts or ends with a space. Remove it."),
        ("acme-1 ", "This client ID starts or ends with a space. Remove it."),
        ("acme-1\n", "This client ID starts or ends with a space. Remove it."),
        ("acmé-1", "Use only letters A to Z, digits, spaces and the signs on an English keyboard."),
        ("ａｃｍｅ－１", "Use only letters A to Z, digits, spaces and the signs on an English keyboard."),
        *(
            (f"acme{bad}1", "Use only letters A to Z, digits, spaces and the signs on an English keyboard.")
            for bad in (*CONTROLS, *BIDIRECTIONAL, *SURROGATES, "\t", "\n", "\u200b", "💳")
        ),
    ],
)
def test_client_id_refused(value: str, message: str) -> None:
    with pytest.raises(FieldError) as caught:
        check_client_id(value)
    assert (caught.value.field, caught.value.message) == ("client_id", message)


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("", ""),
        ("   ", ""),
        ("\u00a0\u3000", ""),
        ("abc", "abc"),
        ("  abc\r\n", "abc"),
        ("a" * 100, "a" * 100),
        (f" {'a' * 100} ", "a" * 100),
        ("Zoë & Søn", "Zoë & Søn"),
        ("e\u0301e\u0301e\u0301", "ééé"),  # six code points become three in NFC
        ("e\u0301" * 100, "é" * 100),
        ("💳" * 100, "💳" * 100),  # 200 UTF-16 units
        (FAMILY, FAMILY),
        ("اسم", "اسم"),
    ],
)
def test_name_is_stored_in_nfc(value: str, kept: str) -> None:
    assert check_name(value) == kept


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("a", "This name has 1 character. Use 3 to 100, or leave it empty."),
        ("ab", "This name has 2 characters. Use 3 to 100, or leave it empty."),
        ("  ab  ", "This name has 2 characters. Use 3 to 100, or leave it empty."),
        ("e\u0301e\u0301", "This name has 2 characters. Use 3 to 100, or leave it empty."),
        ("💳💳", "This name has 2 characters. Use 3 to 100, or leave it empty."),
        ("a" * 101, "This name has 101 characters. Use 3 to 100, or leave it empty."),
        ("\u0958" * 51, "This name has 102 characters. Use 3 to 100, or leave it empty."),  # each is two in NFC
        *(
            (
                f"acme{bad}claims",
                f"Character 5 cannot be used: it is an invisible control character (U+{ord(bad):04X})."
                " Delete it, or type the text again.",
            )
            for bad in (*CONTROLS, *BIDIRECTIONAL, *SURROGATES, "\t", "\n")
        ),
    ],
)
def test_name_refused(value: str, message: str) -> None:
    with pytest.raises(FieldError) as caught:
        check_name(value)
    assert (caught.value.field, caught.value.message) == ("name", message)


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("", ""),
        (" \r\n ", ""),
        ("a" * 1000, "a" * 1000),
        ("one\r\ntwo\rthree\nfour", "one\ntwo\nthree\nfour"),
        ("a\r\n" * 499 + "aa", "a\n" * 499 + "aa"),  # 1,499 characters as a browser sends them, 1,000 as stored
        ("💳" * 1000, "💳" * 1000),
        ("e\u0301" * 1000, "é" * 1000),
        (f"Ask {FAMILY}\n\nfirst", f"Ask {FAMILY}\n\nfirst"),
    ],
)
def test_description_counts_code_points_and_a_line_break_as_one(value: str, kept: str) -> None:
    assert check_description(value) == kept


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("a" * 1001, "This description has 1,001 characters. Use at most 1,000."),
        ("💳" * 1001, "This description has 1,001 characters. Use at most 1,000."),
        ("a\r\n" * 500 + "a", "This description has 1,001 characters. Use at most 1,000."),
        *(
            (
                f"\r\none\r\n{bad}two",
                f"Character 5 cannot be used: it is an invisible control character (U+{ord(bad):04X})."
                " Delete it, or type the text again.",
            )
            for bad in (*CONTROLS, *BIDIRECTIONAL, *SURROGATES, "\t", "\x0b")
        ),
    ],
)
def test_description_refused(value: str, message: str) -> None:
    with pytest.raises(FieldError) as caught:
        check_description(value)
    assert (caught.value.field, caught.value.message) == ("description", message)


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("", ""),
        (" \u3000", ""),
        ("abc", "abc"),
        (" claims@northwind.example ", "claims@northwind.example"),
        ("Zoe\u0308 Søn", "Zoë Søn"),
        ("💳" * 100, "💳" * 100),
    ],
)
def test_owner_is_stored_in_nfc(value: str, kept: str) -> None:
    assert check_owner(value) == kept


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("ab", "This owner has 2 characters. Use 3 to 100, or leave it empty."),
        ("a" * 101, "This owner has 101 characters. Use 3 to 100, or leave it empty."),
        *(
            (
                f"acme{bad}claims",
                f"Character 5 cannot be used: it is an invisible control character (U+{ord(bad):04X})."
                " Delete it, or type the text again.",
            )
            for bad in (*CONTROLS, *BIDIRECTIONAL, *SURROGATES, "\t", "\n")
        ),
    ],
)
def test_owner_refused(value: str, message: str) -> None:
    with pytest.raises(FieldError) as caught:
        check_owner(value)
    assert (caught.value.field, caught.value.message) == ("owner", message)


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        ([], set()),
        (["", "  "], set()),
        (["a"], {"a"}),
        ([" Production ", "PRODUCTION", "eu west"], {"production", "eu west"}),
        (["E\u0301TE\u0301"], {"été"}),
        (["💳" * 30], {"💳" * 30}),
        ([str(number) for number in range(10)], set("0123456789")),
        ([*"0123456789", "9", ""], set("0123456789")),
    ],
)
def test_tags_are_stored_in_small_letters_and_once(values: list[str], kept: set[str]) -> None:
    assert check_tags(values) == kept


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["ok", "a" * 31], f"The tag “{'a' * 31}” has 31 characters. Use at most 30."),
        ([str(number) for number in range(11)], "There are 11 tags. Use at most 10."),
        (["one,two"], "The tag “one,two” has a comma. Commas separate tags."),
        *(
            (
                ["ok", f"acme{bad}claims"],
                f"Character 5 cannot be used: it is an invisible control character (U+{ord(bad):04X})."
                " Delete it, or type the text again.",
            )
            for bad in (*CONTROLS, *BIDIRECTIONAL, *SURROGATES, "\t", "\n")
        ),
    ],
)
def test_tags_refused(values: list[str], message: str) -> None:
    with pytest.raises(FieldError) as caught:
        check_tags(values)
    assert (caught.value.field, caught.value.message) == ("tags", message)


@pytest.mark.parametrize("minutes", [10, 11, 59, 60])
def test_token_duration_allowed(minutes: int) -> None:
    assert check_token_duration(str(minutes)) == minutes


@pytest.mark.parametrize(
    "value",
    [
        "9",
        "61",
        "99",
        "100",
        "0",
        "-10",
        "+10",
        "",
        " ",
        "ten",
        "10.5",
        "10.0",
        "10,0",
        "1e1",
        "0x10",
        "010",
        " 10",
        "10\n",
        "true",
        "６０",
        "９０",
        "१०",
        "1_0",
        "1\x000",
        "\ud800",
        "9" * 5000,
    ],
)
def test_token_duration_refused(value: str) -> None:
    """Only two plain digits are accepted (I2)."""
    with pytest.raises(FieldError) as caught:
        check_token_duration(value)
    assert (caught.value.field, caught.value.message) == ("token_duration", "Enter a whole number from 10 to 60.")


@pytest.mark.parametrize(
    ("roles", "granted"),
    [
        ({"MerchantUser"}, None),
        ({"MerchantUser"}, {"MerchantUser"}),
        (set(CATALOGUE), None),
        (set(CATALOGUE), set(CATALOGUE) | {"GoneFromTheCatalogue"}),
    ],
)
def test_roles_allowed(roles: set[str], granted: set[str] | None) -> None:
    assert check_roles(roles, catalogue=CATALOGUE, grantable_roles=granted) == roles


@pytest.mark.parametrize(
    ("roles", "granted", "message"),
    [
        (set(), None, "Choose at least one role."),
        (set(), set(), "Choose at least one role."),
        ({"Root"}, None, "One of these roles does not exist any more. Choose from the list."),
        ({"MerchantUser", "merchantuser"}, None, "One of these roles does not exist any more. Choose from the list."),
        ({"\ud800"}, {"\ud800"}, "One of these roles does not exist any more. Choose from the list."),
        ({"MerchantUser"}, set(), "Your account does not hold “API access”. Choose other roles."),
        (
            {"MerchantUser", "CreatePayment", "UploadBatches"},
            {"MerchantUser"},
            "Your account does not hold “Create single payments”, “Upload batches”. Choose other roles.",
        ),
    ],
)
def test_roles_refused(roles: set[str], granted: set[str] | None, message: str) -> None:
    """Only roles that the account may grant now; the message names the others (A4)."""
    with pytest.raises(FieldError) as caught:
        check_roles(roles, catalogue=CATALOGUE, grantable_roles=granted)
    assert (caught.value.field, caught.value.message) == ("roles", message)


@given(st.text(max_size=120))
def test_validation_is_idempotent(value: str) -> None:
    """A form that is prefilled with stored values can be saved unchanged."""
    for check in (check_name, check_description, check_owner):
        try:
            kept = check(value)
        except FieldError:
            continue
        assert check(kept) == kept
        assert unicodedata.is_normalized("NFC", kept)
        kept.encode()


def test_every_message_says_how_to_correct_the_value() -> None:
    for call, value in (
        (check_client_id, "a"),
        (check_client_id, "a" * 101),
        (check_client_id, " acme-1"),
        (check_client_id, "acmé-1"),
        (check_name, "a"),
        (check_name, "a\x00c"),
        (check_description, "a" * 1001),
        (check_token_duration, "9"),
    ):
        with pytest.raises(FieldError) as caught:
            call(value)
        error = caught.value
        assert error.message[0].isupper()
        assert error.message.endswith(".")
        assert not error.summary.endswith(".")
        assert len(error.summary) < 90
