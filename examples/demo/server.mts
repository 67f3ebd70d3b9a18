// The server of the agentOS documentation, with one import changed. It refuses web pages: otherwise a page of any site
// could reach the engine's port from a browser on the same machine.
import { agentOs } from "agent-vm/rivetkit";
import { setup } from "rivetkit";

const vm = agentOs({
  options: {},
  onBeforeConnect: (c) => {
    // Browsers send the page's origin; other clients do not.
    if (c.request?.headers.has("origin")) throw new Error("The demo's actors are not for web pages");
  },
});

export const registry = setup({ use: { vm }, noWelcome: true });
registry.start();
