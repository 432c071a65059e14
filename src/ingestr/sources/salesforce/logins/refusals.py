"""What to do about each way in which Salesforce refuses a login."""

from dataclasses import dataclass

from ingestr.sources.salesforce.http.answers import ApiError

SOAP_LOGIN_ENDS = (
    "the login by username and password ends for all orgs in Summer '27 (June 2027); "
    "set up an OAuth client and use client_id and client_secret"
)
_OTHERWISE = "check the login in the source URI"


@dataclass(frozen=True)
class Refusal:
    """One way to be refused.

    Args:
        code: the error's code; empty for any, as Salesforce moves some words between code and text.
        part: what the text holds, in lower case; empty for any.
        hint: what to do about it.
    """

    code: str
    part: str
    hint: str

    def is_meant_by(self, error: ApiError) -> bool:
        """Whether an error is of this kind."""
        return self.code in ("", error.code) and self.part in f"{error.code}: {error.message}".lower()


# The first that fits counts: texts, which are narrower than codes, come before them.
REFUSALS = (
    # Apps: OAuth, whatever the code.
    Refusal(
        "", "oauth_ec_app_not_found", "install the external client app in this org, or use client_id of one that is"
    ),
    Refusal(
        "",
        "external client app is not installed",
        "the app of client_id is of another org: Setup > External Client App Manager > install it here",
    ),
    Refusal(
        "",
        "cross-org oauth flows are not supported",
        "the app is bound to the org that made it: package and install it in this org, or make an app here",
    ),
    Refusal(
        "",
        "app must be installed",
        "Setup > Connected Apps OAuth Usage > Install, or let the user Approve Uninstalled Connected Apps",
    ),
    Refusal("", "oauth_app_blocked", "an administrator blocked the app: Setup > Connected Apps OAuth Usage > Unblock"),
    Refusal(
        "",
        "oauth_app_access_denied",
        "the app is for approved users only: give the user's profile or a permission set access to it",
    ),
    Refusal(
        "",
        "oauth_approval_error_generic",
        "give the user the permission Approve Uninstalled Connected Apps, or install the app in this org",
    ),
    Refusal(
        "",
        "user is not admin approved",
        "an administrator must add the user: Setup > Manage Connected Apps > the app > Manage Profiles",
    ),
    Refusal(
        "",
        "hasn't approved this consumer",
        "approve the app once in a browser, or let an administrator pre-approve users",
    ),
    Refusal(
        "", "high assurance session", "the app demands a session of high assurance: set its session policy to none"
    ),
    # Client credentials.
    Refusal(
        "", "request not supported on this domain", "the client credentials flow needs your My Domain: domain=acme.my"
    ),
    Refusal("", "no client credentials user enabled", "in the app's settings, choose a user for the flow to run as"),
    Refusal("", "client credentials flow not enabled", "in the app's settings, enable the client credentials flow"),
    # Users and orgs.
    Refusal("", "inactive user", "the user is deactivated: activate it, or let the app run as another"),
    Refusal("inactive_user", "", "activate the user in Setup > Users, or let the app run as another user"),
    Refusal("", "user is inactive", "Setup > Users > the user > Active, or use another user"),
    Refusal("", "inactive organization", "the org is closed or suspended: is the domain the right one? ask Salesforce"),
    Refusal("inactive_org", "", "the org is locked, closed or suspended: ask its administrator, or check the domain"),
    Refusal("", "invalid_org", "there is no such org: check the domain; was the sandbox deleted or refreshed?"),
    Refusal(
        "",
        "ip restricted or invalid login hours",
        "this network's address is outside the profile's login IP ranges, or it is outside the user's login hours; the "
        "app's setting Relax IP restrictions helps too",
    ),
    Refusal("", "expired access/refresh token", "the grant has expired or was revoked: authorize the app again"),
    Refusal("", "expired authorization code", "the authorization code has expired: begin the login again"),
    Refusal("", "invalid assertion", "the signed assertion is refused: check the certificate, the user and the clock"),
    Refusal("", "audience", "the assertion is for another host: its audience must be the login host"),
    Refusal("", "security token required", "this network is not trusted: add token=<security token>"),
    Refusal("", "invalid password", "the password is wrong; an & and a + in it are written %26 and %2B"),
    Refusal(
        "",
        "single sign-on",
        "the user may log in by single sign-on alone: use client_id and client_secret, or a user with a password",
    ),
    Refusal(
        "", "authentication failure", "check username, password and security token; does the org allow this login?"
    ),
    # Codes of OAuth.
    Refusal("invalid_client_id", "", "client_id is not the consumer key of an app of this org"),
    Refusal("invalid_client", "", "client_secret is wrong"),
    Refusal("invalid_app_access", "", "an administrator must approve the app for this user"),
    Refusal("unsupported_grant_type", "", "the app does not allow the client credentials flow"),
    Refusal("unauthorized_client", "", "the app may not use this flow: enable it in the app's OAuth settings"),
    Refusal("invalid_scope", "", "add the scope api (Manage user data via APIs) to the app's OAuth settings"),
    Refusal("access_denied", "", "the user or the org's policy denies the app: ask the org's administrator"),
    # Faults of SOAP.
    Refusal("INVALID_LOGIN", "", "check username, password and security token; test users log in at domain=test"),
    Refusal("LOGIN_MUST_USE_SECURITY_TOKEN", "", "add token=<security token>; it is mailed after a reset of the token"),
    Refusal("INVALID_OPERATION_WITH_EXPIRED_PASSWORD", "", "the password has expired: set a new one in Salesforce"),
    Refusal("PASSWORD_LOCKOUT", "", "the user is locked out: wait, or ask an administrator"),
    Refusal("LOGIN_DURING_RESTRICTED_DOMAIN", "", "this network's address is not among those the org allows"),
    Refusal("LOGIN_DURING_RESTRICTED_TIME", "", "the user's login hours do not allow it now"),
    Refusal(
        "LOGIN_CHALLENGE_ISSUED",
        "",
        "this device is not verified: add token=<security token>",
    ),
    Refusal(
        "LOGIN_CHALLENGE_PENDING",
        "",
        "finish the pending verification of this device in a browser",
    ),
    Refusal("INVALID_SSO_GATEWAY_URL", "", "the gateway URL of delegated authentication in Setup is wrong"),
    Refusal("SSO_SERVICE_DOWN", "", "the org's own service for delegated authentication is down: run again later"),
    Refusal("TRIAL_EXPIRED", "", "the trial of this org has ended: it must be bought, or another org named by domain"),
    Refusal("ORG_LOCKED", "", "Salesforce locked the org: ask its administrator or Salesforce"),
    Refusal("ORG_NOT_OWNED_BY_INSTANCE", "", "the org lives at another host: use its My Domain, domain=acme.my"),
    Refusal("UNSUPPORTED_API_VERSION", "", SOAP_LOGIN_ENDS),
    Refusal(
        "API_DISABLED_FOR_ORG",
        "",
        "the org or user may not use the API, or this login is switched off: " + SOAP_LOGIN_ENDS,
    ),
    Refusal("FUNCTIONALITY_NOT_ENABLED", "", "the org's edition has no API: ask its administrator"),
)


def hint_for(error: ApiError) -> str:
    """What the user should do about a login that was refused."""
    return next((refusal.hint for refusal in REFUSALS if refusal.is_meant_by(error)), _OTHERWISE)
