"""A TPM in software: two EKs, an AK under the first, three PCR banks of which one is not active, and a boot log."""

import time

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

import structures as tpm
from credential import activate_credential
from structures import sized, u8, u16, u32, u64

ACTIVE_BANKS = (tpm.SHA256, tpm.SHA384)
INACTIVE_BANK = tpm.SHA1
PCRS = list(range(24))
FIRMWARE_VERSION = 0x2025_0101_0000_0001

EV_NO_ACTION, EV_SEPARATOR, EV_S_CRTM_VERSION, EV_IPL = 0x03, 0x04, 0x08, 0x0D


class SoftwareTpm:
    """`state` is what must survive: keys (PEM), PCR values and log (hexadecimal) and the counters of the clock."""

    def __init__(self, state: dict):
        self.state = state
        self._eks = [load_key(state["rsa_ek"]), load_key(state["ecc_ek"])]
        self._ak = load_key(state["ak"])
        self.ek_public_areas = [
            tpm.rsa_ek_public(self._eks[0].public_key()),
            tpm.ecc_ek_public(self._eks[1].public_key()),
        ]
        self.ak_public_area = tpm.ak_public(self._ak.public_key())
        self.ak_name = tpm.name_of(self.ak_public_area)

    @classmethod
    def manufacture(cls) -> "SoftwareTpm":
        """A new TPM whose host has just booted."""
        keys = {
            "rsa_ek": rsa.generate_private_key(65537, 2048),
            "ecc_ek": ec.generate_private_key(ec.SECP384R1()),
            "ak": ec.generate_private_key(ec.SECP256R1()),
        }
        made = cls(
            {
                **{name: key_pem(key) for name, key in keys.items()},
                "made": time.time(),
                "reset_count": 3,
                "restart_count": 1,
                "pcrs": {
                    str(bank): [(b"\xff" if 17 <= pcr <= 22 else b"\0").hex() * tpm.digest_size(bank) for pcr in PCRS]
                    for bank in ACTIVE_BANKS
                },
                "boot_log": log_header().hex(),
            }
        )
        made.measure(0, EV_S_CRTM_VERSION, "1.0\0".encode("utf-16-le"))
        for pcr in range(8):
            made.measure(pcr, EV_SEPARATOR, bytes(4))
        # Large enough for the log to travel in several chunks.
        made.measure(9, EV_IPL, b"initrd " * 90_000)
        return made

    def ek_spki(self, index: int) -> bytes:
        return spki(self._eks[index].public_key())

    def activate(self, index: int, credential_blob: bytes, encrypted_secret: bytes) -> bytes:
        """TPM2_ActivateCredential for the AK."""
        area = self.ek_public_areas[index]
        return activate_credential(self._eks[index], area, self.ak_name, credential_blob, encrypted_secret)

    def read(self, selection) -> list[tuple[int, list[tuple[int, bytes]]]]:
        """The values of the selected PCRs, bank by bank."""
        pcrs = self.state["pcrs"]
        return [(bank, [(pcr, bytes.fromhex(pcrs[str(bank)][pcr])) for pcr in chosen]) for bank, chosen in selection]

    def quote(self, selection, qualifying_data: bytes) -> tuple[bytes, bytes]:
        """TPM2_Quote (Part 3, 18.4): TPMS_ATTEST and TPMT_SIGNATURE."""
        values = b"".join(value for _, bank in self.read(selection) for _, value in bank)
        attested = tpm.pcr_selection(selection) + sized(tpm.digest(tpm.SHA256, values))
        return self._attest(tpm.ATTEST_QUOTE, qualifying_data, attested)

    def prove_banks(self, qualifying_data: bytes) -> tuple[bytes, bytes, bytes]:
        """TPM2_GetCapability in an audit session, and TPM2_GetSessionAuditDigest (Part 3, 18.5) over it."""
        banks = [(INACTIVE_BANK, [])] + [(bank, PCRS) for bank in ACTIVE_BANKS]
        capability_data = u8(0) + u32(tpm.CAP_PCRS) + tpm.pcr_selection(banks)
        command = u32(tpm.CC_GET_CAPABILITY)
        cp_hash = tpm.digest(tpm.SHA256, command + u32(tpm.CAP_PCRS) + u32(0) + u32(16))
        rp_hash = tpm.digest(tpm.SHA256, u32(0) + command + capability_data)
        session_digest = tpm.digest(tpm.SHA256, bytes(32) + cp_hash + rp_hash)
        attested = u8(0) + sized(session_digest)
        return capability_data, *self._attest(tpm.ATTEST_SESSION_AUDIT, qualifying_data, attested)

    def _attest(self, kind: int, qualifying_data: bytes, attested: bytes) -> tuple[bytes, bytes]:
        """TPMS_ATTEST (Part 2, 10.12.12) and its ECDSA signature as TPMT_SIGNATURE (Part 2, 11.3.4)."""
        parent = tpm.qualified_name(u32(tpm.ENDORSEMENT), tpm.name_of(self.ek_public_areas[0]))
        signer = tpm.qualified_name(parent, self.ak_name)
        milliseconds = int(1000 * (time.time() - self.state["made"]))
        clock = u64(milliseconds) + u32(self.state["reset_count"]) + u32(self.state["restart_count"]) + u8(1)
        head = u32(tpm.GENERATED) + u16(kind) + sized(signer) + sized(qualifying_data)
        attest = head + clock + u64(FIRMWARE_VERSION) + attested
        r, s = decode_dss_signature(self._ak.sign(attest, ec.ECDSA(hashes.SHA256())))
        signature = u16(tpm.ECDSA) + u16(tpm.SHA256) + sized(r.to_bytes(32, "big")) + sized(s.to_bytes(32, "big"))
        return attest, signature

    def extend(self, pcr: int, data: bytes) -> None:
        """TPM2_PCR_Event: extends every active bank by the bank's own digest of the data."""
        for bank in ACTIVE_BANKS:
            values = self.state["pcrs"][str(bank)]
            values[pcr] = tpm.digest(bank, bytes.fromhex(values[pcr]) + tpm.digest(bank, data)).hex()

    def measure(self, pcr: int, event_type: int, data: bytes) -> None:
        """What firmware does: extends a PCR and writes it down, as TCG_PCR_EVENT2 (little-endian)."""
        self.extend(pcr, data)
        found = b"".join(bank.to_bytes(2, "little") + tpm.digest(bank, data) for bank in ACTIVE_BANKS)
        event = le32(pcr) + le32(event_type) + le32(len(ACTIVE_BANKS)) + found + le32(len(data)) + data
        self.state["boot_log"] += event.hex()

    @property
    def boot_log(self) -> bytes:
        return bytes.fromhex(self.state["boot_log"])


def log_header() -> bytes:
    """The first event of a crypto-agile log: TCG_EfiSpecIDEvent in a TCG_PCR_EVENT."""
    banks = b"".join(bank.to_bytes(2, "little") + tpm.digest_size(bank).to_bytes(2, "little") for bank in ACTIVE_BANKS)
    data = b"Spec ID Event03\0" + le32(0) + bytes([0, 2, 0, 2]) + le32(len(ACTIVE_BANKS)) + banks + u8(0)
    return le32(0) + le32(EV_NO_ACTION) + bytes(20) + le32(len(data)) + data


def le32(value: int) -> bytes:
    return value.to_bytes(4, "little")


def spki(public_key) -> bytes:
    return public_key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def key_pem(key) -> str:
    unprotected = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, unprotected).decode()


def load_key(pem: str):
    return serialization.load_pem_private_key(pem.encode(), None)
