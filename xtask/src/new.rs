//! `cargo xtask new processor`: writes the files of a new processor and its feature.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{fmt, names};

const EVENTS: &str = "order-service/src/events";
const FEATURES: &str = "order-service/src/orders/features";

/// The files of a feature, relative to its folder, with their templates.
const FEATURE_FILES: [(&str, &str); 5] = [
    ("schemas.rs", include_str!("../templates/feature/schemas.rs.in")),
    ("errors.rs", include_str!("../templates/feature/errors.rs.in")),
    ("interface.rs", include_str!("../templates/feature/interface.rs.in")),
    ("usecase.rs", include_str!("../templates/feature/usecase.rs.in")),
    ("contracts/v0.rs", include_str!("../templates/feature/contracts/v0.rs.in")),
];
const PROCESSOR: &str = include_str!("../templates/processor.rs.in");

/// Writes the processor of `event` and the feature that it calls; returns the files, relative to `root`.
///
/// Nothing is written if a name is wrong or a file of that name exists.
pub(crate) fn processor(root: &Path, event: &str, feature: Option<&str>) -> Result<Vec<PathBuf>, String> {
    names::check(event)?;
    let feature = feature.map_or_else(|| format!("Process{event}"), str::to_owned);
    names::check(&feature)?;
    let files = files(event, &feature);
    refuse_existing(root, event, &feature)?;
    for (path, text) in &files {
        write(&root.join(path), text).map_err(|error| format!("{} cannot be written: {error}", path.display()))?;
    }
    let paths: Vec<PathBuf> = files.into_iter().map(|(path, _)| path).collect();
    // The line breaks depend on the lengths of the names.
    fmt::rustfmt(root, &paths, false)?;
    Ok(paths)
}

fn files(event: &str, feature: &str) -> Vec<(PathBuf, String)> {
    let fill = |template: &str| {
        template.replace("{Event}", event).replace("{Feature}", feature).replace("{feature}", &names::snake(feature))
    };
    let folder = Path::new(FEATURES).join(names::snake(feature));
    let processor = Path::new(EVENTS).join(format!("{}.rs", names::snake(event)));
    let mut files = vec![(processor, fill(PROCESSOR))];
    files.extend(FEATURE_FILES.iter().map(|(name, template)| (folder.join(name), fill(template))));
    files
}

fn refuse_existing(root: &Path, event: &str, feature: &str) -> Result<(), String> {
    let file = Path::new(EVENTS).join(format!("{}.rs", names::snake(event)));
    if root.join(&file).exists() {
        return Err(format!("{} exists already; choose another event, or edit that file", file.display()));
    }
    // The file of the event's processor may have a different name.
    let function = format!("fn EventProcessor_{event}(");
    for entry in fs::read_dir(root.join(EVENTS)).into_iter().flatten().flatten() {
        if fs::read_to_string(entry.path()).is_ok_and(|text| text.contains(&function)) {
            let place = entry.path();
            return Err(format!("{event} is processed in {} already; an event has one processor", place.display()));
        }
    }
    let folder = Path::new(FEATURES).join(names::snake(feature));
    if root.join(&folder).exists() {
        return Err(format!("the feature {} exists already; name another one with --feature", folder.display()));
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, text)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::processor;

    fn read(root: &Path, path: &str) -> String {
        fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    #[test]
    fn a_processor_and_its_feature_are_written() {
        let root = tempfile::tempdir().unwrap();
        let files = processor(root.path(), "OrderRefunded", Some("RefundOrder")).unwrap();
        assert_eq!(files.len(), 6);
        let processor = read(root.path(), "order-service/src/events/order_refunded.rs");
        assert!(processor.contains("#[event_processor(\"OrderRefunded\")]"), "{processor}");
        assert!(processor.contains("refund_order: SERVICE_RefundOrder"), "{processor}");
        let contract = read(root.path(), "order-service/src/orders/features/refund_order/contracts/v0.rs");
        assert!(
            contract.contains("impl INTERFACE_HELPER_RefundOrder for CONTRACT_HELPER_RefundOrder_V0"),
            "{contract}"
        );
        for file in files {
            let text = fs::read_to_string(root.path().join(&file)).unwrap();
            assert!(!text.contains("{Event}") && !text.contains("{Feature}") && !text.contains("{feature}"), "{text}");
        }
    }

    #[test]
    fn the_feature_takes_its_name_from_the_event() {
        let root = tempfile::tempdir().unwrap();
        processor(root.path(), "OrderRefunded", None).unwrap();
        assert!(root.path().join("order-service/src/orders/features/process_order_refunded/usecase.rs").exists());
    }

    #[test]
    fn an_acronym_is_one_word_of_the_folders_name() {
        let root = tempfile::tempdir().unwrap();
        processor(root.path(), "SMSSent", Some("SendSMS")).unwrap();
        let processor = read(root.path(), "order-service/src/events/sms_sent.rs");
        assert!(processor.contains("send_sms: SERVICE_SendSMS"), "{processor}");
        assert!(root.path().join("order-service/src/orders/features/send_sms/usecase.rs").exists());
    }

    #[test]
    fn existing_files_are_never_overwritten() {
        let root = tempfile::tempdir().unwrap();
        processor(root.path(), "OrderRefunded", Some("RefundOrder")).unwrap();
        for (event, feature, expected) in [
            ("OrderRefunded", "OtherFeature", "exists already"),
            ("OrderReturned", "RefundOrder", "--feature"),
            ("order_returned", "ReturnOrder", "write OrderReturned"),
            ("OrderReturned", "return/order", "write ReturnOrder"),
        ] {
            let error = processor(root.path(), event, Some(feature)).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        assert!(!root.path().join("order-service/src/events/order_returned.rs").exists(), "no partial files");

        let events = root.path().join("order-service/src/events");
        fs::rename(events.join("order_refunded.rs"), events.join("refunds.rs")).unwrap();
        let error = processor(root.path(), "OrderRefunded", Some("OtherFeature")).unwrap_err();
        assert!(error.contains("refunds.rs"), "{error}");
    }
}
