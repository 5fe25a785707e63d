//! Policy sets: those that are built in, a user's own, and the layers around them. The own
//! set is that of `policies/README.md`, word by word.

use crate::support::Home;
use std::fs;

const PAGE: &str = include_str!("../../policies/README.md");

/// The Cedar blocks of the page, in order.
fn blocks() -> Vec<&'static str> {
    let blocks = PAGE.split("```cedar\n").skip(1);
    blocks
        .map(|rest| rest.split_once("```").expect("it ends").0)
        .collect()
}

/// Runs a plan of one step under a set, and returns what the log says of it.
fn run(home: &Home, policy: &str, tool: &str, arguments: &str) -> String {
    run_all(home, policy, &[(tool, arguments)])
}

fn run_all(home: &Home, policy: &str, steps: &[(&str, &str)]) -> String {
    let mut plan = "answer = \"done\"\n".to_owned();
    for (tool, arguments) in steps {
        plan += &format!("[[step]]\ntool = \"{tool}\"\narguments = {arguments}\n");
    }
    let spec = home.script("plan.toml", &plan);
    let work = home.workspace("work").display().to_string();
    fs::create_dir_all(home.path("work/build")).expect("makes");
    fs::write(home.path("work/build/old.o"), "old").expect("writes");
    home.succeed(&[
        "run",
        "--workspace",
        &work,
        "--policy",
        policy,
        "--approximation",
        &spec,
        "--target",
        &spec,
        "one step",
    ])
}

#[test]
fn the_sets_of_the_page_are_those_that_are_built_in() {
    let home = Home::new();
    let listed = home.succeed(&["policy", "list"]);
    for line in listed.lines() {
        let name = line.split([' ', ':']).next().expect("a name");
        assert!(PAGE.contains(&format!("| [{name}]({name}) |")), "{name}");
        let tested = home.succeed(&["policy", "test", name]);
        assert!(tested.lines().count() >= 25, "{tested}");
        assert!(tested.lines().all(|line| line.starts_with('✓')), "{tested}");
        // What is shown is a whole set: a copy of it is valid.
        let copy = home.path(&format!("{name}-copy"));
        fs::create_dir(&copy).expect("makes");
        fs::write(
            copy.join("policy.cedar"),
            home.succeed(&["policy", "show", name]),
        )
        .expect("writes");
        let examples = home.succeed(&["policy", "show", name, "--examples"]);
        fs::write(copy.join("examples.toml"), examples).expect("writes");
        home.succeed(&["policy", "check", &copy.display().to_string()]);
    }
    assert_eq!(listed.lines().count(), PAGE.matches("| [").count());
}

#[test]
fn what_is_denied_is_explained_and_one_line_of_policy_allows_it() {
    let home = Home::new();
    let [_, set, line] = blocks()[..] else {
        panic!("the page has another number of blocks");
    };
    let file = home.path("config/forerun/policies/mine/policy.cedar");
    fs::create_dir_all(file.parent().expect("a directory")).expect("makes");
    home.fail(66, &["policy", "explain", "read", "a", "--policy", "yours"]);
    // One that can not be used is read again when it is named again.
    fs::write(&file, "permit").expect("writes");
    home.fail(65, &["policy", "explain", "read", "a", "--policy", "mine"]);
    fs::write(&file, set).expect("writes");
    home.succeed(&["policy", "explain", "read", "a", "--policy", "mine"]);
    home.succeed(&["policy", "check", "mine"]);
    let listed = home.succeed(&["policy", "list"]);
    assert!(listed.contains("mine: what I let agents do"), "{listed}");

    let delete = ["delete", "{ path = \"build/old.o\" }"];
    let told = run(&home, "mine", delete[0], delete[1]);
    assert!(told.contains("does not allow to delete"), "{told}");
    assert!(home.path("work/build/old.o").exists());
    let explain = [
        "policy",
        "explain",
        "delete",
        "build/old.o",
        "--policy",
        "mine",
    ];
    let why = home.succeed(&explain);
    assert_eq!(why.matches("deny ").count(), 3, "{why}");

    fs::write(&file, format!("{set}\n{line}")).expect("writes");
    // A set that is read stays until it is told to be read anew, and one that is not valid
    // does not take its place.
    assert_eq!(home.succeed(&explain).matches("deny ").count(), 3);
    fs::write(&file, format!("{set}\n{line} permit")).expect("writes");
    home.fail(65, &["policy", "reload"]);
    let wrong = home.output(&["policy", "check", "mine"]);
    let wrong = String::from_utf8(wrong.stdout).expect("text");
    assert!(wrong.starts_with("mine:1"), "{wrong}");
    assert_eq!(home.succeed(&explain).matches("deny ").count(), 3);
    fs::write(&file, format!("{set}\n{line}")).expect("writes");
    home.succeed(&["policy", "reload"]);
    assert_eq!(home.succeed(&explain).matches("run ").count(), 3);
    run(&home, "mine", delete[0], delete[1]);
    assert!(!home.path("work/build/old.o").exists());
}

#[test]
fn what_lies_under_every_set_names_itself_and_the_projects_layer_narrows_it() {
    let home = Home::new();
    let explain = ["policy", "explain", "write", ".git/hooks/pre-commit"];
    let why = home.succeed(&explain);
    assert!(why.contains("git runs what is written there"), "{why}");
    assert!(
        why.contains("// protected") && why.contains("@id(\"protected-git\")"),
        "{why}"
    );

    let work = home.workspace("work");
    fs::create_dir(work.join(".forerun")).expect("makes");
    let narrow = "@id(\"no-sources\") @reason(\"they are generated\")\n\
                  forbid (principal, action == Action::\"write\", resource)\n\
                  when { resource in Path::\"/workspace/src\" };";
    fs::write(work.join(".forerun/policy.cedar"), narrow).expect("writes");
    let told = run(
        &home,
        "coding",
        "write_file",
        "{ path = \"src/new.rs\", content = \"\" }",
    );
    assert!(told.contains("no-sources"), "{told}");
    assert!(!work.join("src/new.rs").exists());

    let wide = "@id(\"all\") permit (principal, action, resource);";
    fs::write(work.join(".forerun/policy.cedar"), wide).expect("writes");
    let work = work.display().to_string();
    let refused = home.fail(
        65,
        &["policy", "explain", "read", "a", "--workspace", &work],
    );
    assert!(refused.contains("can only forbid"), "{refused}");
}

#[test]
fn under_coding_credentials_are_not_read_by_agents() {
    let home = Home::new();
    home.workspace("work");
    fs::write(home.path("work/.env"), "KEY=hunter2\n").expect("writes");
    let told = run(&home, "coding", "read_file", "{ path = \".env\" }");
    assert!(told.contains("secrets-of-environments"), "{told}");
    assert!(!told.contains("hunter2"), "{told}");
    let told = run(&home, "coding", "grep", "{ pattern = \"KEY\" }");
    assert!(!told.contains("hunter2"), "{told}");
}

#[test]
fn under_read_only_nothing_is_written_and_reading_goes_on() {
    let home = Home::new();
    let told = run(
        &home,
        "read-only",
        "write_file",
        "{ path = \"a.txt\", content = \"x\" }",
    );
    assert!(told.contains("nothing-is-written"), "{told}");
    assert!(!home.path("work/a.txt").exists());
    let told = run(&home, "read-only", "read_file", "{ path = \"README.md\" }");
    assert!(told.contains("# Title"), "{told}");
}

#[test]
fn what_a_plan_used_so_far_reaches_its_policies() {
    let home = Home::new();
    let file = home.path("config/forerun/policies/counted/policy.cedar");
    fs::create_dir_all(file.parent().expect("a directory")).expect("makes");
    let set = r#"
        @id("all") permit (principal, action, resource);
        @id("enough-bytes") forbid (principal, action == Action::"call:write_file", resource)
        when { context.counters.bytes_written > 100 };
        @id("enough-calls") forbid (principal, action in Action::"call", resource)
        when { context.counters.calls > 2 };
    "#;
    fs::write(&file, set).expect("writes");
    let content = "x".repeat(60);
    let write = |path: &str| format!("{{ path = \"{path}\", content = \"{content}\" }}");
    let (first, second, third) = (write("1"), write("2"), write("3"));
    let steps = [
        ("write_file", first.as_str()),
        ("write_file", second.as_str()),
        ("write_file", third.as_str()),
        ("list_dir", "{}"),
    ];
    let told = run_all(&home, "counted", &steps);
    assert!(
        told.contains("\"enough-bytes\" forbids a call of write_file"),
        "{told}"
    );
    assert!(
        told.contains("\"enough-calls\" forbids a call of list_dir"),
        "{told}"
    );
    assert!(home.path("work/2").exists() && !home.path("work/3").exists());
}

#[test]
fn a_diff_says_what_a_change_amounts_to_and_shows_a_request() {
    let home = Home::new();
    let write = |name: &str, more: &str| {
        let set = home.path(name);
        fs::create_dir_all(&set).expect("makes");
        let own = "@id(\"tools\") permit (principal, action in Action::\"call\", resource) \
                   unless { resource.open_world };\n\
                   @id(\"commits\") permit (principal, action == Action::\"commit\", resource);\n";
        fs::write(set.join("policy.cedar"), format!("{own}{more}")).expect("writes");
        set.display().to_string()
    };
    let before = write("before", "");
    let same = write("same", "// nothing new\n");
    let wider = write(
        "wider",
        "@id(\"build\") permit (principal, action == Action::\"delete\", resource) \
         when { resource in Path::\"/workspace/build\" };",
    );
    let reach = write(
        "reach",
        "@id(\"reach\") permit (principal, action == Action::\"connect\", resource) \
         when { context.host == \"docs.example.org\" && !context.speculative };",
    );
    let said = |before: &str, after: &str| home.succeed(&["policy", "diff", before, after]);
    assert!(said(&before, &same).contains("decides everything as"));
    let widens = said(&before, &wider);
    assert!(
        widens.contains("widens") && widens.contains("deny before, run after"),
        "{widens}"
    );
    assert!(widens.contains("/workspace/build"), "{widens}");
    assert!(said(&wider, &before).contains("narrows"));
    let reaches = said(&before, &reach);
    assert!(
        reaches.contains("widens") && reaches.contains("docs.example.org"),
        "{reaches}"
    );
    let both = said("coding", "read-only");
    assert!(both.contains("allows some things more"), "{both}");
    let json = home.succeed(&["policy", "diff", &before, &wider, "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["change"], "widens");
    assert_eq!(json["narrower"]["impossible"], true);
    home.fail(66, &["policy", "diff", &before, "nowhere"]);
}

#[test]
fn a_request_is_explained_with_what_the_configuration_says_of_its_host() {
    let home = Home::with_config("[network]\nallow = [\"docs.example.org\"]\n");
    let explain = |url: &str| {
        home.succeed(&[
            "policy",
            "explain",
            "connect",
            url,
            "--policy",
            "network-allow-list",
        ])
    };
    let listed = explain("https://docs.example.org/guide");
    assert!(
        listed.contains("unverified  hold") && listed.contains("target      run"),
        "{listed}"
    );
    let other = explain("https://elsewhere.example/");
    assert!(other.contains("hosts-that-are-not-listed"), "{other}");
    let own = explain("http://127.0.0.1:8080/");
    assert!(own.contains("no tool may reach"), "{own}");
    home.fail(65, &["policy", "explain", "connect", "elsewhere"]);
}
