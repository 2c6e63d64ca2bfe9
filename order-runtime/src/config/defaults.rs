//! Defaults that follow the service's name, so that two services in one cluster do not share a group, a topic or a file by
//! accident.

use std::collections::BTreeMap;

use super::Secret;

/// Defaults of one service, by their variables.
#[derive(Debug, Clone, Default)]
pub(crate) struct Defaults(BTreeMap<String, Secret>);

impl Defaults {
    /// The defaults of the domain `name` in the package `package`: those of the table of settings, with other names in them.
    #[must_use]
    pub(crate) fn of(name: &str, package: &str) -> Self {
        let stem = package.strip_suffix("-service").unwrap_or(package);
        let texts = [
            ("APP_NAME", format!("{} Processing Service", title(stem))),
            ("KAFKA_GROUP_ID", format!("{stem}-processing-group")),
            ("KAFKA_TOPIC", format!(r#"["{stem}-events"]"#)),
            ("KAFKA_DLQ_TOPIC", format!("{name}-dlq")),
            ("STORE_URL", format!("sqlite://{package}.db")),
        ];
        Self(texts.into_iter().map(|(name, text)| (name.to_owned(), Secret::new(text))).collect())
    }

    pub(super) fn texts(&self) -> BTreeMap<String, Secret> {
        self.0.clone()
    }
}

fn title(stem: &str) -> String {
    let word = |word: &str| word.get(..1).unwrap_or_default().to_uppercase() + word.get(1..).unwrap_or_default();
    stem.split(['-', '_']).map(word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{Config, EnvFile, Flags, Origin},
        model::TopicPattern,
    };

    fn load(defaults: &Defaults, variables: &[(&str, &str)]) -> Config {
        let environment = variables.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        Config::load_over(defaults, &Flags::default(), environment, &EnvFile::None).expect("a valid configuration").0
    }

    #[test]
    fn another_service_takes_nothing_that_belongs_to_the_first_one() {
        let config = load(&Defaults::of("things", "thing-service"), &[("KAFKA_GROUP_ID", "mine")]);
        assert_eq!(config.app.name, "Thing Processing Service");
        assert_eq!(config.kafka.topics, [TopicPattern::named("thing-events")]);
        assert_eq!(config.kafka.dlq_topic, "things-dlq");
        assert_eq!(config.store.to_string(), "sqlite://thing-service.db");
        assert_eq!(config.kafka.group_id, "mine", "an explicit setting overrides the default");
        let topic = config.in_force.iter().find(|setting| setting.name == "KAFKA_TOPIC").expect("a setting");
        assert_eq!(topic.origin, Origin::Default);
    }

    #[test]
    fn the_documented_defaults_are_those_of_the_service_in_this_repository() {
        let documented = load(&Defaults::default(), &[]);
        let name = documented.kafka.dlq_topic.strip_suffix("-dlq").expect("the form of the name").to_owned();
        let config = load(&Defaults::of(&name, "order-service"), &[]);
        assert_eq!(config.in_force, documented.in_force);
    }
}
