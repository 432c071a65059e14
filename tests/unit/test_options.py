"""Options: what people write becomes values, contradictions are refused before any call."""

import tempfile
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import ingestr
from ingestr.errors import ConfigurationError, UnknownNameError
from ingestr.option_table import OPTIONS, Kind, Option, Status
from ingestr.options import IngestOptions, bare_table, make_options, parse_instant


def options(**given: Any) -> IngestOptions:
    """Options with the required ones filled in."""
    return make_options(
        IngestOptions,
        **{"source_uri": "salesforce://", "source_table": "account", "dest_uri": "duckdb:///x.db", **given},
    )


@pytest.mark.parametrize(
    "text",
    [
        "2023-01-31T15:00:00",
        "2023-01-31T15:00:00Z",
        "2023-01-31T15:00:00+00:00",
        "2023-01-31T15:00:00+0000",
        "2023-01-31T15:00:00z",
        "2023-01-31t15:00:00Z",
        " 2023-01-31T15:00:00Z ",
        "2023-01-31 15:00:00",
        "2023-01-31 15:00:00Z",
        "2023-01-31 15:00:00+0000",
        "2023-01-31 15:00:00 +00:00",
        "2023-01-31T15:00:00.000Z",
        "2023-01-31T15:00:00.000000+0000",
        "2023-01-31T15:00:00.000000000Z",
        "2023-01-31T16:00:00.000+01:00",
        "2023-01-31T07:00:00-0800",
    ],
)
def test_documented_instants(text: str) -> None:
    """Every documented spelling is the same moment."""
    assert parse_instant(text, option="--interval-start") == datetime(2023, 1, 31, 15, tzinfo=UTC)


def test_a_date_is_its_whole_day() -> None:
    """Both ends of an interval are inclusive: a date starts with its first second and ends with its last."""
    for day in ("2023-01-31", date(2023, 1, 31)):
        assert parse_instant(day, option="o") == datetime(2023, 1, 31, tzinfo=UTC)
        assert parse_instant(day, option="o", end=True) == datetime(2023, 1, 31, 23, 59, 59, tzinfo=UTC)


def test_fractions_keep_the_interval_inclusive() -> None:
    """Salesforce keeps whole seconds: a start is rounded up and an end down."""
    assert parse_instant("2023-01-31T15:00:00.5", option="o") == datetime(2023, 1, 31, 15, 0, 1, tzinfo=UTC)
    assert parse_instant("2023-01-31T15:00:00.5", option="o", end=True) == datetime(2023, 1, 31, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "yesterday",
        "2023-13-01",
        "",
        "31.01.2023",
        "2023-W05",
        "2023-W05-1",
        "2023-031",
        "20230131",
        "1500-01-01",
        "4001-01-01",
    ],
)
def test_what_is_no_date_is_said(text: str) -> None:
    """A text that is no date names its option and shows how to write one."""
    with pytest.raises(ConfigurationError, match="--interval-start"):
        options(interval_start=text)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"interval_start": "2023-02-01", "interval_end": "2023-01-01"}, "is after"),
        ({"full_refresh": True, "sql_limit": 5}, "would drop"),
        ({"sql_limit": 0}, "at least 1"),
        ({"page_size": 0}, "at least 1"),
        ({"extract_parallelism": -1}, "at least 1"),
        ({"schema_naming": "shouting"}, "does not know"),
        ({"progress": "dance"}, "does not know"),
        ({"source_table": " "}, "empty"),
        ({"source_uri": ""}, "^--source-uri is missing$"),
        ({"source_uri": None, "source_table": "", "dest_uri": None}, "^--source-uri, --dest-uri, --source-table are"),
        ({"source_uri": 5}, "must be a text"),
        ({"source_table": "custom:"}, "lacks the object's API name"),
        ({"source_table": "a.b.c"}, "--source-table 'a.b.c'"),
        ({"source_table": 5}, "must be a text"),
        ({"source_table": "salesforce://x"}, "holds a URI"),
        ({"primary_key": ["id", "salesforce://x"]}, "holds a URI"),
        ({"sql_limit": "5"}, "must be a whole number, not '5'"),
        ({"sql_limit": True}, "must be a whole number, not True"),
        ({"page_size": 1.5}, "must be a whole number"),
        ({"interval_start": 5}, "is not a date: 5"),
        ({"interval_end": True}, "is not a date: True"),
        ({"full_refresh": "yes"}, "must be true or false"),
        ({"refresh_formulas": "daily"}, "does not know 'daily'"),
        ({"sql_exclude_columns": 5}, "must be a list of names"),
        ({"primary_key": [5]}, "must be a list of names"),
        ({"sql_limit": "5_000"}, "must be a whole number, not '5_000'"),
        ({"api_budget": "5_000"}, "neither a share nor"),
        ({"api_budget": "0.5"}, "neither a share nor"),
        ({"lag": "soon"}, "no length of time"),
        ({"lag": "91d"}, "no length of time"),
        ({"lag": 5}, "no length of time"),
        ({"lag": timedelta(seconds=-1)}, "no length of time"),
        ({"staging_dataset": "_ingestr"}, "not the name of a schema"),
        ({"staging_dataset": "a.b"}, "not the name of a schema"),
        ({"staging_dataset": " "}, "not the name of a schema"),
        ({"pipelines_dir": "~no-such-user/pages"}, "a home that nobody has here"),
        ({"source_table": "acc\0unt"}, "holds bytes that are no text"),
        ({"dest_uri": "duckdb:///\udcff.db"}, "holds bytes that are no text"),
        ({"primary_key": ["\udcff"]}, "holds bytes that are no text"),
    ],
)
def test_contradictions_are_refused(given: dict[str, Any], message: str) -> None:
    """What cannot be meant is refused with exit code 2."""
    with pytest.raises(ConfigurationError, match=message) as caught:
        options(**given)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("table", "name"),
    [
        ("account", "account"), ("custom:My__Object__c", "My__Object__c"), ("CUSTOM: Account ", "Account"),
        ("Custom:x", "x"), (" lead ", "lead"),
    ],
)  # fmt: skip
def test_the_bare_table_is_the_objects_name(table: str, name: str) -> None:
    """Without --dest-table the table is called like the source table, without the prefix however it is written."""
    assert bare_table(table) == name


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"source_uri": ""}, "^source_uri is missing$"),
        ({"sql_limit": 0}, "^sql_limit must be at least 1"),
        ({"full_refresh": True, "sql_limit": 5}, "^full_refresh together with sql_limit would"),
        ({"sql_limit": "5"}, "^sql_limit must be a whole number"),
    ],
)
def test_python_is_told_its_own_names(given: dict[str, Any], message: str) -> None:
    """Errors of the Python interface name parameters as Python spells them."""
    named = {"source_uri": "salesforce://", "source_table": "account", "dest_uri": "duckdb:///x.db", **given}
    with pytest.raises(ConfigurationError, match=message):
        ingestr.ingest(**named)


def test_hosts_with_two_hyphens_are_no_parameters() -> None:
    """The name of a sandbox stays what it is."""
    uri = "salesforce://?access_token=x&domain=http://acme--debug.sandbox.my"
    with pytest.raises(ConfigurationError, match="http://acme--debug") as caught:
        ingestr.read(uri, "account")
    assert "https://acme--debug.sandbox.my.salesforce.com" in str(caught.value.hint)


def test_names_are_compared_without_their_prefix() -> None:
    """What every name begins with makes none alike; the hint shows it all the same."""
    known = ["Account", "Xyzzy__c", *(f"Other{i}__c" for i in range(30))]
    assert UnknownNameError("table", "custom:xyzy__c", known, prefix="custom:").hint == "did you mean custom:Xyzzy__c?"
    assert UnknownNameError("table", "custom:qqq", known, prefix="custom:", otherwise="look").hint == "look"


def test_lists_may_be_repeated_or_separated_by_commas() -> None:
    """A repeatable option takes a text, a list, and commas in either."""
    assert options(primary_key="id").primary_key == ("id",)
    assert options(sql_exclude_columns=["a,b", "c"]).sql_exclude_columns == ("a", "b", "c")


def test_full_refresh_ignores_an_interval_and_says_so() -> None:
    """A scheduler passes an interval on every run: with --full-refresh everything is read, not that alone."""
    both = options(full_refresh=True, interval_start="2023-02-01", interval_end="2023-02-02")
    assert (both.interval_start, both.interval_end) == (None, None)
    assert both.notes == ("--full-refresh reads everything: the interval is ignored",)
    assert options(full_refresh=False, interval_start="2023-02-01").has_interval


def test_options_that_cannot_be_meant_are_not_made() -> None:
    """Whoever makes options otherwise cannot replace a table by an interval either."""
    with pytest.raises(ConfigurationError, match="would drop"):
        replace(options(interval_start="2023-02-01"), full_refresh=True)


@pytest.mark.parametrize(
    ("written", "naming"),
    [(None, "auto"), ("auto", "auto"), ("default", "default"), ("snake_case", "default"), ("direct", "direct")],
)
def test_every_spelling_of_the_naming(written: str | None, naming: str) -> None:
    """snake_case is another word for the default."""
    assert options(schema_naming=written).schema_naming == naming


@pytest.mark.parametrize("option", [o for o in OPTIONS if o.status is Status.REFUSED], ids=lambda o: o.name)
def test_what_is_refused_is_refused_aloud(option: Option) -> None:
    """An option that a load cannot honour ends it, with the reason; nothing is loaded without what was asked for."""
    value: Any = {Kind.FLAG: True, Kind.LIST: ["phone:hash"]}.get(option.kind, "merge")
    with pytest.raises(ConfigurationError, match=f"^{option.flag} is refused: ") as caught:
        options(**{option.name: value})
    assert "phone" not in str(caught.value)
    harmless = {None, option.default}
    assert [options(**{option.name: each}).notes for each in harmless] == [()] * len(harmless)


def test_a_mask_that_is_empty_is_no_mask() -> None:
    """--mask "$MASKS" without MASKS does not load in clear."""
    with pytest.raises(ConfigurationError, match=r"^--mask: a mask names no column"):
        options(mask=[""])


def test_what_does_nothing_is_said_where_it_could_be_missed() -> None:
    """Of options about the destination's files and partitions a line says that they do nothing."""
    silent = {"yes": True, "loader_file_size": "5", "batch_size": "x", "no_run_id": True, "query_annotations": "gs://x"}
    told = ["partition_by", "cluster_by", "staging_bucket", "extract_partition_by", "extract_partition_interval"]
    notes = options(**silent, **dict.fromkeys(told, "gs://bucket")).notes
    assert notes == tuple(f"--{name.replace('_', '-')} does nothing for this destination" for name in told)


@pytest.mark.parametrize(
    "option",
    [o for o in OPTIONS if o.status is Status.HONOURED and o.kind not in (Kind.URI, Kind.FLAG, Kind.COUNT)],
    ids=lambda o: o.name,
)
def test_a_uri_in_the_wrong_place_is_not_repeated(option: Option) -> None:
    """A URI holds secrets: an option that takes none says that it got one, and no more."""
    uri = "salesforce://?access_token=S3CRET&domain=login"
    with pytest.raises(ConfigurationError, match=f"^{option.flag} holds a URI$"):
        options(**{option.name: [uri] if option.kind is Kind.LIST else uri})


def test_pages_wait_in_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The cache is where the user has it, and a path of it that is not absolute does not count."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert options().spool_folder == Path("/elsewhere/ingestr/pages")
    for relative in ("cache", r"C:\Users\me", "~/cache", ""):
        monkeypatch.setenv("XDG_CACHE_HOME", relative)
        assert options().spool_folder == tmp_path / ".cache" / "ingestr" / "pages"
    assert options(pipelines_dir="~/here").spool_folder == tmp_path / "here" / "pages"


@pytest.mark.parametrize("home", ["relative", "~", "out of reach"])
def test_without_a_home_pages_wait_among_the_temporary_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, home: str
) -> None:
    """A service has no home, sudo leaves another's: each read makes a folder of its own there."""
    if home == "out of reach":
        # A link to itself is closed to every user, also to one whom no permission keeps out.
        (tmp_path / "home").symlink_to(tmp_path / "home")
        home = str(tmp_path / "home")
    monkeypatch.setenv("HOME", home)
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert options().spool_folder == Path(tempfile.gettempdir())


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("10m", 600), (" 2H ", 7_200), ("1d", 86_400), ("0s", 0), (timedelta(hours=1), 3_600)],
)
def test_lengths_of_time(text: str | timedelta, seconds: int) -> None:
    """A number and a unit, or Python's own."""
    assert options(lag=text).lag == timedelta(seconds=seconds)


def test_a_choice_that_was_a_flag() -> None:
    """True and false still stand for what the flag meant."""
    assert [options(refresh_formulas=value).refresh_formulas for value in (True, False, "auto")] == [
        "always",
        "never",
        "auto",
    ]
    assert options().refresh_formulas == "auto"
