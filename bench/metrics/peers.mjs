// The other package that makes a machine per agent in a Node.js server, in two generations.
export const agentOs = ["agentos-0.1", "agentos-0.2"];
