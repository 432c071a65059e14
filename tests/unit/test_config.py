"""Source URIs: every documented form is understood, every mistake named, and no secret repeated."""

import pytest

from ingestr.core.secret import Secret
from ingestr.errors import ConfigurationError, IngestrError
from ingestr.sources.salesforce.http.hosts import login_url
from ingestr.sources.salesforce.logins.access_token import AccessToken
from ingestr.sources.salesforce.logins.client_credentials import ClientCredentials
from ingestr.sources.salesforce.logins.config import SalesforceConfig, parse_config
from ingestr.sources.salesforce.logins.username_password import UsernamePassword
from ingestr.uri import parse_uri


def config(uri: str) -> SalesforceConfig:
    """The config of a URI."""
    parsed = parse_uri(uri, role="source")
    return parse_config(parsed.authority, parsed.path, parsed.parameters)


@pytest.mark.parametrize(
    ("domain", "url"),
    [
        ("login", "https://login.salesforce.com"),
        ("test", "https://test.salesforce.com"),
        ("acme.my", "https://acme.my.salesforce.com"),
        ("Acme--Dev.sandbox.my", "https://acme--dev.sandbox.my.salesforce.com"),
        ("acme.my.salesforce.com", "https://acme.my.salesforce.com"),
        ("https://acme.my.salesforce.com/", "https://acme.my.salesforce.com"),
        ("https://acme.my.salesforce.com", "https://acme.my.salesforce.com"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://localhost:8080/", "http://localhost:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("https://localhost:8443", "https://localhost:8443"),
    ],
)
def test_every_form_of_domain(domain: str, url: str) -> None:
    """Each documented form of the domain leads to one login URL."""
    assert login_url(domain) == url


@pytest.mark.parametrize(
    ("domain", "hint"),
    [
        ("http://acme.my.salesforce.com", "https://acme.my.salesforce.com;"),
        ("http://acme.my", "https://acme.my.salesforce.com;"),
        ("acme.lightning.force.com", "acme.my.salesforce.com"),
        ("ftp://acme.my.salesforce.com", "host"),
        ("acme my", "host"),
        ("https://", "host"),
        ("user@acme.my", "host"),
    ],
)
def test_bad_domains_are_refused_with_a_hint(domain: str, hint: str) -> None:
    """A domain that would leak or lead nowhere is refused before anything is sent."""
    with pytest.raises(ConfigurationError) as caught:
        login_url(domain)
    assert hint in f"{caught.value} {caught.value.hint}"


def test_the_three_logins() -> None:
    """Each documented set of parameters gives its login, with or without naming it."""
    assert config("salesforce://?access_token=00D%21abc&domain=acme.my").login == AccessToken(Secret("00D!abc"))
    password = UsernamePassword("a@b.c", Secret("p&w"), Secret("tok"))
    assert config("salesforce://?username=a%40b.c&password=p%26w&token=tok&domain=login").login == password
    client = ClientCredentials(Secret("id"), Secret("sec"))
    assert config("salesforce://?client_id=id&client_secret=sec&domain=acme.my").login == client
    assert (
        config("salesforce://?grant_type=client_credentials&client_id=id&client_secret=sec&domain=acme.my").login
        == client
    )
    assert config("salesforce://?auth_method=access_token&access_token=x&domain=login").login == AccessToken(
        Secret("x")
    )


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("salesforce://?access_token=S3CRET", "no domain"),
        ("salesforce://?username=S3CRET&domain=login", "lacks password"),
        ("salesforce://?client_id=S3CRET&domain=login", "lacks client_secret"),
        ("salesforce://?grant_type=client_credentials&client_secret=S3CRET&domain=login", "lacks client_id"),
        ("salesforce://?access_token=S3CRET&domain=login&colour=blue", "1 unknown parameter$"),
        ("salesforce://?password=p&S3CRET=x&S3CRET2=y&domain=login", "2 unknown parameters$"),
        ("S3CRET=x&domain=https://acme.my", "no scheme"),
        ("salesforce://?S3CRET=x&S3CRET=y&domain=login", "twice"),
        ("salesforce://?access_token=S3CRET&client_id=x&domain=login", "mixes logins"),
        ("salesforce://?domain=login", "no login"),
        ("salesforce://?access_token=&domain=login", "no login"),
        ("salesforce://?auth_method=S3CRET&domain=login", "not supported"),
        ("salesforce://?access_token=S3CRET&access_token=S3CRET&domain=login", "twice"),
        ("salesforce://?access_token=S3CRET#x&domain=login", "#"),
        ("salesforce://?S3CRET", "cannot be parsed"),
        ("salesforce://acme.my?access_token=S3CRET", "host or path"),
        ("access_token=S3CRET", "no scheme"),
    ],
)
def test_mistakes_are_named_and_secrets_are_not(uri: str, message: str) -> None:
    """Half a login, two logins or an unknown parameter is said in words that hold no value of the URI."""
    with pytest.raises(ConfigurationError, match=message) as caught:
        config(uri)
    assert "S3CRET" not in f"{caught.value} {caught.value.hint} {caught.value!r}"
    assert caught.value.exit_code == 2


def test_a_secret_never_shows() -> None:
    """No way of turning a secret into text, short of asking for it, shows it."""
    secret = Secret("hunter2")
    for text in (repr(secret), str(secret), f"{secret}", f"{secret:>20}", repr([secret]), repr(config_with(secret))):
        assert "hunter2" not in text
    assert secret.reveal() == "hunter2"


def config_with(secret: Secret) -> SalesforceConfig:
    """A config that holds a secret."""
    return SalesforceConfig(UsernamePassword("u", secret, secret), "https://login.salesforce.com")


def test_every_error_has_an_exit_code() -> None:
    """The tree of errors and the table of exit codes are one."""

    def leaves(kind: type[IngestrError]) -> list[type[IngestrError]]:
        return [kind, *(leaf for child in kind.__subclasses__() for leaf in leaves(child))]

    codes = {kind.__name__: kind.exit_code for kind in leaves(IngestrError) if kind.__module__ == "ingestr.errors"}
    assert {codes[name] for name in codes if name != "IngestrError"} == {2, 3, 4, 5, 6, 7}
    assert codes["QuotaError"] == 6
    assert codes["SessionExpiredError"] == 3


@pytest.mark.parametrize(
    ("name", "character", "kind"),
    [
        ("access_token", "%0A", "a line break"),
        ("access_token", "%0D%0A", "a line break"),
        ("access_token", "%09", "a tab"),
        ("access_token", "%00", "a NUL character"),
        ("access_token", "%0C", "a form feed"),
        ("access_token", "%1B", r"a control character \(U\+001B\)"),
        ("access_token", "%7F", r"a control character \(U\+007F\)"),
        ("access_token", "%C2%9B", r"a control character \(U\+009B\)"),
        ("access_token", "%E2%80%A8", "a line break"),
        ("access_token", "%20", "begins or ends with a space"),
        ("access_token", "+x", "holds a space"),
        ("access_token", "%C3%A9", "not ASCII"),
        ("access_token", "%E2%80%8B", "not ASCII"),
        ("client_secret", "%0A", "a line break"),
        ("client_secret", "+", "begins or ends with a space"),
        ("client_id", "%0A", "a line break"),
        ("password", "%0A", "a line break"),
        ("password", "%00", "a NUL character"),
        ("token", "%20", "begins or ends with a space"),
        ("username", "%0A", "a line break"),
        ("domain", "%0A", "a line break"),
        ("domain", "%1B", "a control character"),
    ],
)
def test_characters_that_no_credential_has_are_named(name: str, character: str, kind: str) -> None:
    """A stray line break and its like are refused by name and kind before anything is sent, and not repeated."""
    login = {
        "access_token": {"access_token": "S3CRET"},
        "client_secret": {"client_id": "S3CRET", "client_secret": "S3CRET"},
        "client_id": {"client_id": "S3CRET", "client_secret": "S3CRET"},
        "domain": {"access_token": "S3CRET"},
    }.get(name, {"username": "S3CRET", "password": "S3CRET", "token": "S3CRET"})
    pairs = {**login, "domain": "acme.my"}
    pairs[name] += character
    with pytest.raises(ConfigurationError, match=kind) as caught:
        config("salesforce://?" + "&".join(f"{key}={value}" for key, value in pairs.items()))
    text = f"{caught.value} {caught.value.hint}"
    assert f"{name} in the source URI" in text
    assert "S3CRET" not in text
    assert text.isprintable()


@pytest.mark.parametrize("end", ["\n", "\r\n", "\t", "\0", "\x1b", "\udcff", "\x85"])
@pytest.mark.parametrize("role", ["source", "destination"])
def test_a_uri_with_a_stray_line_break(role: str, end: str) -> None:
    """Python's parser would drop it in silence and read another URI."""
    for uri in (f"salesforce://?access_token=S3CRET&domain=acme.my{end}", f"duckdb:///a{end}b.db"):
        with pytest.raises(ConfigurationError, match=f"the {role} URI holds") as caught:
            parse_uri(uri, role=role)
        assert "S3CRET" not in f"{caught.value} {caught.value.hint}"


def test_a_password_may_hold_any_character() -> None:
    """Spaces, signs and letters of any script are a person's choice."""
    login = config("salesforce://?username=a%40b.c&password=%20%C3%BC%20%26%2B%25%E6%97%A5%20&domain=login").login
    assert isinstance(login, UsernamePassword)
    assert login.password.reveal() == " ü &+%日 "
    with pytest.raises(ConfigurationError, match="cannot be parsed") as caught:
        config("salesforce://?username=a%40b.c&password=S3CRET%FC&domain=login")
    assert "UTF-8" in str(caught.value.hint)


@pytest.mark.parametrize("written", ["59.0", "v59.0", "59", "v59"])
def test_an_api_version_may_be_chosen(written: str) -> None:
    """In each documented form."""
    assert config(f"salesforce://?access_token=x&domain=acme.my&api_version={written}").api_version == "59.0"


@pytest.mark.parametrize("written", ["46.0", "68.0", "fifty", "59.5", "-59", "9" * 400, "5\uff19"])
def test_api_versions_that_are_not_spoken(written: str) -> None:
    """They are refused with those that are."""
    with pytest.raises(ConfigurationError, match="api_version") as caught:
        config(f"salesforce://?access_token=x&domain=acme.my&api_version={written}")
    assert "47.0 to 67.0" in str(caught.value.hint)


def test_other_names_of_a_login() -> None:
    """``username_password`` is the login by password, and each name of a login may stand in either parameter."""
    for selector in ("auth_method", "grant_type"):
        for name in ("password", "username_password"):
            login = config(f"salesforce://?{selector}={name}&username=a&password=b&domain=login").login
            assert isinstance(login, UsernamePassword)
    both = "auth_method=username_password&grant_type=password"
    assert isinstance(config(f"salesforce://?{both}&username=a&password=b&domain=login").login, UsernamePassword)


def test_the_largest_answer_may_be_set() -> None:
    """In megabytes, within reason."""
    assert config("salesforce://?access_token=x&domain=acme.my&max_answer_mb=512").most_bytes == 512 << 20
    for written in ("0", "-1", "1e3", "99999999", "²"):
        with pytest.raises(ConfigurationError, match="max_answer_mb"):
            config(f"salesforce://?access_token=x&domain=acme.my&max_answer_mb={written}")


@pytest.mark.parametrize(
    "host", ["a..b.com", "a" * 64 + ".com", "xn--.salesforce.com", ".".join(["a" * 60] * 5), "-a.com", "a-.com", "ü.my"]
)
def test_names_that_no_host_has(host: str) -> None:
    """Labels that are empty or too long would fail deep in the resolver."""
    with pytest.raises(ConfigurationError, match="is not a host"):
        login_url(host)
