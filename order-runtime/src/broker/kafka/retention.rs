//! Settings of topics that contradict what the service promises: how long they keep records, and whether they are compacted.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};

use super::{metadata::Quiet, settings};
use crate::{broker::BrokerError, config::KafkaConfig};

/// How long the answer may take.
const ANSWER: Duration = Duration::from_secs(5);

/// What is wrong where a topic of events, or that of dead letters, keeps records for longer than `ids` are kept: an event
/// that is read or replayed after that counts a second time.
///
/// # Errors
/// When the broker does not tell. A topic that is not there, or whose settings the service may not read, is passed over.
pub async fn outlasting(config: &KafkaConfig, ids: Duration) -> Result<Vec<String>, BrokerError> {
    let topics: Vec<&str> = config
        .topics
        .iter()
        .map(String::as_str)
        .filter(|topic| !topic.starts_with('^'))
        .chain([&*config.dlq_topic])
        .collect();
    let kept = setting(config, &topics, "retention.ms").await?;
    Ok(topics.iter().zip(kept).filter_map(|(topic, kept)| outlasts(topic, kept?.parse().ok()?, ids)).collect())
}

/// What is wrong where the topic of dead letters is compacted.
///
/// # Errors
/// When the broker does not answer. A topic that is not there, or whose settings the service may not read, is passed over.
pub async fn compacted(config: &KafkaConfig) -> Result<Option<String>, BrokerError> {
    let topic = config.dlq_topic.as_str();
    let policies = setting(config, &[topic], "cleanup.policy").await?;
    Ok(policies.into_iter().next().flatten().and_then(|policy| compacts(topic, &policy)))
}

/// One setting of each topic; `None` where it is not to be had.
async fn setting(config: &KafkaConfig, topics: &[&str], name: &str) -> Result<Vec<Option<String>>, BrokerError> {
    let client: AdminClient<Quiet> = settings::admin(config)
        .create_with_context(Quiet::default())
        .map_err(|error| BrokerError::creation(&error, config))?;
    let resources: Vec<_> = topics.iter().map(|topic| ResourceSpecifier::Topic(topic)).collect();
    let options = AdminOptions::new().request_timeout(Some(ANSWER));
    let answers = client
        .describe_configs(&resources, &options)
        .await
        .map_err(|error| BrokerError::request("for the settings of topics", error))?;
    Ok(answers.into_iter().map(|answer| answer.ok()?.get(name)?.value.clone()).collect())
}

fn compacts(topic: &str, policy: &str) -> Option<String> {
    policy.split(',').any(|part| part.trim() == "compact").then(|| {
        format!(
            "the topic {topic} of dead letters is compacted (cleanup.policy={policy}): it keeps only the last letter of each key, \
             and refuses those without a key; set its cleanup.policy to delete"
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
        "the topic {topic} keeps records {kept}, the store knows ids for {shown} after the last event of their key: what is \
         replayed after that counts again; raise STORE_RETENTION, or lower the topic's retention.ms"
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
