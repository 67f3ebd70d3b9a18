/** @module agent-vm/rivetkit */
export * from "../../dist/rivetkit/index.mjs";
