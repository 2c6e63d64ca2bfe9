//! The naming rules: parses names into features, and suggests a right name for a wrong one.
//!
//! | item | pattern |
//! |---|---|
//! | use case | `USECASE_<Feature>` |
//! | interface | `INTERFACE_HELPER_<Feature>` |
//! | contract | `CONTRACT_HELPER_<Feature>_V<N>` |
//! | schema | `INPUT_<Feature>`, `OUTPUT_<Feature>` |
//! | service | `SERVICE_<Feature>` |
//! | event processor | `EventProcessor_<Event>` |

mod words;

use std::fmt;

use self::words::{capitalised, words};
pub use self::words::{is_upper_camel, snake_case, upper_camel};

/// The JSON name of a field, as serde's `camelCase` makes it.
pub fn camel_case(name: &str) -> String {
    let name = name.strip_prefix("r#").unwrap_or(name);
    let mut camel = String::new();
    let mut is_start = false;
    for letter in name.chars() {
        if letter == '_' {
            is_start = !camel.is_empty();
        } else if is_start {
            camel.push(letter.to_ascii_uppercase());
            is_start = false;
        } else {
            camel.push(letter);
        }
    }
    camel
}

/// A type's name in a sentence: `OrderId` becomes `an order id`.
pub fn spoken(name: &str) -> String {
    let words = words(name).join(" ");
    let article = if words.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {words}")
}

/// A kind of item whose name follows a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A use case.
    Usecase,
    /// What a use case needs of the world.
    Interface,
    /// An implementation of an interface.
    Contract,
    /// The data of an event.
    Input,
    /// What a use case returns.
    Output,
    /// A use case with its contract, which is generated.
    Service,
    /// The processor of an event.
    Processor,
}

impl Kind {
    /// The part of the name before the feature.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Usecase => "USECASE_",
            Self::Interface => "INTERFACE_HELPER_",
            Self::Contract => "CONTRACT_HELPER_",
            Self::Input => "INPUT_",
            Self::Output => "OUTPUT_",
            Self::Service => "SERVICE_",
            Self::Processor => "EventProcessor_",
        }
    }

    /// The noun for messages.
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Usecase => "use case",
            Self::Interface => "interface",
            Self::Contract => "contract",
            Self::Input | Self::Output => "schema",
            Self::Service => "service",
            Self::Processor => "event processor",
        }
    }

    /// The pattern of the name, for messages.
    pub const fn pattern(self) -> &'static str {
        match self {
            Self::Usecase => "USECASE_<Feature>",
            Self::Interface => "INTERFACE_HELPER_<Feature>",
            Self::Contract => "CONTRACT_HELPER_<Feature>_V<N>",
            Self::Input => "INPUT_<Feature>",
            Self::Output => "OUTPUT_<Feature>",
            Self::Service => "SERVICE_<Feature>",
            Self::Processor => "EventProcessor_<Event>",
        }
    }

    /// The name of the item of this kind that belongs to a feature.
    pub fn of(self, feature: &str) -> String {
        format!("{}{feature}", self.prefix())
    }
}

/// A name that does not fit its pattern, with a suggestion that does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misnamed {
    /// The kind of item.
    pub kind: Kind,
    /// The name as it is written.
    pub written: String,
    /// A similar name that is right.
    pub suggestion: String,
}

impl fmt::Display for Misnamed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}` must be named `{}`", self.kind.noun(), self.written, self.kind.pattern())
    }
}

/// Parses the feature out of a name of this kind.
///
/// # Errors
/// A right name that is similar.
pub fn feature(kind: Kind, name: &str) -> Result<String, Misnamed> {
    match name.strip_prefix(kind.prefix()) {
        Some(feature) if is_upper_camel(feature) => Ok(feature.to_owned()),
        // After the right prefix, the whole rest is the feature: in `USECASE_sign_contract`, `contract` does not mark a kind.
        Some(rest) if has_letter(rest) => Err(misnamed(kind, name, kind.of(&camel(rest)))),
        _ => Err(misnamed(kind, name, kind.of(&guess(name)))),
    }
}

/// The feature of the service that is generated from a use case, even if the use case is misnamed: the feature of its folder, in
/// the spelling of the use case if both name the same feature. Used by both `dispatcher!` and `#[usecase]`.
pub fn of_service(usecase: &str, folder: Option<&str>) -> String {
    match (feature(Kind::Usecase, usecase), folder) {
        (Ok(feature), Some(folder)) if snake_case(&feature) != folder => upper_camel(folder),
        (Ok(feature), _) => feature,
        (Err(_), Some(folder)) => upper_camel(folder),
        (Err(wrong), None) => guess(&wrong.written),
    }
}

/// Suggests an event's name; `None` if the text has no letter. Words that mark a kind elsewhere are kept, as in `ContractSigned`.
pub fn event(written: &str) -> Option<String> {
    let name = written.strip_prefix(Kind::Processor.prefix()).unwrap_or(written);
    has_letter(name).then(|| camel(name))
}

fn has_letter(text: &str) -> bool {
    text.contains(|character: char| character.is_ascii_alphabetic())
}

/// Parses the feature and the version out of a contract's name.
///
/// # Errors
/// A right name that is similar.
pub fn contract(name: &str) -> Result<(String, u32), Misnamed> {
    let rest = name.strip_prefix(Kind::Contract.prefix());
    if let Some((feature, version)) = rest.and_then(|rest| rest.rsplit_once("_V"))
        && is_upper_camel(feature)
        && let Some(version) = plain_number(version)
    {
        return Ok((feature.to_owned(), version));
    }
    let (stem, version) = split_version(name);
    let feature = match stem.strip_prefix(Kind::Contract.prefix()) {
        Some(rest) if has_letter(rest) => camel(rest),
        _ => guess(stem),
    };
    Err(misnamed(Kind::Contract, name, format!("{}_V{version}", Kind::Contract.of(&feature))))
}

fn misnamed(kind: Kind, written: &str, suggestion: String) -> Misnamed {
    Misnamed { kind, written: written.to_owned(), suggestion }
}

/// Parses a number that has no leading zeros.
fn plain_number(digits: &str) -> Option<u32> {
    let canonical = digits == "0" || !digits.starts_with('0');
    (canonical && digits.chars().all(|digit| digit.is_ascii_digit())).then(|| digits.parse().ok()).flatten()
}

/// Splits a misnamed contract into the name and the part that looks like its version; version 0 if there is none.
fn split_version(name: &str) -> (&str, u32) {
    let stem = name.trim_end_matches(|character: char| character.is_ascii_digit());
    let version = name[stem.len()..].parse().unwrap_or_default();
    match stem.strip_suffix(['V', 'v']) {
        Some(stem) if stem.ends_with('_') || name.len() > stem.len() + 1 => (stem.trim_end_matches('_'), version),
        _ => (stem.trim_end_matches('_'), 0),
    }
}

/// Common spellings of words that mark a kind.
const MARKS: [&str; 14] = [
    "eventprocessor",
    "interfacehelper",
    "contracthelper",
    "interface",
    "processor",
    "contract",
    "usecase",
    "service",
    "handler",
    "handle",
    "helper",
    "output",
    "input",
    "event",
];

/// Suggests a feature for a misnamed item: removes the word that marks a kind from the beginning or, if there is none, from the
/// end.
pub fn guess(name: &str) -> String {
    let words = words(name);
    // A mark may be several words (`Use_Case`), so joined words are compared.
    let is_mark = |words: &[String]| MARKS.contains(&words.concat().as_str());
    let counts = || (1..words.len().min(3)).rev();
    if let Some(count) = counts().find(|&count| is_mark(&words[..count])) {
        return camel(&words[count..].join("_"));
    }
    if let Some(count) = counts().find(|&count| is_mark(&words[words.len() - count..])) {
        return camel(&words[..words.len() - count].join("_"));
    }
    camel(name)
}

/// Converts a name to `UpperCamelCase`; `Feature` if it has no letter.
fn camel(name: &str) -> String {
    let camel = upper_camel(name);
    let letters = camel.trim_start_matches(|first: char| !first.is_ascii_alphabetic());
    if letters.is_empty() {
        return "Feature".to_owned();
    }
    let name = capitalised(letters);
    // Words of one letter give a name in capitals only, which is not valid.
    if is_upper_camel(&name) { name } else { capitalised(&name.to_ascii_lowercase()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn right_names_give_their_feature() {
        for (kind, name, expected) in [
            (Kind::Usecase, "USECASE_ProcessOrder", "ProcessOrder"),
            (Kind::Interface, "INTERFACE_HELPER_ShipOrder", "ShipOrder"),
            (Kind::Input, "INPUT_A", "A"),
            (Kind::Output, "OUTPUT_Order2Go", "Order2Go"),
            (Kind::Service, "SERVICE_XMLImport", "XMLImport"),
            (Kind::Processor, "EventProcessor_OrderCreated", "OrderCreated"),
        ] {
            assert_eq!(feature(kind, name).as_deref(), Ok(expected), "{name}");
        }
        assert_eq!(contract("CONTRACT_HELPER_ShipOrder_V0"), Ok(("ShipOrder".to_owned(), 0)));
        assert_eq!(contract("CONTRACT_HELPER_ShipOrder_V12"), Ok(("ShipOrder".to_owned(), 12)));
    }

    #[test]
    fn wrong_names_get_a_right_suggestion() {
        for (kind, name, expected) in [
            (Kind::Usecase, "process_order", "USECASE_ProcessOrder"),
            (Kind::Usecase, "ProcessOrder", "USECASE_ProcessOrder"),
            (Kind::Usecase, "UsecaseProcessOrder", "USECASE_ProcessOrder"),
            (Kind::Usecase, "USECASE_process_order", "USECASE_ProcessOrder"),
            (Kind::Usecase, "USECASE_PROCESS_ORDER", "USECASE_ProcessOrder"),
            (Kind::Usecase, "USECASE_SHIP", "USECASE_Ship"),
            (Kind::Usecase, "use_case_ship_order", "USECASE_ShipOrder"),
            (Kind::Usecase, "UseCase_ShipOrder", "USECASE_ShipOrder"),
            (Kind::Usecase, "ship_order_usecase", "USECASE_ShipOrder"),
            (Kind::Usecase, "USECASE_", "USECASE_Usecase"),
            (Kind::Usecase, "_1", "USECASE_Feature"),
            (Kind::Usecase, "USECASE_sign_contract", "USECASE_SignContract"),
            (Kind::Usecase, "usecase_sign_contract", "USECASE_SignContract"),
            (Kind::Input, "INPUT_record_output", "INPUT_RecordOutput"),
            (Kind::Interface, "INTERFACE_ShipOrder", "INTERFACE_HELPER_ShipOrder"),
            (Kind::Interface, "ShipOrderHelper", "INTERFACE_HELPER_ShipOrder"),
            (Kind::Input, "ShipOrderInput", "INPUT_ShipOrder"),
            (Kind::Output, "output_ship_order", "OUTPUT_ShipOrder"),
            (Kind::Processor, "event_processor_order_created", "EventProcessor_OrderCreated"),
            (Kind::Processor, "handle_order_created", "EventProcessor_OrderCreated"),
            (Kind::Processor, "EventProcessor_orderCreated", "EventProcessor_OrderCreated"),
        ] {
            let wrong = feature(kind, name).expect_err(name);
            assert_eq!(wrong.suggestion, expected, "{name}");
        }
        for (name, expected) in [
            ("CONTRACT_HELPER_ShipOrder", "CONTRACT_HELPER_ShipOrder_V0"),
            ("CONTRACT_HELPER_ShipOrder_V", "CONTRACT_HELPER_ShipOrder_V0"),
            ("CONTRACT_HELPER_ShipOrder_V01", "CONTRACT_HELPER_ShipOrder_V1"),
            ("CONTRACT_HELPER_ShipOrder_v2", "CONTRACT_HELPER_ShipOrder_V2"),
            ("CONTRACT_HELPER_ShipOrder_2", "CONTRACT_HELPER_ShipOrder_V0"),
            ("CONTRACT_ShipOrder_V3", "CONTRACT_HELPER_ShipOrder_V3"),
            ("ShipOrderContractV3", "CONTRACT_HELPER_ShipOrder_V3"),
            ("CONTRACT_HELPER_sign_contract_V3", "CONTRACT_HELPER_SignContract_V3"),
        ] {
            assert_eq!(contract(name).expect_err(name).suggestion, expected, "{name}");
        }
    }

    #[test]
    fn every_suggestion_is_a_right_name() {
        for written in ["a", "ship", "SHIP_ORDER_NOW", "Übung", "x__y", "V2", "9lives", "usecase_usecase"] {
            for kind in [Kind::Usecase, Kind::Interface, Kind::Input, Kind::Processor] {
                if let Err(wrong) = feature(kind, written) {
                    assert!(feature(kind, &wrong.suggestion).is_ok(), "{written}: {}", wrong.suggestion);
                }
            }
            let wrong = contract(written).expect_err("none of these is a contract");
            assert!(contract(&wrong.suggestion).is_ok(), "{written}: {}", wrong.suggestion);
        }
    }

    #[test]
    fn an_event_keeps_words_that_mark_a_kind_elsewhere() {
        for (written, expected) in [
            ("contract_signed", Some("ContractSigned")),
            ("input", Some("Input")),
            ("service_order_closed", Some("ServiceOrderClosed")),
            ("EventProcessor_OrderPaid", Some("OrderPaid")),
            ("*", None),
            ("42", None),
        ] {
            assert_eq!(event(written).as_deref(), expected, "{written}");
        }
    }

    #[test]
    fn a_service_is_spelled_like_its_use_case_if_that_is_in_the_right_folder() {
        for (usecase, folder, expected) in [
            ("USECASE_SendSMS", Some("send_sms"), "SendSMS"),
            ("USECASE_SendSms", Some("send_sms"), "SendSms"),
            ("USECASE_SendMail", Some("send_sms"), "SendSms"),
            ("send_it", Some("send_sms"), "SendSms"),
            ("USECASE_SendSMS", None, "SendSMS"),
            ("send_it", None, "SendIt"),
        ] {
            assert_eq!(of_service(usecase, folder), expected, "{usecase} in {folder:?}");
        }
    }
}
