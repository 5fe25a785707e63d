// An MCP server with one tool, `look_up`, that takes as many milliseconds as the first argument
// says: what hosts wait for when a tool asks another machine.

import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import { StdioServerTransport } from "@modelcontextprotocol/sdk/server/stdio.js";
import { z } from "zod";

const takes = Number(process.argv[2]);
const server = new McpServer({ name: "slow", version: "1" });
server.registerTool(
  "look_up",
  { description: "Looks something up.", inputSchema: { key: z.string() } },
  async ({ key }) => {
    await new Promise((done) => setTimeout(done, takes));
    return { content: [{ type: "text", text: `${key} was looked up` }] };
  },
);
await server.connect(new StdioServerTransport());
