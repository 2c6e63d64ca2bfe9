//! Generated tables: every kind of column in every store, migrations, and the indexes that pages read.

use std::{path::Path, sync::Arc};

use jiff::Timestamp;
use order_macros::{entity, id, values};

use super::TableEntity;
use crate::store::{
    Change, Changes, Committed, EntityType, Load, Mode, Page, Row, Store,
    conformance::fixture::{begun, commit, step},
    memory::MemoryStore,
    migrations::Dialect,
    postgres::{PostgresStore, tests::database},
    sqlite::{SqliteStore, rusqlite::Connection},
};

#[id(max_bytes = 32)]
struct ParcelId(String);

#[values]
enum Size {
    Small,
    #[value("extra_large")]
    ExtraLarge,
}

/// An entity with a column of every kind.
#[entity(table = "parcels")]
struct Parcel {
    #[key]
    parcel_id: ParcelId,
    #[column(filter)]
    size: Size,
    #[column(filter)]
    pieces: u32,
    #[column(filter)]
    insured: bool,
    weight: f64,
    #[column(decimal)]
    value: f64,
    #[column(json, fixed)]
    route: Vec<String>,
    #[column(text)]
    from: std::net::IpAddr,
    packed_at: Timestamp,
    label: Vec<u8>,
    note: Option<String>,
    #[column(json)]
    extras: Option<Vec<u32>>,
    #[column(decimal)]
    discount: Option<f64>,
    delivered_at: Option<Timestamp>,
}

fn parcel(id: &str) -> Parcel {
    Parcel {
        parcel_id: id.parse().expect("an id"),
        size: Size::ExtraLarge,
        pieces: 3,
        insured: true,
        weight: 1.5,
        value: "12.50".parse().expect("a number"),
        route: vec!["a \"quoted\" place".to_owned(), "b".to_owned()],
        from: [127, 0, 0, 1].into(),
        packed_at: Timestamp::from_microsecond(1_700_000_000_123_456).expect("a time"),
        label: vec![0, 255],
        note: Some("it's heavy".to_owned()),
        extras: Some(vec![1, 2]),
        discount: Some("0.5".parse().expect("a number")),
        delivered_at: Some(Timestamp::from_second(1_800_000_000).expect("a time")),
    }
}

/// A parcel without the values that may be absent.
fn bare(id: &str) -> Parcel {
    Parcel {
        size: Size::Small,
        pieces: 1,
        insured: false,
        note: None,
        extras: None,
        discount: None,
        delivered_at: None,
        ..parcel(id)
    }
}

fn row(value: Parcel, version: u64) -> Row<Parcel> {
    let at = |second| Timestamp::from_second(second).expect("a time");
    Row { value, version, created_at: at(1), updated_at: at(i64::try_from(version).expect("small") + 1) }
}

fn kind() -> EntityType {
    EntityType::of::<Parcel>()
}

fn writing(mut changes: Changes, parcels: Vec<Change<Parcel>>) -> Changes {
    changes.entities.push((kind(), Arc::new(parcels)));
    changes
}

async fn loaded(store: &impl Store, ids: &[&str]) -> Vec<Row<Parcel>> {
    let ids: Vec<ParcelId> = ids.iter().map(|id| id.parse().expect("an id")).collect();
    let wanted = Load { entities: vec![(kind(), Box::new(ids))], ..Load::default() };
    let mut found = store.load(wanted).await.expect("a readable store");
    let mut rows = *found.entities.remove(0).downcast::<Vec<Row<Parcel>>>().expect("parcels");
    rows.sort_unstable_by(|a, b| a.value.parcel_id.cmp(&b.value.parcel_id));
    rows
}

/// The ids of the parcels that match the filters.
async fn page(store: &impl Store, filters: &[(&str, &str)]) -> Vec<String> {
    let filters = filters.iter().map(|(field, value)| ((*field).to_owned(), (*value).to_owned())).collect();
    let page = Page { limit: 10, after: None, filters };
    store.page(kind(), page).await.expect("a page").into_iter().map(|listed| listed.id).collect()
}

async fn every_column_is_read_as_it_was_written(store: impl Store) {
    let partition = begun(&store, 0).await;
    let (full, empty) = (row(parcel("full"), 1), row(bare("empty"), 1));
    let inserted = [full.clone(), empty.clone()].map(|row| Change::Put { row, expected: 0 });
    let answer = commit(&store, writing(step(&partition, 0, 0), inserted.to_vec())).await;
    assert_eq!(answer, Committed::Applied { revision: 1 });
    assert_eq!(loaded(&store, &["full", "absent", "empty"]).await, [empty.clone(), full.clone()]);
    let view = store.view(kind(), "full").await.expect("an answer");
    assert_eq!(view, Some(full.view()));

    // Each row becomes the other one, but for the column that never changes.
    let updated = [row(bare("full"), 2), row(parcel("empty"), 2)];
    let changes = updated.clone().map(|row| Change::Put { row, expected: 1 });
    let answer = commit(&store, writing(step(&partition, 1, 1), changes.to_vec())).await;
    assert_eq!(answer, Committed::Applied { revision: 2 });
    let [now_bare, now_full] = updated;
    assert_eq!(loaded(&store, &["full", "empty"]).await, [now_full, now_bare]);
}

async fn pages_are_filtered_by_texts_numbers_and_booleans(store: impl Store) {
    let partition = begun(&store, 0).await;
    let rows = [parcel("a"), bare("b"), parcel("c")].map(|value| Change::Put { row: row(value, 1), expected: 0 });
    commit(&store, writing(step(&partition, 0, 0), rows.to_vec())).await;
    for (filters, expected) in [
        (&[][..], &["a", "b", "c"][..]),
        (&[("size", "extra_large")], &["a", "c"]),
        (&[("pieces", "1")], &["b"]),
        (&[("insured", "true"), ("pieces", "3")], &["a", "c"]),
        (&[("insured", "false"), ("pieces", "3")], &[]),
        (&[("pieces", "many")], &[]),
        (&[("insured", "perhaps")], &[]),
        (&[("size", "it's")], &[]),
    ] {
        assert_eq!(page(&store, filters).await, expected, "{filters:?}");
    }
}

async fn removed_entities_are_gone_and_can_be_made_anew(store: impl Store) {
    let partition = begun(&store, 0).await;
    let put = |value, expected| Change::Put { row: row(value, expected + 1), expected };
    commit(&store, writing(step(&partition, 0, 0), vec![put(parcel("a"), 0), put(parcel("b"), 0)])).await;

    let id = |text: &str| text.parse::<ParcelId>().expect("an id");
    for (name, expected) in [("a", 2), ("absent", 1)] {
        let stale = Change::Remove { id: id(name), expected };
        let answer = commit(&store, writing(step(&partition, 1, 1), vec![stale])).await;
        assert_eq!(answer, Committed::Conflict, "{name} at version {expected}");
    }
    // The second one is removed and made anew: also the column that never changes is another.
    let anew = Parcel { route: vec!["elsewhere".to_owned()], ..bare("b") };
    let changes =
        vec![Change::Remove { id: id("a"), expected: 1 }, Change::Replace { row: row(anew.clone(), 2), expected: 1 }];
    let answer = commit(&store, writing(step(&partition, 1, 1), changes)).await;
    assert_eq!(answer, Committed::Applied { revision: 2 });
    assert_eq!(loaded(&store, &["a", "b"]).await, [row(anew, 2)]);

    commit(&store, writing(step(&partition, 2, 2), vec![put(parcel("a"), 0)])).await;
    assert_eq!(loaded(&store, &["a"]).await, [row(parcel("a"), 1)]);
}

/// Generates a test for each case and each store.
macro_rules! in_each_store {
    ($($case:ident),+ $(,)?) => { $(
        mod $case {
            use super::{MemoryStore, Mode, PostgresStore, SqliteStore, database, kind};

            #[tokio::test]
            async fn in_memory() {
                super::$case(MemoryStore::default()).await;
            }

            #[tokio::test]
            async fn in_sqlite() {
                let folder = tempfile::tempdir().expect("a folder");
                let store = SqliteStore::open(&folder.path().join("store.db"), &[kind()], Mode::Run);
                super::$case(store.expect("a store")).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn in_postgres() {
                if let Some(url) = database().await {
                    super::$case(PostgresStore::open(&url, &[kind()], Mode::Run).await.expect("a store")).await;
                }
            }
        }
    )+ };
}

in_each_store!(
    every_column_is_read_as_it_was_written,
    pages_are_filtered_by_texts_numbers_and_booleans,
    removed_entities_are_gone_and_can_be_made_anew,
);

/// The table as an earlier release declared it.
mod earlier {
    use order_macros::entity;

    #[entity(table = "parcels")]
    pub(super) struct Parcel {
        #[key]
        pub(super) parcel_id: String,
        pub(super) sort: String,
        pub(super) obsolete: Option<String>,
    }
}

/// The same table in the next release.
mod later {
    use order_macros::entity;

    #[entity(
        table = "parcels",
        renamed(from = "sort", to = "category", since = 2),
        dropped(column = "obsolete", since = 3)
    )]
    pub(super) struct Parcel {
        #[key]
        pub(super) parcel_id: String,
        #[column(filter(since = 3))]
        pub(super) category: String,
        #[column(since = 2, default = 1)]
        pub(super) pieces: u32,
        #[column(since = 3)]
        pub(super) note: Option<String>,
    }
}

async fn write_as_earlier(store: impl Store) {
    let partition = begun(&store, 0).await;
    let at = Timestamp::from_second(1).expect("a time");
    let value =
        earlier::Parcel { parcel_id: "a".to_owned(), sort: "book".to_owned(), obsolete: Some("gone".to_owned()) };
    let mut changes = step(&partition, 0, 0);
    let change = Change::Put { row: Row { value, version: 1, created_at: at, updated_at: at }, expected: 0 };
    changes.entities.push((EntityType::of::<earlier::Parcel>(), Arc::new(vec![change])));
    assert_eq!(commit(&store, changes).await, Committed::Applied { revision: 1 });
    store.close().await;
}

async fn expect_as_later(store: impl Store) {
    let view = store.view(EntityType::of::<later::Parcel>(), "a").await.expect("an answer").expect("the parcel");
    assert_eq!((&view["category"], &view["pieces"]), (&"book".into(), &1.into()));
    assert!(view.get("note").is_none() && view.get("obsolete").is_none(), "{view}");
}

#[tokio::test]
async fn a_table_of_an_earlier_release_is_brought_up_to_date_in_sqlite() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store.db");
    let before = SqliteStore::open(&path, &[EntityType::of::<earlier::Parcel>()], Mode::Run).expect("a store");
    write_as_earlier(before).await;
    let after = SqliteStore::open(&path, &[EntityType::of::<later::Parcel>()], Mode::Run).expect("a newer store");
    expect_as_later(after).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_of_an_earlier_release_is_brought_up_to_date_in_postgres() {
    let Some(url) = database().await else { return };
    let before = PostgresStore::open(&url, &[EntityType::of::<earlier::Parcel>()], Mode::Run).await.expect("a store");
    write_as_earlier(before).await;
    let after =
        PostgresStore::open(&url, &[EntityType::of::<later::Parcel>()], Mode::Run).await.expect("a newer store");
    expect_as_later(after).await;
}

#[test]
fn a_page_of_each_filter_reads_an_index() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store.db");
    drop(SqliteStore::open(&path, &[kind()], Mode::Run).expect("a store"));
    assert_eq!(plan(&path, &[]), "SEARCH parcels USING PRIMARY KEY (parcel_id>?)");
    for filter in Parcel::DESCRIPTION.columns.iter().filter(|column| column.indexed.is_some()) {
        let (field, name) = (filter.field, filter.name);
        let expected = format!("SEARCH parcels USING INDEX parcels_by_{name} ({name}=? AND parcel_id>?)");
        let value = if field == "insured" { "true" } else { "1" };
        assert_eq!(plan(&path, &[(field.to_owned(), value.to_owned())]), expected);
    }
}

/// How SQLite reads a page with these filters.
fn plan(path: &Path, filters: &[(String, String)]) -> String {
    let page = Page { limit: 1, after: None, filters: filters.to_vec() };
    let db = Connection::open(path).expect("the store's file");
    let (sql, _) = Parcel::statements().page(Dialect::Sqlite, &page).expect("rows can match");
    let mut statement = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect("a statement");
    for parameter in 1..=statement.parameter_count() {
        statement.raw_bind_parameter(parameter, "1").expect("a parameter");
    }
    let mut steps = Vec::new();
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next().expect("a row") {
        steps.push(row.get::<_, String>(3).expect("a text"));
    }
    steps.join("; ")
}

#[test]
fn an_integer_that_no_column_holds_is_refused_with_its_column() {
    #[entity(table = "sums")]
    struct Sum {
        #[key]
        name: String,
        total: u64,
    }
    let sum = Sum { name: "a".to_owned(), total: u64::MAX };
    let refused = sum.cell(1).expect_err("it is too large").to_string();
    assert!(refused.starts_with("column `total`: 18446744073709551615 is above"), "{refused}");
}
