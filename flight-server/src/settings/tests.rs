//! Precedence, names, and words for what is wrong.

use super::*;

fn load(toml: &str, environment: &[(&str, &str)], overrides: &Overrides) -> Result<Settings, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("polynya.toml");
    std::fs::write(&file, toml).unwrap();
    let environment = environment.iter().map(|(name, value)| ((*name).into(), (*value).into()));
    Settings::load_with(Some(&file), environment, overrides).map_err(|error| error.to_string())
}

fn refused(toml: &str) -> String {
    load(toml, &[], &Overrides::default()).unwrap_err()
}

#[test]
fn flags_win_over_the_environment_over_the_file_over_defaults() {
    let toml = "[server]\nlisten = \"127.0.0.1:1\"\nsessions_max = 5\ndrain_timeout = \"2m\"\n";
    let environment = [("POLYNYA__SERVER__LISTEN", "127.0.0.1:2"), ("POLYNYA__SERVER__RESULT_LIFETIME", "10s")];
    let settings = load(toml, &environment, &Overrides::default()).unwrap().server;
    assert_eq!(settings.listen, "127.0.0.1:2");
    assert_eq!(settings.sessions_max, 5);
    assert_eq!(settings.drain_timeout, Duration::from_secs(120));
    assert_eq!(settings.result_lifetime, Duration::from_secs(10));
    assert_eq!(settings.max_message_bytes, ByteSize::mib(64));
    let flags = Overrides { listen: Some("127.0.0.1:3".into()), ..Overrides::default() };
    assert_eq!(load(toml, &environment, &flags).unwrap().server.listen, "127.0.0.1:3");
}

#[test]
fn catalog_properties_come_from_the_environment_over_the_file() {
    let toml = "[server]\ndefault_catalog = \"lake\"\n\
                [catalog.lake]\ntype = \"memory\"\n\"s3.region\" = \"a\"\n\"s3.path-style-access\" = true\n";
    let environment =
        [("POLYNYA__CATALOG__LAKE__S3__REGION", "b"), ("POLYNYA__CATALOG__LAKE__S3__SECRET_ACCESS_KEY", "007")];
    let settings = load(toml, &environment, &Overrides::default()).unwrap();
    let lake = &settings.engine.catalog["lake"];
    assert_eq!(lake.properties["s3.region"], "b");
    assert_eq!(lake.properties["s3.secret-access-key"], "007");
    assert_eq!(lake.properties["s3.path-style-access"], "true");
    assert_eq!(settings.engine.default_catalog.as_deref(), Some("lake"));
}

#[test]
fn unknown_keys_are_named_with_the_nearest_that_exists() {
    let error = refused("[server]\nlisten_on = \"x\"\n");
    assert!(error.contains("setting server.listen_on") && error.contains("did you mean `listen`"), "{error}");
    assert!(error.contains("polynya.toml"), "{error}");
    let error = refused("[sever]\nlisten = \"x\"\n");
    assert!(error.contains("setting sever") && error.contains("did you mean `server`"), "{error}");
    let error = refused("[memory]\nlimt = \"1GiB\"\n");
    assert!(error.contains("setting memory.limt") && error.contains("did you mean `limit`"), "{error}");
    let error = refused("[catalog.lake]\ntype = \"memory\"\nurl = \"x\"\n");
    assert!(error.contains("catalog.lake") && error.contains("did you mean `uri`"), "{error}");
    let environment = [("POLYNYA__SERVER__LISTN", "x")];
    let error = load("", &environment, &Overrides::default()).unwrap_err();
    assert!(error.contains("server.listn") && error.contains("environment"), "{error}");
}

#[test]
fn bad_values_name_the_key() {
    let error = refused("[server]\ndrain_timeout = \"soon\"\n");
    assert!(error.contains("server.drain_timeout") && error.contains("30s"), "{error}");
    let error = refused("[server\n");
    assert!(error.contains("cannot be read"), "{error}");
    let missing = Settings::load(Some(Path::new("/no/such.toml")), &Overrides::default()).unwrap_err();
    assert!(missing.to_string().contains("/no/such.toml"));
}

#[test]
fn addresses_that_strangers_reach_need_consent() {
    let mut settings = ServerSettings { listen: "0.0.0.0:50051".into(), ..ServerSettings::default() };
    let all: IpAddr = [0, 0, 0, 0].into();
    assert!(settings.check_exposure(all).unwrap_err().to_string().contains("--allow-insecure"));
    assert!(settings.check_exposure([127, 0, 0, 1].into()).is_ok());
    settings.allow_insecure = true;
    assert!(settings.check_exposure(all).is_ok());
}

#[test]
fn callers_who_are_asked_are_asked_over_encrypted_connections() {
    let all: IpAddr = [0, 0, 0, 0].into();
    let toml = "[server]\nlisten = \"0.0.0.0:1\"\n[auth]\nusers_file = \"/users\"\n";
    let settings = load(toml, &[], &Overrides::default()).unwrap().server;
    assert!(settings.check_exposure(all).unwrap_err().to_string().contains("[server.tls]"));
    assert!(settings.check_exposure([127, 0, 0, 1].into()).is_ok());
    let toml = format!("{toml}[server.tls]\ncert_file = \"c\"\nkey_file = \"k\"\n");
    assert!(load(&toml, &[], &Overrides::default()).unwrap().server.check_exposure(all).is_ok());
    let toml = "[server.tls]\ncert_file = \"c\"\nkey_file = \"k\"\n";
    let settings = load(toml, &[], &Overrides::default()).unwrap().server;
    assert!(settings.check_exposure(all).unwrap_err().to_string().contains("no authentication"));
    let toml = format!("{toml}client_ca_file = \"ca\"\nclient_auth = \"optional\"\n");
    let settings = load(&toml, &[], &Overrides::default()).unwrap().server;
    assert!(settings.check_exposure(all).is_ok());
    assert_eq!(settings.tls.unwrap().client_auth, ClientAuth::Optional);
}

#[test]
fn who_may_call_is_a_section_of_its_own() {
    let toml = "[auth.token.boards]\nuser = \"ann\"\nsha256 = \"abcdef\"\n\
                [auth.jwt]\nissuer = \"https://i\"\naudience = [\"a\", \"b\"]\nalgorithms = [\"ES384\"]\n";
    let environment = [("POLYNYA__AUTH__JWT__USER_CLAIM", "email"), ("POLYNYA__AUTH__USERS_FILE", "/users")];
    let settings = load(toml, &environment, &Overrides::default()).unwrap().server;
    assert!(!format!("{settings:?}").contains("abcdef"));
    let auth = settings.auth;
    assert_eq!(auth.users_file.as_deref(), Some(Path::new("/users")));
    assert_eq!(auth.token["boards"].user.as_deref(), Some("ann"));
    let jwt = auth.jwt.unwrap();
    assert_eq!((jwt.audience.len(), jwt.user_claim.as_str(), jwt.algorithms), (2, "email", vec![JwtAlgorithm::Es384]));
    assert!(load("", &[], &Overrides::default()).unwrap().server.auth.is_none());

    let error = refused("[auth]\nuser_file = \"/users\"\n");
    assert!(error.contains("setting auth.user_file") && error.contains("did you mean `users_file`"), "{error}");
    let error = refused("[auth.jwt]\naudience = \"a\"\n");
    assert!(error.contains("auth.jwt") && error.contains("issuer"), "{error}");
    for wrong in ["none", "HS256"] {
        let error = refused(&format!("[auth.jwt]\nissuer = \"i\"\naudience = \"a\"\nalgorithms = [\"{wrong}\"]\n"));
        assert!(error.contains("auth.jwt.algorithms"), "{error}");
    }
}

#[test]
fn traces_go_to_an_address_and_others_are_refused_by_name() {
    let settings = load("", &[], &Overrides::default()).unwrap().server;
    assert_eq!((settings.otlp_endpoint, settings.otlp_sample_ratio), (None, 1.0));
    let toml = "[server]\notlp_endpoint = \"http://collector:4317\"\notlp_sample_ratio = 0.5\n";
    let settings = load(toml, &[("POLYNYA__SERVER__OTLP_SAMPLE_RATIO", "0.25")], &Overrides::default()).unwrap().server;
    assert_eq!(settings.otlp_endpoint.unwrap().as_str(), "http://collector:4317/");
    assert_eq!(settings.otlp_sample_ratio, 0.25);
    let whole = load("[server]\notlp_sample_ratio = 0\n", &[], &Overrides::default()).unwrap().server;
    assert_eq!(whole.otlp_sample_ratio, 0.0);

    let password = "http://user:hunter2@collector:4317";
    for wrong in
        ["", "collector:4317", "127.0.0.1:4317", "grpc://collector:4317", "http://collector:4318/v1/traces", password]
    {
        let error = refused(&format!("[server]\notlp_endpoint = \"{wrong}\"\n"));
        assert!(error.contains("setting server.otlp_endpoint") && error.contains("http://127.0.0.1:4317"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    for wrong in ["-0.1", "1.5", "\"most\"", "true"] {
        let error = refused(&format!("[server]\notlp_sample_ratio = {wrong}\n"));
        assert!(error.contains("setting server.otlp_sample_ratio") && error.contains("between 0 and 1"), "{error}");
    }
}

#[test]
fn what_is_wrong_is_told_without_secrets() {
    let shown = |toml: &str| {
        let error = refused(toml);
        assert!(!error.contains("hunter2") && !error.contains("4242424242424242"), "{error}");
        error
    };
    // Where the file is no TOML, its parser shows the line.
    let error = shown("[server]\n[catalog.lake]\ntype = \"sql\"\n\"s3.secret-access-key\" = \"hunter2\n");
    assert!(error.contains("cannot be read") && error.contains("line 4"), "{error}");
    let error = shown("[workers]\nsecret = [\"hunter2\"]\n");
    assert!(error.contains("setting workers.secret"), "{error}");
    let error = shown("[control]\ndatabase = 4242424242424242\n");
    assert!(error.contains("setting control.database") && error.contains("not shown"), "{error}");
    let error = shown("[auth.token.boards]\nsha256 = 4242424242424242\n");
    assert!(error.contains("auth.token.boards.sha256"), "{error}");
    shown("[catalog.lake]\ntype = \"rest\"\ntoken = [\"hunter2\"]\n");
    // Other values are repeated, so that they are found.
    assert!(refused("[server]\nsessions_max = \"many\"\n").contains("many"));
    assert!(refused("[server]\nuser_share = 25\n").contains("between 0 and 1"));
}

#[test]
fn secrets_of_digits_are_kept_as_they_are_written() {
    let environment = [("POLYNYA__WORKERS__SECRET", "4242424242424242")];
    let digits = load("", &environment, &Overrides::default()).unwrap().engine.workers.secret;
    let environment = [("POLYNYA__WORKERS__SECRET", "0042424242424242")];
    let zeros = load("", &environment, &Overrides::default()).unwrap().engine.workers.secret;
    let text = |secret: &str| load(&format!("[workers]\nsecret = \"{secret}\"\n"), &[], &Overrides::default()).unwrap();
    assert_eq!(digits, text("4242424242424242").engine.workers.secret);
    assert_eq!(zeros, text("0042424242424242").engine.workers.secret);
    assert!(digits.is_strong() && zeros.is_strong() && digits != zeros);
}
