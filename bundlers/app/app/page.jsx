"use client";
import { createClient } from "agent-vm/client";

export default function Page() {
  return <button onClick={() => createClient("http://127.0.0.1:6420")}>{typeof createClient}</button>;
}
