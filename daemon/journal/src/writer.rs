//! The one thread that writes, and how it groups what waits into one transaction.
//!
//! A job runs in a savepoint of its own: if it fails, only it is undone. Its reply goes
//! out after the transaction is durable, or says that it is not.
//!
//! **Invariant:** no job's reply says `Ok` before the transaction with its writes has
//! been synced.

use crate::JournalError;
use rusqlite::{Connection, Savepoint, Transaction, TransactionBehavior};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

/// Most jobs in one transaction: bounds how long the first of them waits.
const BATCH_MAX: usize = 256;

/// Work for the writer: what it does in its savepoint (or is told why there is none),
/// whether that is to be kept, and what it says about it once the batch is over.
type Job = Box<dyn FnOnce(Result<&Savepoint<'_>, JournalError>) -> (bool, Reply) + Send>;
/// Is given the reason if the transaction could not be committed.
type Reply = Box<dyn FnOnce(Option<JournalError>) + Send>;

/// The running writer. Dropping it lets the jobs that wait be done, then stops it.
pub(crate) struct Writer {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(crate) fn start(connection: Connection) -> Result<Writer, JournalError> {
        let (jobs, waiting) = channel();
        let thread = std::thread::Builder::new()
            .name("forerun-journal".to_owned())
            .spawn(move || run(connection, &waiting))
            .map_err(|error| JournalError::Database {
                what: "start the journal's writer",
                reason: error.to_string(),
            })?;
        Ok(Writer {
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    /// Has `work` done. `reply` is called exactly once, on the writer's thread; it is
    /// dropped instead if the writer has stopped.
    pub(crate) fn submit<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Savepoint<'_>) -> Result<T, JournalError> + Send + 'static,
        reply: impl FnOnce(Result<T, JournalError>) + Send + 'static,
    ) {
        let job: Job = Box::new(move |savepoint| {
            let result = savepoint.and_then(work);
            let keep = result.is_ok();
            let reply: Reply = Box::new(move |failure| {
                reply(match failure {
                    Some(error) => Err(error),
                    None => result,
                });
            });
            (keep, reply)
        });
        if let Some(jobs) = &self.jobs {
            // If the writer has stopped the job is dropped, and its reply with it.
            let _ = jobs.send(job);
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

fn run(mut connection: Connection, waiting: &Receiver<Job>) {
    while let Ok(first) = waiting.recv() {
        let jobs = std::iter::once(first).chain(waiting.try_iter().take(BATCH_MAX - 1));
        let mut replies = Vec::new();
        let failure = commit(&mut connection, jobs, &mut replies).err();
        if let Some(error) = &failure {
            tracing::error!(%error, jobs = replies.len(), "the journal could not be written");
        }
        for reply in replies {
            reply(failure.clone());
        }
    }
}

/// Does the jobs in one transaction. Every job has its reply in `replies`, whatever
/// happens.
fn commit(
    connection: &mut Connection,
    jobs: impl Iterator<Item = Job>,
    replies: &mut Vec<Reply>,
) -> Result<(), JournalError> {
    let failed = JournalError::database("write to the journal");
    let mut transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(&failed);
    for job in jobs {
        let (reply, lost) = match &mut transaction {
            Ok(transaction) => attempt(transaction, job),
            Err(error) => (job(Err(error.clone())).1, None),
        };
        replies.push(reply);
        if let Some(error) = lost {
            transaction = Err(error);
        }
    }
    transaction?.commit().map_err(&failed)
}

/// Does one job in a savepoint of its own. An error beside the reply means that the
/// transaction is lost.
fn attempt(transaction: &mut Transaction<'_>, job: Job) -> (Reply, Option<JournalError>) {
    let failed = JournalError::database("write to the journal");
    let savepoint = match transaction.savepoint() {
        Ok(savepoint) => savepoint,
        Err(error) => {
            let error = failed(error);
            return (job(Err(error.clone())).1, Some(error));
        }
    };
    let (keep, reply) = job(Ok(&savepoint));
    // A full disk makes SQLite roll everything back by itself. What came after would be
    // written outside of the transaction, and be kept though its caller is told not.
    if savepoint.is_autocommit() {
        let reason = "the transaction was rolled back".to_owned();
        return (
            reply,
            Some(JournalError::Database {
                what: "write to the journal",
                reason,
            }),
        );
    }
    let ended = if keep {
        savepoint.commit()
    } else {
        savepoint.finish()
    };
    (reply, ended.map_err(failed).err())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::sync_channel;

    type Work = Box<dyn FnOnce(&Savepoint<'_>) -> Result<(), JournalError> + Send>;

    fn sql(statement: &'static str) -> Work {
        Box::new(move |savepoint| {
            savepoint
                .execute_batch(statement)
                .map_err(JournalError::database("test"))
        })
    }

    /// Has the works done in one batch. Returns whether each succeeded, and what the
    /// table has then.
    fn batch(works: Vec<Work>) -> (Vec<bool>, Vec<i64>) {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE t (n)").unwrap();
        let writer = Writer::start(connection).unwrap();
        let (reply, replies) = sync_channel(works.len() + 1);
        let (release, released) = sync_channel::<()>(1);
        let (begin, begun) = sync_channel(1);
        // Keeps the writer busy until everything waits.
        let wait = move |_: &Savepoint<'_>| {
            begin.send(()).unwrap();
            released.recv().unwrap();
            Ok(())
        };
        writer.submit(wait, |_| {});
        begun.recv().unwrap();
        let count = works.len();
        for work in works {
            let reply = reply.clone();
            writer.submit(work, move |result| reply.send(result.is_ok()).unwrap());
        }
        release.send(()).unwrap();
        let done = replies.iter().take(count).collect();
        let (reply, rows) = sync_channel(1);
        let read = |savepoint: &Savepoint<'_>| {
            let mut select = savepoint.prepare("SELECT n FROM t ORDER BY n").unwrap();
            let rows = select.query_map([], |row| row.get(0)).unwrap();
            Ok(rows.collect::<Result<Vec<i64>, _>>().unwrap())
        };
        writer.submit(read, move |result| reply.send(result.unwrap()).unwrap());
        (done, rows.recv().unwrap())
    }

    #[test]
    fn a_job_that_fails_is_undone_alone() {
        let half = "INSERT INTO t VALUES (2); INSERT INTO nowhere VALUES (2)";
        let works = ["INSERT INTO t VALUES (1)", half, "INSERT INTO t VALUES (3)"];
        let (done, rows) = batch(works.map(sql).into());
        assert_eq!((done, rows), (vec![true, false, true], vec![1, 3]));
    }

    #[test]
    fn when_the_transaction_is_lost_nobody_is_told_that_it_was_kept() {
        let works = [
            "INSERT INTO t VALUES (1)",
            "ROLLBACK",
            "INSERT INTO t VALUES (3)",
        ];
        let (done, rows) = batch(works.map(sql).into());
        assert_eq!((done, rows), (vec![false, false, false], vec![]));
    }

    #[test]
    fn jobs_that_wait_are_done_before_the_writer_stops() {
        let writer = Writer::start(Connection::open_in_memory().unwrap()).unwrap();
        let (reply, replies) = sync_channel(1_000);
        for number in 0..1_000 {
            let reply = reply.clone();
            writer.submit(
                move |_| Ok(number),
                move |result| reply.send(result.unwrap()).unwrap(),
            );
        }
        drop((writer, reply));
        assert!(replies.iter().eq(0..1_000));
    }
}
