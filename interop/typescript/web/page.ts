// Runs the scenario by connect-web in each protocol and codec that it speaks, and shows what passes. The service must
// allow the origin of this page.
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";

import { type Flavour, run } from "../scenario.js";

/** The ways to call. Requests are not compressed, as browsers offer it to no program. */
function flavours(baseUrl: string): Flavour[] {
  return ["binary", "json"].flatMap((codec) => {
    const options = { baseUrl, useBinaryFormat: codec === "binary", defaultTimeoutMs: 30_000 };
    const open: Record<string, Flavour["open"]> = {
      connect: (interceptors) => createConnectTransport({ ...options, interceptors }),
      "connect GET": (interceptors) => createConnectTransport({ ...options, interceptors, useHttpGet: true }),
      "grpc-web": (interceptors) => createGrpcWebTransport({ ...options, interceptors }),
    };
    return Object.entries(open).map(([protocol, open]) => ({ library: "connect-web", protocol, codec, open }));
  });
}

const form = document.forms[0]!;
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const entered = new FormData(form);
  const table = document.querySelector("table")!;
  const rows = table.tBodies[0]!;
  rows.replaceChildren();
  for (const flavour of flavours(String(entered.get("url")))) {
    const result = await run(flavour, String(entered.get("token")));
    const row = rows.insertRow();
    for (const text of [flavour.library, flavour.protocol, flavour.codec, result]) {
      row.insertCell().textContent = text;
    }
  }
  table.dataset["done"] = "";
});
