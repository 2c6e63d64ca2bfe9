//! Other programs that read the file.

use std::sync::Arc;

use rusqlite::Connection;

use super::{folder, one_commit, sqlite};
use crate::store::{
    Committed, PartitionStore, Store as _, StoreError,
    conformance::fixture::{commit, partition, place, step},
};

#[tokio::test]
async fn a_reader_that_stays_is_reported_and_the_log_is_bounded() {
    const LIMIT: u64 = 512 * 1024;
    let (_folder, path) = folder();
    let store = sqlite(&path);
    one_commit(&store).await;
    store.watch.as_ref().expect("a running store is watched").limit_log(LIMIT);

    let reader = Connection::open(&path).expect("another program");
    reader.execute_batch("BEGIN; SELECT count(*) FROM counters").expect("a transaction that reads");
    let (mut offset, mut version) = (1, 0);
    let refused = loop {
        let changes = step(&partition(0), offset, offset).window("large", version, &vec![7; 100_000]);
        match store.commit(vec![Arc::new(changes)]).await {
            Ok(answers) => assert_eq!(answers, [Committed::Applied { revision: offset + 1 }]),
            Err(error) => break error,
        }
        (offset, version) = (offset + 1, version + 1);
        assert!(offset < 100, "the log grows without a limit: {:?}", store.log_bytes());
    };
    let StoreError::Unavailable(text) = refused else { panic!("{refused}") };
    assert!(text.contains("keeps a transaction open on") && text.contains("store.db`"), "{text}");
    assert!(store.log_bytes().is_some_and(|bytes| (LIMIT..2 * LIMIT).contains(&bytes)), "{:?}", store.log_bytes());
    assert_eq!(place(&store, &partition(0)).await, (offset, offset), "the successful commits exist and can be read");

    reader.execute_batch("ROLLBACK").expect("its end");
    assert_eq!(commit(&store, step(&partition(0), offset, offset)).await, Committed::Applied { revision: offset + 1 });
    assert!(store.log_bytes().is_some_and(|bytes| bytes < LIMIT), "{:?}", store.log_bytes());
}
