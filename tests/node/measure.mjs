// What a host gains by prediction: `forerun mcp --wrap` around a server whose tool takes 300 ms,
// and 1 ms, called in a repeating pattern by the official client, with prediction on and off.
//
// A run is a host of its own: 12 calls, of 4 keys in turn, and between calls the host thinks for
// 500 ms, as a model would. Measured is how long a call takes in the host, the median of a run;
// printed is the median of 10 runs of each kind, which alternate, after 6 runs to learn from.

import { Home } from "./home.mjs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const RUNS = 10;
const LEARNED = 6;
const CALLS = 12;
const THINKS_MS = 500;
const KEYS = ["weather", "traffic", "calendar", "mail"];
const SERVER = path.join(path.dirname(fileURLToPath(import.meta.url)), "slow_server.mjs");

const median = (times) => times.toSorted((a, b) => a - b)[Math.floor(times.length / 2)];

async function run(home, workspace, takes, predict, calls, thinks) {
  const flags = predict ? [] : ["--no-predict"];
  const wrap = ["--pure", "look_up", "--wrap", process.execPath, SERVER, String(takes)];
  const host = await home.host(["--workspace", workspace, ...flags, ...wrap]);
  const times = [];
  for (let call = 0; call < calls; call += 1) {
    const began = performance.now();
    await host.callTool({ name: "look_up", arguments: { key: KEYS[call % KEYS.length] } });
    times.push(performance.now() - began);
    await new Promise((done) => setTimeout(done, thinks));
  }
  await host.close();
  return times;
}

for (const takes of [300, 1]) {
  const home = new Home();
  const workspace = home.directory("work");
  for (let learned = 0; learned < LEARNED; learned += 1) {
    await run(home, workspace, takes, true, CALLS, 0);
  }
  const medians = { on: [], off: [] };
  for (let at = 0; at < RUNS; at += 1) {
    for (const kind of ["off", "on"]) {
      medians[kind].push(median(await run(home, workspace, takes, kind === "on", CALLS, THINKS_MS)));
    }
  }
  const [on, off] = [median(medians.on), median(medians.off)];
  const ahead = home.events().filter((event) => event.type === "predicted");
  console.log(
    `${takes} ms: ${on.toFixed(1)} ms a call with prediction, ${off.toFixed(1)} ms without ` +
      `(${(off / on).toFixed(2)} x); predicted ${ahead.length} times in the last run of ${CALLS} calls`,
  );
  home.close();
}
