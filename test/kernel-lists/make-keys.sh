#!/bin/sh
# The keys that the lists' files are signed with: an authority, which the minimal kernel has built in, and three signers under it.
# The private keys stay in the folder that is given and are thrown away with it; the certificates are kept beside the lists.
#
#   make-keys.sh FOLDER
set -eu
mkdir -p "$1"
cd "$1"
extensions() {
  cat <<END
[req]
distinguished_name = name
prompt = no
x509_extensions = authority
[name]
O = Assay test data
CN = $1
[authority]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,digitalSignature
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[signer]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
END
}
new_key() {
  case $1 in
    rsa*) openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$2" ;;
    *) openssl genpkey -quiet -algorithm EC -pkeyopt "ec_paramgen_curve:$1" -out "$2" ;;
  esac
}
extensions 'Authority of measured files' >authority.conf
new_key rsa authority.key
openssl req -x509 -new -key authority.key -sha256 -days 36500 -config authority.conf -out authority.pem
for kind in rsa P-256 P-384; do
  name=signer-$(echo "$kind" | tr -d - | tr '[:upper:]' '[:lower:]')
  extensions "Signer of files, $kind" >"$name.conf"
  new_key "$kind" "$name.key"
  openssl req -new -key "$name.key" -sha256 -config "$name.conf" -out "$name.csr"
  openssl x509 -req -in "$name.csr" -CA authority.pem -CAkey authority.key -CAcreateserial -sha256 -days 36500 \
    -extfile "$name.conf" -extensions signer -out "$name.pem"
  openssl x509 -in "$name.pem" -outform DER -out "$name.der"
done
