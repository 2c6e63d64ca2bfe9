//! The variables that Kubernetes sets for each service of a namespace (service links), which may collide with settings.
//!
//! A service named `app` gives every pod `APP_PORT=tcp://10.0.0.1:80`, `APP_SERVICE_HOST`, `APP_PORT_80_TCP_ADDR` and more.

use std::collections::BTreeMap;

use super::Secret;

/// The text to add to an error about this value if Kubernetes has set it; otherwise empty.
pub(super) fn cause_of(name: &str, text: &str) -> String {
    match name.strip_suffix("_PORT") {
        Some(service) if is_link(text) => {
            let service = service.to_ascii_lowercase();
            format!(
                "; Kubernetes sets this for the service `{service}` (service links): set enableServiceLinks: false in the \
                 pod's spec, or {name} in its env"
            )
        }
        _ => String::new(),
    }
}

/// Whether Kubernetes has set this variable, judged by the other variables.
pub(super) fn is_service_link(name: &str, environment: &BTreeMap<String, Secret>) -> bool {
    // `APP` of `APP_PORT_80_TCP`; a service's name may contain `_PORT` itself.
    let services = name.match_indices("_PORT").chain(name.match_indices("_SERVICE_")).map(|(at, _)| &name[..at]);
    services
        .map(|service| format!("{service}_PORT"))
        .any(|port| environment.get(&port).is_some_and(|text| is_link(text.expose())))
}

fn is_link(text: &str) -> bool {
    ["tcp://", "udp://", "sctp://"].iter().any(|scheme| text.starts_with(scheme))
}
