//! The journal as the committer's log.

use super::*;
use forerun_journal::CommitRecord;
use forerun_snapshot::{Intent, IntentLog, IntentState};
use forerun_types::{CommitId, StepIndex};

fn intent(directory: &str) -> Intent {
    serde_json::from_value(serde_json::json!({
        "format": 1, "slots": "state", "directory": directory, "operations": [],
    }))
    .unwrap()
}

#[test]
fn unfinished_intents_of_a_workspace_come_back_oldest_first() {
    let home = Home::new();
    let journal = home.open();
    let (site, other) = (Path::new("/site"), Path::new("/other"));
    let ids: Vec<_> = ["a", "b", "c", "d"]
        .map(|name| journal.record(site, &intent(name)).unwrap())
        .into();
    journal.record(other, &intent("e")).unwrap();
    journal.mark(&[ids[0]], IntentState::Applied).unwrap();
    journal.mark(&[ids[2]], IntentState::Reverted).unwrap();
    drop(journal);

    let journal = home.open();
    let unfinished = journal.unfinished(site).unwrap();
    assert_eq!(unfinished, [(ids[1], intent("b")), (ids[3], intent("d"))]);
    assert_eq!(journal.unfinished(other).unwrap().len(), 1);
    assert_eq!(journal.unfinished(Path::new("/site/below")).unwrap(), []);
}

#[test]
fn a_workspace_whose_path_is_no_text_keeps_its_intents() {
    use std::os::unix::ffi::OsStrExt;
    let home = Home::new();
    let journal = home.open();
    let odd = Path::new(std::ffi::OsStr::from_bytes(b"/odd\xff"));
    let commit = journal.record(odd, &intent("a")).unwrap();
    assert_eq!(journal.unfinished(odd).unwrap(), [(commit, intent("a"))]);
}

#[test]
fn commit_ids_are_never_used_again() {
    let home = Home::new();
    let first = home
        .open()
        .record(Path::new("/site"), &intent("a"))
        .unwrap();
    assert!(first >= CommitId(1));
    home.tamper("DELETE FROM commits");
    let second = home
        .open()
        .record(Path::new("/site"), &intent("b"))
        .unwrap();
    assert!(second > first);
}

#[test]
fn marking_an_unknown_commit_and_reading_a_damaged_intent_fail() {
    let home = Home::new();
    let journal = home.open();
    assert!(journal.mark(&[CommitId(7)], IntentState::Applied).is_err());
    journal.record(Path::new("/site"), &intent("a")).unwrap();
    drop(journal);
    home.tamper("UPDATE commits SET intent = '{}'");
    assert!(home.open().unfinished(Path::new("/site")).is_err());
}

#[test]
fn a_commit_says_whose_step_it_is_until_it_is_reverted() {
    let home = Home::new();
    let journal = home.open();
    let site = Path::new("/site");
    let record = |session: u8, step: u32| {
        let log = journal.intents(&id(session), StepIndex(step));
        log.record(site, &intent(&format!("{session}-{step}")))
            .unwrap()
    };
    let (first, second, reverted) = (record(1, 0), record(1, 1), record(1, 2));
    let others = record(2, 0);
    IntentLog::record(&journal, site, &intent("of no session")).unwrap();
    let log = journal.intents(&id(1), StepIndex(2));
    log.mark(&[first], IntentState::Applied).unwrap();
    log.mark(&[reverted], IntentState::Reverted).unwrap();
    assert_eq!(log.unfinished(site).unwrap().len(), 3);
    drop((log, journal));

    let journal = home.open();
    let commit = |id, step, state| CommitRecord {
        id,
        step: StepIndex(step),
        undoes: None,
        redoes: false,
        state,
    };
    let applied = Some(IntentState::Applied);
    let of_first = [commit(first, 0, applied), commit(second, 1, None)];
    assert_eq!(journal.commits(&id(1)).unwrap(), of_first);
    assert_eq!(journal.commits(&id(2)).unwrap(), [commit(others, 0, None)]);
    assert_eq!(journal.commits(&id(3)).unwrap(), []);
}

#[test]
fn workspaces_with_unfinished_commits_are_listed_once() {
    let home = Home::new();
    let journal = home.open();
    assert_eq!(journal.unfinished_workspaces().unwrap(), [] as [PathBuf; 0]);
    let (site, other) = (Path::new("/site"), Path::new("/other"));
    journal.record(site, &intent("a")).unwrap();
    journal.record(site, &intent("b")).unwrap();
    let done = journal.record(other, &intent("c")).unwrap();
    journal.mark(&[done], IntentState::Applied).unwrap();
    assert_eq!(journal.unfinished_workspaces().unwrap(), [site]);
}

#[test]
fn a_failed_commit_is_unfinished_until_it_is_reverted() {
    let home = Home::new();
    let journal = home.open();
    let site = Path::new("/site");
    let failed = journal.record(site, &intent("a")).unwrap();
    journal.mark(&[failed], IntentState::Failed).unwrap();
    drop(journal);
    let journal = home.open();
    assert_eq!(journal.unfinished(site).unwrap(), [(failed, intent("a"))]);
    assert_eq!(journal.unfinished_workspaces().unwrap(), [site]);
    assert_eq!(journal.load(failed).unwrap().1, Some(IntentState::Failed));
    journal.mark(&[failed], IntentState::Reverted).unwrap();
    assert_eq!(journal.unfinished(site).unwrap(), []);
}

/// The intent of an undo; what an exchange displaces counts as kept.
fn undo(directory: &str, commit: CommitId, whole: bool) -> Intent {
    serde_json::from_value(serde_json::json!({
        "format": 1, "slots": "state", "directory": directory, "operations": [],
        "undoes": { "commit": commit, "whole": whole },
    }))
    .unwrap()
}

#[test]
fn an_undo_belongs_to_the_step_that_it_undoes_and_ends_it_as_a_whole() {
    let home = Home::new();
    let journal = home.open();
    let site = Path::new("/site");
    let first = journal
        .intents(&id(1), StepIndex(3))
        .record(site, &intent("a"))
        .unwrap();
    journal.mark(&[first], IntentState::Applied).unwrap();
    assert_eq!(journal.owner("a").unwrap(), Some(first));
    assert_eq!(journal.owner("b").unwrap(), None);

    let part = IntentLog::record(&journal, site, &undo("b", first, false)).unwrap();
    journal.mark(&[part], IntentState::Applied).unwrap();
    let state = |id| journal.load(id).unwrap().1;
    assert_eq!(state(first), Some(IntentState::Applied), "not as a whole");

    let whole = IntentLog::record(&journal, site, &undo("c", first, true)).unwrap();
    assert_eq!(state(first), Some(IntentState::Applied), "not yet");
    journal.mark(&[whole], IntentState::Applied).unwrap();
    assert_eq!(state(first), Some(IntentState::Undone));

    let again = IntentLog::record(&journal, site, &undo("d", whole, true)).unwrap();
    journal.mark(&[again], IntentState::Applied).unwrap();
    drop(journal);
    let commits = home.open().commits(&id(1)).unwrap();
    let found: Vec<_> = commits
        .iter()
        .map(|commit| (commit.id, commit.step.0, commit.is_forward(), commit.state))
        .collect();
    let (applied, undone) = (Some(IntentState::Applied), Some(IntentState::Undone));
    assert_eq!(
        found,
        [
            (first, 3, true, undone),
            (part, 3, false, applied),
            (whole, 3, false, undone),
            (again, 3, true, applied),
        ]
    );
    let kept = home.open().kept(site).unwrap();
    let kept: Vec<_> = kept.iter().map(|kept| kept.commit).collect();
    assert_eq!(kept, [part, again]);
}
