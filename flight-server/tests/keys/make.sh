#!/bin/sh
# Makes the keys and certificates of the tests, with openssl. They open nothing: no server but a test's trusts them.
set -eu
cd "$(dirname "$0")"
days=36500

# Tokens: three keys of an issuer, and their public halves as a JWK set.
for name in one two; do
    openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$name.tmp"
    openssl rsa -in "$name.tmp" -traditional -out "token_rsa_$name.pem"
    openssl rsa -in "$name.tmp" -pubout -out "token_rsa_$name.pub.pem"
done
openssl ecparam -name prime256v1 -genkey -noout -out ec.tmp
openssl pkcs8 -topk8 -nocrypt -in ec.tmp -out token_ec.pem
openssl ec -in ec.tmp -pubout -outform DER -out ec_public.tmp
python3 - <<'PYTHON'
import base64, json, subprocess

def text(value):
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()

keys = []
for name in ("one", "two"):
    found = subprocess.run(["openssl", "rsa", "-in", f"token_rsa_{name}.pem", "-noout", "-modulus"], check=True,
                           capture_output=True, text=True).stdout
    modulus = bytes.fromhex(found.strip().removeprefix("Modulus="))
    keys.append({"kty": "RSA", "kid": name, "use": "sig", "alg": "RS256", "n": text(modulus), "e": "AQAB"})
# The point is the end of the SubjectPublicKeyInfo: 04, x, y.
point = open("ec_public.tmp", "rb").read()[-64:]
keys.append({"kty": "EC", "kid": "curve", "use": "sig", "crv": "P-256", "x": text(point[:32]), "y": text(point[32:])})
json.dump({"keys": keys}, open("jwks.json", "w"), indent=2)
PYTHON

# TLS: an authority, a server's certificate, the one after it, clients' certificates, and one of another authority.
authority() { # name
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days $days \
        -subj "/CN=Test authority $1" -addext "basicConstraints=critical,CA:TRUE" \
        -addext "keyUsage=critical,keyCertSign,cRLSign" -keyout "$1.key.tmp" -out "$1.pem"
}
certificate() { # name, authority, subject, alternative names, usage
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "$3" -keyout "$1.key.pem" -out "$1.csr.tmp"
    printf 'basicConstraints=CA:FALSE\nextendedKeyUsage=%s\nsubjectAltName=%s\n' "$5" "$4" > "$1.ext.tmp"
    openssl x509 -req -in "$1.csr.tmp" -CA "$2.pem" -CAkey "$2.key.tmp" -CAcreateserial -CAserial "$2.srl.tmp" \
        -days $days -extfile "$1.ext.tmp" -out "$1.pem"
}
authority ca
authority other_ca
certificate server ca "/CN=localhost" "DNS:localhost,IP:127.0.0.1" serverAuth
certificate server_next ca "/CN=next" "DNS:next.test" serverAuth
certificate client_ann ca "/CN=ann" "DNS:ann.test" clientAuth
certificate client_san ca "/O=Robots" "email:robot@example.com" clientAuth
certificate client_two ca "/CN=ann/CN=eve" "DNS:two.test" clientAuth
certificate client_other other_ca "/CN=ann" "DNS:ann.test" clientAuth
rm -f ./*.tmp
