// Runs the Rust tests and then the jest tests, even if the first fail. Arguments go to jest.
import { run } from "./step.mjs";

const rust = run("cargo", ["test", "--workspace", "--no-fail-fast"]);
const javascript = run("jest", process.argv.slice(2));
process.exit(rust || javascript);
