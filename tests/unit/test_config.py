"""Source URIs: every documented form is understood, every mistake named, and no secret repeated."""

import pytest

from ingestr.core.secret import Secret
from ingestr.errors import ConfigurationError, IngestrError
from ingestr.sources.salesforce.config import (
    AccessToken,
    ClientCredentials,
    SalesforceConfig,
    UsernamePassword,
    login_url,
    parse_config,
)
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
    assert {codes[name] for name in codes if name != "IngestrError"} == {2, 3, 4, 5, 6}
    assert codes["QuotaError"] == 6
    assert codes["SessionExpiredError"] == 3
