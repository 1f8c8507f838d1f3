"""Checks a token of Assay with PyJWT, as docs/tokens.md says: the keys come by HTTPS, the token from standard input."""

import argparse
import json
import ssl
import sys

import jwt

EAR_TYPE, EAR_PROFILE = "eat+jwt", "tag:ietf.org,2026:rats/ear#04"


def verify(token: str, options: argparse.Namespace) -> dict:
    """The claims of an EAR for the audience and host that are expected."""
    if jwt.get_unverified_header(token).get("typ") != EAR_TYPE:
        raise jwt.InvalidTokenError("not an attestation result")
    context = ssl.create_default_context(cafile=options.ca)
    key = jwt.PyJWKClient(options.jwks, ssl_context=context).get_signing_key_from_jwt(token)
    claims = jwt.decode(
        token,
        key.key,
        algorithms=["ES256"],
        audience=options.audience,
        leeway=30,
        options={"require": ["iss", "sub", "iat", "exp", "jti"]},
    )
    if claims["eat_profile"] != EAR_PROFILE:
        raise jwt.InvalidTokenError("another profile")
    if claims["sub"] != f"hosts/{options.host}":
        raise jwt.InvalidTokenError("another host")
    return claims


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jwks", required=True)
    parser.add_argument("--ca", required=True)
    parser.add_argument("--audience", required=True)
    parser.add_argument("--host", required=True)
    try:
        print(json.dumps(verify(sys.stdin.read().strip(), parser.parse_args())))
        return 0
    except jwt.PyJWTError as error:
        print(json.dumps({"refused": type(error).__name__, "message": str(error)}))
        return 1


if __name__ == "__main__":
    sys.exit(main())
