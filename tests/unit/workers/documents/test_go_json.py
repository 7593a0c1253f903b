"""Documents say what Go's ``encoding/json`` takes them to say.

The values were found by Go 1.19, with structs of the same fields.
"""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.documents.go_json import JsonKind, Struct, WrongJson


def read(text: str | bytes) -> Struct:
    raw = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    return Struct.parse(raw, "it")


@pytest.mark.parametrize(
    "key", ["DiskSize", "disksize", "DISKSIZE", "diSKsize", "di\u017f\u212asize"]
)
def test_a_key_names_a_field_whatever_its_case(key: str) -> None:
    assert read(json.dumps({key: "x"})).text("diskSize") == "x"
    assert read(json.dumps({key: "x"}, ensure_ascii=False)).text("DiskSize") == "x"


@pytest.mark.parametrize(
    ("key", "field"), [("d\u0131sk", "disk"), ("\ufb01t", "fit"), ("di-sk", "disk")]
)
def test_what_only_looks_alike_is_another_key(key: str, field: str) -> None:
    assert not read(json.dumps({key: "x"})).says(field)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"Env": ["A"], "env": ["B"]}', ("B",)),
        ('{"env": ["B"], "Env": ["A"]}', ("A",)),
        ('{"Env": ["A"], "ENV": null}', ()),
        ('{"Env": ["A", null]}', ("A", "")),
        ("{}", ()),
        ("null", ()),
    ],
)
def test_of_several_keys_for_a_field_the_last_one_counts(
    text: str, found: tuple[str, ...]
) -> None:
    assert read(text).texts("Env") == found


def test_null_leaves_a_text_and_a_number_as_they_were() -> None:
    document = read('{"a": "x", "A": null, "n": 5, "N": null}')
    assert (document.text("a"), document.whole("n")) == ("x", 5)
    assert not document.says("a")


def test_objects_of_one_field_are_put_together() -> None:
    document = read('{"config": {"a": "1", "b": "2"}, "Config": {"B": "3"}, "x": {}}')
    config = document.struct("config")
    assert (config.text("a"), config.text("b")) == ("1", "3")
    assert document.struct("nothing").text("a") == ""
    labels = read('{"l": {"a": "1", "A": "2"}, "L": {"a": "3"}}').text_map("l")
    assert labels == {"a": "3", "A": "2"}
    assert read('{"l": {"a": "1"}, "L": null}').text_map("l") == {}
    assert read('{"l": {"a": null}}').text_map("l") == {"a": ""}


def test_objects_in_a_list_are_read_each() -> None:
    found = read('{"history": [{"A": "1"}, null, {}]}').structs("history")
    assert [one.text("a") for one in found] == ["1", "", ""]
    assert found[0].where == "it.history[]"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b'{"a": "\xff\xe2\x82x\xed\xa0\x80"}', "\ufffd" * 3 + "x" + "\ufffd" * 3),
        (b'{"a": "\\ud83d"}', "\ufffd"),
        (b'{"a": "\\ud83d\\ud83d\\ude00"}', "\ufffd\U0001f600"),
        (b'{"a": "\\ude00\xf0\x9f\x98\x80"}', "\ufffd\U0001f600"),
        (b'{"a": "\\ud83d\xb8"}', "\ufffd\ufffd"),
    ],
)
def test_what_is_no_text_is_replaced(text: bytes, found: str) -> None:
    assert read(text).text("a") == found


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b'"text"',
        b"5",
        b"{",
        b"{} {}",
        b"{}\0",
        b"{} x",
        b'\xef\xbb\xbf{"a": "x"}',
        '{"a": "x"}'.encode("utf-16"),
        '{"a": "x"}'.encode("utf-16-le"),
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": "\x01"}',
        b"{'a': 1}",
        b'{"a": 1,}',
        b"[" * 100_000,
    ],
    ids=range(17),
)
def test_what_is_no_document_is_refused(raw: bytes) -> None:
    with pytest.raises(WrongJson, match=r"^it "):
        read(raw)


@pytest.mark.parametrize("value", ["1", "1.5", "true", "[]", "{}", "[5]"])
def test_a_value_that_is_no_text_is_refused(value: str) -> None:
    document = read(f'{{"config": {{"User": {value}}}}}')
    with pytest.raises(WrongJson, match=r"it\.config\.User is or holds no text"):
        document.struct("config").text("User")


def test_a_wrong_value_is_refused_also_where_a_right_one_follows() -> None:
    with pytest.raises(WrongJson, match="no text"):
        read('{"a": 5, "A": "x"}').text("a")


@pytest.mark.parametrize(
    "value",
    ["1.0", "1e3", '"1"', "true", "9223372036854775808", "9" * 5000, "[]", "-" * 2],
)
def test_what_is_no_whole_number_is_refused(value: str) -> None:
    with pytest.raises(WrongJson):
        read(f'{{"size": {value}}}').whole("size")


@pytest.mark.parametrize("number", [0, -5, (1 << 63) - 1, -(1 << 63)])
def test_whole_numbers_have_64_bits(number: int) -> None:
    assert read(f'{{"size": {number}}}').whole("size") == number


def test_a_number_of_any_length_may_stand_where_nobody_asks() -> None:
    assert read(f'{{"other": {"9" * 5000}, "a": "x"}}').text("a") == "x"


@pytest.mark.parametrize("value", ["5", '"A=1"', "{}", "[[]]", "[5]", "[{}]"])
def test_what_is_no_list_of_texts_is_refused(value: str) -> None:
    with pytest.raises(WrongJson, match=r"it\.Env"):
        read(f'{{"Env": {value}}}').texts("Env")


@pytest.mark.parametrize("value", ["5", '"a"', "[]", '{"a": 5}', '{"a": ["b"]}'])
def test_what_is_no_map_of_texts_is_refused(value: str) -> None:
    with pytest.raises(WrongJson, match=r"it\.Labels"):
        read(f'{{"Labels": {value}}}').text_map("Labels")


@pytest.mark.parametrize("value", ["5", '"a"', "[]"])
def test_what_is_no_object_is_refused(value: str) -> None:
    document = read(f'{{"a": {value}}}')
    with pytest.raises(WrongJson, match=r"it\.a"):
        document.struct("a")
    with pytest.raises(WrongJson, match=r"it\.a"):
        document.check(a=JsonKind.SET)
    with pytest.raises(WrongJson, match=r"it\.a"):
        read(f'{{"a": [{value}]}}').structs("a")
    with pytest.raises(WrongJson, match=r"it\.a"):
        read(f'{{"a": {{"b": {value}}}}}').check(a=JsonKind.SET)
    with pytest.raises(WrongJson, match=r"it\.a"):
        read(f'{{"a": [{value}]}}').check_each("a", b=JsonKind.TEXT)


def test_a_set_has_empty_objects_or_null() -> None:
    read('{"a": {"80/tcp": {}, "b": null, "c": {"more": 1}}}').check(a=JsonKind.SET)
    read('{"a": null}').check(a=JsonKind.SET)


@pytest.mark.parametrize("value", ['"true"', "1", "[]"])
def test_what_is_neither_true_nor_false_is_refused(value: str) -> None:
    with pytest.raises(WrongJson, match=r"it\.a"):
        read(f'{{"a": {value}}}').check(a=JsonKind.TRUTH)
    with pytest.raises(WrongJson, match=r"it\.L\[\]\.A is or holds neither"):
        read(f'{{"l": [{{}}, {{"A": {value}}}]}}').check_each("L", a=JsonKind.TRUTH)


def test_what_is_checked_may_be_there_null_or_missing() -> None:
    document = read('{"l": [{"a": "x", "b": true}, {"a": null}, {"c": 5}, null]}')
    document.check_each("l", a=JsonKind.TEXT, b=JsonKind.TRUTH)
    document.check(a=JsonKind.TEXT)
    document.check_each("nothing", a=JsonKind.TEXT)
    long = "n" * 1000
    read(json.dumps({long: 5})).check(a=JsonKind.TEXT)


@pytest.mark.parametrize(
    "time",
    [
        "1970-01-01T00:00:00Z",
        "0000-02-29T00:00:00Z",
        "2020-02-29T23:59:59.999999999999+14:00",
        "0001-01-01T00:00:00-00:00",
    ],
)
def test_times_are_those_of_rfc_3339(time: str) -> None:
    read(json.dumps({"created": time})).check(created=JsonKind.TIME)
    read('{"created": null}').check(created=JsonKind.TIME)


@pytest.mark.parametrize(
    "time",
    [
        "",
        "yesterday",
        "2019-02-29T00:00:00Z",
        "2020-01-01T24:00:00Z",
        "2020-01-01T00:00:60Z",
        "2020-01-01 00:00:00Z",
        "2020-01-01T00:00:00",
        "2020-01-01",
        "\u0662020-01-01T00:00:00Z",
        5,
    ],
)
def test_what_is_no_time_is_refused(time: object) -> None:
    with pytest.raises(WrongJson, match=r"it\.created"):
        read(json.dumps({"created": time})).check(created=JsonKind.TIME)


@given(st.dictionaries(st.text(), st.text()))
def test_texts_are_read_back(texts: dict[str, str]) -> None:
    assert read(json.dumps({"l": texts})).text_map("l") == texts


@given(st.binary(max_size=100))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    try:
        document = read(raw)
    except WrongJson:
        return
    assert document.says("a") in {True, False}
