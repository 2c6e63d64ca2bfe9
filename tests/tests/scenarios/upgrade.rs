//! Upgrades of stores from earlier releases.
//!
//! `tests/fixtures` has a store for each released layout of the orders, named by its version, with an order of each status in
//! which every optional field is set. These files are never changed.

use std::fs;

use order_tests::{Broker, Deployment, PATIENCE, eventually};
use serde_json::{Value, json};

const SQLITE: [&[u8]; 1] = [include_bytes!("../../fixtures/orders-1.db")];
const POSTGRES: [&str; 1] = [include_str!("../../fixtures/orders-1.sql")];

pub(crate) async fn an_earlier_store_goes_on(broker: &Broker) {
    if broker.is_on_postgres() {
        for dump in POSTGRES {
            let deployment = Deployment::new(broker).await;
            restore(&deployment, dump).await;
            goes_on(&deployment).await;
        }
        return;
    }
    for file in SQLITE {
        let deployment = Deployment::new(broker).await;
        let path = deployment.folder().join("orders.db");
        fs::write(&path, file).expect("a copy");
        let db = rusqlite::Connection::open(&path).expect("a database");
        db.execute("UPDATE store SET consumer_group = ?1", [deployment.group()]).expect("the group of this test");
        db.close().expect("closed");
        goes_on(&deployment).await;
    }
}

async fn restore(deployment: &Deployment, dump: &str) {
    let (db, connection) =
        tokio_postgres::connect(deployment.store_url(), tokio_postgres::NoTls).await.expect("a connection");
    tokio::spawn(connection);
    db.batch_execute(dump).await.expect("a dump that can be read");
    db.execute("UPDATE store SET consumer_group = $1", &[&deployment.group()]).await.expect("the group of this test");
}

async fn goes_on(deployment: &Deployment) {
    let service = deployment.start_ready().await;
    for status in ["created", "paid", "shipped", "delivered", "cancelled"] {
        assert_eq!(service.get(&format!("/orders/{status}")).await, order(status, 1));
        let page = service.get(&format!("/orders?status={status}")).await;
        assert_eq!(page, json!([order(status, 1)]), "the one with this status");
    }
    deployment.run(["publish", "OrderDelivered", r#"{"orderId":"shipped"}"#]).await.expect_code(0);
    eventually("the order of the earlier release is updated", PATIENCE, async || {
        let order = service.get("/orders/shipped").await;
        order["status"] == "delivered" && order["version"] == 2
    })
    .await;
    assert!(service.terminate().await.success());
}

/// The expected order in the fixture, whose id is its status.
fn order(status: &str, version: u64) -> Value {
    json!({
        "orderId": status,
        "customerId": "customer-7",
        "currency": "EUR",
        "total": "25.00",
        "status": status,
        "items": [{ "sku": "A-1", "quantity": 2, "unitPrice": "12.50" }],
        "carrier": "DHL",
        "trackingNumber": "T-1",
        "cancelReason": "changed my mind",
        "version": version,
        "createdAt": "1970-01-01T00:00:01Z",
        "updatedAt": "1970-01-01T00:00:02Z",
    })
}
