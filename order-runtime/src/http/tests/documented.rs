//! The OpenAPI document matches the served routes.

use std::collections::BTreeSet;

use serde_json::json;

use super::*;

/// Every path and method of the document with its description.
async fn documented(served: &Served) -> Vec<(String, Method, Value)> {
    let document = served.get("/openapi.json").await.json();
    let mut operations = Vec::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let method = method.to_uppercase().parse().expect("a method");
            operations.push((path.clone(), method, operation.clone()));
        }
    }
    operations
}

fn names(operation: &Value) -> Vec<&str> {
    let parameters = operation["parameters"].as_array();
    let query = parameters.into_iter().flatten().filter(|parameter| parameter["in"] == "query");
    query.map(|parameter| parameter["name"].as_str().expect("a name")).collect()
}

/// The macro refuses a domain that has the name of one of the service's own routes.
#[tokio::test]
async fn no_domain_may_have_the_name_of_a_route() {
    let served = Served::with(&[]).await;
    let of_domain = "counters";
    let own: BTreeSet<String> = documented(&served)
        .await
        .into_iter()
        .filter_map(|(path, ..)| path.split('/').nth(1).map(str::to_owned))
        .filter(|first| !first.is_empty() && !first.contains('.') && first != of_domain)
        .collect();
    let reserved = include_str!("../../../../order-macros/src/dispatcher/reserved.txt");
    assert_eq!(own, reserved.lines().map(str::to_owned).collect());
}

#[tokio::test]
async fn documented_routes_are_served() {
    let served = Served::with(&[("KAFKA_TOPIC", "things")]).await;
    let documented = documented(&served).await;
    assert!(documented.len() > 30, "{}", documented.len());
    for (path, method, operation) in documented {
        let id = if path.starts_with("/dlq") { format!("{:032x}", 1) } else { "c-1".to_owned() };
        let request = empty(get(&path.replace("{id}", &id)).method(method.clone()));
        // Only the head is read, because the page's event stream is endless.
        let answer = served.router.clone().oneshot(request).await.unwrap_or_else(|never| match never {});
        let status = answer.status();
        assert_ne!(status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
        let is_known = operation["responses"].get(status.as_str()).is_some();
        // Without a body, other methods require one; an unknown path would answer 404.
        let wants_body = [StatusCode::BAD_REQUEST, StatusCode::UNSUPPORTED_MEDIA_TYPE].contains(&status);
        assert!(is_known || (method != Method::GET && wants_body), "{method} {path} answers {status}: {operation}");
    }
}

#[tokio::test]
async fn query_parameters_are_documented() {
    let served = Served::with(&[("KAFKA_TOPIC", "things")]).await;
    let documented = documented(&served).await;
    let of = |path: &str, method: Method| {
        let found = documented.iter().find(|(known, by, _)| known == path && *by == method);
        names(&found.unwrap_or_else(|| panic!("{method} {path}")).2)
    };
    assert_eq!(of("/events", Method::POST), ["key"]);
    assert_eq!(of("/waiting", Method::GET), ["limit"]);
    assert_eq!(of("/counters", Method::GET), ["limit", "after", "status"]);
    assert_eq!(of("/page/live", Method::GET), [""; 0]);
    let letters = of("/dlq", Method::GET);
    for (name, value) in [("max", "1"), ("all", "true"), ("parked", "true"), ("since", "2h"), ("code", "x")] {
        assert!(letters.contains(&name), "{letters:?}");
        assert_eq!(served.get(&format!("/dlq?{name}={value}")).await.status, StatusCode::OK, "{name}");
    }
    let (_, _, waiting) = documented.iter().find(|(path, ..)| path == "/waiting").expect("it is documented");
    assert_eq!(waiting["parameters"][0]["schema"], json!({"type": "integer"}));
    let about = waiting["parameters"][0]["description"].as_str().expect("a text");
    assert!(about.starts_with("Maximum number of waiting events") && !about.contains('\n'), "{about}");
}
