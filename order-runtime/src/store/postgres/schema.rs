//! The schema: the runtime's own tables and those of the entities, each migrated to its latest version.

use super::{Client, link, link::Link, tls};
use crate::store::{EntityType, StoreError, table::Migrations};

/// The advisory lock of a migration, so that only one of several starting instances migrates: "ordr", then a number.
const MIGRATION_LOCK: i64 = 0x6f72_6472_0000_0001;

/// The oldest supported version of the server.
const OLDEST_SERVER: i32 = 130_000;

/// The runtime's own migrations, oldest first; never change one that was released.
///
/// Texts from outside are stored as `bytea`. PostgreSQL's `text` does not accept a NUL, and an event that contains one must
/// neither be lost nor stop its partition.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE store (
        only_row       boolean PRIMARY KEY CHECK (only_row),
        uuid           uuid NOT NULL,
        consumer_group text NOT NULL,
        pings          bigint NOT NULL
    );

    CREATE TABLE positions (
        id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        cluster     text NOT NULL,
        topic_id    uuid NOT NULL,
        topic       text NOT NULL,
        partition   integer NOT NULL,
        next_offset bigint NOT NULL,
        revision    bigint NOT NULL,
        starts      bigint NOT NULL,
        UNIQUE (cluster, topic_id, topic, partition)
    );

    CREATE TABLE rings (
        key     bytea PRIMARY KEY,
        version bigint NOT NULL,
        bytes   bytea NOT NULL
    );
    -- A ring is short hashes and names; packing it would cost more than it saves.
    ALTER TABLE rings ALTER COLUMN bytes SET STORAGE EXTERNAL;

    -- Times are nanoseconds since the epoch, but for the timestamp, which is the record's own in milliseconds.
    CREATE TABLE waiting (
        position        bigint NOT NULL REFERENCES positions (id),
        record_offset   bigint NOT NULL,
        lane            bytea NOT NULL,
        state           text NOT NULL,
        attempts        bigint NOT NULL,
        since           bigint NOT NULL,
        first_failed_at bigint,
        due             bigint NOT NULL,
        error_code      bytea NOT NULL,
        error_message   bytea NOT NULL,
        key             bytea,
        payload         bytea,
        headers         bytea NOT NULL,
        timestamp       bigint,
        PRIMARY KEY (position, record_offset)
    );

    CREATE TABLE outbox (
        id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        position      bigint NOT NULL REFERENCES positions (id),
        source_offset bigint NOT NULL,
        topic         text NOT NULL,
        partition     integer,
        key           bytea,
        payload       bytea,
        headers       bytea NOT NULL,
        timestamp     bigint
    );

    CREATE TABLE dead_letters (
        dlq_id   bytea PRIMARY KEY,
        event_id bytea NOT NULL,
        hash     bytea NOT NULL,
        replays  bigint NOT NULL,
        reason   text NOT NULL,
        code     bytea NOT NULL,
        at       bigint NOT NULL
    );
    ",
    // Events that may have killed the process, and the time at which a deduplication window was last written.
    "
    ALTER TABLE positions ADD COLUMN suspect bigint;
    ALTER TABLE positions ADD COLUMN suspected bigint NOT NULL DEFAULT 0;
    ALTER TABLE rings ADD COLUMN written timestamptz NOT NULL DEFAULT now();
    ",
    // Operators' actions on dead letters.
    "
    CREATE TABLE letter_marks (
        dlq_id  bytea NOT NULL,
        replays bigint NOT NULL,
        state   text NOT NULL,
        note    bytea NOT NULL,
        actor   bytea NOT NULL,
        at      bigint NOT NULL,
        PRIMARY KEY (dlq_id, replays)
    );

    CREATE TABLE audit (
        id        uuid PRIMARY KEY,
        at        bigint NOT NULL,
        actor     bytea NOT NULL,
        action    text NOT NULL,
        letters   bigint NOT NULL,
        selection bytea NOT NULL
    );
    ",
    // Events that may have killed an owner of their partition, counted for each event. The columns that held a single such
    // event stay, because instances of the previous release may still write them.
    "
    CREATE TABLE suspects (
        position      bigint NOT NULL REFERENCES positions (id),
        record_offset bigint NOT NULL,
        running       bigint NOT NULL,
        alone         bigint NOT NULL,
        runs_alone    boolean NOT NULL,
        PRIMARY KEY (position, record_offset)
    );
    INSERT INTO suspects SELECT id, suspect, 0, suspected, FALSE FROM positions WHERE suspect IS NOT NULL;

    ALTER TABLE positions ADD COLUMN assignment bigint NOT NULL DEFAULT 0;
    ALTER TABLE positions ADD COLUMN owned boolean NOT NULL DEFAULT false;
    ",
];

/// Migrates the database to this program's schema, in one transaction without a time limit.
pub(super) async fn migrate(url: &str, entities: &[EntityType]) -> Result<(), StoreError> {
    let (mut settings, encryption) = link::settings(url)?;
    // After the options of the URL, because the last value of an option counts.
    let options = format!("{} -c statement_timeout=0 -c lock_timeout=0", settings.get_options().unwrap_or_default());
    settings.options(options);
    let (mut db, driver) = tls::connect(&settings, encryption).await?;
    let result = migrate_over(&mut db, entities).await;
    drop(db);
    // The connection ends when its client is dropped.
    let _ = driver.await;
    result
}

async fn migrate_over(db: &mut tokio_postgres::Client, entities: &[EntityType]) -> Result<(), StoreError> {
    let version: i32 = db.query_one("SELECT current_setting('server_version_num')::integer", &[]).await?.get(0);
    if version < OLDEST_SERVER {
        return Err(StoreError::Unusable(format!("the server is version {}; 13 or newer is needed", version / 10_000)));
    }
    let transaction = db.transaction().await?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&MIGRATION_LOCK]).await?;
    transaction
        .batch_execute("CREATE TABLE IF NOT EXISTS migrations (owner text PRIMARY KEY, version bigint NOT NULL)")
        .await?;
    for (owner, migrations) in owners(entities) {
        let found = transaction.query_opt("SELECT version FROM migrations WHERE owner = $1", &[&owner]).await?;
        let found = found.map_or(0, |row| usize::try_from(row.get::<_, i64>(0)).unwrap_or(usize::MAX));
        if found > migrations.version {
            return Err(newer(&owner, found, migrations.version));
        }
        if found == migrations.version {
            continue;
        }
        for migration in migrations.from(found) {
            transaction.batch_execute(&migration).await?;
        }
        let version = i64::try_from(migrations.version).unwrap_or(i64::MAX);
        transaction
            .execute(
                "INSERT INTO migrations (owner, version) VALUES ($1, $2)
                 ON CONFLICT (owner) DO UPDATE SET version = excluded.version",
                &[&owner, &version],
            )
            .await?;
    }
    Ok(transaction.commit().await?)
}

/// Whether the database has this program's schema; false if the schema is older or missing. A newer schema is an error.
pub(super) async fn check(link: &Link, entities: &[EntityType]) -> Result<bool, StoreError> {
    let owners: Vec<_> = owners(entities).collect();
    link.run(async |db: &Client| {
        let made: bool = db.query_one("SELECT to_regclass('migrations') IS NOT NULL", &[]).await?.get(0);
        for (owner, migrations) in &owners {
            let found = if made {
                db.query_opt("SELECT version FROM migrations WHERE owner = $1", &[owner]).await?
            } else {
                None
            };
            let found = found.map_or(0, |row| usize::try_from(row.get::<_, i64>(0)).unwrap_or(usize::MAX));
            if found > migrations.version {
                return Err(newer(owner, found, migrations.version));
            }
            if found < migrations.version {
                return Ok(false);
            }
        }
        Ok(true)
    })
    .await
}

fn owners(entities: &[EntityType]) -> impl Iterator<Item = (String, Migrations)> {
    let own = ("runtime".to_owned(), Migrations::of_list(MIGRATIONS));
    let entities = entities.iter().map(|entity| {
        let table = entity.postgres;
        (format!("entity {}", entity.name), Migrations::new(table.schema_version(), |from| table.migration(from)))
    });
    std::iter::once(own).chain(entities)
}

fn newer(owner: &str, found: usize, known: usize) -> StoreError {
    StoreError::Unusable(format!(
        "it was written by a newer release (schema version {found} of {owner}, this one knows {known}); run that release"
    ))
}
