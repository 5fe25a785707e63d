// A whole tool component in JavaScript, as an example: sorts the keys of a JSON file.

import { getDirectories } from 'wasi:filesystem/preopens@0.2.12';

const sortKeys = {
  name: 'sort_keys',
  title: 'Sort the keys of a JSON file',
  description:
    'Writes a JSON file again with the keys of all objects in order and an indent of two. ' +
    'Use it before comparing or committing generated JSON. Example: {"path": "package.json"}.',
  inputSchema: JSON.stringify({
    type: 'object',
    properties: { path: { type: 'string', description: 'The file, relative to /workspace.' } },
    required: ['path'],
    additionalProperties: false,
  }),
  annotations: { readOnly: false, destructive: true, idempotent: true, openWorld: false },
  deterministic: true,
  speculation: 'contained',
};

// What the component exports; the name is that of the interface.
export const tools = {
  list: () => [sortKeys],

  call(name, args) {
    // What is thrown is the `error` of the interface's `result`.
    if (name !== sortKeys.name) throw `there is no tool ${name}`;
    // The arguments were checked against the schema already.
    const { path } = JSON.parse(args);
    try {
      return output(sort(path), false);
    } catch (error) {
      return output(`cannot sort ${path}: ${error.payload ?? error.message}`, true);
    }
  },
};

function output(text, isError) {
  return { content: [{ tag: 'text', val: text }], isError };
}

function sort(path) {
  const [workspace] = getDirectories().find(([, name]) => name === '/workspace');
  const file = workspace.openAt({ symlinkFollow: true }, path, {}, { read: true, write: true });
  const before = new TextDecoder('utf-8', { fatal: true }).decode(readAll(file));
  const after = `${JSON.stringify(ordered(JSON.parse(before)), null, 2)}\n`;
  if (after === before) return `${path} is sorted already`;
  file.setSize(0n);
  writeAll(file, new TextEncoder().encode(after));
  return `sorted ${path}`;
}

function ordered(value) {
  if (Array.isArray(value)) return value.map(ordered);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(
    Object.keys(value).sort().map((key) => [key, ordered(value[key])]),
  );
}

function readAll(file) {
  const { size } = file.stat();
  const bytes = new Uint8Array(Number(size));
  let at = 0;
  for (;;) {
    const [chunk, end] = file.read(size - BigInt(at), BigInt(at));
    bytes.set(chunk, at);
    at += chunk.length;
    if (end || at === bytes.length) return bytes.subarray(0, at);
  }
}

function writeAll(file, bytes) {
  for (let at = 0; at < bytes.length; ) {
    at += Number(file.write(bytes.subarray(at), BigInt(at)));
  }
}
