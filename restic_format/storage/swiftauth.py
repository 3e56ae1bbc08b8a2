"""Signing in to OpenStack Swift: what restic takes from the environment, and the requests of the three versions of identity.

The address of the identity service says which version it speaks, as in restic: it has ``v1``, ``v2`` or ``v3`` in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from restic_format.errors import AccessDenied, StorageError, UsageError
from restic_format.storage.http.addresses import address_of
from restic_format.storage.http.jsons import read_json
from restic_format.storage.http.replies import told
from restic_format.storage.http.reply import Http, Reply

_JSON = {"Content-Type": "application/json", "Accept": "application/json"}

_API_KEY = 32
"""Characters from which on a password is first taken for one of Rackspace's API keys."""

_LARGEST = 4 << 20
"""Bytes of an answer of the identity service, which lists all services there are."""


class Session(NamedTuple):
    """What a successful sign-in gives: where the account's containers are, and the token that opens them."""

    url: str
    token: str

    def __repr__(self) -> str:
        return f"Session({self.url!r})"


class Identity(NamedTuple):
    """Who we are, as restic's environment variables say it. As text it shows none of it."""

    auth_url: str = ""
    user: str = ""
    user_id: str = ""
    password: str = ""
    domain: str = ""
    domain_id: str = ""
    project: str = ""
    project_id: str = ""
    project_domain: str = ""
    project_domain_id: str = ""
    trust_id: str = ""
    credential_id: str = ""
    credential_name: str = ""
    credential_secret: str = ""
    region: str = ""
    storage_url: str = ""
    token: str = ""

    def __repr__(self) -> str:
        return "Identity()"

    @property
    def given(self) -> Session | None:
        """The session that needs no sign-in, where both its parts are given."""
        return Session(self.storage_url.rstrip("/"), self.token) if self.storage_url and self.token else None

    @property
    def names_somebody(self) -> bool:
        """Whether there is a user, a password or an application credential to sign in with."""
        return bool(self.user or self.user_id or self.password or self.credential_id or self.credential_name)

    @property
    def version(self) -> int:
        """The version of the identity service: 1, 2 or 3; 0 where its address does not say it."""
        return next((number for number in (3, 2, 1) if f"v{number}" in self.auth_url), 0)


_VARIABLES: dict[str, tuple[str, ...]] = {
    "auth_url": ("OS_AUTH_URL", "ST_AUTH"),
    "user": ("OS_USERNAME", "ST_USER"),
    "user_id": ("OS_USER_ID",),
    "password": ("OS_PASSWORD", "ST_KEY"),
    "domain": ("OS_USER_DOMAIN_NAME",),
    "domain_id": ("OS_USER_DOMAIN_ID",),
    "project": ("OS_PROJECT_NAME", "OS_TENANT_NAME"),
    "project_id": ("OS_TENANT_ID",),
    "project_domain": ("OS_PROJECT_DOMAIN_NAME",),
    "project_domain_id": ("OS_PROJECT_DOMAIN_ID",),
    "trust_id": ("OS_TRUST_ID",),
    "credential_id": ("OS_APPLICATION_CREDENTIAL_ID",),
    "credential_name": ("OS_APPLICATION_CREDENTIAL_NAME",),
    "credential_secret": ("OS_APPLICATION_CREDENTIAL_SECRET",),
    "region": ("OS_REGION_NAME",),
    "storage_url": ("OS_STORAGE_URL",),
    "token": ("OS_AUTH_TOKEN",),
}
"""The variables of each field, of which the first that is set counts."""


def identity_from(environment: Mapping[str, str]) -> Identity:
    """Who the *environment* says we are.

    Raises:
        UsageError: there is neither a token with the address of the containers, nor what `check` wants.
    """
    found = Identity(
        **{
            field: next((environment[name] for name in names if environment.get(name)), "")
            for field, names in _VARIABLES.items()
        }
    )
    if found.given is None:
        check(found)
    elif address_of(found.storage_url) is None:
        raise UsageError("swift: the address in OS_STORAGE_URL begins neither with https:// nor with http://")
    return found


def check(identity: Identity) -> None:
    """Do nothing where *identity* says with whom to sign in, and where.

    Raises:
        UsageError: something is missing.
    """
    if not identity.auth_url:
        raise UsageError(
            "swift: no credentials: set OS_AUTH_URL (or ST_AUTH) with OS_USERNAME and OS_PASSWORD (or ST_USER and ST_KEY), "
            "an application credential, or OS_STORAGE_URL with OS_AUTH_TOKEN"
        )
    if not identity.version:
        raise UsageError("swift: the address in OS_AUTH_URL (or ST_AUTH) must have the version in it: v1, v2 or v3")
    if address_of(identity.auth_url) is None:
        raise UsageError("swift: the address in OS_AUTH_URL (or ST_AUTH) begins neither with https:// nor with http://")
    if identity.version == 3 and identity.credential_name and not (identity.credential_id or identity.user_id):
        if not identity.user:
            raise UsageError("swift: the name of an application credential needs OS_USERNAME or OS_USER_ID beside it")
        if not (identity.domain or identity.domain_id):
            raise UsageError("swift: the name of an application credential needs the user's domain: set OS_USER_DOMAIN_NAME")


def sign_in(identity: Identity, connect: Callable[[str], Http]) -> Session:
    """A new session. *connect* gives a way to a server, whose scheme, host and port it gets.

    Raises:
        AccessDenied: the identity service does not know us, or there is no object storage for us.
        StorageError: it could not be asked, or its answer is none.
    """
    if identity.given is not None and not (identity.auth_url and identity.names_somebody):
        raise AccessDenied("swift: the token in OS_AUTH_TOKEN is not accepted, it may have expired: set a new one")
    check(identity)
    address = address_of(identity.auth_url)
    assert address is not None
    http = connect(address.origin)
    try:
        session = _SIGN_INS[identity.version](identity, http, address.target)
    finally:
        http.close()
    if not session.url or not session.token:
        where = f" in the region {identity.region}" if identity.region else ""
        raise AccessDenied(f"swift: the identity service names no object storage{where} for this user")
    return Session(session.url.rstrip("/"), session.token)


def _failed(reply: Reply) -> StorageError:
    what = "swift: signing in"
    if reply.status == 404:  # nothing is missing that was asked for
        return AccessDenied(f"{what}: 404 Not Found: there is no identity service at the address in OS_AUTH_URL (or ST_AUTH)")
    return told(reply, what, text=_words(reply))


def _words(reply: Reply) -> str | None:
    """What the identity service says about an error."""
    try:
        return read_json(reply.body, msgspec.json.Decoder(_Refusal)).error.message
    except ValueError:
        return None


def _sign_in_1(identity: Identity, http: Http, path: str) -> Session:
    reply = http.request(
        "GET", path or "/", {"X-Auth-User": _header(identity.user), "X-Auth-Key": _header(identity.password)}, limit=_LARGEST
    )
    if not reply.ok:
        raise _failed(reply)
    return Session(reply.headers.get("X-Storage-Url") or "", reply.headers.get("X-Auth-Token") or "")


def _header(text: str) -> str:
    """*text* as the value of a header: its bytes in UTF-8."""
    if any(char in text for char in "\r\n\0"):
        raise UsageError("swift: a user's name or key must not have a line break in it")
    return text.encode("utf-8", "surrogateescape").decode("latin-1")


def _sign_in_2(identity: Identity, http: Http, path: str) -> Session:
    words = {"passwordCredentials": {"username": identity.user, "password": identity.password}}
    key = {"RAX-KSKEY:apiKeyCredentials": {"username": identity.user, "apiKey": identity.password}}
    scope = {name: text for name, text in (("tenantId", identity.project_id), ("tenantName", identity.project)) if text}
    forms: list[dict[str, Any]] = [key, words] if len(identity.password) >= _API_KEY else [words, key]
    for form in forms:
        reply = http.request("POST", path.rstrip("/") + "/tokens", _JSON, _encoded({"auth": form | scope}), limit=_LARGEST)
        if reply.status not in (400, 401):
            break
    if not reply.ok:
        raise _failed(reply)
    access = _decoded(reply, _Access2).access
    url = next(
        (
            endpoint.public_url
            for service in access.service_catalog
            if service.type == "object-store"
            for endpoint in service.endpoints
            if not identity.region or endpoint.region == identity.region
        ),
        "",
    )
    return Session(url, access.token.id)


def _sign_in_3(identity: Identity, http: Http, path: str) -> Session:
    body = _encoded({"auth": auth_3(identity)})
    reply = http.request("POST", path.rstrip("/") + "/auth/tokens", _JSON, body, limit=_LARGEST)
    if not reply.ok:
        raise _failed(reply)
    url = next(
        (
            endpoint.url
            for service in _decoded(reply, _Token3).token.catalog
            if service.type == "object-store"
            for endpoint in service.endpoints
            if endpoint.interface == "public" and (not identity.region or endpoint.region == identity.region)
        ),
        "",
    )
    return Session(url, reply.headers.get("X-Subject-Token") or "")


def auth_3(identity: Identity) -> dict[str, Any]:
    """The request for a token of version 3, as restic makes it."""
    domain = _named(identity.domain, identity.domain_id)
    user: dict[str, Any] = {"domain": domain} if domain else {}
    user |= _given(id=identity.user_id, name=identity.user)
    if identity.credential_id or identity.credential_name:
        credential = {"secret": identity.credential_secret}
        if identity.credential_id:
            return _by("application_credential", credential | {"id": identity.credential_id, "user": {}})
        if identity.user_id:
            user = {"id": identity.user_id}
        return _by("application_credential", credential | {"name": identity.credential_name, "user": user})
    if identity.user or identity.user_id:
        auth = _by("password", {"user": user | {"password": identity.password}})
    else:
        auth = _by("token", {"id": identity.password})
    if identity.trust_id:
        auth["scope"] = {"OS-TRUST:trust": {"id": identity.trust_id}}
    elif identity.project_id:
        auth["scope"] = {"project": {"id": identity.project_id}}
    elif identity.project:
        of_project = _named(identity.project_domain, identity.project_domain_id) or domain or {"name": "Default"}
        auth["scope"] = {"project": {"name": identity.project, "domain": of_project}}
    return auth


def _by(method: str, credentials: dict[str, Any]) -> dict[str, Any]:
    return {"identity": {"methods": [method], method: credentials}}


def _given(**texts: str) -> dict[str, str]:
    return {name: text for name, text in texts.items() if text}


def _named(name: str, number: str) -> dict[str, str]:
    return {"name": name} if name else _given(id=number)


_SIGN_INS: dict[int, Callable[[Identity, Http, str], Session]] = {1: _sign_in_1, 2: _sign_in_2, 3: _sign_in_3}


class _Endpoint2(msgspec.Struct):
    public_url: str = msgspec.field(default="", name="publicURL")
    region: str | None = None


class _Service2(msgspec.Struct):
    type: str = ""
    endpoints: list[_Endpoint2] = []


class _Id(msgspec.Struct):
    id: str


class _Catalog2(msgspec.Struct):
    token: _Id
    service_catalog: list[_Service2] = msgspec.field(default_factory=list, name="serviceCatalog")


class _Access2(msgspec.Struct):
    access: _Catalog2


class _Endpoint3(msgspec.Struct):
    url: str = ""
    interface: str = ""
    region: str | None = None


class _Service3(msgspec.Struct):
    type: str = ""
    endpoints: list[_Endpoint3] = []


class _Catalog3(msgspec.Struct):
    catalog: list[_Service3] = []


class _Token3(msgspec.Struct):
    token: _Catalog3


class _Message(msgspec.Struct):
    message: str


class _Refusal(msgspec.Struct):
    error: _Message


def _encoded(value: object) -> bytes:
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        raise UsageError("swift: the credentials are not text in UTF-8") from None


def _decoded(reply: Reply, kind: type[Any]) -> Any:
    try:
        return read_json(reply.body, msgspec.json.Decoder(kind))
    except ValueError:
        raise StorageError("swift: what the identity service answers is no token of the version in its address") from None
