//! Storage of orders in SQLite, shared by all features.

use jiff::Timestamp;
use order_runtime::store::{
    Change, Page, Row,
    sqlite::{SqliteEntity, keys},
};
use rusqlite::{Connection, Error, params, types::Type};

use crate::orders::entities::{order::Order, order_id::OrderId};

impl SqliteEntity for Order {
    // WITHOUT ROWID stores the rows in the tree of the primary key. Otherwise SQLite would keep a second tree for the id.
    const MIGRATIONS: &'static [&'static str] = &[
        "CREATE TABLE orders (
            order_id TEXT PRIMARY KEY,
            customer_id TEXT NOT NULL,
            currency TEXT NOT NULL,
            total TEXT NOT NULL,
            status TEXT NOT NULL,
            items TEXT NOT NULL,
            carrier TEXT,
            tracking_number TEXT,
            cancel_reason TEXT,
            version INTEGER NOT NULL,
            created_at INTEGER NOT NULL,
            updated_at INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID",
        "CREATE INDEX orders_by_status ON orders (status, order_id)",
    ];

    fn load(db: &Connection, ids: &[OrderId]) -> rusqlite::Result<Vec<Row<Self>>> {
        let mut statement = db
            .prepare_cached("SELECT orders.* FROM rarray(?1) AS wanted CROSS JOIN orders ON order_id = wanted.value")?;
        statement.query_map([keys(ids.iter().map(OrderId::to_string))], order)?.collect()
    }

    fn insert(db: &Connection, rows: &[&Row<Self>]) -> rusqlite::Result<usize> {
        let mut insert = db.prepare_cached(
            "INSERT INTO orders (order_id, customer_id, currency, total, status, items, carrier,
                tracking_number, cancel_reason, version, created_at, updated_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
             ON CONFLICT DO NOTHING",
        )?;
        let rows = rows.iter().map(|Row { value, version, created_at, updated_at }| {
            let items =
                serde_json::to_string(&value.items).map_err(|error| Error::ToSqlConversionFailure(error.into()))?;
            insert.execute(params![
                value.order_id.as_str(),
                value.customer_id,
                value.currency,
                value.total.to_string(),
                value.status.as_str(),
                items,
                value.carrier,
                value.tracking_number,
                value.cancel_reason,
                version,
                created_at.as_microsecond(),
                updated_at.as_microsecond(),
            ])
        });
        rows.sum()
    }

    // The order's items, currency, customer and total never change.
    fn update(db: &Connection, changes: &[&Change<Self>]) -> rusqlite::Result<usize> {
        let mut update = db.prepare_cached(
            "UPDATE orders SET status = ?3, carrier = ?4, tracking_number = ?5, cancel_reason = ?6, version = ?7,
                updated_at = ?8
             WHERE order_id = ?1 AND version = ?2",
        )?;
        let changes = changes.iter().map(|Change { row: Row { value, version, updated_at, .. }, expected }| {
            update.execute(params![
                value.order_id.as_str(),
                expected,
                value.status.as_str(),
                value.carrier,
                value.tracking_number,
                value.cancel_reason,
                version,
                updated_at.as_microsecond(),
            ])
        });
        changes.sum()
    }

    fn page(db: &Connection, page: &Page) -> rusqlite::Result<Vec<Row<Self>>> {
        let status = page.filters.iter().find(|(field, _)| field == "status").map(|(_, value)| value);
        let after = page.after.as_deref().unwrap_or_default();
        match status {
            Some(status) => {
                let mut statement = db.prepare_cached(PAGE_OF_A_STATUS)?;
                statement.query_map((after, page.limit, status), order)?.collect()
            }
            None => db.prepare_cached(PAGE)?.query_map((after, page.limit), order)?.collect(),
        }
    }
}

const PAGE: &str = "SELECT * FROM orders WHERE order_id > ?1 ORDER BY order_id LIMIT ?2";
// A separate statement, because one with `?3 IS NULL OR status = ?3` would read the whole table.
const PAGE_OF_A_STATUS: &str = "SELECT * FROM orders WHERE status = ?3 AND order_id > ?1 ORDER BY order_id LIMIT ?2";

fn order(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row<Order>> {
    let items: String = row.get(5)?;
    Ok(Row {
        value: Order {
            order_id: parsed(row, 0)?,
            customer_id: row.get(1)?,
            currency: row.get(2)?,
            total: parsed(row, 3)?,
            status: parsed(row, 4)?,
            items: serde_json::from_str(&items).map_err(|error| unreadable(5, error))?,
            carrier: row.get(6)?,
            tracking_number: row.get(7)?,
            cancel_reason: row.get(8)?,
        },
        version: row.get(9)?,
        created_at: time(row, 10)?,
        updated_at: time(row, 11)?,
    })
}

fn parsed<T>(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    row.get::<_, String>(column)?.parse().map_err(|error| unreadable(column, error))
}

fn time(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    Timestamp::from_microsecond(row.get(column)?).map_err(|error| unreadable(column, error))
}

fn unreadable(column: usize, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orders::entities::order::{Status, tests::order};

    fn database() -> Connection {
        let db = Connection::open_in_memory().unwrap();
        rusqlite::vtab::array::load_module(&db).unwrap();
        for migration in Order::MIGRATIONS {
            db.execute_batch(migration).unwrap();
        }
        db
    }

    fn change(value: Order, expected: u64) -> Change<Order> {
        let at = |second| Timestamp::from_second(second).unwrap();
        let row = Row { value, version: expected + 1, created_at: at(1), updated_at: at(2) };
        Change { row, expected }
    }

    fn with_id(id: &str, status: Status) -> Order {
        Order { order_id: id.parse().unwrap(), ..order(status) }
    }

    #[test]
    fn saved_orders_are_loaded_again() {
        let db = database();
        let new = change(order(Status::Created), 0).row;
        assert_eq!(Order::insert(&db, &[&new]), Ok(1));
        let ids = [new.value.order_id.clone(), "nobody".parse().unwrap()];
        assert_eq!(Order::load(&db, &ids).unwrap(), std::slice::from_ref(&new));

        let mut shipped = order(Status::Paid);
        shipped.ship(Some("DHL".to_owned()), Some("T-1".to_owned())).unwrap();
        let next = change(shipped, 1);
        assert_eq!(Order::update(&db, &[&next]), Ok(1));
        assert_eq!(Order::load(&db, &ids).unwrap(), [next.row]);
    }

    /// All columns of the only order, by their names.
    fn stored(db: &Connection) -> Vec<String> {
        let columns = [
            "order_id",
            "customer_id",
            "currency",
            "total",
            "status",
            "items",
            "carrier",
            "tracking_number",
            "cancel_reason",
            "version",
            "created_at",
            "updated_at",
        ];
        let texts = columns.map(|column| format!("coalesce(CAST({column} AS TEXT), 'none')")).join(", ");
        db.query_row(&format!("SELECT {texts} FROM orders"), [], |row| {
            (0..columns.len()).map(|column| row.get(column)).collect()
        })
        .unwrap()
    }

    #[test]
    fn each_field_is_in_its_own_column() {
        let db = database();
        let new = change(with_everything("order-9", Status::Created), 0).row;
        assert_eq!(Order::insert(&db, &[&new]), Ok(1));
        let items = r#"[{"sku":"A-1","quantity":2,"unitPrice":"12.50"}]"#;
        let mut expected = [
            "order-9",
            "customer-7",
            "EUR",
            "25.00",
            "created",
            items,
            "DHL",
            "T-1",
            "changed my mind",
            "1",
            "1000000",
            "2000000",
        ];
        assert_eq!(stored(&db), expected);

        let mut value = with_everything("order-9", Status::Cancelled);
        value.carrier = Some("UPS".to_owned());
        value.tracking_number = Some("U-2".to_owned());
        value.cancel_reason = Some("out of stock".to_owned());
        let mut next = change(value, 1);
        next.row.updated_at = Timestamp::from_second(3).unwrap();
        assert_eq!(Order::update(&db, &[&next]), Ok(1));
        expected[4] = "cancelled";
        (expected[6], expected[7], expected[8]) = ("UPS", "U-2", "out of stock");
        (expected[9], expected[11]) = ("2", "3000000");
        assert_eq!(stored(&db), expected);
        assert_eq!(Order::load(&db, &["order-9".parse().unwrap()]).unwrap(), [next.row]);

        let bare = change(Order { order_id: "order-9".parse().unwrap(), ..order(Status::Paid) }, 2);
        assert_eq!(Order::update(&db, &[&bare]), Ok(1));
        assert_eq!(stored(&db)[6..9], ["none"; 3]);
    }

    #[test]
    fn a_page_of_each_filter_reads_an_index() {
        let db = database();
        let plan = |sql: &str| -> String {
            let mut statement = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let unbound = statement.parameter_count();
            for parameter in 1..=unbound {
                statement.raw_bind_parameter(parameter, "1").unwrap();
            }
            let mut rows = statement.raw_query();
            let mut steps = Vec::new();
            while let Some(row) = rows.next().unwrap() {
                steps.push(row.get::<_, String>(3).unwrap());
            }
            steps.join("; ")
        };
        assert_eq!(<Order as order_runtime::prelude::Entity>::FILTERS, ["status"], "each filter needs an index");
        assert_eq!(plan(PAGE_OF_A_STATUS), "SEARCH orders USING INDEX orders_by_status (status=? AND order_id>?)");
        assert_eq!(plan(PAGE), "SEARCH orders USING PRIMARY KEY (order_id>?)");
    }

    #[test]
    fn an_unexpected_version_changes_nothing() {
        let db = database();
        let new = change(order(Status::Created), 0).row;
        assert_eq!(Order::insert(&db, &[&new]), Ok(1));
        assert_eq!(Order::insert(&db, &[&new]), Ok(0), "it exists");
        assert_eq!(Order::update(&db, &[&change(order(Status::Paid), 4)]), Ok(0), "another version");
        assert_eq!(Order::load(&db, std::slice::from_ref(&new.value.order_id)).unwrap(), [new]);
    }

    #[test]
    fn pages_follow_ids_and_filters() {
        let db = database();
        for (id, status) in [("a", Status::Paid), ("b", Status::Created), ("c", Status::Paid), ("d", Status::Paid)] {
            assert_eq!(Order::insert(&db, &[&change(with_id(id, status), 0).row]), Ok(1));
        }
        let ids = |page: Page| -> Vec<String> {
            let rows = Order::page(&db, &page).unwrap();
            rows.iter().map(|row| row.value.order_id.to_string()).collect()
        };
        let paid = vec![("status".to_owned(), "paid".to_owned())];
        assert_eq!(ids(Page { limit: 2, ..Page::default() }), ["a", "b"]);
        assert_eq!(ids(Page { limit: 9, after: Some("b".to_owned()), filters: Vec::new() }), ["c", "d"]);
        assert_eq!(ids(Page { limit: 2, after: Some("a".to_owned()), filters: paid }), ["c", "d"]);
    }

    /// An order with a different value in each field.
    fn with_everything(id: &str, status: Status) -> Order {
        Order {
            customer_id: "customer-7".to_owned(),
            carrier: Some("DHL".to_owned()),
            tracking_number: Some("T-1".to_owned()),
            cancel_reason: Some("changed my mind".to_owned()),
            ..with_id(id, status)
        }
    }
}
