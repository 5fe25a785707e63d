// The official client and the inspector at `forerun mcp`, and the reference server behind it.

import { ElicitRequestSchema } from "@modelcontextprotocol/sdk/types.js";
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { Home, program, said } from "./home.mjs";

const run = promisify(execFile);

/** For each tool, a call and what it says. Reading ones leave the workspace as it is. */
const READING = {
  read_file: [{ path: "notes.txt" }, /second line/],
  list_dir: [{}, /notes\.txt/],
  glob: [{ pattern: "**/*.json" }, /data\.json/],
  grep: [{ pattern: "second" }, /notes\.txt/],
  stat: [{ path: "notes.txt" }, /file/],
  query: [{ path: "data.json", filter: ".n" }, /7/],
  diff: [{}, /Nothing was changed/],
};
const CHANGING = {
  write_file: [{ path: "a.txt", content: "one\n" }, /a\.txt/],
  edit_file: [{ path: "a.txt", old: "one", new: "two" }, /a\.txt/],
  copy: [{ from: "a.txt", to: "b.txt" }, /b\.txt/],
  move: [{ from: "b.txt", to: "c.txt" }, /c\.txt/],
  make_dir: [{ path: "d" }, /d/],
  delete: [{ path: "c.txt" }, /c\.txt/],
  shell: [{ script: "tr a-z A-Z < a.txt | tee e.txt" }, /TWO/],
  run_javascript: [{ code: "6 * 7" }, /42/],
  undo: [{}, /./],
};
/** What no policy lets out: it says so. */
const REFUSED = {
  fetch: [{ url: "http://127.0.0.1:1/" }, /no tool may reach/],
  send_request: [{ method: "PUT", url: "http://127.0.0.1:1/" }, /no tool may reach/],
};
/** Of nothing that waits: it says so. */
const RESULT = [{ key: "none" }, /./];

let home;
before(() => {
  home = new Home();
});
after(() => home.close());

function workspace(name) {
  const directory = home.directory(name);
  writeFileSync(path.join(directory, "notes.txt"), "first line\nsecond line\n");
  writeFileSync(path.join(directory, "data.json"), '{"n": 7}\n');
  return directory;
}

async function calls(host, name, [args, expected]) {
  const { text, failed } = said(await host.callTool({ name, arguments: args }));
  assert.ok(!failed, `${name}: ${text}`);
  assert.match(text, expected, name);
}

test("the official client lists and calls every tool, sees the diff and undoes", async () => {
  const work = workspace("client");
  const host = await home.host(["--workspace", work]);
  const { tools } = await host.listTools();
  const known = [READING, CHANGING, REFUSED, { result: RESULT }].flatMap(Object.keys);
  assert.deepEqual(tools.map((tool) => tool.name).toSorted(), known.toSorted());
  for (const { name, annotations, description } of tools) {
    const reads = name in READING || ["fetch", "result"].includes(name);
    assert.equal(annotations.readOnlyHint, reads, name);
    assert.ok(description.length > 20, name);
  }
  // What reads, at once, several times.
  const reading = Object.entries(READING);
  await Promise.all([...reading, ...reading].map(([name, call]) => calls(host, name, call)));
  for (const [name, call] of Object.entries(CHANGING)) {
    await calls(host, name, call);
  }
  for (const [name, [args, expected]] of Object.entries(REFUSED)) {
    const refused = said(await host.callTool({ name, arguments: args }));
    assert.ok(refused.failed, name);
    assert.match(refused.text, expected, name);
  }
  const none = said(await host.callTool({ name: "result", arguments: RESULT[0] }));
  assert.ok(none.failed, none.text);

  const changed = said(await host.callTool({ name: "diff", arguments: {} })).text;
  assert.match(changed, /created a\.txt/);
  assert.equal(readFileSync(path.join(work, "a.txt"), "utf8"), "two\n");
  await calls(host, "undo", [{ steps: 64 }, /a\.txt/]);
  assert.ok(!existsSync(path.join(work, "a.txt")) && !existsSync(path.join(work, "d")));
  const prompt = await host.getPrompt({ name: "diff" });
  assert.match(prompt.messages[0].content.text, /Nothing was changed/);
  await host.close();
});

test("what policy asks is put to the user in the client's form", async () => {
  const work = workspace("form");
  const server = ["--wrap", program("mcp-server-filesystem"), work];
  const own = ["--workspace", work, "--policy", "read-only", "--pure", "read_text_file"];
  const host = await home.host([...own, ...server], { elicitation: {} });
  const choices = ["allow once", "refuse"];
  const asked = [];
  host.setRequestHandler(ElicitRequestSchema, ({ params }) => {
    asked.push(params.message);
    return { action: "accept", content: { decision: choices[asked.length - 1] } };
  });
  const call = { name: "read_text_file", arguments: { path: path.join(work, "notes.txt") } };
  const allowed = said(await host.callTool(call));
  assert.match(allowed.text, /second line/);
  const refused = said(await host.callTool(call));
  assert.ok(refused.failed && !refused.text.includes("second line"), refused.text);
  assert.equal(asked.length, 2);
  assert.match(asked[0], /wrapped_read_text_file/);
  await host.close();
});

test("the inspector lists and calls every tool", async () => {
  const work = workspace("inspector");
  const { command, args, env } = home.command("--workspace", work);
  const inspect = async (...request) => {
    const line = ["--cli", command, ...args, ...request];
    const { stdout } = await run(program("mcp-inspector"), line, { env });
    return JSON.parse(stdout);
  };
  const { tools } = await inspect("--method", "tools/list");
  const told = { ...READING, ...CHANGING, ...REFUSED, result: RESULT };
  assert.deepEqual(tools.map((tool) => tool.name).toSorted(), Object.keys(told).toSorted());
  // Each is a host of its own, with a session of its own: what comes before is in the workspace.
  for (const [name, [given, expected]] of Object.entries(told)) {
    const pairs = Object.entries(given).flatMap(([key, value]) => [
      "--tool-arg",
      `${key}=${value}`,
    ]);
    const answer = await inspect("--method", "tools/call", "--tool-name", name, ...pairs);
    assert.match(said(answer).text, expected, name);
  }
  const { prompts } = await inspect("--method", "prompts/list");
  assert.deepEqual(
    prompts.map((prompt) => prompt.name),
    ["diff", "undo"],
  );
});

test("the reference server for files is wrapped: denied, held, predicted", async () => {
  const work = workspace("wrapped");
  const many = path.join(work, "many");
  for (let directory = 0; directory < 40; directory += 1) {
    mkdirSync(path.join(many, `${directory}`), { recursive: true });
    for (let file = 0; file < 50; file += 1) {
      writeFileSync(path.join(many, `${directory}`, `${file}.txt`), "text\n");
    }
  }
  const wrap = ["--pure", "search_files,read_text_file", "--name", "files"];
  const server = ["--wrap", program("mcp-server-filesystem"), work];
  const start = (policy) =>
    home.host(["--workspace", work, "--policy", policy, ...wrap, ...server]);
  const search = { name: "search_files", arguments: { path: work, pattern: "**/7.txt" } };
  const read = { name: "read_text_file", arguments: { path: path.join(work, "notes.txt") } };

  const denying = await start("locked-down");
  const { tools } = await denying.listTools();
  assert.ok(tools.some((tool) => tool.name === "read_text_file"));
  const denied = said(await denying.callTool(read));
  assert.ok(denied.failed && denied.text.includes("policy_forbidden"), denied.text);
  await denying.close();

  const pattern = async (policy) => {
    const host = await start(policy);
    for (let round = 0; round < 4; round += 1) {
      assert.match(said(await host.callTool(read)).text, /second line/);
      assert.match(said(await host.callTool(search)).text, /many\/7\/7\.txt/);
      await new Promise((done) => setTimeout(done, 100));
    }
    await host.close();
    const events = home.events();
    return {
      predicted: events.filter((event) => event.type === "predicted").length,
      matched: events.filter((event) => event.type === "answer" && event.matched).length,
      held: events.filter((event) => event.decision === "hold").length,
    };
  };
  let seen = await pattern("workspace-write");
  for (let tries = 0; seen.matched < 2 && tries < 20; tries += 1) {
    seen = await pattern("workspace-write");
  }
  assert.ok(seen.predicted >= 2 && seen.matched >= 2 && seen.held === 0, JSON.stringify(seen));
  seen = await pattern("coding");
  assert.ok(seen.predicted >= 1 && seen.held >= 1, JSON.stringify(seen));
  // What is not `pure` waits for its verdict, and is done.
  const host = await start("workspace-write");
  const made = { name: "create_directory", arguments: { path: path.join(work, "made") } };
  assert.ok(!said(await host.callTool(made)).failed);
  assert.ok(existsSync(path.join(work, "made")));
  await host.close();
});
