"""Certificates for tests: an authority, what it vouches for, and what a client must refuse."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = datetime.timedelta(days=1)

Signer = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


class Certificates:
    """Makes files in PEM below *folder*; each certificate has its key in the file beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._authority = self._sign("ca", None, authority=True)
        self.ca = folder / "ca.pem"
        """The authority that a client is told to trust."""
        self._sign("other-ca", None, authority=True)
        self.other_ca = folder / "other-ca.pem"
        """One that has vouched for nothing."""
        self.server = self.make("server", ["localhost", "127.0.0.1"])
        """For localhost and 127.0.0.1."""
        self.expired = self.make("expired", ["localhost", "127.0.0.1"], ended=True)
        self.wrong_name = self.make("wrong-name", ["elsewhere.example"])
        self.client = self.make("client", [], client=True)
        """For ``--tls-client-cert``: certificate and key in one file."""

    def make(self, name: str, hosts: list[str], *, ended: bool = False, client: bool = False) -> Path:
        """A certificate that the authority signs for *hosts*, names or addresses; its file."""
        self._sign(name, self._authority, hosts, ended=ended, client=client)
        return self.folder / f"{name}.pem"

    def key_of(self, certificate: Path) -> Path:
        """The file with a certificate's key."""
        return certificate.with_suffix(".key")

    def _sign(
        self,
        name: str,
        issuer: Signer | None,
        hosts: list[str] | None = None,
        *,
        authority: bool = False,
        ended: bool = False,
        client: bool = False,
    ) -> Signer:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"restic-format tests {name}")])
        now = datetime.datetime.now(datetime.UTC)
        signing = issuer[1] if issuer else key
        build = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer[0].subject if issuer else subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - (20 * DAY))
            .not_valid_after(now + (-DAY if ended else 20 * DAY))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), critical=False)
            .add_extension(
                x509.KeyUsage(*(not authority, False, False, False, False, authority, authority, False, False)), True
            )
        )
        if not authority:
            use = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
            build = build.add_extension(x509.ExtendedKeyUsage([use]), critical=False)
        if hosts:
            names = [x509.IPAddress(ipaddress.ip_address(host)) if host[0].isdigit() else x509.DNSName(host) for host in hosts]
            build = build.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = build.sign(signing, hashes.SHA256())
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        (self.folder / f"{name}.pem").write_bytes(pem + secret if client else pem)
        (self.folder / f"{name}.key").write_bytes(secret)
        return certificate, key
