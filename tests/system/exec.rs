//! `forerun exec`: any WASI program, on a copy-on-write view of a directory.

use crate::support::Home;
use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Output, Stdio};

struct Place {
    home: Home,
    program: PathBuf,
    work: PathBuf,
}

impl Place {
    fn new() -> Place {
        let home = Home::new();
        let (program, work) = (home.path("program.wasm"), home.path("work"));
        fs::write(&program, forerun_test_guests::COMMAND).expect("writes");
        fs::create_dir(&work).expect("makes");
        fs::write(work.join("a.txt"), "alpha\n").expect("writes");
        Place {
            home,
            program,
            work,
        }
    }

    fn arguments<'a>(&'a self, flags: &[&'a str], program: &[&'a str]) -> Vec<&'a str> {
        let path = |path: &'a PathBuf| path.to_str().expect("UTF-8");
        let mut arguments = vec!["exec", path(&self.program), "--workspace", path(&self.work)];
        arguments.extend(flags);
        arguments.push("--");
        arguments.extend(program);
        arguments
    }

    fn exec(&self, flags: &[&str], program: &[&str]) -> Output {
        self.home.output(&self.arguments(flags, program))
    }

    fn files(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(&self.work)
            .expect("lists")
            .map(|entry| entry.expect("reads").file_name())
            .map(|name| name.into_string().expect("UTF-8"))
            .collect();
        names.sort();
        names
    }

    fn only_session(&self) -> String {
        let list = self.home.succeed(&["session", "list", "--json"]);
        let session: serde_json::Value = serde_json::from_str(list.trim()).expect("one session");
        session["id"].as_str().expect("an id").to_owned()
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

#[test]
fn a_program_gets_what_it_was_given_and_its_changes_wait_for_a_decision() {
    let place = Place::new();
    let flags = ["--env", "COLOUR=blue"];
    let program = [
        "say=hello",
        "env=COLOUR",
        "env=HOME",
        "vars",
        "cat=a.txt",
        "list=/workspace",
        "write=b.txt:beta",
        "remove=/workspace/a.txt",
        "list=.",
        "complain=not well",
        "exit=3",
    ];
    let output = place.exec(&flags, &program);
    // WASI 0.2 knows two ways to exit.
    assert_eq!(output.status.code(), Some(1));
    let expected = "hello\nCOLOUR=Some(\"blue\")\nHOME=None\n1\nalpha\na.txt\nb.txt\n";
    assert_eq!(text(&output.stdout), expected);
    let stderr = text(&output.stderr);
    assert!(stderr.starts_with("not well\n"), "{stderr}");
    assert!(
        stderr.contains("+beta") && stderr.contains("-alpha"),
        "{stderr}"
    );
    assert_eq!(place.files(), ["a.txt"], "nothing is committed yet");

    let session = place.only_session();
    assert!(
        stderr.contains(&format!("forerun session commit {session}")),
        "{stderr}"
    );
    place.home.succeed(&["session", "commit", &session]);
    assert_eq!(place.files(), ["b.txt"]);
    place.home.succeed(&["session", "undo", &session]);
    assert_eq!(place.files(), ["a.txt"]);
}

#[test]
fn changes_are_committed_or_discarded_as_wished_and_a_program_without_any_is_over() {
    let place = Place::new();
    let output = place.exec(&["--discard"], &["write=b.txt:beta"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(place.files(), ["a.txt"]);
    let output = place.exec(&["--commit", "--json"], &["write=b.txt:beta"]);
    let lines = text(&output.stderr).lines();
    let lines: Vec<serde_json::Value> = lines
        .map(|line| serde_json::from_str(line).expect("JSON only"))
        .collect();
    let told = lines.last().expect("the outcome after the diff");
    assert_eq!(told["outcome"], "committed");
    assert_eq!(place.files(), ["a.txt", "b.txt"]);
    let output = place.exec(&[], &["cat=b.txt"]);
    assert_eq!((text(&output.stdout), text(&output.stderr)), ("beta", ""));
    let list = place.home.succeed(&["session", "list", "--json"]);
    let sessions = list
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    let states: Vec<serde_json::Value> = sessions.collect();
    assert!(
        states.iter().all(|session| session["state"] == "finished"),
        "{states:?}"
    );
}

#[test]
fn the_directory_is_found_where_it_was_mounted() {
    let place = Place::new();
    for (mount, path) in [(".", "a.txt"), ("/", "/a.txt"), ("/src", "/src/a.txt")] {
        let output = place.exec(&["--mount", mount], &[&format!("cat={path}"), "list=."]);
        let expected = "alpha\na.txt\n";
        assert_eq!(
            text(&output.stdout),
            expected,
            "{mount}: {}",
            text(&output.stderr)
        );
    }
    for mount in ["relative", "/tmp"] {
        let stderr = place
            .home
            .fail(65, &place.arguments(&["--mount", mount], &[]));
        assert!(stderr.contains("absolute path"), "{stderr}");
    }
    let outside = place.exec(&[], &["cat=../program.wasm"]);
    assert!(!outside.status.success());
}

#[test]
fn without_a_workspace_there_is_an_empty_one_that_is_dropped() {
    let place = Place::new();
    let program = place.program.to_str().expect("UTF-8");
    let arguments = [
        "exec",
        program,
        "--",
        "list=.",
        "write=b.txt:beta",
        "list=.",
    ];
    let output = place.home.output(&arguments);
    assert_eq!(text(&output.stdout), "\nb.txt\n");
    assert!(
        text(&output.stderr).contains("dropped"),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(place.home.succeed(&["session", "list"]), "");
}

#[test]
fn input_and_output_pass_as_they_come() {
    let place = Place::new();
    let mut child = place
        .home
        .forerun(&place.arguments(&["--discard"], &["echo", "say=over"]))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut stdin = child.stdin.take().expect("piped");
    let mut stdout = child.stdout.take().expect("piped");
    for line in ["first\n", "second\n"] {
        stdin.write_all(line.as_bytes()).expect("writes");
        let mut answer = vec![0; line.len()];
        stdout
            .read_exact(&mut answer)
            .expect("comes back before the end");
        assert_eq!(text(&answer), line);
    }
    drop(stdin);
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).expect("reads");
    assert_eq!(rest, "over\n");
    assert!(child.wait().expect("ends").success());
}

#[test]
fn a_program_whose_reader_goes_away_or_whose_time_is_over_is_stopped() {
    let place = Place::new();
    let mut child = place
        .home
        .forerun(&place.arguments(&[], &["write=b.txt:beta", "flood=1000000"]))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut first = [0; 1024];
    let mut stdout = child.stdout.take().expect("piped");
    stdout.read_exact(&mut first).expect("prints");
    drop(stdout);
    child.wait().expect("ends");
    place.home.wait_until("the session is over", || {
        let show = place
            .home
            .succeed(&["session", "show", &place.only_session(), "--json"]);
        show.contains(r#""state":"interrupted""#)
    });
    assert_eq!(place.files(), ["a.txt"]);
    let stderr = place
        .home
        .fail(1, &place.arguments(&["--timeout", "1"], &["spin"]));
    assert!(stderr.contains("1 s of wall time"), "{stderr}");
}

#[test]
fn policy_holds_for_programs_too() {
    let place = Place::new();
    fs::create_dir_all(place.work.join(".git/hooks")).expect("makes");
    let output = place.exec(&["--commit"], &["write=.git/hooks/pre-commit:evil"]);
    assert!(!output.status.success());
    let stderr = text(&output.stderr);
    assert!(stderr.contains("policy: "), "{stderr}");
    assert!(!place.work.join(".git/hooks/pre-commit").exists());
}

#[test]
fn what_is_no_component_is_refused_with_the_reason() {
    let place = Place::new();
    fs::write(&place.program, b"\x7fELF").expect("writes");
    let stderr = place.home.fail(65, &place.arguments(&[], &[]));
    assert!(stderr.contains("no WebAssembly"), "{stderr}");
    fs::write(&place.program, b"\0asm\x01\0\0\0").expect("writes");
    let stderr = place.home.fail(65, &place.arguments(&[], &[]));
    assert!(stderr.contains("no program for WASI 0.1"), "{stderr}");
    fs::write(&place.program, b"\0asm\x0d\0\x01\0\xff\xff\xff").expect("writes");
    let stderr = place.home.fail(65, &place.arguments(&[], &[]));
    assert!(
        !stderr.contains("CPU time"),
        "the limit is not to blame: {stderr}"
    );
    // An empty component: it is one, but exports nothing to run.
    fs::write(&place.program, b"\0asm\x0d\0\x01\0").expect("writes");
    let stderr = place.home.fail(65, &place.arguments(&[], &[]));
    assert!(stderr.contains("wasi:cli/run"), "{stderr}");
    fs::remove_file(&place.program).expect("removes");
    place.home.fail(66, &place.arguments(&[], &[]));
}

#[test]
fn a_person_who_edits_the_same_file_meanwhile_keeps_the_edit() {
    let place = Place::new();
    place.exec(&[], &["cat=a.txt", "write=a.txt:program\n"]);
    fs::write(place.work.join("a.txt"), "person\n").expect("writes");
    let stderr = place
        .home
        .fail(75, &["session", "commit", &place.only_session()]);
    assert!(stderr.contains("a.txt"), "{stderr}");
    assert_eq!(
        fs::read_to_string(place.work.join("a.txt")).expect("reads"),
        "person\n"
    );
}
