/** @module agent-vm */
export * from "../../index.js";
