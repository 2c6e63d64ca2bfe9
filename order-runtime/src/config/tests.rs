mod secrets;

use std::{fs, path::PathBuf};

use super::*;
use crate::{headers::HeaderFormat, model::TopicPattern};

/// Loads with these variables as the environment and no env file.
fn load(variables: &[(&str, &str)]) -> Result<(Config, Vec<Warning>), ConfigErrors> {
    load_over(variables, &EnvFile::None)
}

fn load_over(variables: &[(&str, &str)], env_file: &EnvFile) -> Result<(Config, Vec<Warning>), ConfigErrors> {
    let environment = variables.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    Config::load(&Flags::default(), environment, env_file)
}

fn config(variables: &[(&str, &str)]) -> Config {
    load(variables).expect("a valid configuration").0
}

fn errors(variables: &[(&str, &str)]) -> Vec<String> {
    let errors = load(variables).expect_err("an invalid configuration");
    errors.0.iter().map(ToString::to_string).collect()
}

fn warnings(variables: &[(&str, &str)]) -> Vec<String> {
    load(variables).expect("a valid configuration").1.iter().map(ToString::to_string).collect()
}

fn file(content: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("settings");
    fs::write(&path, content).expect("a file");
    (folder, path)
}

#[test]
fn defaults_are_those_of_the_documentation() {
    let config = config(&[]);
    assert!(!config.production);
    assert_eq!(config.app.name, "Order Processing Service");
    assert_eq!((config.app.host.as_str(), config.app.port), ("127.0.0.1", 8000));
    assert_eq!(config.kafka.brokers, "localhost:9092");
    assert_eq!(config.kafka.group_id, "order-processing-group");
    assert_eq!(config.kafka.topics, [TopicPattern::named("order-events")]);
    assert_eq!(config.kafka.dlq_topic, "orders-dlq");
    assert_eq!(config.kafka.auto_offset_reset, OffsetReset::Earliest);
    assert_eq!(config.kafka.embedded, Embedded::Auto);
    assert_eq!(config.store, StoreUrl::Sqlite("order-service.db".into()));
    assert!(config.http.cors && config.http.trusted_host && !config.http.gzip && !config.http.https_redirect);
    assert_eq!(config.http.gzip_minimum_size, 500);
    assert_eq!(config.http.trusted_hosts, ["localhost", "127.0.0.1", "[::1]"]);
    assert_eq!((config.log.filter.as_str(), config.log.json), ("info", false));
    assert!(!config.app.reload, "reload works under cargo run only");
}

#[test]
fn every_default_text_is_taken() {
    for setting in settings::all() {
        if let DefaultValue::Text(text) = setting.default {
            let mut config = Config::from_table();
            assert_eq!((setting.apply)(&mut config, text), Ok(()), "{}", setting.name);
            assert_eq!((setting.show)(&config), text, "{}", setting.name);
        }
    }
}

#[test]
fn flags_override_the_environment_which_overrides_the_env_file() {
    let (_folder, path) = file("APP_PORT=1\nAPP_NAME='From file'\nKAFKA_GROUP_ID=file\n");
    let environment = [("APP_PORT", "2"), ("KAFKA_GROUP_ID", "environment")].map(|(n, t)| (n.to_owned(), t.to_owned()));
    let flags = Flags::default().with("APP_PORT", "--port", Some("3".to_owned())).with("APP_HOST", "--host", None);
    let (config, _) = Config::load(&flags, environment, &EnvFile::Path(path.clone())).expect("a valid configuration");
    assert_eq!((config.app.port, config.kafka.group_id.as_str()), (3, "environment"));
    assert_eq!(config.app.name, "From file");
    let origin = |name: &str| {
        let setting = config.in_force.iter().find(|setting| setting.name == name).expect("every setting is listed");
        setting.origin.to_string()
    };
    assert_eq!(origin("APP_PORT"), "--port");
    assert_eq!(origin("KAFKA_GROUP_ID"), "environment");
    assert_eq!(origin("APP_NAME"), path.display().to_string());
    assert_eq!(origin("APP_HOST"), "default");
}

#[test]
fn all_wrong_values_are_reported_together() {
    let errors = errors(&[
        ("APP_PORT", "80000"),
        ("KAFKA_TOPIC", "[\"a\""),
        ("APP_RETRY_MAX_ELAPSED", "soon"),
        ("KAFKA_FETCH_MIN_BYTES", "many"),
        ("STORE_URL", "postgres://user:secret@db:x/service"),
        ("LOG_LEVEL", ""),
    ]);
    assert_eq!(
        errors,
        [
            "APP_PORT: `80000` (environment) is not valid; expected a whole number from 0 to 65535",
            "APP_RETRY_MAX_ELAPSED: `soon` (environment) is not valid; expected a duration above zero, such as 500ms, 2s or 1m 30s",
            "KAFKA_TOPIC: `[\"a\"` (environment) is not valid; expected a list: JSON such as [\"a\",\"b\"], or a,b",
            "STORE_URL: the value (environment) is not valid; expected sqlite://PATH, postgres://USER:PASSWORD@HOST:PORT/DATABASE or memory; it cannot be read",
            "LOG_LEVEL: `` (environment) is not valid; expected off, error, warn, info, debug or trace",
            "KAFKA_FETCH_MIN_BYTES: `many` (environment) is not valid; expected a whole number from 1 to 100000000",
        ]
    );
}

#[test]
fn otlp_is_set_by_the_names_of_open_telemetry() {
    let config = config(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer t0ken, x-tenant = a"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=staging"),
        ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
    ]);
    let otlp = &config.otlp;
    assert_eq!(otlp.endpoint.as_deref(), Some("http://collector:4318"));
    assert_eq!(otlp.headers[0].1.expose(), "Bearer t0ken");
    assert_eq!(otlp.resource_attributes, [("deployment.environment.name".to_owned(), "staging".to_owned())]);
    assert_eq!(otlp.sampler, TraceSampler::ParentBasedRatio(0.25));
    assert!(!format!("{:?}", config.in_force).contains("t0ken"), "headers are secrets");
}

#[test]
fn otlp_that_cannot_work_is_refused() {
    let errors = errors(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector:4318"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "no value"),
        ("OTEL_TRACES_SAMPLER", "sometimes"),
        ("OTEL_TRACES_SAMPLER_ARG", "2"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "0"),
    ]);
    assert_eq!(errors.len(), 5, "{errors:?}");
}

#[test]
fn dead_letters_may_have_further_header_formats() {
    for text in ["spring,connect", "spring,connect,spring", "Spring|connect", r#"["spring","connect"]"#] {
        let formats = config(&[("KAFKA_DLQ_HEADERS", text)]).kafka.dlq_headers;
        assert_eq!(formats, [HeaderFormat::Spring, HeaderFormat::Connect], "{text}");
    }
    assert!(config(&[]).kafka.dlq_headers.is_empty());
    let errors = errors(&[("KAFKA_DLQ_HEADERS", "streams")]);
    assert!(errors[0].contains("expected spring, connect, or both with a comma"), "{errors:?}");
}

#[test]
fn secrets_are_never_shown() {
    let secret = "hunter2-hunter2-hunter2";
    let config = config(&[
        ("APP_ADMIN_TOKEN", secret),
        ("KAFKA_SASL_PASSWORD", secret),
        ("KAFKA_CONSUMER_SASL_PASSWORD", secret),
        ("KAFKA_CLIENT_ID", "client-1"),
    ]);
    assert_eq!(config.kafka.properties["sasl.password"].expose(), secret);
    assert_eq!(config.kafka.consumer_properties["sasl.password"].expose(), secret);
    assert!(!format!("{config:?}").contains("hunter2"), "{config:?}");
    let shown = |name: &str| config.in_force.iter().find(|setting| setting.name == name).and_then(|s| s.value.clone());
    assert_eq!(shown("APP_ADMIN_TOKEN").as_deref(), Some("***"));
    assert_eq!(shown("KAFKA_SASL_PASSWORD").as_deref(), Some("***"));
    assert_eq!(shown("KAFKA_CLIENT_ID").as_deref(), Some("client-1"));

    let errors = errors(&[("APP_ADMIN_TOKEN", "hunter2"), ("KAFKA_CONSUMER_ACKS", "hunter2")]);
    assert_eq!(
        errors[0],
        "APP_ADMIN_TOKEN: the value (environment) is not valid; expected at least 16 visible ASCII characters without blanks"
    );
    let (_folder, path) = file("APP_ADMIN_TOKEN=a b 'hunter2\n");
    let errors = load_over(&[], &EnvFile::Path(path)).expect_err("a broken line").to_string();
    assert!(errors.contains("APP_ADMIN_TOKEN") && !errors.contains("hunter2"), "{errors}");
}

#[test]
fn secrets_come_from_files() {
    let (_folder, path) = file("a-very-secret-value\n");
    let path = path.to_str().expect("a path in UTF-8");
    let variables = [
        ("APP_ADMIN_TOKEN_FILE", path),
        ("KAFKA_SASL_PASSWORD_FILE", path),
        ("KAFKA_PRODUCER_SASL_USERNAME_FILE", path),
    ];
    let (config, reported) = load(&variables).expect("a valid configuration");
    assert_eq!(config.app.admin_token, Some(Secret::new("a-very-secret-value")));
    assert_eq!(config.kafka.properties["sasl.password"].expose(), "a-very-secret-value");
    assert_eq!(config.kafka.producer_properties["sasl.username"].expose(), "a-very-secret-value");
    assert!(!format!("{:?}", config.in_force).contains("a-very-secret"), "{:?}", config.in_force);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(reported.len(), 3, "others can read the file: {reported:?}");
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("our own file");
        assert!(warnings(&variables).is_empty());
    }

    let both = errors(&[("APP_ADMIN_TOKEN", "another-secret-value"), ("APP_ADMIN_TOKEN_FILE", path)]);
    assert!(both[0].contains("APP_ADMIN_TOKEN and APP_ADMIN_TOKEN_FILE are both set"), "{both:?}");
    let missing = errors(&[("KAFKA_SASL_PASSWORD_FILE", "/nowhere/secret")]);
    assert!(
        missing[0].starts_with("KAFKA_SASL_PASSWORD_FILE: the value (environment) is not valid; expected the path"),
        "{missing:?}"
    );
}

#[test]
fn librdkafka_properties_by_their_names() {
    let config = config(&[
        ("KAFKA_GROUP_ID", "ours"),
        ("KAFKA_GROUP_PROTOCOL", "CONSUMER"),
        ("KAFKA_FETCH_MIN_BYTES", "10"),
        ("KAFKA_CONSUMER_FETCH_MIN_BYTES", "20"),
        ("KAFKA_PRODUCER_COMPRESSION_TYPE", "zstd"),
        ("KAFKA_SOCKET_KEEPALIVE_ENABLE", "True"),
        ("KAFKA_LINGER_MS", "5"),
    ]);
    assert_eq!(config.kafka.group_id, "ours", "an own setting is not a property");
    let plain = |properties: &BTreeMap<String, Secret>| -> Vec<(String, String)> {
        properties.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())).collect()
    };
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(plain(&config.kafka.properties), [pair("socket.keepalive.enable", "true")]);
    assert_eq!(
        plain(&config.kafka.consumer_properties),
        [pair("fetch.min.bytes", "20"), pair("group.protocol", "consumer")],
        "each property goes to the side that has it, and the more specific name overrides"
    );
    assert_eq!(plain(&config.kafka.producer_properties), [pair("compression.type", "zstd"), pair("linger.ms", "5")]);
}

#[test]
fn properties_that_would_break_a_promise_are_refused() {
    for name in [
        "KAFKA_ENABLE_AUTO_COMMIT",
        "KAFKA_CONSUMER_ENABLE_AUTO_OFFSET_STORE",
        "KAFKA_PLUGIN_LIBRARY_PATHS",
        "KAFKA_PRODUCER_ACKS",
        "KAFKA_CONSUMER_GROUP_ID",
        "KAFKA_REBALANCE_CB",
        "KAFKA_CONSUMER_LINGER_MS",
        "KAFKA_PRODUCER_FETCH_MIN_BYTES",
        "KAFKA_STATISTICS_INTERVAL_MS",
        "KAFKA_CONSUMER_ENABLE_PARTITION_EOF",
        "KAFKA_LOG_QUEUE",
        "KAFKA_RETRIES",
    ] {
        let errors = errors(&[(name, "1")]);
        assert!(errors.len() == 1 && errors[0].contains("expected no value: "), "{name}: {errors:?}");
    }
}

#[cfg(not(any(feature = "tls", feature = "tls-vendored")))]
#[test]
fn tls_without_tls_in_the_build_is_refused() {
    let variables = [
        ("KAFKA_SECURITY_PROTOCOL", "SASL_SSL"),
        ("KAFKA_SASL_MECHANISM", "SCRAM-SHA-512"),
        ("KAFKA_SSL_CA_LOCATION", "/ca.pem"),
    ];
    let errors = errors(&variables);
    assert_eq!(errors.len(), 3);
    assert!(errors.iter().all(|error| error.contains("--features tls")), "{errors:?}");
    assert!(load(&[("KAFKA_SECURITY_PROTOCOL", "SASL_PLAINTEXT"), ("KAFKA_SASL_MECHANISM", "PLAIN")]).is_ok());
}

#[test]
fn unknown_names_are_reported_with_the_nearest_known_one() {
    let reported = warnings(&[
        ("KAFKA_TOPICS", "a"),
        ("APP_WORKER", "1"),
        ("KAFKA_FETCH_MIN_BYTE", "1"),
        ("STORE_ROOM", "1"),
        ("HOME", "/"),
    ]);
    assert_eq!(
        reported,
        [
            "APP_WORKER: is not a setting (environment); did you mean APP_WORKERS?",
            "KAFKA_FETCH_MIN_BYTE: is not a setting (environment); did you mean KAFKA_FETCH_MIN_BYTES?",
            "KAFKA_TOPICS: is not a setting (environment); did you mean KAFKA_TOPIC?",
            "STORE_ROOM: is not a setting (environment); see `config` or .env.example for those that are",
        ]
    );
    let (_folder, path) = file("PRODUCTON_ENV=True\nPOSTGRES_USER=x\n");
    let (_, reported) = load_over(&[], &EnvFile::Path(path)).expect("a valid configuration");
    assert!(reported.len() == 1 && reported[0].text.contains("PRODUCTION_ENV"), "{reported:?}");
}

#[test]
fn two_names_of_one_setting_may_not_differ() {
    let both = [("KAFKA_BROKER_URL", "a:9092"), ("KAFKA_BOOTSTRAP_SERVERS", "b:9092")];
    assert!(errors(&both)[0].contains("KAFKA_BROKER_URL and KAFKA_BOOTSTRAP_SERVERS are both set"));
    assert_eq!(config(&[("KAFKA_BOOTSTRAP_SERVERS", "b:1")]).kafka.brokers, "b:1");
    let (_folder, path) = file("KAFKA_BROKER_URL=file:1\n");
    let (config, _) = load_over(&[("KAFKA_BOOTSTRAP_SERVERS", "b:1")], &EnvFile::Path(path)).expect("fine");
    assert_eq!(config.kafka.brokers, "b:1", "the environment overrides the file by either name");
    let (_folder, path) = file("APP_PORT=1\nAPP_PORT=2\n");
    assert!(load_over(&[], &EnvFile::Path(path)).expect_err("twice").to_string().contains("line 2 of "));
}

#[test]
fn contradictions_are_refused() {
    for (variables, part) in [
        (&[("KAFKA_DLQ_TOPIC", "order-events")][..], "dead-letter topic"),
        (&[("KAFKA_TOPIC", "^order.*")], "narrower pattern"),
        (&[("KAFKA_EMBEDDED", "always"), ("PRODUCTION_ENV", "True")], "contradicts PRODUCTION_ENV"),
        (&[("KAFKA_EMBEDDED", "always"), ("KAFKA_BROKER_URL", "kafka:9092")], "one loopback address"),
        (&[("KAFKA_EMBEDDED", "always"), ("KAFKA_BROKER_URL", "localhost:1,localhost:2")], "one loopback address"),
        (&[("APP_TRUSTED_HOSTS", "*"), ("APP_HOST", "0.0.0.0"), ("PRODUCTION_ENV", "True")], "any Host"),
        (&[("KAFKA_MAX_POLL_INTERVAL_MS", "10000")], "KAFKA_SESSION_TIMEOUT_MS"),
        (
            &[("PRODUCTION_ENV", "True"), ("APP_ADMIN_TOKEN", "aaaaaaaaaaaaaaaa")],
            "APP_ADMIN_TOKEN: the token has fewer",
        ),
        (
            &[("PRODUCTION_ENV", "True"), ("APP_VIEWER_TOKEN", "abababababababababab")],
            "APP_VIEWER_TOKEN: the token has fewer",
        ),
        (
            &[("APP_ADMIN_TOKEN", "0123456789abcdef"), ("APP_VIEWER_TOKEN", "0123456789abcdef")],
            "the same as APP_ADMIN_TOKEN",
        ),
        (&[("KAFKA_GROUP_PROTOCOL", "consumer"), ("KAFKA_SESSION_TIMEOUT_MS", "6000")], "KAFKA_GROUP_PROTOCOL"),
    ] {
        let errors = errors(variables);
        assert!(errors.len() == 1 && errors[0].contains(part), "{variables:?}: {errors:?}");
    }
}

#[test]
fn doubtful_settings_draw_warnings() {
    for (variables, name) in [
        (&[("APP_TRUSTED_HOSTS", "*"), ("APP_HOST", "0.0.0.0")][..], "APP_TRUSTED_HOSTS"),
        (&[("APP_MIDDLEWARE_TRUSTEDHOST", "False"), ("APP_HOST", "0.0.0.0")], "APP_MIDDLEWARE_TRUSTEDHOST"),
        (&[("APP_ADMIN_TOKEN", "0123456789abcdef"), ("APP_HOST", "0.0.0.0")], "APP_ADMIN_TOKEN"),
        (&[("APP_VIEWER_TOKEN", "0123456789abcdef"), ("APP_HOST", "0.0.0.0")], "APP_VIEWER_TOKEN"),
        (&[("APP_CORS_ORIGINS", "*")], "APP_CORS_ORIGINS"),
        (&[("PRODUCTION_ENV", "True"), ("APP_RELOAD", "True")], "APP_RELOAD"),
        (&[("APP_RELOAD", "True")], "APP_RELOAD"),
        (&[("KAFKA_ENABLE_SSL_CERTIFICATE_VERIFICATION", "no")], "KAFKA_ENABLE_SSL_CERTIFICATE_VERIFICATION"),
        (&[("KAFKA_PARTITIONER", "consistent_random")], "KAFKA_PARTITIONER"),
        (&[("PRODUCTION_ENV", "True"), ("STORE_URL", "memory")], "STORE_URL"),
        (&[("APP_GZIP_MINIMUM_SIZE", "1")], "APP_GZIP_MINIMUM_SIZE"),
        (&[("APP_MIDDLEWARE_CORS", "no"), ("APP_CORS_ORIGINS", "https://a.b")], "APP_CORS_ORIGINS"),
    ] {
        let (_, reported) = load(variables).expect("a valid configuration");
        let names: Vec<_> = reported.iter().map(|warning| warning.name.as_str()).collect();
        assert_eq!(names, [name], "{variables:?}");
    }
}

#[test]
fn production_and_cargo_decide_on_defaults() {
    let production = config(&[("PRODUCTION_ENV", "true")]);
    assert!(production.log.json && production.kafka.embedded == Embedded::Never);
    assert!(!config(&[("PRODUCTION_ENV", "true"), ("LOG_FORMAT", "text")]).log.json);
    assert!(!production.http.public_reads && config(&[]).http.public_reads);
    assert!(config(&[("PRODUCTION_ENV", "true"), ("APP_PUBLIC_READS", "yes")]).http.public_reads);
    let cargo = [("CARGO", "/bin/cargo"), ("CARGO_MANIFEST_DIR", "/x")];
    assert!(config(&cargo).app.reload);
    assert!(!config(&[cargo[0], cargo[1], ("PRODUCTION_ENV", "1")]).app.reload);
    assert!(!config(&[cargo[0], cargo[1], ("APP_RELOAD", "no")]).app.reload);
}

#[test]
fn logs_and_trusted_hosts_follow_other_settings() {
    assert_eq!(config(&[("LOG_LEVEL", "Debug")]).log.filter, "debug");
    assert_eq!(config(&[("LOG_LEVEL", "debug"), ("RUST_LOG", "warn,a=trace")]).log.filter, "warn,a=trace");
    let hosts = |host| config(&[("APP_HOST", host)]).http.trusted_hosts;
    assert_eq!(hosts("a.Internal")[3..], ["a.internal"]);
    assert_eq!(hosts("fd00::1")[3..], ["[fd00::1]"]);
    assert_eq!(hosts("0.0.0.0").len(), 3, "the address of every interface is not a host name");
    assert_eq!(config(&[("APP_TRUSTED_HOSTS", "a.example")]).http.trusted_hosts, ["a.example"]);
}

#[test]
fn an_env_file_that_is_asked_for_must_be_there() {
    assert!(
        load_over(&[], &EnvFile::Path("/nowhere/.env".into()))
            .expect_err("missing")
            .to_string()
            .contains("/nowhere/.env")
    );
    assert!(load_over(&[], &EnvFile::Default).is_ok(), "the default one is optional");
}

#[test]
fn env_example_with_its_comments_removed_is_the_default() {
    let lines =
        env_example().lines().filter_map(|line| line.strip_prefix("# ")).map(ToOwned::to_owned).collect::<Vec<_>>();
    let set = lines.iter().filter(|line| line.split_once('=').is_some_and(|(name, _)| is_setting(name)));
    let (_folder, path) = file(&set.cloned().collect::<Vec<_>>().join("\n"));
    let environment = [("CARGO", "/bin/cargo"), ("CARGO_MANIFEST_DIR", "/x")];
    let (config, reported) = load_over(&environment, &EnvFile::Path(path)).expect("defaults are valid");
    let reported: Vec<_> = reported.iter().map(|warning| warning.name.as_str()).collect();
    assert_eq!(reported, ["APP_GZIP_MINIMUM_SIZE"], "it has no effect without gzip");
    let (defaults, _) = load(&environment).expect("defaults");
    let values =
        |config: &Config| config.in_force.iter().map(|s| (s.name.clone(), s.value.clone())).collect::<Vec<_>>();
    assert_eq!(values(&config), values(&defaults));
}
