//! Reads and upgrades the schema of a database.

use tokio_postgres::GenericClient;

use super::{link, link::Link, tls};
use crate::store::{
    StoreError,
    migrations::{COUNTS, Counts, Schema},
};

/// The advisory lock of a migration, so that only one of several starting instances migrates: "ordr", then a number.
const MIGRATION_LOCK: i64 = 0x6f72_6472_0000_0001;

/// The oldest supported version of the server.
const OLDEST_SERVER: i32 = 130_000;

/// The database in error texts, which follow its URL.
const IT: &str = "it";

/// Upgrades the database to the schema, in one transaction without a time limit.
pub(super) async fn migrate(url: &str, schema: &Schema) -> Result<(), StoreError> {
    let (mut settings, encryption) = link::settings(url)?;
    // After the options of the URL, because the last value of an option counts.
    let options = format!("{} -c statement_timeout=0 -c lock_timeout=0", settings.get_options().unwrap_or_default());
    settings.options(options);
    let (mut db, driver) = tls::connect(&settings, encryption).await?;
    let result = migrate_over(&mut db, schema).await;
    drop(db);
    // The connection ends when its client is dropped.
    let _ = driver.await;
    result
}

async fn migrate_over(db: &mut tokio_postgres::Client, schema: &Schema) -> Result<(), StoreError> {
    let version: i32 = db.query_one("SELECT current_setting('server_version_num')::integer", &[]).await?.get(0);
    if version < OLDEST_SERVER {
        return Err(StoreError::Unusable(format!("the server is version {}; 13 or newer is needed", version / 10_000)));
    }
    let transaction = db.transaction().await?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&MIGRATION_LOCK]).await?;
    transaction
        .batch_execute("CREATE TABLE IF NOT EXISTS migrations (owner text PRIMARY KEY, version bigint NOT NULL)")
        .await?;
    for statement in schema.upgrade(&IT, &counts(&transaction).await?)? {
        transaction.batch_execute(&statement).await?;
    }
    Ok(transaction.commit().await?)
}

/// Refuses a database that does not have exactly this schema.
pub(super) async fn require(link: &Link, schema: &Schema) -> Result<(), StoreError> {
    schema.require(&IT, &read(link).await?)
}

/// Whether the database has this schema; false if its schema is older or missing. A newer schema is an error.
pub(super) async fn is_current(link: &Link, schema: &Schema) -> Result<bool, StoreError> {
    schema.is_current(&IT, &read(link).await?)
}

/// The counts of a database, of which no more is known.
async fn read(link: &Link) -> Result<Counts, StoreError> {
    link.run(async |db| {
        let made: bool = db.query_one("SELECT to_regclass('migrations') IS NOT NULL", &[]).await?.get(0);
        if made { counts(&**db).await } else { Ok(Counts::new()) }
    })
    .await
}

async fn counts(db: &impl GenericClient) -> Result<Counts, StoreError> {
    let rows = db.query(COUNTS, &[]).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}
