//! Checks and converts names by the same rules as the attributes.

pub(crate) use order_build::names::snake_case as snake;
use order_build::names::{is_upper_camel, upper_camel};

/// Checks that a name is valid for a feature or an event.
///
/// # Errors
/// The problem and the fix.
pub(crate) fn check(name: &str) -> Result<(), String> {
    if is_upper_camel(name) {
        return Ok(());
    }
    let suggestion = upper_camel(name);
    let hint = if is_upper_camel(&suggestion) {
        format!("write {suggestion}")
    } else {
        "begin with a letter, then letters and digits, not all of them capitals".to_owned()
    };
    Err(format!("`{name}` is not a name in UpperCamelCase; {hint}"))
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn a_wrong_name_gets_a_right_suggestion() {
        assert_eq!(check("OrderRefunded"), Ok(()));
        assert_eq!(check("SendSMS"), Ok(()));
        for wrong in ["orderRefunded", "order_refunded", "Order-Refunded", "order refunded"] {
            let error = check(wrong).unwrap_err();
            assert!(error.ends_with("write OrderRefunded"), "{error}");
        }
        assert!(check("SMS").unwrap_err().ends_with("write Sms"), "the attributes refuse it too");
        for hopeless in ["", "2Orders", "../escape/é", "_"] {
            assert!(check(hopeless).is_err(), "{hopeless}");
        }
    }
}
