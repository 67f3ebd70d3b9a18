// Runs one contender in one metric, in a separate process: `node contend.mjs METRIC CONTENDER` prints the result as
// JSON, or the reason why there is none.
import { metrics } from "./metrics/index.mjs";

const [metric, name] = process.argv.slice(2);

async function measured() {
  try {
    return await metrics[metric].measure(await import(`./contenders/${name}.mjs`));
  } catch (error) {
    console.error(error);
    // For a missing package, Node.js also names the module that requires it. That part is removed.
    return { failed: String(error?.message ?? error).replace(/( imported from .*)?(\n[^]*)?$/, "") };
  }
}

process.stdout.write(JSON.stringify(await measured()), () => {
  // node-pty, sandbox-runtime and agentOS keep handles open, which would keep Node.js running.
  process.exit(0);
});
