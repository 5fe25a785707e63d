//! The database's schema: a frozen list of forward migrations, each run in a
//! transaction of its own.
//!
//! **Invariant:** an entry of the list is never changed once it has shipped; a change of
//! the schema is a new entry. A test holds the digest of each.

use crate::JournalError;
use rusqlite::{Connection, TransactionBehavior};
use std::path::Path;

/// Marks a database file as a journal (`PRAGMA application_id`): "Frrn".
const APPLICATION_ID: i32 = 0x4672_726e;

/// The migrations: entry `n` leads from version `n` to version `n + 1`.
pub(crate) const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE facts (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE sessions (
        number INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        record TEXT NOT NULL,
        state TEXT NOT NULL,
        sequence INTEGER NOT NULL,
        last BLOB NOT NULL,
        head BLOB NOT NULL
    );
    CREATE TABLE events (
        session INTEGER NOT NULL REFERENCES sessions (number),
        sequence INTEGER NOT NULL,
        at_us INTEGER NOT NULL,
        kind TEXT NOT NULL,
        link BLOB NOT NULL,
        PRIMARY KEY (session, sequence)
    );
    CREATE TABLE deltas (
        session INTEGER NOT NULL REFERENCES sessions (number),
        step INTEGER NOT NULL,
        bytes BLOB NOT NULL,
        PRIMARY KEY (session, step)
    );
    CREATE TABLE intents (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        workspace BLOB NOT NULL,
        session TEXT,
        step INTEGER,
        intent TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('recorded', 'applied', 'reverted'))
    );
    CREATE INDEX intents_unfinished ON intents (workspace, id) WHERE state = 'recorded';
    CREATE TABLE replies (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        scope TEXT NOT NULL,
        name TEXT NOT NULL,
        request BLOB NOT NULL,
        reply BLOB NOT NULL,
        UNIQUE (scope, name)
    );
",
    "
    CREATE TABLE commits (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        workspace BLOB NOT NULL,
        session TEXT,
        step INTEGER,
        undoes INTEGER REFERENCES commits (id),
        redoes INTEGER NOT NULL,
        directory TEXT NOT NULL,
        recorded_ms INTEGER NOT NULL,
        kept_bytes INTEGER NOT NULL,
        intent TEXT NOT NULL,
        state TEXT NOT NULL
            CHECK (state IN ('recorded', 'applied', 'reverted', 'undone', 'expired'))
    );
    INSERT INTO commits
        SELECT id, workspace, session, step, NULL, 0, json_extract(intent, '$.directory'), 0, 0,
            intent, replace(state, 'applied', 'expired')
        FROM intents;
    DROP TABLE intents;
    CREATE INDEX commits_unfinished ON commits (workspace, id) WHERE state = 'recorded';
    CREATE INDEX commits_kept ON commits (workspace, id) WHERE state = 'applied';
    CREATE INDEX commits_of_session ON commits (session, id);
    CREATE UNIQUE INDEX commits_directory ON commits (directory);
",
    "
    CREATE TABLE commits_now (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        workspace BLOB NOT NULL,
        session TEXT,
        step INTEGER,
        undoes INTEGER REFERENCES commits_now (id),
        redoes INTEGER NOT NULL,
        directory TEXT NOT NULL,
        recorded_ms INTEGER NOT NULL,
        kept_bytes INTEGER NOT NULL,
        intent TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state IN
            ('recorded', 'failed', 'applied', 'reverted', 'undone', 'expired'))
    );
    INSERT INTO commits_now SELECT * FROM commits;
    DROP TABLE commits;
    ALTER TABLE commits_now RENAME TO commits;
    CREATE INDEX commits_unfinished ON commits (workspace, id)
        WHERE state IN ('recorded', 'failed');
    CREATE INDEX commits_kept ON commits (workspace, id) WHERE state = 'applied';
    CREATE INDEX commits_of_session ON commits (session, id);
    CREATE UNIQUE INDEX commits_directory ON commits (directory);
    CREATE TABLE summaries (
        session INTEGER PRIMARY KEY REFERENCES sessions (number),
        sequence INTEGER NOT NULL,
        summary TEXT NOT NULL
    );
",
    "
    CREATE TABLE effects (
        session INTEGER NOT NULL REFERENCES sessions (number),
        step INTEGER NOT NULL,
        node INTEGER NOT NULL,
        effect INTEGER NOT NULL,
        what TEXT NOT NULL,
        request BLOB NOT NULL,
        response BLOB,
        PRIMARY KEY (session, node, effect)
    );
    CREATE INDEX effects_unanswered ON effects (session) WHERE response IS NULL;
",
];

/// Brings the database to the newest version.
pub(crate) fn migrate(connection: &mut Connection, path: &Path) -> Result<(), JournalError> {
    let known = MIGRATIONS.len() as i64;
    let found = version(connection, path)?;
    if found > known {
        return Err(JournalError::NewerSchema {
            path: path.to_owned(),
            found,
            known,
        });
    }
    for (from, migration) in (0..).zip(MIGRATIONS).skip(found as usize) {
        apply(connection, from, migration)
            .map_err(JournalError::database("migrate the journal"))?;
    }
    Ok(())
}

fn apply(connection: &mut Connection, from: i64, migration: &str) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if from == 0 {
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.execute_batch("CREATE TABLE schema (version INTEGER NOT NULL)")?;
        transaction.execute("INSERT INTO schema VALUES (0)", [])?;
    }
    transaction.execute_batch(migration)?;
    transaction.execute("UPDATE schema SET version = ?1", [from + 1])?;
    transaction.commit()
}

/// The version of the database; 0 for an empty one.
fn version(connection: &Connection, path: &Path) -> Result<i64, JournalError> {
    let foreign = |found: String| JournalError::NotAJournal {
        path: path.to_owned(),
        found,
    };
    let read = || -> rusqlite::Result<(i32, i64)> {
        let application =
            connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
        let tables =
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        Ok((application, tables))
    };
    match read() {
        Ok((0, 0)) => Ok(0),
        Ok((APPLICATION_ID, _)) => connection
            .query_row("SELECT version FROM schema", [], |row| row.get(0))
            .map_err(|error| foreign(format!("its schema version can not be read ({error})"))),
        Ok(_) => Err(foreign("it is the database of another program".to_owned())),
        Err(error) => match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::NotADatabase) => {
                Err(foreign("it is not a database".to_owned()))
            }
            Some(rusqlite::ErrorCode::DatabaseCorrupt) => {
                Err(foreign("the database is damaged".to_owned()))
            }
            _ => Err(JournalError::database("open the journal")(error)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use forerun_types::Digest;

    #[test]
    fn shipped_migrations_are_frozen() {
        let digests: Vec<_> = MIGRATIONS
            .iter()
            .map(|text| Digest::of(text).short())
            .collect();
        assert_eq!(
            digests,
            [
                "8ae2163eb7c7",
                "acfa88218699",
                "f6bb026554ac",
                "fc93a4f04cc7"
            ]
        );
    }

    #[test]
    fn commits_of_the_first_version_are_kept_without_an_undo() {
        let mut connection = Connection::open_in_memory().unwrap();
        apply(&mut connection, 0, MIGRATIONS[0]).unwrap();
        connection
            .execute_batch(
                r#"INSERT INTO intents (id, workspace, intent, state) VALUES
                    (4, x'2f61', '{"directory":"d4"}', 'applied'),
                    (7, x'2f61', '{"directory":"d7"}', 'recorded')"#,
            )
            .unwrap();
        migrate(&mut connection, Path::new("memory")).unwrap();
        let rows: Vec<(u64, String, String)> = connection
            .prepare("SELECT id, directory, state FROM commits ORDER BY id")
            .unwrap()
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        let row = |id, directory: &str, state: &str| (id, directory.into(), state.into());
        assert_eq!(rows, [row(4, "d4", "expired"), row(7, "d7", "recorded")]);
    }

    #[test]
    fn migrating_twice_changes_nothing() {
        let mut connection = Connection::open_in_memory().unwrap();
        let path = Path::new("memory");
        migrate(&mut connection, path).unwrap();
        migrate(&mut connection, path).unwrap();
        assert_eq!(version(&connection, path).unwrap(), MIGRATIONS.len() as i64);
    }
}
