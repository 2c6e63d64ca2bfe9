//! Checks of topic settings that can contradict the guarantees of the service: retention and compaction.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};

use super::{metadata::Quiet, settings};
use crate::{broker::BrokerError, config::KafkaConfig, model::TopicPattern};

/// The time limit of a request.
const ANSWER: Duration = Duration::from_secs(5);

/// One message for each event topic or dead-letter topic that keeps records for longer than event ids are kept (`ids`). An event
/// that is read or replayed after that is handled a second time.
///
/// # Errors
/// When the broker does not answer. A topic that does not exist, or whose settings the service may not read, is skipped.
pub async fn outlasting(config: &KafkaConfig, ids: Duration) -> Result<Vec<String>, BrokerError> {
    let topics: Vec<&str> = config.topics.iter().filter_map(TopicPattern::name).chain([&*config.dlq_topic]).collect();
    let kept = setting(config, &topics, "retention.ms").await?;
    Ok(topics.iter().zip(kept).filter_map(|(topic, kept)| outlasts(topic, kept?.parse().ok()?, ids)).collect())
}

/// A message if the dead-letter topic is compacted.
///
/// # Errors
/// When the broker does not answer. A topic that does not exist, or whose settings the service may not read, is skipped.
pub async fn compacted(config: &KafkaConfig) -> Result<Option<String>, BrokerError> {
    let topic = config.dlq_topic.as_str();
    let policies = setting(config, &[topic], "cleanup.policy").await?;
    Ok(policies.into_iter().next().flatten().and_then(|policy| compacts(topic, &policy)))
}

/// One setting of each topic; `None` if it is not available.
async fn setting(config: &KafkaConfig, topics: &[&str], name: &str) -> Result<Vec<Option<String>>, BrokerError> {
    let client: AdminClient<Quiet> = settings::admin(config)
        .create_with_context(Quiet::default())
        .map_err(|error| BrokerError::creation(&error, config))?;
    let resources: Vec<_> = topics.iter().map(|topic| ResourceSpecifier::Topic(topic)).collect();
    let options = AdminOptions::new().request_timeout(Some(ANSWER));
    let answers = client
        .describe_configs(&resources, &options)
        .await
        .map_err(|error| BrokerError::request("the settings of topics", error))?;
    Ok(answers.into_iter().map(|answer| answer.ok()?.get(name)?.value.clone()).collect())
}

fn compacts(topic: &str, policy: &str) -> Option<String> {
    policy.split(',').any(|part| part.trim() == "compact").then(|| {
        format!(
            "the dead-letter topic {topic} is compacted (cleanup.policy={policy}): it keeps only the last dead letter of each key, \
             and refuses dead letters without a key; set its cleanup.policy to delete"
        )
    })
}

/// `kept` is `retention.ms`: milliseconds, or a negative number for ever.
fn outlasts(topic: &str, kept: i64, ids: Duration) -> Option<String> {
    let shown = humantime::format_duration(ids);
    let kept = match u64::try_from(kept) {
        Ok(milliseconds) if Duration::from_millis(milliseconds) <= ids => return None,
        Ok(milliseconds) => format!("for {}", humantime::format_duration(Duration::from_millis(milliseconds))),
        Err(_negative) => "for ever".to_owned(),
    };
    Some(format!(
        "the topic {topic} keeps records {kept}, but the store keeps event ids for {shown} after the last event of their key: an \
         event that is replayed later is handled again; raise STORE_RETENTION, or lower the topic's retention.ms"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compacted_topic_of_dead_letters_is_named() {
        assert_eq!(compacts("letters", "delete"), None);
        for policy in ["compact", "compact,delete", "delete, compact"] {
            assert!(compacts("letters", policy).is_some_and(|why| why.contains("letters") && why.contains("delete")));
        }
    }

    #[test]
    fn ids_must_be_known_for_as_long_as_records_are_kept() {
        let day = Duration::from_hours(24);
        assert_eq!(outlasts("things", 86_400_000, day), None);
        assert!(outlasts("things", 86_400_001, day).is_some_and(|why| why.contains("keeps records for 1day 1ms")));
        assert!(outlasts("things", -1, day).is_some_and(|why| why.contains("for ever")));
    }
}
