// Who else makes a machine per agent inside a Node.js server, in both of its generations.
export const agentOs = ["agentos-0.1", "agentos-0.2"];
