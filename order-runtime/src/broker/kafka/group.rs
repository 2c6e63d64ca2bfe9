//! The other members of the consumer group. Members that are not instances of this service take partitions away from it.

use super::settings;
use crate::config::KafkaConfig;

/// A consumer group, as its coordinator describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GroupView {
    /// The assignor that its members have agreed on.
    pub(super) protocol: String,
    pub(super) members: Vec<GroupMember>,
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GroupMember {
    /// Its client id.
    pub(super) client: String,
    /// Its host.
    pub(super) host: String,
    /// Whether it has an assignment. An assignment without partitions looks the same.
    pub(super) has_assignment: bool,
}

impl GroupView {
    /// A message with the members that are not instances of this service, and a remedy; `None` if there are none.
    pub(super) fn strangers(&self, config: &KafkaConfig) -> Option<String> {
        let strangers: Vec<String> = self
            .members
            .iter()
            .filter(|member| member.has_assignment && !is_ours(config, &member.client))
            .map(|member| format!("{} at {}", member.client, member.host.trim_start_matches('/')))
            .collect();
        (!strangers.is_empty()).then(|| {
            format!(
                "the group {} has members that are not instances of this service ({}): this service does not get the events of \
                 their partitions; stop them, or set another KAFKA_GROUP_ID",
                config.group_id,
                strangers.join(", ")
            )
        })
    }

    /// A message for members that use another assignor, which this service cannot join.
    pub(super) fn other_protocol(&self, config: &KafkaConfig) -> String {
        let members: Vec<&str> = self.members.iter().map(|member| member.client.as_str()).collect();
        format!(
            "the members of the group {} ({}) use the assignor `{}`, which this service does not use; stop them, set \
             KAFKA_PARTITION_ASSIGNMENT_STRATEGY to theirs, or set another KAFKA_GROUP_ID",
            config.group_id,
            members.join(", "),
            self.protocol
        )
    }
}

/// Whether a client id is that of an instance of this service.
fn is_ours(config: &KafkaConfig, client: &str) -> bool {
    let set = [&config.consumer_properties, &config.properties].into_iter().find_map(|set| set.get("client.id"));
    set.is_some_and(|set| set.expose() == client) || client.starts_with(&settings::client_id(config, "consumer"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Secret};

    fn member(client: &str, has_assignment: bool) -> GroupMember {
        GroupMember { client: client.to_owned(), host: "/10.0.0.5".to_owned(), has_assignment }
    }

    #[test]
    fn members_that_are_not_instances_are_named() {
        let mut config = Config::default().kafka;
        config.group_id = "things".to_owned();
        let mut group = GroupView {
            protocol: "range".to_owned(),
            members: vec![member("things-consumer-42", true), member("idle", false)],
        };
        assert_eq!(group.strangers(&config), None);
        group.members.push(member("kcat", true));
        let strangers = group.strangers(&config).expect("a stranger");
        assert!(
            strangers.contains("kcat at 10.0.0.5")
                && strangers.contains("KAFKA_GROUP_ID")
                && !strangers.contains("things-consumer")
        );
        config.properties.insert("client.id".to_owned(), Secret::new("kcat"));
        assert_eq!(group.strangers(&config), None, "it has the configured client id");
        assert!(group.other_protocol(&config).contains("`range`"));
    }
}
