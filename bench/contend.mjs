// One contender in one metric, in a process of its own: `node contend.mjs METRIC CONTENDER` prints the result as JSON, or
// the reason that there is none.
import { metrics } from "./metrics/index.mjs";

const [metric, name] = process.argv.slice(2);

async function measured() {
  try {
    return await metrics[metric].measure(await import(`./contenders/${name}.mjs`));
  } catch (error) {
    console.error(error);
    // For a missing package, Node.js also names the module that requires it.
    return { failed: String(error?.message ?? error).replace(/( imported from .*)?(\n[^]*)?$/, "") };
  }
}

process.stdout.write(JSON.stringify(await measured()), () => {
  // node-pty, sandbox-runtime and agentOS keep things open that would keep Node.js alive.
  process.exit(0);
});
