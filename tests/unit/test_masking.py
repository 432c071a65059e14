"""Masks: what each algorithm makes of values of each type, in every run the same."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pyarrow as pa
import pytest

from ingestr.core.mask_spec import KEYED, Algorithm, parse_masks
from ingestr.core.masking import Mask, masked_type, new_key
from ingestr.core.schema import TIMESTAMP
from ingestr.core.secret import Secret
from ingestr.core.transforms import trimmed
from ingestr.errors import ConfigurationError

KEY = Secret("a key of sufficient length")
MOMENT = datetime(2024, 1, 15, 10, 30, tzinfo=UTC)


def mask(spec: str, type_: pa.DataType, key: Secret = KEY) -> Mask:
    """One mask of a column that is called c."""
    [parsed] = parse_masks([f"c:{spec}"])
    return Mask(parsed, type_, key)


def masked(spec: str, values: Iterable[Any], type_: pa.DataType | None = None, key: Secret = KEY) -> list[Any]:
    """What a mask makes of values."""
    type_ = type_ or pa.string()
    one = mask(spec, type_, key)
    result = one.apply(pa.array(list(values), type_))
    assert result.type == one.type
    return list(result.to_pylist())


VALUES: dict[str, tuple[pa.DataType, Any]] = {
    "text": (pa.string(), "+1 555 123 4567"),
    "whole": (pa.int64(), 47_123),
    "small": (pa.int16(), 471),
    "real": (pa.float64(), 47_123.5),
    "decimal": (pa.decimal128(18, 2), Decimal("47123.50")),
    "boolean": (pa.bool_(), True),
    "date": (pa.date32(), date(2024, 1, 15)),
    "moment": (TIMESTAMP, MOMENT),
    "naive": (pa.timestamp("us"), MOMENT.replace(tzinfo=None)),
    "time": (pa.time64("us"), time(10, 30)),
    "binary": (pa.binary(), b"\xff\x00"),
}
WHOLES, DAYS = {"whole", "small"}, {"date", "moment", "naive"}
NUMBERS = WHOLES | {"real", "decimal"}
TEXTS = {"text"} | WHOLES
# Which values each algorithm takes, and what they become; the same type where nothing is said.
TAKES: dict[str, tuple[set[str], pa.DataType | None]] = {
    **dict.fromkeys(("hash", "sha256", "md5", "hmac:k", "redact", "fixed:x", "uuid"), (set(VALUES), pa.string())),
    "stars": (set(VALUES) - {"binary"}, pa.string()),
    **dict.fromkeys(("email", "phone", "credit_card", "ssn", "partial:2", "first_letter"), (TEXTS, pa.string())),
    "random": ({"text", "real"} | WHOLES, None),
    "sequential": (set(VALUES), pa.int64()),
    "round:10": (NUMBERS, None),
    "range:100": (NUMBERS, pa.string()),
    "noise:0.1": (NUMBERS, None),
    "date_shift:30": (DAYS, None),
    "year_only": (DAYS, pa.int64()),
    "month_year": (DAYS, pa.string()),
}  # fmt: skip
WIDER = {"small": pa.int64(), "decimal": pa.decimal128(38, 2)}


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("algorithm", TAKES)
def test_one_table_says_what_becomes_of_each_type(algorithm: str, kind: str) -> None:
    """Each algorithm either makes one known type of a column's type, whatever its values, or is refused before."""
    type_, value = VALUES[kind]
    takes, becomes = TAKES[algorithm]
    if kind not in takes:
        with pytest.raises(ConfigurationError, match=f"^--mask c:{algorithm.partition(':')[0]} is for ") as caught:
            mask(algorithm, type_).type  # noqa: B018
        assert str(type_) in str(caught.value)
        return
    wanted = becomes or WIDER.get(kind, type_)
    assert masked_type(mask(algorithm, type_).spec, type_) == wanted
    some = masked(algorithm, [value, None, value], type_)
    assert some[1] is None, "null stays null"
    assert some[0] == some[2]
    assert masked(algorithm, [], type_) == [], "a batch without rows"
    assert masked(algorithm, [None, None], type_) == [None, None], "a column that is empty in this run"


def test_every_algorithm_is_tried() -> None:
    """The table above has each of them."""
    assert {name.partition(":")[0] for name in TAKES} == {*Algorithm, "sha256"}


@pytest.mark.parametrize(
    ("spec", "value", "wanted"),
    [
        ("hash", "a", "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"),
        ("sha256", "a", "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"),
        ("md5", "a", "0cc175b9c0f1b6a831c399e269772661"),
        ("hmac:key", "a", "780c3db4ce3de5b9e55816fba98f590631d96c075271b26976238d5f4444219b"),
        ("email", "john.doe@example.com", "j***@example.com"),
        ("email", "j@example.com", "***@example.com"),
        ("email", "a@b@example.com", "a***@example.com"),
        ("email", "no address", "***"),
        ("email", "john@example.com, call 555", "***"),
        ("phone", "+1-555-123-4567", "+1-555-***-****"),
        ("phone", "(555) 123-4567", "(555) ***-****"),
        ("phone", "555-4567", "***-****"),
        ("phone", "+49 89 12345678 ext. 5", "+49 89 ******** ***. *"),
        ("phone", "1-800-FLOWERS", "*-***-*******"),
        ("credit_card", "4111-1111-1111-1234", "****-****-****-1234"),
        ("credit_card", "1234", "****"),
        ("ssn", "123-45-6789", "***-**-6789"),
        ("ssn", "call Anna", "**** ****"),
        ("redact", "a", "REDACTED"),
        ("stars", "Zoë 😀\n", "******"),
        ("fixed", "a", "MASKED"),
        ("fixed:a:b", "x", "a:b"),
        ("partial", "John Smith", "Jo******th"),
        ("partial:3", "abcdef", "******"),
        ("partial:1", "Zoë", "Z*ë"),
        ("first_letter", "John", "J***"),
        ("first_letter", "J", "*"),
    ],
)
def test_what_becomes_of_texts(spec: str, value: str, wanted: str) -> None:
    """The documented form, and nothing of a value that is too short or of another form to be hidden in it."""
    assert masked(spec, [value]) == [wanted]


@pytest.mark.parametrize(
    ("spec", "value", "type_", "wanted"),
    [
        ("round", 47, pa.int64(), 50),
        ("round", 45, pa.int64(), 50),
        ("round", -46, pa.int64(), -50),
        ("round:1000", 2**63 - 1, pa.int64(), 2**63 - 1 - 807),
        ("round:1000", -(2**63), pa.int64(), -(2**63) + 1),
        ("round", 44.9, pa.float64(), 40.0),
        ("round", float("inf"), pa.float64(), float("inf")),
        ("round:100", Decimal("99999999999999999.99"), pa.decimal128(19, 2), Decimal("100000000000000000.00")),
        ("range:10000", 40_000, pa.int64(), "40000-50000"),
        ("range:10000", 49_999.99, pa.float64(), "40000-50000"),
        ("range", -1, pa.int64(), "-100-0"),
        ("range", 2**63 - 1, pa.int64(), "9223372036854775800-9223372036854775900"),
        ("range", float("nan"), pa.float64(), "no number"),
        ("hash", 5, pa.int64(), "ef2d127de37b942baad06145e54b0c619a1f22327b2ebbcfbec78f5564afe39d"),
        ("hash", b"a", pa.binary(), "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"),
        ("year_only", date(1700, 2, 1), pa.date32(), 1700),
        ("year_only", MOMENT, TIMESTAMP, 2024),
        ("month_year", date(2024, 3, 31), pa.date32(), "2024-03"),
        ("month_year", MOMENT, TIMESTAMP, "2024-01"),
    ],
)
def test_what_becomes_of_other_values(spec: str, value: Any, type_: pa.DataType, wanted: Any) -> None:
    """Numbers and dates lose what the mask is to hide; at the ends of their ranges they stay numbers."""
    assert masked(spec, [value], type_) == [wanted]


@pytest.mark.parametrize("algorithm", sorted(KEYED))
def test_what_is_random_is_the_same_in_every_run(algorithm: Algorithm) -> None:
    """The same value with the same key becomes the same, in any batch; with another key another."""
    kind = {"uuid": "text", "random": "text", "noise": "whole", "date_shift": "date"}[algorithm]
    type_, value = VALUES[kind]
    [one] = masked(algorithm, [value], type_)
    assert masked(algorithm, [None, value], type_)[1] == one != value
    others = {masked(algorithm, [value], type_, new_key())[0] for _ in range(20)}
    assert len(others) > 1
    assert mask(algorithm, type_).kept != mask(algorithm, type_, new_key()).kept
    with pytest.raises(ConfigurationError, match="needs a key"):
        Mask(mask(algorithm, type_).spec, type_).apply(pa.array([value], type_))


def test_a_uuid_is_one_and_tells_values_apart() -> None:
    """As many UUIDs as values."""
    found = masked("uuid", [str(i) for i in range(5_000)])
    assert len({UUID(each) for each in found}) == 5_000
    assert {UUID(each).version for each in found} == {5}


def test_a_random_text_is_as_long_as_the_value() -> None:
    """Letters and digits take the place of characters."""
    [text] = masked("random", ["Zoë 😀"])
    assert len(text) == 5
    assert text.isalnum()
    assert text.isascii()


@pytest.mark.parametrize("type_", [pa.int64(), pa.float64()])
def test_random_numbers_have_as_many_digits(type_: pa.DataType) -> None:
    """A salary becomes another salary, of the same sign."""
    numbers = masked("random", range(-30_000, -10_000), type_)
    assert all(-100_000 <= number <= -10_000 for number in numbers)
    assert len(set(numbers)) > 10_000
    assert all(0 <= number <= 10 for number in masked("random", [0, 9], type_))
    assert all(abs(number) < 2**63 for number in masked("random", [2**63 - 1, -(2**63)], pa.int64()))


@pytest.mark.parametrize("type_", [pa.int64(), pa.float64(), pa.decimal128(12, 3)])
def test_noise_stays_within_its_fraction(type_: pa.DataType) -> None:
    """A tenth of the value at most, to both sides."""
    numbers = range(10_000, 12_000)
    moved = [float(after) - before for before, after in zip(numbers, masked("noise:0.1", numbers, type_), strict=True)]
    assert min(moved) < -500 < 500 < max(moved)
    assert all(abs(by) <= 0.1 * before + 1 for by, before in zip(moved, numbers, strict=True))
    assert masked("noise:1", [2**63 - 1, 0, -(2**63)], pa.int64())[1] == 0


@pytest.mark.parametrize("kind", sorted(DAYS))
def test_dates_are_shifted_by_whole_days(kind: str) -> None:
    """By one to so many days, to both sides, and the time of day stays."""
    type_, value = VALUES[kind]
    days = [value + timedelta(days=i) for i in range(1_000)]
    moved = [after - before for before, after in zip(days, masked("date_shift:3", days, type_), strict=True)]
    assert set(moved) == {timedelta(days=d) for d in (-3, -2, -1, 1, 2, 3)}
    assert masked("date_shift:36500", [date.min, date.max], pa.date32()), "what is shifted stays a date"


def test_numbers_are_given_out_in_order() -> None:
    """The same value has the same number, also in the next batch."""
    one = mask("sequential", pa.string())
    assert one.apply(pa.array(["b", None, "a", "b"])).to_pylist() == [1, None, 2, 1]
    assert one.apply(pa.array(["c", "a"])).to_pylist() == [3, 2]


def test_slices_are_masked_too() -> None:
    """Batches of one page share its memory."""
    for spec in TAKES:
        kind = next(kind for kind in ("date", "whole", "text") if kind in TAKES[spec][0])
        type_, value = VALUES[kind]
        if spec != "sequential":
            whole = pa.array([value, None, value], type_)
            assert mask(spec, type_).apply(whole.slice(1)).to_pylist() == masked(spec, [None, value], type_), spec


def test_what_is_kept_of_a_mask_shows_no_key() -> None:
    """Enough to tell masks and keys apart."""
    text = pa.string()
    kept = [mask(spec, text).kept for spec in ("hash", "partial", "partial:3", "hmac:secret-one", "hmac:secret-two")]
    assert kept[:3] == ["hash", "partial:2", "partial:3"]
    assert len(set(kept)) == 5
    assert "secret" not in " ".join(kept)
    assert KEY.reveal() not in mask("uuid", text).kept
    assert "secret-one" not in repr(mask("hmac:secret-one", text))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a:hash", [("a", "hash", "")]),
        (" A : SHA256 ", [("A", "hash", "")]),
        ("a:hash,b:md5, c:fixed:x", [("a", "hash", ""), ("b", "md5", ""), ("c", "fixed", "x")]),
        ("a:fixed:one, two,b:stars", [("a", "fixed", "one, two"), ("b", "stars", "")]),
        ("a:hmac:k,e:y,b:hash", [("a", "hmac", "k,e:y"), ("b", "hash", "")]),
        ("a:partial,b:range", [("a", "partial", "2"), ("b", "range", "100")]),
        ("a:round,b:noise,c:date_shift", [("a", "round", "10"), ("b", "noise", "0.1"), ("c", "date_shift", "30")]),
    ],
)
def test_how_masks_are_written(text: str, wanted: list[tuple[str, str, str]]) -> None:
    """Several in one text have commas between them; a comma in a text or a key is a part of it."""
    assert [(m.column, str(m.algorithm), m.parameter.reveal()) for m in parse_masks([text])] == wanted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no column"),
        ("phone", "'phone' names no algorithm"),
        ("phone:", "'phone' names no algorithm"),
        (":hash", "names no column"),
        ("a:hash,", "does not know the algorithm 'hash,'"),
        ("a:hahs:S3CRET", "does not know the algorithm 'hahs' for a"),
        ("a:hmac", "needs a key"),
        ("a:hmac:", "needs a key"),
        ("a:hash:S3CRET", "takes no parameter"),
        ("a:partial:S3CRET", "takes a whole number from 1 to 1000"),
        ("a:partial:0", "takes a whole number"),
        ("a:round:1.5", "takes a whole number"),
        ("a:range:-5", "takes a whole number"),
        ("a:range:٣", "takes a whole number"),
        ("a:date_shift:99999", "takes a whole number from 1 to 36500"),
        ("a:noise:S3CRET", "takes a fraction"),
        ("a:noise:nan", "takes a fraction"),
        ("a:noise:2", "takes a fraction"),
        ("a:noise:0", "takes a fraction"),
    ],
)
def test_what_is_no_mask_is_said_without_its_parameter(text: str, message: str) -> None:
    """A mask that is not understood loads nothing; what may be a key is not repeated."""
    with pytest.raises(ConfigurationError, match=message) as caught:
        parse_masks([text])
    assert "S3CRET" not in f"{caught.value} {caught.value.hint}"


def test_white_space_goes_from_both_ends() -> None:
    """Also what is white space elsewhere in Unicode; of a text that has nothing else nothing is left."""
    some = pa.array([" a b ", "\t\u00a0x\u3000\n", "  ", None, "plain"])
    assert trimmed(some).to_pylist() == ["a b", "x", None, None, "plain"]
