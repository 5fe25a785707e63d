// A daemon in directories of its own, workspaces, and hosts of `forerun mcp`.

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { execFile, spawn, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const PROGRAM = process.env.FORERUN_BIN;
if (!PROGRAM) {
  throw new Error("FORERUN_BIN is not set: it names the program `forerun`");
}

const MODULES = path.join(path.dirname(fileURLToPath(import.meta.url)), "node_modules");

/** How long a daemon may take to start, in milliseconds. */
const START_MS = 60_000;

export class Home {
  constructor() {
    this.root = realpathSync(mkdtempSync(path.join(tmpdir(), "fr-mcp-")));
    for (const name of ["state", "run", "config", "tmp"]) {
      mkdirSync(path.join(this.root, name), { mode: 0o700 });
    }
    this.env = {
      PATH: process.env.PATH,
      HOME: this.root,
      XDG_STATE_HOME: path.join(this.root, "state"),
      XDG_RUNTIME_DIR: path.join(this.root, "run"),
      XDG_CONFIG_HOME: path.join(this.root, "config"),
      TMPDIR: path.join(this.root, "tmp"),
      FORERUN_NO_SPAWN: "1",
    };
    this.daemon = spawn(PROGRAM, ["serve"], { env: this.env, stdio: "ignore" });
    const began = Date.now();
    while (this.forerun("status").status !== 0) {
      if (Date.now() - began > START_MS) {
        throw new Error("the daemon does not answer");
      }
    }
  }

  /** Runs the program to its end. */
  forerun(...args) {
    return spawnSync(PROGRAM, args, { env: this.env, encoding: "utf8" });
  }

  /** Runs the program with further variables, which has to succeed; the lines that it wrote. */
  async program(variables, ...args) {
    const options = { env: { ...this.env, ...variables }, maxBuffer: 1 << 26 };
    const { stdout } = await promisify(execFile)(PROGRAM, args, options);
    return stdout.trim().split("\n");
  }

  /** A new directory. */
  directory(name) {
    const directory = path.join(this.root, name);
    mkdirSync(directory, { recursive: true });
    return directory;
  }

  /** What a host starts. */
  command(...args) {
    return { command: PROGRAM, args: ["mcp", ...args], env: this.env, stderr: "inherit" };
  }

  /** A host: the official client, connected to `forerun mcp`. */
  async host(args, capabilities = {}) {
    const client = new Client({ name: "host", version: "1" }, { capabilities });
    await client.connect(new StdioClientTransport(this.command(...args)));
    return client;
  }

  /** The events of the newest session. */
  events() {
    const listed = this.forerun("session", "list", "--json").stdout.trim().split("\n");
    const { id } = JSON.parse(listed[0]);
    const exported = this.forerun("log", "export", id).stdout.trim().split("\n");
    return exported.map((line) => JSON.parse(line));
  }

  close() {
    this.daemon.kill("SIGKILL");
    rmSync(this.root, { recursive: true, force: true });
  }
}

/** A program that a package brought. */
export function program(name) {
  return path.join(MODULES, ".bin", name);
}

/** What a call said, and whether it failed. */
export function said(result) {
  const text = result.content.map((block) => block.text ?? "").join("\n");
  return { text, failed: result.isError === true };
}
