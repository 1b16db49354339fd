//! A stand-in for an OpenID provider: serves its discovery document and keys, and signs tokens. Also of unit tests.

#![allow(dead_code, clippy::unwrap_used, reason = "the tests of two crates share it, and each uses a part")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{PrivatePkcs1KeyDer, PrivatePkcs8KeyDer};
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;

/// The audience of the tests' server.
pub(crate) const AUDIENCE: &str = "polynya-tests";

const RSA_ONE: &[u8] = include_bytes!("../keys/token_rsa_one.pem");
const RSA_TWO: &[u8] = include_bytes!("../keys/token_rsa_two.pem");
const EC: &[u8] = include_bytes!("../keys/token_ec.pem");
const RSA_ONE_PUBLIC: &[u8] = include_bytes!("../keys/token_rsa_one.pub.pem");
const JWKS: &str = include_str!("../keys/jwks.json");

/// With what a token is signed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Signer {
    /// The issuer's first RSA key.
    One,
    /// Its second, which its key set has only after it was rotated.
    Two,
    /// Its elliptic curve.
    Curve,
    /// The first key's public half, as if it were a shared secret.
    PublicAsSecret,
}

/// See the module. Its keys are `one` and `curve`, until [`Issuer::rotate`].
pub(crate) struct Issuer {
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

struct Shared {
    url: String,
    key_ids: Mutex<Vec<&'static str>>,
    asked: AtomicUsize,
}

impl Issuer {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared { url, key_ids: Mutex::new(vec!["one", "curve"]), asked: AtomicUsize::new(0) });
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/keys", get(keys))
            .with_state(Arc::clone(&shared));
        let serving = tonic::transport::Server::builder()
            .accept_http1(true)
            .add_routes(Routes::from(router))
            .serve_with_incoming(TcpIncoming::from(listener));
        let serving = tokio::spawn(async move { serving.await.unwrap() });
        Self { shared, serving }
    }

    /// The section `[auth.jwt]` of a server that trusts it.
    pub(crate) fn settings<T: DeserializeOwned>(&self) -> T {
        let section = json!({
            "issuer": self.shared.url, "audience": AUDIENCE, "leeway": "0ms", "refetch_interval": "50ms"
        });
        serde_json::from_value(section).unwrap()
    }

    /// From now on only the key `two` is valid.
    pub(crate) fn rotate(&self) {
        *self.shared.key_ids.lock() = vec!["two"];
    }

    /// How often its keys were asked for.
    pub(crate) fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::SeqCst)
    }

    /// The claims of a token that is good for an hour.
    pub(crate) fn claims(&self, user: &str) -> Value {
        json!({ "iss": self.shared.url, "aud": AUDIENCE, "sub": user, "exp": now() + 3600, "nbf": now() - 10 })
    }

    /// A good token.
    pub(crate) fn token(&self, user: &str) -> String {
        sign(&self.claims(user), Signer::One, Some("one"))
    }

    /// Tokens that must be refused, with what is wrong with them.
    pub(crate) fn bad_tokens(&self, user: &str) -> Vec<(&'static str, String)> {
        let with = |claim: &str, value: Value| {
            let mut claims = self.claims(user);
            claims[claim] = value;
            sign(&claims, Signer::One, Some("one"))
        };
        let without = |claim: &str| {
            let mut claims = self.claims(user);
            claims.as_object_mut().unwrap().remove(claim);
            sign(&claims, Signer::One, Some("one"))
        };
        let good = self.token(user);
        let (signed, signature) = good.rsplit_once('.').unwrap();
        let flipped = if signature.starts_with('A') { "B" } else { "A" };
        let forged = format!("{signed}.{flipped}{}", &signature[1..]);
        vec![
            ("expired", with("exp", json!(now() - 60))),
            ("not valid yet", with("nbf", json!(now() + 600))),
            ("another audience", with("aud", json!("somebody else"))),
            ("another issuer", with("iss", json!("https://evil.example.com"))),
            ("no audience", without("aud")),
            ("no issuer", without("iss")),
            ("no expiry", without("exp")),
            ("no user", without("sub")),
            ("no user's name", with("sub", json!(""))),
            ("alg none", unsigned(&self.claims(user))),
            ("the public key as a secret", sign(&self.claims(user), Signer::PublicAsSecret, Some("one"))),
            ("a foreign key under a known name", sign(&self.claims(user), Signer::Two, Some("one"))),
            ("a foreign key without a name", sign(&self.claims(user), Signer::Two, None)),
            ("another kind of key under a known name", sign(&self.claims(user), Signer::Curve, Some("one"))),
            ("a forged signature", forged),
            ("no token at all", "a.b.c".to_owned()),
            ("a beginning in words", with("nbf", json!("tomorrow"))),
            ("no beginning at all", with("nbf", Value::Null)),
            ("a beginning before time", with("nbf", json!(-1))),
            ("an extension", extended(&self.claims(user), &[("crit", json!(["exp"])), ("exp", json!(1))])),
            ("no extension", extended(&self.claims(user), &[("crit", json!([]))])),
            ("a body as it is", extended(&self.claims(user), &[("crit", json!(["b64"])), ("b64", json!(false))])),
            ("a body as it is, unannounced", extended(&self.claims(user), &[("b64", json!(false))])),
        ]
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// A token with these claims.
pub(crate) fn sign(claims: &Value, signer: Signer, key_id: Option<&str>) -> String {
    let rsa = |pem| EncodingKey::from_rsa_der(PrivatePkcs1KeyDer::from_pem_slice(pem).unwrap().secret_pkcs1_der());
    let (algorithm, key) = match signer {
        Signer::One => (Algorithm::RS256, rsa(RSA_ONE)),
        Signer::Two => (Algorithm::RS256, rsa(RSA_TWO)),
        Signer::Curve => {
            let key = PrivatePkcs8KeyDer::from_pem_slice(EC).unwrap();
            (Algorithm::ES256, EncodingKey::from_ec_der(key.secret_pkcs8_der()))
        }
        Signer::PublicAsSecret => (Algorithm::HS256, EncodingKey::from_secret(RSA_ONE_PUBLIC)),
    };
    let header = Header { kid: key_id.map(str::to_owned), ..Header::new(algorithm) };
    jsonwebtoken::encode(&header, claims, &key).unwrap()
}

/// A token that says that it needs no signature.
fn unsigned(claims: &Value) -> String {
    format!("{}.{}.", encoded(&json!({ "alg": "none", "typ": "JWT", "kid": "one" })), encoded(claims))
}

/// A token whose header has these fields too, well signed.
pub(crate) fn extended(claims: &Value, fields: &[(&str, Value)]) -> String {
    let mut header = json!({ "alg": "RS256", "typ": "JWT", "kid": "one" });
    for (name, value) in fields {
        header[name] = value.clone();
    }
    let signed = format!("{}.{}", encoded(&header), encoded(claims));
    let key = EncodingKey::from_rsa_der(PrivatePkcs1KeyDer::from_pem_slice(RSA_ONE).unwrap().secret_pkcs1_der());
    let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &key, Algorithm::RS256).unwrap();
    format!("{signed}.{signature}")
}

fn encoded(value: &Value) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value.to_string())
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

async fn discovery(State(shared): State<Arc<Shared>>) -> String {
    json!({ "issuer": shared.url, "jwks_uri": format!("{}/keys", shared.url) }).to_string()
}

async fn keys(State(shared): State<Arc<Shared>>) -> String {
    shared.asked.fetch_add(1, Ordering::SeqCst);
    let ids = shared.key_ids.lock().clone();
    let mut set: Value = serde_json::from_str(JWKS).unwrap();
    let keys = set["keys"].as_array_mut().unwrap();
    keys.retain(|key| ids.contains(&key["kid"].as_str().unwrap()));
    set.to_string()
}
