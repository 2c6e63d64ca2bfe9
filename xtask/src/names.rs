//! Names in their two spellings.

/// Why a name is not in `UpperCamelCase`, with the cure; nothing where it is.
pub(crate) fn check(name: &str) -> Result<(), String> {
    let plain = name.chars().all(|letter| letter.is_ascii_alphanumeric());
    if plain && name.starts_with(|first: char| first.is_ascii_uppercase()) {
        return Ok(());
    }
    let suggestion = upper_camel(name);
    let hint = if suggestion.starts_with(|first: char| first.is_ascii_uppercase()) {
        format!("write {suggestion}")
    } else {
        "begin with a letter, then letters and digits".to_owned()
    };
    Err(format!("`{name}` is not a name in UpperCamelCase; {hint}"))
}

/// `OrderRefunded` -> `order_refunded`.
pub(crate) fn snake(name: &str) -> String {
    let mut snake = String::new();
    for (index, letter) in name.char_indices() {
        if letter.is_ascii_uppercase() && index > 0 {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

fn upper_camel(name: &str) -> String {
    let words = name.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.map(|word| word[..1].to_ascii_uppercase() + &word[1..]).collect()
}

#[cfg(test)]
mod tests {
    use super::{check, snake};

    #[test]
    fn each_upper_case_letter_begins_a_word() {
        assert_eq!(snake("OrderRefunded"), "order_refunded");
        assert_eq!(snake("Order2Go"), "order2_go");
        assert_eq!(snake("X"), "x");
    }

    #[test]
    fn a_wrong_name_is_answered_with_the_right_one() {
        assert_eq!(check("OrderRefunded"), Ok(()));
        for wrong in ["orderRefunded", "order_refunded", "Order-Refunded", "order refunded"] {
            let error = check(wrong).unwrap_err();
            assert!(error.ends_with("write OrderRefunded"), "{error}");
        }
        for hopeless in ["", "2Orders", "../escape/é", "_"] {
            assert!(check(hopeless).is_err(), "{hopeless}");
        }
    }
}
