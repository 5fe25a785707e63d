//! `forerun mcp`, as a host sees it: lines of JSON-RPC on stdin and stdout.

use crate::support::{Home, PATIENCE};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

/// A host, and the server that it started.
struct Host {
    server: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<Value>,
    /// Answers that came before they were waited for.
    early: Vec<Value>,
    /// What its user chooses in a form, and the forms that there were.
    choice: Option<&'static str>,
    forms: Vec<String>,
    last: u64,
}

impl Host {
    fn start(home: &Home, arguments: &[&str]) -> Host {
        Host::with_forms(home, arguments, None)
    }

    /// A host with forms, if there is a choice that its user makes in them.
    fn with_forms(home: &Home, arguments: &[&str], choice: Option<&'static str>) -> Host {
        let mut server = home.forerun(arguments);
        let server = server.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut server = server.stderr(Stdio::piped()).spawn().expect("starts");
        let stdout = BufReader::new(server.stdout.take().expect("stdout"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let value = serde_json::from_str(&line).expect("stdout carries JSON only");
                if sender.send(value).is_err() {
                    return;
                }
            }
        });
        let mut host = Host {
            stdin: server.stdin.take(),
            server,
            lines,
            early: Vec::new(),
            choice,
            forms: Vec::new(),
            last: 0,
        };
        let hello = host.request(
            "initialize",
            json!({
                "protocolVersion": "2025-06-18",
                "capabilities": match choice {
                    Some(_) => json!({ "elicitation": {} }),
                    None => json!({}),
                },
                "clientInfo": { "name": "test", "version": "1" },
            }),
        );
        assert_eq!(hello["result"]["serverInfo"]["name"], "forerun", "{hello}");
        assert_eq!(hello["result"]["protocolVersion"], "2025-06-18");
        host.write(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        host
    }

    fn write(&mut self, message: &Value) {
        let stdin = self.stdin.as_mut().expect("open");
        writeln!(stdin, "{message}").expect("the server reads");
    }

    fn send(&mut self, method: &str, params: Value) -> u64 {
        self.last += 1;
        let id = self.last;
        self.write(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        id
    }

    fn answer(&mut self, id: u64) -> Value {
        if let Some(at) = self.early.iter().position(|value| value["id"] == id) {
            return self.early.remove(at);
        }
        loop {
            let value = self.lines.recv_timeout(PATIENCE).expect("an answer");
            if value["method"] == "elicitation/create" {
                self.forms.push(value["params"]["message"].to_string());
                let choice = self.choice.expect("only hosts with forms are asked");
                let schema = &value["params"]["requestedSchema"]["properties"]["decision"]["enum"];
                assert!(
                    schema
                        .as_array()
                        .is_some_and(|it| it.contains(&json!(choice)))
                );
                let result = json!({ "action": "accept", "content": { "decision": choice } });
                self.write(&json!({ "jsonrpc": "2.0", "id": value["id"], "result": result }));
                continue;
            }
            if value["id"] == id {
                return value;
            }
            self.early.push(value);
        }
    }

    fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.send(method, params);
        self.answer(id)
    }

    /// Calls a tool: whether it failed, and what it said.
    fn call(&mut self, tool: &str, arguments: Value) -> (bool, String) {
        let answer = self.request(
            "tools/call",
            json!({ "name": tool, "arguments": arguments }),
        );
        let result = &answer["result"];
        let content = result["content"].as_array();
        let content = content.unwrap_or_else(|| panic!("{answer}"));
        let texts = content.iter().filter_map(|block| block["text"].as_str());
        let failed = result["isError"].as_bool().expect("said");
        (failed, texts.collect::<Vec<_>>().join("\n"))
    }

    /// Goes away; the server ends by itself. Returns what it said to people.
    fn leave(mut self) -> String {
        drop(self.stdin.take());
        let began = Instant::now();
        while self.server.try_wait().expect("waits").is_none() {
            assert!(began.elapsed() < PATIENCE, "the server does not end");
            std::thread::park_timeout(std::time::Duration::from_millis(10));
        }
        let output = self.server.wait_with_output().expect("ended");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{stderr}");
        stderr
    }
}

/// The only session there is.
fn session(home: &Home) -> Value {
    let sessions = home.succeed(&["session", "list", "--json"]);
    let mut sessions = sessions
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    let session = sessions.next().expect("a session");
    assert!(sessions.next().is_none());
    session
}

#[test]
fn a_host_lists_calls_sees_and_undoes() {
    let home = Home::new();
    let workspace = home.workspace("work");
    let workspace = workspace.to_str().expect("text");
    let mut host = Host::start(&home, &["mcp", "--workspace", workspace]);
    let listed = host.request("tools/list", json!({}));
    let tools = listed["result"]["tools"].as_array().expect("tools");
    let tool = |name: &str| {
        let tool = tools.iter().find(|tool| tool["name"] == name);
        tool.unwrap_or_else(|| panic!("{name} in {listed}"))
    };
    for name in ["read_file", "write_file", "shell", "diff", "undo", "result"] {
        assert_eq!(tool(name)["inputSchema"]["type"], "object", "{name}");
        assert!(
            tool(name)["description"]
                .as_str()
                .is_some_and(|text| text.len() > 20)
        );
    }
    assert_eq!(tool("read_file")["annotations"]["readOnlyHint"], true);
    assert_eq!(tool("write_file")["annotations"]["readOnlyHint"], false);
    // Nothing is opened for a host that only looks.
    assert!(home.succeed(&["session", "list", "--json"]).is_empty());
    assert_eq!(
        host.call("diff", json!({})),
        (false, "Nothing was changed.".to_owned())
    );

    let (failed, text) = host.call("write_file", json!({ "path": "a.txt", "content": "one" }));
    assert!(!failed, "{text}");
    assert_eq!(
        fs::read_to_string(home.path("work/a.txt")).expect("reads"),
        "one"
    );
    host.call("write_file", json!({ "path": "a.txt", "content": "two" }));
    let (failed, text) = host.call("read_file", json!({ "path": "a.txt" }));
    assert!(!failed && text.contains("two"), "{text}");

    // Denied and wrong calls are told, and nothing breaks.
    let (failed, text) = host.call(
        "write_file",
        json!({ "path": ".git/config", "content": "x" }),
    );
    assert!(failed, "{text}");
    let (failed, text) = host.call("read_file", json!({ "path": 7 }));
    assert!(failed && text.contains("path"), "{text}");
    let unknown = host.request("tools/call", json!({ "name": "nothing", "arguments": {} }));
    assert!(
        unknown["error"]["message"]
            .as_str()
            .is_some_and(|text| text.contains("nothing"))
    );
    let zero = host.request(
        "tools/call",
        json!({ "name": "undo", "arguments": { "steps": 0 } }),
    );
    assert_eq!(zero["error"]["code"], -32602, "{zero}");

    let (_, text) = host.call("diff", json!({}));
    assert!(
        text.contains("step 0:\ncreated a.txt") && text.contains("modified a.txt"),
        "{text}"
    );
    // Two steps denied or wrong, one that reads, and the second write.
    let (failed, text) = host.call("undo", json!({ "steps": 4 }));
    assert!(!failed && text.contains("modified a.txt"), "{text}");
    assert_eq!(
        fs::read_to_string(home.path("work/a.txt")).expect("reads"),
        "one"
    );
    let (_, text) = host.call("diff", json!({}));
    assert_eq!(text, "step 0:\ncreated a.txt\n");
    let prompt = host.request("prompts/get", json!({ "name": "undo" }));
    let message = &prompt["result"]["messages"][0]["content"]["text"];
    assert!(
        message.as_str().is_some_and(|text| text.contains("a.txt")),
        "{prompt}"
    );
    assert!(!home.path("work/a.txt").exists());
    let (_, text) = host.call("undo", json!({}));
    assert!(text.contains("nothing to undo"), "{text}");
    host.leave();
    assert_eq!(session(&home)["state"], "finished");
}

#[test]
fn calls_at_once_all_get_their_answers() {
    let home = Home::new();
    let workspace = home.workspace("work");
    let mut host = Host::start(
        &home,
        &["mcp", "--workspace", workspace.to_str().expect("text")],
    );
    let ids: Vec<u64> = (0..20)
        .map(|number| {
            let (name, arguments) = match number % 2 {
                0 => ("read_file", json!({ "path": "README.md" })),
                _ => (
                    "write_file",
                    json!({ "path": format!("{number}.txt"), "content": "x" }),
                ),
            };
            host.send(
                "tools/call",
                json!({ "name": name, "arguments": arguments }),
            )
        })
        .collect();
    for id in ids.into_iter().rev() {
        let answer = host.answer(id);
        assert_eq!(answer["result"]["isError"], false, "{answer}");
    }
    assert!(home.path("work/19.txt").exists());
    host.leave();
}

#[test]
fn what_the_user_has_to_allow_is_asked_of_the_user_and_not_of_the_host() {
    let home = Home::new();
    let workspace = home.workspace("work");
    fs::hard_link(workspace.join("README.md"), home.path("store")).expect("links");
    let mut host = Host::start(
        &home,
        &["mcp", "--workspace", workspace.to_str().expect("text")],
    );
    let (failed, text) = host.call(
        "write_file",
        json!({ "path": "README.md", "content": "new" }),
    );
    assert!(!failed && text.contains("not done yet"), "{text}");
    let id = session(&home)["id"].as_str().expect("an id").to_owned();
    assert!(text.contains(&format!("forerun approve {id}")), "{text}");
    let key = text
        .rsplit(' ')
        .next()
        .expect("a key")
        .trim_end_matches('.');
    home.succeed(&["approve", &id]);
    let (failed, text) = host.call("result", json!({ "key": key }));
    assert!(!failed, "{text}");
    assert_eq!(
        fs::read_to_string(workspace.join("README.md")).expect("reads"),
        "new"
    );

    // And what they say reaches the model.
    home.succeed(&["suggest", &id, "mind the tests"]);
    let (_, text) = host.call("read_file", json!({ "path": "README.md" }));
    assert!(text.contains("mind the tests"), "{text}");
    home.succeed(&["stop", &id]);
    let (failed, text) = host.call("read_file", json!({ "path": "README.md" }));
    assert!(failed && text.contains("ended the session"), "{text}");
    host.leave();
}

#[test]
fn a_host_with_forms_has_its_user_decide_in_one() {
    for (choice, text) in [("allow once", "new"), ("refuse", "# Title\n\nOld text.\n")] {
        let home = Home::new();
        let workspace = home.workspace("work");
        fs::hard_link(workspace.join("README.md"), home.path("store")).expect("links");
        let arguments = ["mcp", "--workspace", workspace.to_str().expect("text")];
        let mut host = Host::with_forms(&home, &arguments, Some(choice));
        let (_, told) = host.call(
            "write_file",
            json!({ "path": "README.md", "content": "new" }),
        );
        assert_eq!(host.forms.len(), 1, "{told}");
        assert!(host.forms[0].contains("README.md"), "{:?}", host.forms);
        let found = fs::read_to_string(workspace.join("README.md")).expect("reads");
        assert_eq!(found, text, "{told}");
        // What the user refused is told, and the next call is done.
        assert_eq!(told.contains("was not done"), choice == "refuse", "{told}");
        let (failed, next) = host.call("write_file", json!({ "path": "a.txt", "content": "a" }));
        assert!(!failed && workspace.join("a.txt").exists(), "{next}");
        host.leave();
    }
}

#[test]
fn with_commit_session_nothing_is_written_before_the_user_commits() {
    let home = Home::new();
    let workspace = home.workspace("work");
    let workspace = workspace.to_str().expect("text");
    let arguments = ["mcp", "--workspace", workspace, "--commit", "session"];
    let mut host = Host::start(&home, &arguments);
    host.call("write_file", json!({ "path": "a.txt", "content": "one\n" }));
    let (_, text) = host.call("diff", json!({}));
    assert!(
        text.contains("created a.txt") && text.contains("+one"),
        "{text}"
    );
    assert!(!home.path("work/a.txt").exists());
    let said = host.leave();
    let id = session(&home)["id"].as_str().expect("an id").to_owned();
    assert!(
        said.contains(&format!("forerun session commit {id}")),
        "{said}"
    );
    home.succeed(&["session", "commit", &id]);
    assert_eq!(
        fs::read_to_string(home.path("work/a.txt")).expect("reads"),
        "one\n"
    );
}

#[test]
fn hosts_are_told_to_start_it_once_and_the_change_is_shown() {
    let home = Home::new();
    let workspace = home.workspace("work");
    let workspace = workspace.to_str().expect("text");
    let install = ["mcp", "install", "claude", "--workspace", workspace];
    let shown = home.succeed(&[&install[..], &["--print"]].concat());
    assert!(
        shown.contains("+") && shown.contains("\"mcpServers\""),
        "{shown}"
    );
    assert!(!home.path("work/.mcp.json").exists());
    home.succeed(&[&install[..], &["--deny"]].concat());
    let text = fs::read_to_string(home.path("work/.mcp.json")).expect("reads");
    let value: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(value["mcpServers"]["forerun"]["args"], json!(["mcp"]));
    let command = value["mcpServers"]["forerun"]["command"]
        .as_str()
        .expect("text");
    let settings = fs::read_to_string(home.path("work/.claude/settings.json")).expect("reads");
    assert!(settings.contains("Bash"), "{settings}");
    assert!(
        home.succeed(&install).is_empty(),
        "the same again changes nothing"
    );

    // What it wrote starts the server.
    assert!(std::path::Path::new(command).exists(), "{command}");
    home.succeed(&["mcp", "install", "cursor", "--workspace", workspace]);
    home.succeed(&["mcp", "install", "codex", "--workspace", workspace]);
    let text = fs::read_to_string(home.path(".codex/config.toml")).expect("reads");
    assert!(text.contains("[mcp_servers.forerun]"), "{text}");
    fs::write(home.path("work/.mcp.json"), "[]").expect("writes");
    let told = home.fail(65, &install);
    assert!(
        told.contains(".mcp.json") && told.contains("no object"),
        "{told}"
    );
    assert_eq!(
        fs::read_to_string(home.path("work/.mcp.json")).expect("reads"),
        "[]"
    );
}

/// A server in Python, which needs no package: `look_up` takes `milliseconds`, `Delete-It` notes
/// what it deleted.
const SERVER: &str = r#"
import json, sys, time
def tool(name, hints):
    schema = {"type": "object", "required": ["key"], "properties": {"key": {"type": "string"}}}
    return {"name": name, "description": f"A tool, {name}.", "inputSchema": schema,
            "outputSchema": {"type": "object"}, "annotations": hints}
for line in sys.stdin:
    message = json.loads(line)
    method, params = message.get("method"), message.get("params", {})
    if "id" not in message:
        continue
    if method == "initialize":
        result = {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}},
                  "serverInfo": {"name": "small", "version": "1"}}
    elif method == "tools/list":
        result = {"tools": [tool("look_up", {"readOnlyHint": True}), tool("Delete-It", {})]}
        if sys.argv[2] == "twice":
            result["tools"] *= 2
        if sys.argv[2] == "endless":
            result["nextCursor"] = "more"
    elif method == "tools/call":
        key = params["arguments"]["key"]
        with open(sys.argv[1], "a") as notes:
            notes.write(f"{params['name']} {key}\n")
        if key == "exit":
            sys.exit()
        time.sleep(float(sys.argv[2]) / 1000)
        result = {"content": [{"type": "text", "text": f"{params['name']} of {key}"}],
                  "isError": key == "broken"}
    else:
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"],
                          "error": {"code": -32601, "message": "no such method"}}), flush=True)
        continue
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
"#;

fn server(home: &Home) -> String {
    let path = home.path("server.py");
    fs::write(&path, SERVER).expect("written");
    path.into_os_string().into_string().expect("text")
}

#[test]
fn a_wrapped_server_is_under_policy_and_its_pure_tools_run_ahead() {
    let home = Home::new();
    let workspace = home.workspace("work");
    let workspace = workspace.to_str().expect("text");
    let server = server(&home);
    let notes = home.path("notes");
    let notes = notes.to_str().expect("text");
    let start = |policy: &str, takes: &str| {
        let own = ["mcp", "--workspace", workspace, "--policy", policy];
        let wrap = ["--pure", "look_up", "--name", "small", "--wrap", "python3"];
        let command = [server.as_str(), notes, takes];
        Host::start(&home, &[&own[..], &wrap, &command].concat())
    };
    let noted = || fs::read_to_string(notes).unwrap_or_default();

    let mut host = start("locked-down", "0");
    let listed = host.request("tools/list", json!({}));
    let tools = listed["result"]["tools"].as_array().expect("tools");
    let names: Vec<_> = tools.iter().map(|tool| &tool["name"]).collect();
    assert_eq!(names, ["look_up", "Delete-It", "forerun_result"]);
    let prompts = host.request("prompts/list", json!({}));
    assert_eq!(prompts["result"]["prompts"], json!([]), "nothing is undone");
    assert_eq!(tools[0]["annotations"]["readOnlyHint"], true);
    assert_eq!(tools[0]["outputSchema"], Value::Null);
    let (failed, text) = host.call("look_up", json!({ "key": "a" }));
    assert!(failed && text.contains("policy_forbidden"), "{text}");
    assert_eq!(noted(), "", "a denied call reaches it not");
    host.leave();

    let mut host = start("workspace-write", "30");
    let (failed, text) = host.call("Delete-It", json!({ "key": "b" }));
    assert_eq!((failed, text.as_str()), (false, "Delete-It of b"));
    let (failed, text) = host.call("look_up", json!({ "key": "broken" }));
    assert_eq!((failed, text.as_str()), (true, "look_up of broken"));
    let (failed, text) = host.call("look_up", json!({ "key": 1 }));
    assert!(failed && text.contains("key"), "{text}");
    let none = host.request("tools/call", json!({ "name": "diff", "arguments": {} }));
    assert_eq!(none["error"]["code"], -32602, "{none}");
    assert_eq!(noted(), "Delete-It b\nlook_up broken\n");
    host.leave();

    // What comes again is foreseen: once `look_up` was seen to take its time, and only that.
    let ahead = |policy: &str| {
        let known = home.succeed(&["session", "list", "--json"]).lines().count();
        let mut host = start(policy, "30");
        for key in ["c", "d", "e"] {
            host.call("look_up", json!({ "key": key }));
            host.call("Delete-It", json!({ "key": key }));
            std::thread::park_timeout(std::time::Duration::from_millis(100));
        }
        host.leave();
        let list = home.succeed(&["session", "list", "--json"]);
        assert_eq!(list.lines().count(), known + 1);
        let newest: Value = serde_json::from_str(list.lines().next().expect("one")).expect("JSON");
        let id = newest["id"].as_str().expect("an id").to_owned();
        let log = home.succeed(&["log", "export", &id]);
        let of = |kind: &str| log.matches(&format!("\"type\":\"{kind}\"")).count();
        let held = log.matches("\"decision\":\"hold\"").count();
        (of("predicted"), held, log)
    };
    let began = Instant::now();
    while ahead("workspace-write").0 < 2 {
        assert!(began.elapsed() < PATIENCE, "nothing is learned");
    }
    // Every call once for each verdict, and deletions in their order, never ahead.
    let deleted = |notes: &str| {
        let lines = notes.lines().filter(|line| line.starts_with("Delete-It"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let before = deleted(&noted()).len();
    let (predicted, held, log) = ahead("workspace-write");
    assert!(predicted >= 2 && held == 0, "{log}");
    assert_eq!(deleted(&noted()).len(), before + 3);
    // `coding` holds what reaches outside until the verdict.
    let (predicted, held, log) = ahead("coding");
    assert!(predicted >= 2 && held >= 1, "{log}");
}

#[test]
fn a_wrapped_server_that_ends_takes_ours_along() {
    let home = Home::new();
    let workspace = home.workspace("work");
    let workspace = workspace.to_str().expect("text");
    let server = server(&home);
    let wrap = ["--wrap", "python3", &server, "/dev/null", "0"];
    let mut host = Host::start(
        &home,
        &[&["mcp", "--workspace", workspace], &wrap[..]].concat(),
    );
    host.send(
        "tools/call",
        json!({ "name": "look_up", "arguments": { "key": "exit" } }),
    );
    let began = Instant::now();
    let status = loop {
        if let Some(status) = host.server.try_wait().expect("waits") {
            break status;
        }
        assert!(began.elapsed() < PATIENCE, "it does not end");
        std::thread::park_timeout(std::time::Duration::from_millis(10));
    };
    assert!(!status.success());
    home.wait_until("the session is closed", || {
        session(&home)["state"] == "finished"
    });
}

#[test]
fn a_server_that_can_not_be_wrapped_is_named_with_the_reason() {
    let home = Home::new();
    let missing = home.fail(65, &["mcp", "--wrap", "/nonexistent/server"]);
    assert!(missing.contains("/nonexistent/server"), "{missing}");
    let silent = home.fail(65, &["mcp", "--wrap", "true"]);
    assert!(silent.contains("true can not be wrapped"), "{silent}");
    let server = server(&home);
    let pure = [
        "mcp",
        "--pure",
        "erase",
        "--wrap",
        "python3",
        &server,
        "/dev/null",
        "0",
    ];
    let unknown = home.fail(65, &pure);
    assert!(
        unknown.contains("no tool erase") && unknown.contains("look_up, Delete-It"),
        "{unknown}"
    );
    for (how, why) in [("twice", "look_up twice"), ("endless", "more than 256")] {
        let broken = home.fail(65, &["mcp", "--wrap", "python3", &server, "/dev/null", how]);
        assert!(broken.contains(why), "{broken}");
    }
    let alone = home.fail(64, &["mcp", "--pure", "erase"]);
    assert!(alone.contains("--wrap"), "{alone}");
}
