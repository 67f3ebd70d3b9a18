// The server of the agentOS documentation, with one import changed, and closed to web pages: one of any site can reach the
// engine's port on the machine that its browser runs on.
import { agentOs } from "agent-vm/rivetkit";
import { setup } from "rivetkit";

const vm = agentOs({
  options: {},
  onBeforeConnect: (c) => {
    // Browsers say where a page is from, and only they do.
    if (c.request?.headers.has("origin")) throw new Error("The demo's actors are not for web pages");
  },
});

export const registry = setup({ use: { vm }, noWelcome: true });
registry.start();
