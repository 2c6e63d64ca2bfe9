//! Storage of orders in PostgreSQL, shared by all features.

use std::time::SystemTime;

use jiff::Timestamp;
use order_runtime::store::{
    Page, Row,
    postgres::{
        Client, PostgresEntity, PostgresError,
        tokio_postgres::{self, types::ToSql},
    },
};

use crate::orders::entities::order::Order;

/// The columns in reading order. Types without a Rust counterpart are read as text.
const COLUMNS: &str = "order_id, customer_id, currency, total::text, status, items::text, carrier, tracking_number, \
     cancel_reason, version, created_at, updated_at";

impl PostgresEntity for Order {
    const MIGRATIONS: &'static [&'static str] = &[
        "CREATE TABLE orders (
            order_id text PRIMARY KEY,
            customer_id text NOT NULL,
            currency text NOT NULL,
            total numeric NOT NULL,
            status text NOT NULL,
            items jsonb NOT NULL,
            carrier text,
            tracking_number text,
            cancel_reason text,
            version bigint NOT NULL,
            created_at timestamptz NOT NULL,
            updated_at timestamptz NOT NULL
        );
        CREATE INDEX orders_by_id ON orders (order_id COLLATE \"C\")",
        "CREATE INDEX orders_by_status ON orders (status, order_id COLLATE \"C\")",
    ];
    const TABLE: &'static str = "orders";
    const ID: &'static str = "order_id";

    async fn load(db: &Client, ids: &[String]) -> Result<Vec<Row<Self>>, PostgresError> {
        let statement = db.prepare_cached(&format!("SELECT {COLUMNS} FROM orders WHERE order_id = ANY($1)")).await?;
        db.query(&statement, &[&ids]).await?.iter().map(order).collect()
    }

    async fn insert(db: &Client, rows: &[&Row<Self>]) -> Result<u64, PostgresError> {
        let ids: Vec<&str> = rows.iter().map(|row| row.value.order_id.as_str()).collect();
        let customers: Vec<&str> = rows.iter().map(|row| &*row.value.customer_id).collect();
        let currencies: Vec<&str> = rows.iter().map(|row| &*row.value.currency).collect();
        let totals: Vec<String> = rows.iter().map(|row| row.value.total.to_string()).collect();
        let statuses: Vec<&str> = rows.iter().map(|row| row.value.status.as_str()).collect();
        let items: Vec<String> = rows
            .iter()
            .map(|row| serde_json::to_string(&row.value.items).map_err(PostgresError::data))
            .collect::<Result<_, _>>()?;
        let carriers: Vec<Option<&str>> = rows.iter().map(|row| row.value.carrier.as_deref()).collect();
        let trackings: Vec<Option<&str>> = rows.iter().map(|row| row.value.tracking_number.as_deref()).collect();
        let reasons: Vec<Option<&str>> = rows.iter().map(|row| row.value.cancel_reason.as_deref()).collect();
        let versions = versions(rows)?;
        let created = times(rows, |row| row.created_at)?;
        let updated = times(rows, |row| row.updated_at)?;
        let statement = db
            .prepare_cached(
                "INSERT INTO orders
                 SELECT order_id, customer_id, currency, total::numeric, status, items::jsonb, carrier, tracking_number,
                     cancel_reason, version, created_at, updated_at
                 FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
                     $8::text[], $9::text[], $10::bigint[], $11::timestamptz[], $12::timestamptz[])
                     AS new (order_id, customer_id, currency, total, status, items, carrier, tracking_number,
                         cancel_reason, version, created_at, updated_at)
                 ON CONFLICT DO NOTHING",
            )
            .await?;
        let inserted = db
            .execute(
                &statement,
                &[
                    &ids,
                    &customers,
                    &currencies,
                    &totals,
                    &statuses,
                    &items,
                    &carriers,
                    &trackings,
                    &reasons,
                    &versions,
                    &created,
                    &updated,
                ],
            )
            .await?;
        Ok(inserted)
    }

    async fn update(db: &Client, rows: &[&Row<Self>]) -> Result<u64, PostgresError> {
        // The order's items, currency, customer and total never change, so they are not written again.
        let ids: Vec<&str> = rows.iter().map(|row| row.value.order_id.as_str()).collect();
        let statuses: Vec<&str> = rows.iter().map(|row| row.value.status.as_str()).collect();
        let carriers: Vec<Option<&str>> = rows.iter().map(|row| row.value.carrier.as_deref()).collect();
        let trackings: Vec<Option<&str>> = rows.iter().map(|row| row.value.tracking_number.as_deref()).collect();
        let reasons: Vec<Option<&str>> = rows.iter().map(|row| row.value.cancel_reason.as_deref()).collect();
        let versions = versions(rows)?;
        let updated = times(rows, |row| row.updated_at)?;
        let statement = db
            .prepare_cached(
                "UPDATE orders SET status = changed.status, carrier = changed.carrier,
                     tracking_number = changed.tracking_number, cancel_reason = changed.cancel_reason,
                     version = changed.version, updated_at = changed.updated_at
                 FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[],
                     $7::timestamptz[])
                     AS changed (order_id, status, carrier, tracking_number, cancel_reason, version, updated_at)
                 WHERE orders.order_id = changed.order_id",
            )
            .await?;
        let updated =
            db.execute(&statement, &[&ids, &statuses, &carriers, &trackings, &reasons, &versions, &updated]).await?;
        Ok(updated)
    }

    async fn page(db: &Client, page: &Page) -> Result<Vec<Row<Self>>, PostgresError> {
        let status = page.filters.iter().find(|(field, _)| field == "status").map(|(_, value)| value);
        let after = page.after.as_deref().unwrap_or_default();
        let limit = i64::try_from(page.limit).unwrap_or(i64::MAX);
        // Two statements, because a prepared plan for `$3 IS NULL OR status = $3` would read all orders.
        let (condition, parameters): (_, Vec<&(dyn ToSql + Sync)>) = match &status {
            Some(status) => ("AND status = $3", vec![&after, &limit, status]),
            None => ("", vec![&after, &limit]),
        };
        let statement = db
            .prepare_cached(&format!(
                "SELECT {COLUMNS} FROM orders WHERE order_id COLLATE \"C\" > $1 {condition}
                 ORDER BY order_id COLLATE \"C\" LIMIT $2"
            ))
            .await?;
        db.query(&statement, &parameters).await?.iter().map(order).collect()
    }
}

fn versions(rows: &[&Row<Order>]) -> Result<Vec<i64>, PostgresError> {
    rows.iter().map(|row| i64::try_from(row.version).map_err(PostgresError::data)).collect()
}

/// Converts times to the driver's type for `timestamptz`, which has microsecond resolution.
fn times(rows: &[&Row<Order>], of: fn(&Row<Order>) -> Timestamp) -> Result<Vec<SystemTime>, PostgresError> {
    rows.iter().map(|row| SystemTime::try_from(of(row)).map_err(PostgresError::data)).collect()
}

fn order(row: &tokio_postgres::Row) -> Result<Row<Order>, PostgresError> {
    let version: i64 = row.try_get(9)?;
    Ok(Row {
        value: Order {
            order_id: parsed(row, 0)?,
            customer_id: row.try_get(1)?,
            currency: row.try_get(2)?,
            total: parsed(row, 3)?,
            status: parsed(row, 4)?,
            items: serde_json::from_str(row.try_get(5)?).map_err(PostgresError::data)?,
            carrier: row.try_get(6)?,
            tracking_number: row.try_get(7)?,
            cancel_reason: row.try_get(8)?,
        },
        version: u64::try_from(version).map_err(PostgresError::data)?,
        created_at: time(row, 10)?,
        updated_at: time(row, 11)?,
    })
}

fn parsed<T>(row: &tokio_postgres::Row, column: usize) -> Result<T, PostgresError>
where
    T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    row.try_get::<_, &str>(column)?.parse().map_err(PostgresError::data)
}

fn time(row: &tokio_postgres::Row, column: usize) -> Result<Timestamp, PostgresError> {
    Timestamp::try_from(row.try_get::<_, SystemTime>(column)?).map_err(PostgresError::data)
}

#[cfg(test)]
mod tests {
    use order_runtime::store::PartitionStore;
    use order_runtime::store::ReadModel;
    use std::{
        io::{BufRead, BufReader},
        path::Path,
        process::{Child, Command, Stdio},
        sync::Arc,
    };

    use order_runtime::{
        model::PartitionId,
        store::{Change, Changes, Committed, EntityType, Mode, Store, postgres::PostgresStore},
    };
    use serde_json::{Value, json};

    use super::*;
    use crate::orders::entities::{
        item::Item,
        money::Money,
        order::{Status, tests::order},
    };

    /// A PostgreSQL server for this test. It is wiped when its standard input closes, even if the test panics.
    struct Server {
        url: String,
        _keeps_it_running: Child,
    }

    /// Starts a server. Prints `skipped` and returns `None` if PostgreSQL is not installed.
    fn server() -> Option<Server> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/postgres/postgres");
        let mut command = Command::new(script);
        let mut child = command
            .args(["serve", "0"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("bash starts the script");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("stdout is piped")).read_line(&mut line).expect("a line of text");
        // "up: pid 4711, 127.0.0.1:15432"
        let Some(address) = line.trim().rsplit(' ').next().filter(|address| address.contains(':')) else {
            let required = std::env::var("ORDER_TESTS_REQUIRE").unwrap_or_default();
            let required = required.split(',').any(|suite| suite.trim() == "postgres");
            assert!(!required, "PostgreSQL is needed, since ORDER_TESTS_REQUIRE names postgres");
            eprintln!("skipped: PostgreSQL is needed");
            // The script has printed the reason and exits.
            let _ = child.wait();
            return None;
        };
        Some(Server { url: format!("postgres://postgres@{address}/postgres"), _keeps_it_running: child })
    }

    /// A row in which no two columns have the same value.
    fn row(version: u64, of: Order) -> Row<Order> {
        let at = |microsecond| Timestamp::from_microsecond(microsecond).unwrap();
        let second = i64::try_from(version).unwrap();
        Row {
            value: of,
            version,
            created_at: at(1_700_000_000_123_456),
            updated_at: at(1_800_000_000_654_321 + second),
        }
    }

    async fn write(store: &PostgresStore, offset: i64, expected: u64, row: &Row<Order>) {
        // The topic's id is arbitrary; `claim` returns a convenient one.
        let topic_id = store.claim("group").await.unwrap();
        let partition = PartitionId { cluster: "cluster".into(), topic_id, topic: "t".into(), partition: 0 };
        if offset == 0 {
            store.begin(&partition, 0).await.unwrap();
        }
        let change = Change { row: row.clone(), expected };
        let changes = Changes {
            entities: vec![(EntityType::of::<Order>(), Arc::new(vec![change]))],
            ..Changes::of_position(partition, offset, offset, offset + 1)
        };
        let answers = store.commit(vec![Arc::new(changes)]).await.unwrap();
        assert_eq!(answers, [Committed::Applied { revision: offset + 1 }]);
    }

    /// The row as the service reads it, alone and in a page, and as SQL reads it by column name.
    async fn read(store: &PostgresStore, url: &str) -> [Value; 3] {
        let entity = EntityType::of::<Order>();
        let alone = store.view(entity, "order-1").await.unwrap().unwrap();
        let mut page = store.page(entity, Page { limit: 10, ..Page::default() }).await.unwrap();
        assert_eq!(page.len(), 1);
        let (db, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        let time = |column| format!("trim(to_json({column} AT TIME ZONE 'UTC')::text, '\"') || 'Z'");
        let named = format!(
            "SELECT json_strip_nulls(json_build_object('orderId', order_id, 'customerId', customer_id,
                 'currency', currency, 'total', total::text, 'status', status, 'items', items, 'carrier', carrier,
                 'trackingNumber', tracking_number, 'cancelReason', cancel_reason, 'version', version,
                 'createdAt', {}, 'updatedAt', {}))::text FROM orders",
            time("created_at"),
            time("updated_at")
        );
        let named: String = db.query_one(&named, &[]).await.unwrap().get(0);
        [alone, page.remove(0).view, serde_json::from_str(&named).unwrap()]
    }

    #[tokio::test]
    async fn every_column_is_read_back_as_it_was_written() {
        let Some(server) = server() else { return };
        let store = PostgresStore::open(&server.url, &[EntityType::of::<Order>()], Mode::Run).await.unwrap();
        let items = [("A-1", 2, 1250), ("B-2", 3, 5)].map(|(sku, quantity, cents)| Item {
            sku: sku.to_owned(),
            quantity,
            unit_price: Money::cents(cents),
        });
        let placed = Order {
            total: Money::cents(2515),
            items: items.into(),
            carrier: Some("a carrier".to_owned()),
            tracking_number: Some("a number".to_owned()),
            cancel_reason: Some("a reason".to_owned()),
            ..order(Status::Created)
        };
        let first = row(1, placed.clone());
        write(&store, 0, 0, &first).await;
        let expected = first.view();
        assert_eq!(expected["items"][1], json!({"sku": "B-2", "quantity": 3, "unitPrice": "0.05"}));
        assert_eq!(expected["createdAt"], "2023-11-14T22:13:20.123456Z");
        for found in read(&store, &server.url).await {
            assert_eq!(found, expected, "inserted");
        }

        let next = row(
            2,
            Order {
                status: Status::Cancelled,
                carrier: Some("another carrier".to_owned()),
                tracking_number: None,
                cancel_reason: Some("another reason".to_owned()),
                ..placed
            },
        );
        write(&store, 1, 1, &next).await;
        for found in read(&store, &server.url).await {
            assert_eq!(found, next.view(), "updated");
        }
    }
}
