//! Conversion of names between `UpperCamelCase` and `snake_case`.

/// Whether a text is a valid name of a feature or event: ASCII letters and digits, starting with a capital. A name with two or
/// more letters must contain a lower-case one.
pub fn is_upper_camel(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_uppercase())
        && text.chars().all(|character| character.is_ascii_alphanumeric())
        && (text.contains(|character: char| character.is_ascii_lowercase())
            || text.chars().filter(char::is_ascii_alphabetic).count() == 1)
}

/// Splits a name in any case into lower-case words.
pub(super) fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let characters: Vec<char> = name.chars().collect();
    let mut start_new = true;
    for (index, character) in characters.iter().enumerate() {
        if !character.is_ascii_alphanumeric() {
            start_new = true;
            continue;
        }
        let after_lower = index > 0 && !characters[index - 1].is_ascii_uppercase() && character.is_ascii_uppercase();
        // The last capital of a run starts a new word: `XMLParser` becomes `xml`, `parser`.
        let ends_run = character.is_ascii_uppercase()
            && index > 0
            && characters[index - 1].is_ascii_uppercase()
            && characters.get(index + 1).is_some_and(char::is_ascii_lowercase);
        if start_new || after_lower || ends_run {
            words.push(String::new());
        }
        start_new = false;
        if let Some(word) = words.last_mut() {
            word.push(character.to_ascii_lowercase());
        }
    }
    words
}

pub(super) fn capitalised(word: &str) -> String {
    let mut characters = word.chars();
    characters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(characters).collect()
}

/// The folder of a feature: `ProcessOrder` becomes `process_order`.
pub fn snake_case(feature: &str) -> String {
    words(feature).join("_")
}

/// The feature of a folder: `process_order` becomes `ProcessOrder`.
pub fn upper_camel(folder: &str) -> String {
    words(folder).iter().map(|word| capitalised(word)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_and_folders_name_each_other() {
        for (camel, snake) in [
            ("ProcessOrder", "process_order"),
            ("Ship", "ship"),
            ("XMLImport", "xml_import"),
            ("Order2Go", "order2_go"),
            ("SendSMS", "send_sms"),
            ("SMSSent", "sms_sent"),
        ] {
            assert_eq!(snake_case(camel), snake);
        }
        assert_eq!(upper_camel("process_order"), "ProcessOrder");
    }
}
