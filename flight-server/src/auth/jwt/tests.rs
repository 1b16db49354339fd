//! Tokens of a stand-in provider: the good one passes, and everything else does not.

#[path = "../../../tests/flight/issuer.rs"]
mod issuer;

use std::time::Duration;

use super::*;
use issuer::{Issuer, Signer, extended, sign};

/// Runs a test beside the task that fetches keys.
async fn with_keys<T>(jwt: &Jwt, test: impl Future<Output = T>) -> T {
    tokio::select! {
        done = test => done,
        never = jwt.keep_fresh() => match never {},
    }
}

fn jwt(issuer: &Issuer) -> Jwt {
    Jwt::new(&issuer.settings(), false).unwrap()
}

#[tokio::test]
async fn a_good_token_names_its_user() {
    let issuer = Issuer::start().await;
    let jwt = jwt(&issuer);
    with_keys(&jwt, async {
        assert_eq!(jwt.user(&issuer.token("ann")).await, Ok("ann".to_owned()));
        let curve = sign(&issuer.claims("bob"), Signer::Curve, Some("curve"));
        assert_eq!(jwt.user(&curve).await, Ok("bob".to_owned()));
        let nameless = sign(&issuer.claims("eve"), Signer::One, None);
        assert_eq!(jwt.user(&nameless).await, Ok("eve".to_owned()));
        let usual = extended(&issuer.claims("ann"), &[("b64", true.into()), ("x", "y".into())]);
        assert_eq!(jwt.user(&usual).await, Ok("ann".to_owned()), "fields that need not be understood");
    })
    .await;
    assert_eq!(issuer.asked(), 1, "keys are kept");
}

#[tokio::test]
async fn everything_else_is_refused() {
    let issuer = Issuer::start().await;
    let jwt = jwt(&issuer);
    with_keys(&jwt, async {
        for (what, token) in issuer.bad_tokens("ann") {
            assert!(matches!(jwt.user(&token).await, Err(Refusal::WrongToken(_))), "{what}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_rotated_key_is_found_and_the_old_one_is_refused() {
    let issuer = Issuer::start().await;
    let jwt = jwt(&issuer);
    with_keys(&jwt, async {
        let old = issuer.token("ann");
        assert!(jwt.user(&old).await.is_ok());
        issuer.rotate();
        let new = sign(&issuer.claims("ann"), Signer::Two, Some("two"));
        assert_eq!(jwt.user(&new).await, Ok("ann".to_owned()));
        assert!(jwt.user(&old).await.is_err());
    })
    .await;
}

#[tokio::test]
async fn made_up_keys_are_not_asked_for_all_the_time() {
    let issuer = Issuer::start().await;
    let settings = JwtSettings { refetch_interval: Duration::from_secs(1), ..issuer.settings() };
    let jwt = Jwt::new(&settings, false).unwrap();
    with_keys(&jwt, async {
        assert!(jwt.user(&issuer.token("ann")).await.is_ok());
        let made_up: Vec<String> =
            (0..50).map(|number| sign(&issuer.claims("eve"), Signer::Two, Some(&format!("key {number}")))).collect();
        let refused = futures::future::join_all(made_up.iter().map(|token| jwt.user(token))).await;
        assert!(refused.iter().all(Result::is_err));
    })
    .await;
    assert!(issuer.asked() <= 3, "the keys were asked for {} times", issuer.asked());
}

#[tokio::test]
async fn without_keys_nobody_is_let_in() {
    let issuer = Issuer::start().await;
    let nowhere = JwtSettings { jwks_url: Some("http://127.0.0.1:1/keys".to_owned()), ..issuer.settings() };
    let jwt = Jwt::new(&nowhere, false).unwrap();
    with_keys(&jwt, async { assert_eq!(jwt.user(&issuer.token("ann")).await, Err(Refusal::NoKeys)) }).await;
}

#[tokio::test]
async fn settings_that_would_let_anybody_in_are_refused() {
    let issuer = Issuer::start().await;
    let good: JwtSettings = issuer.settings();
    for (wrong, part) in [
        (JwtSettings { issuer: String::new(), ..good.clone() }, "issuer"),
        (JwtSettings { audience: vec![], ..good.clone() }, "audience"),
        (JwtSettings { audience: vec![String::new()], ..good.clone() }, "audience"),
        (JwtSettings { algorithms: vec![], ..good.clone() }, "algorithms"),
        (JwtSettings { jwks_url: Some("http://example.com/keys".to_owned()), ..good }, "https"),
    ] {
        match Jwt::new(&wrong, false) {
            Ok(_) => panic!("{part} should be refused"),
            Err(error) => assert!(error.contains(part), "{error}"),
        }
    }
    for none in ["none", "HS256"] {
        let text = format!(r#"{{"issuer": "i", "audience": "a", "algorithms": ["{none}"]}}"#);
        assert!(serde_json::from_str::<JwtSettings>(&text).is_err(), "{none}");
    }
}
