// The page: shows a shell of an actor's VM in xterm.js. The page's address names the shell (`#my-agent/shell-1`), so
// that a reload, or another browser, shows the same shell with its history.
import { FitAddon } from "@xterm/addon-fit";
import { Terminal } from "@xterm/xterm";
import { createClient } from "agent-vm/client";
import type { registry } from "./server.mjs";
import "@xterm/xterm/css/xterm.css";
import "./page.css";

const meta = (name: string): string => document.querySelector<HTMLMetaElement>(`meta[name=${name}]`)?.content ?? "";
const endpoint = meta("rivet-endpoint");
const element = (id: string): HTMLElement => {
  const found = document.getElementById(id);
  if (!found) throw new Error(`The page has no #${id}`);
  return found;
};
const [name = "my-agent", wanted] = (location.hash.slice(1) || "my-agent").split("/");
const params = { token: meta("agent-token") };
const agent = createClient<typeof registry>({ endpoint, devtools: false }).vm.getOrCreate([name], { params });

const terminal = new Terminal({
  cursorBlink: true,
  fontFamily: '"DejaVu Sans Mono", ui-monospace, Menlo, Consolas, monospace',
  fontSize: 14,
  lineHeight: 1.15,
  scrollback: 10_000,
  theme: {
    background: "#0d1017",
    foreground: "#c8d0dc",
    cursor: "#ffb454",
    selectionBackground: "#2b3a55",
    black: "#1c232f",
    red: "#f07178",
    green: "#7fd962",
    yellow: "#ffb454",
    blue: "#59c2ff",
    magenta: "#d2a6ff",
    cyan: "#95e6cb",
    white: "#c8d0dc",
    brightBlack: "#5c6773",
  },
});
const fit = new FitAddon();
terminal.loadAddon(fit);
terminal.open(element("terminal"));
fit.fit();
terminal.focus();

let shellId: string | undefined;
/** The position of the next byte to show; unknown while the history is being read. */
let next: number | undefined;
/** Output that arrived while the history was being read. */
let early: { data: Uint8Array; seq: number }[] = [];
/** While replaying, xterm.js would answer terminal queries of earlier programs, which no longer wait for answers. */
let replaying = false;

function show({ data, seq }: { data: Uint8Array; seq: number }): void {
  if (next === undefined) {
    early.push({ data, seq });
    return;
  }
  if (seq + data.byteLength <= next) return;
  terminal.write(data.subarray(Math.max(0, next - seq)));
  next = seq + data.byteLength;
}

// Subscribed before the history is read, so that no output is missed in between.
agent.on("shellData", (event) => {
  if (event.shellId === shellId) show(event);
});
agent.on("shellExit", (event) => {
  if (event.shellId === shellId) ended(event.exitCode);
});

function ended(exitCode: number): void {
  shellId = undefined;
  status("bad", "ended");
  terminal.write(`\r\n\x1b[2m[exited with ${exitCode}: press Enter for a new shell]\x1b[0m`);
}

/** Shows a shell from its first kept byte on. */
async function attach(id: string): Promise<void> {
  shellId = id;
  next = undefined;
  early = [];
  const { data, nextSeq, exited } = await agent.readShell(id);
  replaying = true;
  terminal.reset();
  terminal.write(data, () => (replaying = false));
  next = nextSeq;
  for (const event of early.splice(0)) show(event);
  location.replace(`#${name}/${id}`);
  document.title = element("title").textContent = `${name} · ${id}`;
  if (exited) return ended(exited.exitCode);
  await resize();
  status("good", "connected");
}

async function start(id?: string): Promise<void> {
  try {
    // A shell ends with its VM, so it may no longer exist.
    const known = id !== undefined && (await agent.listShells()).some((shell) => shell.shellId === id);
    await attach(known ? id : (await agent.openShell({ cols: terminal.cols, rows: terminal.rows })).shellId);
    const { stdout } = await agent.exec('echo "$(uname -s) · $(id -un)@$(hostname) · node $(node --version)"');
    element("about").textContent = stdout;
  } catch (error) {
    status("bad", error instanceof Error ? error.message : String(error));
  }
}

async function resize(): Promise<void> {
  element("size").textContent = `${terminal.cols}×${terminal.rows}`;
  if (shellId !== undefined) await send(agent.resizeShell(shellId, terminal.cols, terminal.rows));
}

/** Shows the connection's state if a call takes longer than a second. */
async function send(call: Promise<void>): Promise<void> {
  const late = setTimeout(() => status("wait", "reconnecting…"), 1000);
  try {
    await call;
    if (shellId !== undefined) status("good", "connected");
  } catch (error) {
    // If a shell has exited, its exit event shows that.
    if (shellId !== undefined) status("bad", error instanceof Error ? error.message : String(error));
  } finally {
    clearTimeout(late);
  }
}

function status(lamp: "good" | "wait" | "bad", text: string): void {
  element("lamp").className = `lamp ${lamp}`;
  element("status").textContent = text;
}

terminal.onData((data) => {
  if (replaying) return;
  if (shellId !== undefined) void send(agent.writeShell(shellId, data));
  else if (data === "\r") void start();
});
terminal.onBinary((data) => {
  const bytes = Uint8Array.from(data, (character) => character.charCodeAt(0));
  if (shellId !== undefined && !replaying) void send(agent.writeShell(shellId, bytes));
});
terminal.onResize(() => void resize());
new ResizeObserver(() => fit.fit()).observe(element("terminal"));

void start(wanted);
