"""The pin and the certificate profile of docs/protocol.md, section "Channel"."""

import hashlib
import hmac
import re
import socket
import ssl
from datetime import datetime, timedelta, timezone

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ObjectIdentifier

from software_tpm import spki

DEPLOYMENT = r"assay://(d-[a-z2-7]{16})"
SERVER = ("1.3.6.1.5.5.7.3.1", rf"{DEPLOYMENT}/server")
HOST_CLIENT = ("1.3.6.1.5.5.7.3.2", rf"{DEPLOYMENT}/hosts/(h-[a-z2-7]{{26}})")
AK = ("2.23.133.8.3", rf"{DEPLOYMENT}/hosts/(h-[a-z2-7]{{26}})")
SERVICE = ("2.25.241952490447747416247754847366016561592", rf"{DEPLOYMENT}/service")


class Refused(Exception):
    """What came is not what this agent may go on with."""


def demand(holds: bool, what: str) -> None:
    if not holds:
        raise Refused(what)


def key_hash(public_key) -> bytes:
    """SHA-256 of the SubjectPublicKeyInfo."""
    return hashlib.sha256(spki(public_key)).digest()


def load(der: bytes) -> x509.Certificate:
    demand(len(der) <= 8192, "a certificate is too large")
    try:
        certificate = x509.load_der_x509_certificate(der)
    except ValueError as error:
        raise Refused("a certificate cannot be read") from error
    demand(certificate.public_bytes(serialization.Encoding.DER) == der, "a certificate is not plain DER")
    return certificate


def check_pin(der: bytes, pin: str) -> x509.Certificate:
    """The authority, where it is the pinned one."""
    authority = load(der)
    demand(hmac.compare_digest(f"sha256:{key_hash(authority.public_key()).hex()}", pin), "the authority is not pinned")
    return authority


def check_leaf(der: bytes, authority: x509.Certificate, profile: tuple[str, str]) -> tuple[x509.Certificate, tuple]:
    """The leaf and what its URI names: the deployment, and the host where the profile has one."""
    usage, pattern = profile
    leaf = load(der)
    try:
        leaf.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError) as error:
        raise Refused("a certificate is not of the pinned authority") from error
    now = datetime.now(timezone.utc)
    for certificate in (leaf, authority):
        valid = certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc
        demand(valid, "a certificate is not valid now: is the clock right?")
    demand(not is_authority(leaf), "a leaf is an authority")
    usages = extension(leaf, x509.ExtendedKeyUsage)
    demand(usages is not None and list(usages) == [ObjectIdentifier(usage)], "a certificate is for another use")
    names = list(extension(leaf, x509.SubjectAlternativeName) or [])
    uris = [name.value for name in names if isinstance(name, x509.UniformResourceIdentifier)]
    others = [name for name in names if not isinstance(name, x509.UniformResourceIdentifier)]
    allowed = (x509.DNSName, x509.IPAddress) if profile is SERVER else ()
    demand(all(isinstance(name, allowed) for name in others), "a certificate has other names")
    match = re.fullmatch(pattern, uris[0]) if len(uris) == 1 else None
    demand(match is not None, "a certificate names something else")
    return leaf, match.groups()


def is_authority(certificate: x509.Certificate) -> bool:
    constraints = extension(certificate, x509.BasicConstraints)
    return constraints is not None and constraints.ca


def extension(certificate: x509.Certificate, kind):
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def check_signature(service: x509.Certificate, signature: bytes, digest: bytes) -> None:
    """The digest is the message: ECDSA hashes it once more."""
    try:
        service.public_key().verify(signature, digest, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature as error:
        raise Refused("the signature of the service does not hold") from error


def find_authority(server: str, pin: str) -> bytes:
    """The pinned authority out of a handshake over which nothing is sent."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    name, port = server.rsplit(":", 1)
    with socket.create_connection((name, int(port)), timeout=10) as plain:
        with context.wrap_socket(plain, server_hostname=name) as channel:
            leaf, *others = handshake_certificates(channel)
    for der in (leaf, *others):
        if f"sha256:{key_hash(load(der).public_key()).hex()}" == pin:
            check_leaf(leaf, check_pin(der, pin), SERVER)
            return der
    raise Refused("the service is not the pinned one")


def handshake_certificates(channel: ssl.SSLSocket) -> list[bytes]:
    """The certificates that the peer sent, leaf first."""
    if hasattr(channel, "get_unverified_chain"):
        return channel.get_unverified_chain()
    # Public from Python 3.13 on; until then it is there under another name.
    chain = channel._sslobj.get_unverified_chain()
    return [ssl.PEM_cert_to_DER_cert(certificate.public_bytes()) for certificate in chain]


def bare_certificate(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A certificate that the agent signs for its own TLS key: nothing in it counts but the key."""
    now = datetime.now(timezone.utc)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "agent")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    dated = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=1))
    return dated.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
