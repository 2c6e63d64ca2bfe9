//! Rows in SQLite: the generated statements of an entity, beside statements written by hand for the same table.

use jiff::Timestamp;
use order_runtime::store::{
    Entity, Page, Row,
    sqlite::{
        SqliteEntity, keys,
        rusqlite::{self, Connection, Error, params, types::Type},
    },
};
use order_service::orders::entities::{
    order::{Order, Status},
    order_id::OrderId,
};

use crate::{EVENTS, Run, unit_of_work::order};

/// The storage that `#[entity]` generates.
pub(crate) fn generated() -> Run {
    run::<Order>(|order| order, |order| order.status = Status::Paid)
}

/// The same storage, written by hand.
pub(crate) fn by_hand() -> Run {
    run::<ByHand>(ByHand, |ByHand(order)| order.status = Status::Paid)
}

/// Inserts rows, loads them, and updates them, as a batch of new and a batch of known entities do.
fn run<T: SqliteEntity>(make: fn(Order) -> T, pay: fn(&mut T)) -> Run {
    let db = Connection::open_in_memory().expect("a database");
    rusqlite::vtab::array::load_module(&db).expect("the module of rarray");
    for statement in T::migration(0) {
        db.execute_batch(&statement).expect("a migration");
    }
    let now = Timestamp::UNIX_EPOCH;
    let row = |index| Row { value: make(order(index)), version: 1, created_at: now, updated_at: now };
    let new: Vec<Row<T>> = (0..EVENTS).map(row).collect();
    let ids: Vec<T::Id> = new.iter().map(|row| row.value.id().clone()).collect();
    let paid: Vec<Row<T>> = new
        .iter()
        .cloned()
        .map(|mut row| {
            pay(&mut row.value);
            row.version = 2;
            row
        })
        .collect();
    Box::new(move || {
        db.execute_batch("BEGIN").expect("a transaction");
        let inserted = T::insert(&db, &new.iter().collect::<Vec<_>>()).expect("new rows");
        let loaded = T::load(&db, &ids).expect("rows").len();
        let updated = T::update(&db, &paid.iter().map(|row| (row, 1)).collect::<Vec<_>>()).expect("known rows");
        assert_eq!((inserted, loaded, updated), (EVENTS, EVENTS, EVENTS));
        db.execute_batch("ROLLBACK").expect("the end of the transaction");
    })
}

/// An order whose storage is written by hand.
#[derive(Clone, serde::Serialize)]
#[serde(transparent)]
struct ByHand(Order);

impl Entity for ByHand {
    type Id = OrderId;
    const TABLE: &'static str = "orders";

    fn id(&self) -> &OrderId {
        &self.0.order_id
    }
}

impl SqliteEntity for ByHand {
    const MIGRATIONS: &'static [&'static str] = &["CREATE TABLE orders (
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
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX orders_by_status ON orders (status, order_id)"];

    fn load(db: &Connection, ids: &[OrderId]) -> rusqlite::Result<Vec<Row<Self>>> {
        let mut statement = db
            .prepare_cached("SELECT orders.* FROM rarray(?1) AS wanted CROSS JOIN orders ON order_id = wanted.value")?;
        statement.query_map([keys(ids.iter().map(OrderId::to_string))], read)?.collect()
    }

    fn insert(db: &Connection, rows: &[&Row<Self>]) -> rusqlite::Result<usize> {
        let mut insert = db.prepare_cached(
            "INSERT INTO orders (order_id, customer_id, currency, total, status, items, carrier,
                tracking_number, cancel_reason, version, created_at, updated_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
             ON CONFLICT DO NOTHING",
        )?;
        let rows = rows.iter().map(|Row { value: ByHand(order), version, created_at, updated_at }| {
            let items =
                serde_json::to_string(&order.items).map_err(|error| Error::ToSqlConversionFailure(error.into()))?;
            insert.execute(params![
                order.order_id.as_str(),
                order.customer_id,
                order.currency,
                order.total.to_string(),
                order.status.as_str(),
                items,
                order.carrier,
                order.tracking_number,
                order.cancel_reason,
                version,
                created_at.as_microsecond(),
                updated_at.as_microsecond(),
            ])
        });
        rows.sum()
    }

    fn update(db: &Connection, rows: &[(&Row<Self>, u64)]) -> rusqlite::Result<usize> {
        let mut update = db.prepare_cached(
            "UPDATE orders SET status = ?3, carrier = ?4, tracking_number = ?5, cancel_reason = ?6, version = ?7,
                updated_at = ?8
             WHERE order_id = ?1 AND version = ?2",
        )?;
        let rows = rows.iter().map(|(Row { value: ByHand(order), version, updated_at, .. }, expected)| {
            update.execute(params![
                order.order_id.as_str(),
                expected,
                order.status.as_str(),
                order.carrier,
                order.tracking_number,
                order.cancel_reason,
                version,
                updated_at.as_microsecond(),
            ])
        });
        rows.sum()
    }

    fn remove(_: &Connection, _: &[(&OrderId, u64)]) -> rusqlite::Result<usize> {
        unreachable!("no order is removed")
    }

    fn page(_: &Connection, _: &Page) -> rusqlite::Result<Vec<Row<Self>>> {
        unreachable!("no page is read")
    }
}

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row<ByHand>> {
    let items: String = row.get(5)?;
    Ok(Row {
        value: ByHand(Order {
            order_id: parsed(row, 0)?,
            customer_id: row.get(1)?,
            currency: row.get(2)?,
            total: parsed(row, 3)?,
            status: parsed(row, 4)?,
            items: serde_json::from_str(&items).map_err(|error| unreadable(5, error))?,
            carrier: row.get(6)?,
            tracking_number: row.get(7)?,
            cancel_reason: row.get(8)?,
        }),
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
