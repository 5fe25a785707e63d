// A model server that others wrote (aimock), for both protocols: `forerun run` plans with it, through
// rate limits, failures and answers in small pieces.

import { LLMock } from "@copilotkit/aimock";
import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";
import { Home } from "./home.mjs";

const PLAN = [
  ["read_file", { path: "notes.txt" }],
  ["write_file", { path: "summary.txt", content: "two lines\n" }],
  ["terminate", { answer: "summary.txt says how many lines there are" }],
];
/** What the fast model does instead of the second step. */
const MISTAKE = ["delete", { path: "notes.txt" }];

let home;
let models;
before(async () => {
  home = new Home();
  // Answers come in pieces of seven characters, each a millisecond after the one before.
  models = new LLMock({ port: 0, chunkSize: 7, latency: 1, logLevel: "silent" });
  for (const step of PLAN.keys()) {
    const at = (request) => steps(request) === step;
    const call = ([name, args]) => ({ toolCalls: [{ name, arguments: JSON.stringify(args) }] });
    const fast = step === 1 ? MISTAKE : PLAN[step];
    models.on({ model: "fast", predicate: at }, call(fast));
    models.on({ model: "slow", predicate: at }, call(PLAN[step]));
  }
  await models.start();
});
after(async () => {
  await models.stop();
  home.close();
});

/** How many steps a request knows of. */
function steps(request) {
  return JSON.stringify(request.messages).split("## Step ").length - 1;
}

/** Runs the task, and returns the session, its events, and the workspace. */
async function run(name, target) {
  const work = home.directory(name);
  writeFileSync(path.join(work, "notes.txt"), "first line\nsecond line\n");
  const keys = { OPENAI_API_KEY: "any", ANTHROPIC_API_KEY: "any", NO_PROXY: "*" };
  const fast = `openai:fast@${models.url}/v1`;
  const agents = ["--approximation", fast, "--target", target];
  const lines = await home.program(keys, "run", "--json", "--workspace", work, ...agents, "sum up");
  const values = lines.map((line) => JSON.parse(line));
  return { session: values.find((value) => value.type === "session").session, values, work };
}

for (const protocol of ["openai", "anthropic"]) {
  test(`a plan is made with ${protocol}`, async () => {
    const base = protocol === "openai" ? `${models.url}/v1` : models.url;
    const { session, work } = await run(protocol, `${protocol}:slow@${base}`);
    assert.equal(session.answer, PLAN[2][1].answer);
    assert.equal(readFileSync(path.join(work, "summary.txt"), "utf8"), "two lines\n");
    assert.ok(existsSync(path.join(work, "notes.txt")), "the mistake is not in the workspace");
    assert.equal(session.counts.corrected, 1);
  });
}

test("a rate limit and a failure are shown, and the plan is the same", async () => {
  models.nextRequestError(429, { message: "slow down", type: "rate_limit_error" });
  models.nextRequestError(500, { message: "it broke", type: "server_error" });
  const { session, values, work } = await run("failing", `openai:slow@${models.url}/v1`);
  assert.equal(session.answer, PLAN[2][1].answer);
  assert.ok(existsSync(path.join(work, "summary.txt")));
  const failed = values.filter((value) => value.type === "call_ended" && value.end === "failed");
  const reasons = failed.map((value) => value.reason).join("\n");
  assert.match(reasons, /rate limited/);
});
