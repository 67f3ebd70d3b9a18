/** @module agent-vm/client */
export * from "../../dist/rivetkit/client.mjs";
