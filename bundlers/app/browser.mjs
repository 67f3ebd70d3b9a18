import { createClient } from "agent-vm/client";
globalThis.createClient = createClient;
