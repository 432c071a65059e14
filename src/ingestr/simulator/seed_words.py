"""Knows the words and the nasty values that seed data is made of; must not know objects or SQL."""

from __future__ import annotations

FIRST_NAMES = [
    "Ada",
    "Grace",
    "Alan",
    "Edsger",
    "Barbara",
    "Donald",
    "Margaret",
    "Dennis",
    "Radia",
    "Ken",
    "Frances",
    "John",
    "Hedy",
    "Tim",
    "Shafi",
    "Niklaus",
    "José",
    "Zoë",
    "Søren",
    "Łukasz",
    "Yuki",
    "美咲",
    "Ольга",
    "Amélie",
]
LAST_NAMES = [
    "Lovelace",
    "Hopper",
    "Turing",
    "Dijkstra",
    "Liskov",
    "Knuth",
    "Hamilton",
    "Ritchie",
    "Perlman",
    "Thompson",
    "Allen",
    "Backus",
    "Lamarr",
    "Berners-Lee",
    "Goldwasser",
    "Wirth",
    "O'Brien",
    "D'Angelo",
    "Müller",
    "Nakamura",
    "van·Rossum",
    "Nguyễn",
    "Иванова",
    "García",
]
COMPANIES = [
    "Acme",
    "Globex",
    "Initech",
    "Umbrella",
    "Soylent",
    "Hooli",
    "Vehement Capital",
    "Massive Dynamic",
    "Stark Industries",
    "Wayne Enterprises",
    "Wonka",
    "Tyrell",
    "Cyberdyne",
    "Gringotts",
    "Oceanic Airlines",
    "Pied Piper",
    "Bluth",
    "Sterling Cooper",
    "Dunder Mifflin",
    "Aperture",
]
COMPANY_KINDS = ("Ltd", "Inc.", "GmbH", "S.A.", "Holdings", "& Sons", "AG", "株式会社")
STREETS = (
    "Main Street",
    "Market Street",
    "Unter den Linden",
    "Rue de Rivoli",
    "High Street",
    "Park Avenue",
    "Gran Vía",
)
CITIES = ("San Francisco", "New York", "Berlin", "Paris", "Tokyo", "São Paulo", "Malmö", "Łódź")
STATES = ("CA", "NY", "BE", "IDF", "TK", "SP", "SK", "LD")
COUNTRIES = ("US", "US", "Germany", "France", "Japan", "Brazil", "Sweden", "Poland")
TITLES = ("CEO", "CFO", "VP, Sales", "Software Engineer", 'Head of "Growth"', "Buyer", "Assistant", "SVP, Operations")
NOUNS = [
    "river",
    "stone",
    "cloud",
    "engine",
    "garden",
    "harbour",
    "signal",
    "winter",
    "copper",
    "ladder",
    "orchard",
    "mirror",
]
ADJECTIVES = [
    "quiet",
    "early",
    "broken",
    "golden",
    "narrow",
    "steady",
    "distant",
    "plain",
    "heavy",
    "clever",
    "open",
    "green",
]
SENTENCES = (
    "Met at the conference; wants a quote by Friday.",
    "Called twice, no answer.",
    "Renewal is due next quarter. Ask for the new terms.",
    "Prefers e-mail to telephone.",
    "Has three sites, and a fourth is being built.",
)

# What breaks readers of CSV, guessers of types and splitters of lines. Every one of these is data.
NASTY_TEXTS = (
    'said "yes", then "no"',
    '"',
    '""',
    ",",
    "a,b;c\td|e^f`g",
    "line one\nline two",
    "line one\r\nline two\r\n",
    "lone\rreturn",
    "line\u2028separator",
    "next\u0085line",
    "😀 👩‍👩‍👧‍👦 🇺🇳",
    "007",
    "000000000000000001",
    "123456789012345678",
    "NA",
    "N/A",
    "null",
    "NULL",
    "NaN",
    "None",
    "nan",
    "-",
    "true",
    "  leading",
    "trailing  ",
    "   ",
    "=1+1",
    "@SUM(A1)",
    "back\\slash \\n \\",
    "tab\there",
    "2024-02-30",
    "2024-04-16",
    "2024-04-16T19:00:00.000Z",
    "1e5",
    "1.10",
    "+49 30 1234567",
    "'single' & <b>markup</b> &amp;",
    "null\u00a0space \ufeffbom",
    "ﷺ \u2067rtl\u2069 e\u0301 ﬁ",
    "\\N",
    "'); DROP TABLE account; --",
    "%41+%2B",
)
_LONG_UNIT = 'Lorem ipsum — 長い文 😀 "q", ein Absatz.\n'


def utf16_length(text: str) -> int:
    """Return how long the platform takes a text to be: an emoji counts twice."""
    return len(text.encode("utf-16-le")) // 2


def long_text(units: int = 32_000) -> str:
    """Return a text of exactly so many UTF-16 units, many of its characters of several bytes."""
    whole = _LONG_UNIT * (units // utf16_length(_LONG_UNIT))
    return whole + "." * (units - utf16_length(whole))


NASTY_FLOATS = (
    "1.2345678E7",
    "1.0E-4",
    "-0.0",
    "9.0E15",
    "0.1",
    "1.6147805824397E13",
    "123456789.125",
    "-2.5E-7",
    "1234567.0",
    "9999999.99",
)
NASTY_DATES = ("1700-01-01", "4000-12-31", "1970-01-01", "2000-02-29", "1899-12-31", "1582-10-15", "1900-01-01")
NASTY_TIMES = ("00:00:00", "23:59:59.999", "12:00:00.001")
NASTY_LONGS = ("9007199254740993", "-9007199254740993", "0")
NASTY_ANY = (
    "true",
    "12.5",
    "1.2345678E7",
    "37",
    "2024-04-16",
    "Closed Won",
    "001gK00000000N4QAI",
    "007",
    "NA",
    'a "quoted", text',
)
