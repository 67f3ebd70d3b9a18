// One contender in one metric, in a process of its own: `node contend.mjs METRIC CONTENDER` prints the result as JSON.
import { metrics } from "./metrics/index.mjs";

const [metric, name] = process.argv.slice(2);
const contender = await import(`./contenders/${name}.mjs`);
const result = await metrics[metric].measure(contender);
process.stdout.write(JSON.stringify(result), () => {
  // node-pty and sandbox-runtime keep things open that would keep Node.js alive.
  process.exit(0);
});
