//! No text of a secret is printed: not by `config`, not by errors, not by warnings, not by `Debug`.

use super::*;

/// The text that must not be seen anywhere. It is in every value below, and in no name.
const SECRET: &str = "hunter2hunter2hunter2";

/// Variables whose value contains a secret: valid and invalid values, and secrets in settings that should have none.
fn variables() -> Vec<(&'static str, String)> {
    let long = format!("{}{SECRET}", "x".repeat(2_000));
    let mut all = vec![
        ("APP_ADMIN_TOKEN", SECRET.to_owned()),
        ("APP_ADMIN_TOKEN", format!("{SECRET} with a blank")),
        ("APP_ADMIN_TOKEN", format!("\"{SECRET}\"")),
        ("STORE_URL", format!("postgres://user:{SECRET}@localhost/service")),
        ("STORE_URL", format!("postgres://{SECRET}@localhost/service")),
        ("STORE_URL", format!("postgres://user:{long}@localhost/service")),
        ("STORE_URL", format!("postgres://localhost/service?user=u&password={SECRET}")),
        ("STORE_URL", format!("postgres://localhost/service?user=u&password={SECRET}&connect_timeout=soon")),
        ("STORE_URL", format!("postgres://user:p@{SECRET}@localhost/service")),
        ("STORE_URL", format!("postgres://user:p/{SECRET}@localhost/service")),
        ("STORE_URL", format!("postgres://user:p?{SECRET}@localhost/service")),
        ("STORE_URL", format!("postgres://user:{SECRET}@db.example/service")),
        ("STORE_URL", format!("postgres://user:{SECRET}@db:port/service")),
        ("STORE_URL", format!("postgres://localhost/service password={SECRET}")),
        ("STORE_URL", format!("postgresql+asyncpg://user:{SECRET}@localhost/service")),
        ("STORE_URL", format!("host=localhost user=u password={SECRET}")),
        ("STORE_URL", format!("password={SECRET}")),
        ("STORE_URL", format!("mysql://user:{SECRET}@localhost/service")),
        ("STORE_URL", format!("sqlite://service.db?key={SECRET}")),
        ("STORE_URL", SECRET.to_owned()),
        ("KAFKA_BROKER_URL", format!("sasl_ssl://user:{SECRET}@kafka:9092")),
        ("KAFKA_BROKER_URL", format!("user:{SECRET}@kafka:9092,kafka2:9092")),
        ("KAFKA_BROKER_URL", format!("kafka:9092?sasl.password={SECRET}")),
        ("KAFKA_SASL_PASSWORD", SECRET.to_owned()),
        ("KAFKA_CONSUMER_SASL_PASSWORD", SECRET.to_owned()),
        ("KAFKA_PRODUCER_SASL_PASSWORD", SECRET.to_owned()),
        ("KAFKA_SSL_KEY_PASSWORD", SECRET.to_owned()),
        ("KAFKA_SSL_KEY_PEM", SECRET.to_owned()),
        ("KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET", SECRET.to_owned()),
        ("KAFKA_SASL_OAUTHBEARER_CONFIG", format!("principal={SECRET}")),
        ("KAFKA_SASL_JAAS_CONFIG", format!("password=\"{SECRET}\"")),
        ("APP_CORS_ORIGINS", format!("https://user:{SECRET}@app.example.com")),
        ("APP_CORS_ORIGINS", format!("[\"https://a\",\"https://user:{SECRET}@app.example.com\"]")),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://user:{SECRET}@localhost:4318")),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("https://user:{SECRET}@localhost:4318")),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://localhost:4318/?token={SECRET}")),
        ("OTEL_EXPORTER_OTLP_HEADERS", format!("authorization=Bearer {SECRET}")),
        ("OTEL_EXPORTER_OTLP_HEADERS", SECRET.to_owned()),
    ];
    // A secret instead of the path of its file.
    all.extend(
        ["APP_ADMIN_TOKEN_FILE", "STORE_URL_FILE", "KAFKA_SASL_PASSWORD_FILE", "OTEL_EXPORTER_OTLP_HEADERS_FILE"]
            .map(|name| (name, SECRET.to_owned())),
    );
    all
}

/// Everything that is printed of a configuration.
fn printed(result: &Result<(Config, Vec<Warning>), ConfigErrors>) -> String {
    match result {
        Ok((config, warnings)) => {
            let in_force: Vec<String> =
                config.in_force.iter().map(|s| format!("{}={:?} {}", s.name, s.value, s.origin)).collect();
            let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
            format!("{in_force:?} {warnings:?} {config:?} {}", config.store)
        }
        Err(errors) => format!("{errors} {errors:?}"),
    }
}

#[track_caller]
fn assert_silent(what: &str, result: &Result<(Config, Vec<Warning>), ConfigErrors>) {
    let printed = printed(result);
    // A part of the secret must not be printed either.
    for part in [SECRET, "hunter2hunter", "xxxxxxxx"] {
        assert!(!printed.contains(part), "{what}: {printed}");
    }
}

#[test]
fn no_secret_of_the_environment_is_printed() {
    for (name, text) in variables() {
        assert_silent(&format!("{name}={text}"), &load(&[(name, &text)]));
    }
}

#[test]
fn no_secret_of_an_env_file_is_printed() {
    for (name, text) in variables() {
        for line in [
            format!("{name}={text}"),
            format!("{name}='{text}'"),
            format!("{name}=\"{text}\""),
            format!("{name}='{text}"),
            format!("{name}=\"{text}\" {text}"),
            format!("{name}='a' {text}"),
            format!("{name} {text}"),
            format!("{name} = {text}\n{name}={text}x"),
            format!("{text}=\n{text}=="),
            text.clone(),
        ] {
            let (_folder, path) = file(&line);
            assert_silent(&line, &load_over(&[], &EnvFile::Path(path)));
        }
    }
}

#[test]
fn nothing_from_a_secrets_file_is_printed() {
    for (name, text) in variables() {
        if name.ends_with("_FILE") {
            continue;
        }
        let (_folder, path) = file(&text);
        let variable = format!("{name}_FILE");
        assert_silent(&format!("{variable}: {text}"), &load(&[(&variable, path.to_str().expect("UTF-8"))]));
    }
    // This includes a value that is not a secret by itself: every value from a file is treated as one.
    let (_folder, path) = file("postgres://localhost:5433/hunter2hunter2hunter2");
    let (config, _) = load(&[("STORE_URL_FILE", path.to_str().expect("UTF-8"))]).expect("a valid value");
    assert!(!format!("{:?}", config.in_force).contains("hunter2"), "{:?}", config.in_force);
}

#[test]
fn where_a_store_is_can_be_seen_without_its_password() {
    for (text, shown) in [
        ("postgres://u:pw@localhost:5433/service", "postgres://***@localhost:5433/service"),
        ("postgres://localhost/service?user=u&password=pw", "postgres://***@localhost/service"),
        ("postgres://localhost,127.0.0.1:5433/service?sslmode=disable", "postgres://localhost,127.0.0.1:5433/service"),
        ("postgresql://%2Frun%2Fpostgresql/service", "postgres://%2Frun%2Fpostgresql/service"),
        ("postgres://localhost", "postgres://localhost"),
    ] {
        assert_eq!(config(&[("STORE_URL", text)]).store.to_string(), shown);
    }
}

#[cfg(unix)]
#[test]
fn an_env_file_that_others_can_read_draws_a_warning_if_it_holds_a_secret() {
    use std::os::unix::fs::PermissionsExt;
    let reported = |content: &str, mode: u32| {
        let (_folder, path) = file(content);
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("our own file");
        let (_, warnings) = load_over(&[], &EnvFile::Path(path)).expect("a valid configuration");
        warnings.iter().any(|warning| warning.text.contains("chmod 600"))
    };
    assert!(reported("APP_ADMIN_TOKEN=0123456789abcdef\n", 0o644));
    assert!(reported("KAFKA_SASL_PASSWORD=x\n", 0o640));
    assert!(reported("STORE_URL=postgres://u:pw@localhost/service\n", 0o604));
    assert!(!reported("APP_ADMIN_TOKEN=0123456789abcdef\n", 0o600));
    assert!(!reported("APP_PORT=8001\nAPP_ADMIN_TOKEN=\nSTORE_URL=memory\n", 0o644), "it holds no secret");
}
