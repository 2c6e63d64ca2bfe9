//! The files below `src/` in which an item may be declared.

use std::path::{Component, Path, PathBuf};

use proc_macro2::Span;

use crate::names::snake_case;

/// The file of this span below `src/`, if it is known.
///
/// `None` for doctests (their items appear to be in the documented file), for code from a macro, and for files outside `src/`,
/// such as fixtures.
pub(crate) fn of(span: Span) -> Option<Place> {
    if !proc_macro::is_available() || is_doctest() {
        return None;
    }
    let manifest = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR")?);
    let source = manifest.join("src").canonicalize().ok()?;
    let file = span.unwrap().local_file()?.canonicalize().ok()?;
    let inside = file.strip_prefix(&source).ok()?.to_path_buf();
    let root = manifest.file_name()?.to_string_lossy().into_owned();
    Some(Place { root, inside })
}

/// Whether a call of `dispatcher!` is below `src/`; so is one whose file is not known.
pub(crate) fn is_below_source(span: Span) -> bool {
    let known = proc_macro::is_available() && span.unwrap().local_file().is_some();
    !is_doctest() && (!known || of(span).is_some())
}

/// Whether the crate's build script has looked for declarations.
pub(crate) fn is_scanned() -> bool {
    std::env::var_os("OUT_DIR").is_some_and(|folder| Path::new(&folder).join(order_build::DECLARATIONS).is_file())
}

/// Whether the crate has a `dispatcher!`: every crate with a scan, and all code outside of `src/`, which has it in the same file.
/// Schemas may be in a crate that has none.
pub(crate) fn has_dispatcher() -> bool {
    !proc_macro::is_available() || is_scanned() || !is_below_source(Span::call_site())
}

/// Whether the code is that of a doctest; rustdoc sets the variable.
fn is_doctest() -> bool {
    std::env::var_os("UNSTABLE_RUSTDOC_TEST_PATH").is_some()
}

/// A file below `src/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The crate's folder, for messages that name a destination.
    root: String,
    /// The file's path below `src/`.
    inside: PathBuf,
}

impl Place {
    /// The destination for an event processor that is not under `events/`; `None` if the file is in the right folder.
    pub(crate) fn wrong_for_processor(&self) -> Option<String> {
        let folders = self.folders();
        (!folders.iter().any(|folder| folder == "events")).then(|| format!("{}/src/events/", self.root))
    }

    /// The destination for a part of a feature that is not under `features/<feature>/`; `None` if the file is in the right
    /// folder.
    pub(crate) fn wrong_for_feature(&self, feature: &str) -> Option<String> {
        let folder = snake_case(feature);
        let folders = self.folders();
        let features = folders.iter().position(|name| name == "features");
        if let Some(features) = features
            && folders.get(features + 1) == Some(&folder)
        {
            return None;
        }
        // The destination keeps the folders above `features/` or, without one, the file's top-level folder.
        let domain = &folders[..features.unwrap_or(folders.len().min(1))];
        let domain = domain.iter().map(String::as_str).filter(|name| *name != "events");
        let path: Vec<&str> =
            [self.root.as_str(), "src"].into_iter().chain(domain).chain(["features", &folder]).collect();
        Some(path.join("/") + "/")
    }

    /// The destination for a schema that is in the folder of another feature; `None` if it is in none or in its own.
    pub(crate) fn of_another_feature(&self, feature: &str) -> Option<String> {
        self.feature_folder()?;
        self.wrong_for_feature(feature)
    }

    /// The name of the feature folder that contains the file.
    pub(crate) fn feature_folder(&self) -> Option<String> {
        let folders = self.folders();
        let features = folders.iter().position(|name| name == "features")?;
        folders.get(features + 1).cloned()
    }

    fn folders(&self) -> Vec<String> {
        let folders = self.inside.parent().unwrap_or(Path::new(""));
        folders
            .components()
            .filter_map(|component| match component {
                Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
                _ => None,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(inside: &str) -> Place {
        Place { root: "shop".to_owned(), inside: PathBuf::from(inside) }
    }

    #[test]
    fn processors_stand_under_events() {
        for (file, expected) in [
            ("events/order_created.rs", None),
            ("events/refunds/all.rs", None),
            ("orders/events/created.rs", None),
            ("order_created.rs", Some("shop/src/events/")),
            ("orders/features/ship/usecase.rs", Some("shop/src/events/")),
            ("events.rs", Some("shop/src/events/")),
        ] {
            assert_eq!(place(file).wrong_for_processor().as_deref(), expected, "{file}");
        }
    }

    #[test]
    fn parts_of_a_feature_stand_in_its_folder() {
        for (file, expected) in [
            ("orders/features/process_order/usecase.rs", None),
            ("features/process_order/usecase.rs", None),
            ("orders/features/process_order/contracts/v0.rs", None),
            ("orders/features/ship_order/usecase.rs", Some("shop/src/orders/features/process_order/")),
            ("orders/misc.rs", Some("shop/src/orders/features/process_order/")),
            ("orders/features/usecase.rs", Some("shop/src/orders/features/process_order/")),
            ("events/process_order.rs", Some("shop/src/features/process_order/")),
            ("lib.rs", Some("shop/src/features/process_order/")),
        ] {
            assert_eq!(place(file).wrong_for_feature("ProcessOrder").as_deref(), expected, "{file}");
        }
        assert_eq!(place("orders/features/process_order/x.rs").feature_folder().as_deref(), Some("process_order"));
        assert_eq!(place("events/x.rs").feature_folder(), None);
        let schema = |file: &str| place(file).of_another_feature("ShipOrder");
        assert_eq!(schema("orders/features/ship_order/schemas.rs"), None);
        assert_eq!(schema("orders/schemas.rs"), None);
        assert_eq!(schema("features/pay/schemas.rs").as_deref(), Some("shop/src/features/ship_order/"));
        assert_eq!(place("features/send_sms/usecase.rs").wrong_for_feature("SendSMS"), None);
    }
}
