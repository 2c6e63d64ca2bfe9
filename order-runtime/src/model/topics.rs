//! Which topics the service reads.

use std::fmt;

use regex_lite::Regex;

/// An entry of `KAFKA_TOPIC`: the name of one topic, or a regular expression that starts with `^`.
#[derive(Debug, Clone)]
pub(crate) struct TopicPattern {
    text: String,
    /// `None` for a name.
    regex: Option<Regex>,
}

impl TopicPattern {
    /// Reads an entry. It does not check a name by Kafka's rules.
    ///
    /// # Errors
    /// The entry starts with `^` and is no regular expression.
    pub(crate) fn parse(text: &str) -> Result<Self, regex_lite::Error> {
        let regex = if text.starts_with('^') { Some(Regex::new(text)?) } else { None };
        Ok(Self { text: text.to_owned(), regex })
    }

    /// The topic of this name alone.
    pub(crate) fn named(name: &str) -> Self {
        Self { text: name.to_owned(), regex: None }
    }

    /// The entry as it was written, which is also what librdkafka subscribes to.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// The topic's name; `None` for a regular expression.
    pub(crate) fn name(&self) -> Option<&str> {
        self.regex.is_none().then_some(&*self.text)
    }

    /// The first topic that is named: events from the command line and HTTP go there.
    pub(crate) fn first_name(entries: &[Self]) -> Option<&str> {
        entries.iter().find_map(Self::name)
    }

    /// Whether the service reads this topic by one of these entries.
    pub(crate) fn any_matches(entries: &[Self], topic: &str) -> bool {
        entries.iter().any(|entry| entry.matches(topic))
    }

    /// Whether the service reads this topic by this entry.
    pub(crate) fn matches(&self, topic: &str) -> bool {
        self.regex.as_ref().map_or(self.text == topic, |regex| regex.is_match(topic))
    }
}

/// By the text, as one is written.
impl PartialEq for TopicPattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Display for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_matches_itself_and_a_pattern_what_its_expression_says() {
        let name = TopicPattern::parse("order-events").expect("a name");
        assert_eq!((name.name(), name.as_str()), (Some("order-events"), "order-events"));
        assert!(name.matches("order-events") && !name.matches("order-events-2"));
        let pattern = TopicPattern::parse("^order-.*").expect("a pattern");
        assert_eq!((pattern.name(), pattern.to_string()), (None, "^order-.*".to_owned()));
        assert!(pattern.matches("order-events-2") && !pattern.matches("my-order-events"));
        assert!(TopicPattern::parse("^(").is_err());
        let both = [pattern, name];
        assert_eq!(TopicPattern::first_name(&both), Some("order-events"));
        assert!(TopicPattern::any_matches(&both, "order-2") && !TopicPattern::any_matches(&both, "my-order-events"));
    }
}
