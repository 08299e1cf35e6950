// Runs the scenario against gitpod.v1.SecretService by connect-node, and by connect-web in Chromium, in each protocol and
// codec that they speak. It prints a line for each: library, protocol, codec and result, with tabs between them.
//
// GITPOD_BASE_URL is where the service speaks Connect and gRPC-Web, GITPOD_GRPC_URL where it speaks gRPC. GITPOD_API_KEY
// is the token, and GITPOD_PAGE_ORIGIN the web origin that the service lets call.
import type { Interceptor, Transport } from "@connectrpc/connect";
import {
  compressionGzip,
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";

import { inBrowser } from "./browser.js";
import { type Flavour, run } from "./scenario.js";

const [baseUrl, grpcUrl, token] = [setting("GITPOD_BASE_URL"), setting("GITPOD_GRPC_URL"), setting("GITPOD_API_KEY")];

function setting(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set`);
  return value;
}

/** What the transports of connect-node have in common. */
interface Options {
  useBinaryFormat: boolean;
  defaultTimeoutMs: number;
  interceptors: Interceptor[];
  sendCompression?: typeof compressionGzip;
}

const protocols: Record<string, (options: Options) => Transport> = {
  connect: (options) => createConnectTransport({ ...options, baseUrl, httpVersion: "1.1" }),
  "connect GET": (options) => createConnectTransport({ ...options, baseUrl, httpVersion: "1.1", useHttpGet: true }),
  "grpc-web": (options) => createGrpcWebTransport({ ...options, baseUrl, httpVersion: "1.1" }),
  grpc: (options) => createGrpcTransport({ ...options, baseUrl: grpcUrl }),
};

for (const [protocol, open] of Object.entries(protocols)) {
  for (const codec of ["binary", "json"]) {
    const options = { useBinaryFormat: codec === "binary", defaultTimeoutMs: 30_000 };
    const flavour: Flavour = {
      library: "connect-node",
      protocol,
      codec,
      open: (interceptors) => open({ ...options, interceptors }),
      openCompressed: (interceptors) => open({ ...options, interceptors, sendCompression: compressionGzip }),
    };
    console.log([flavour.library, protocol, codec, await run(flavour, token)].join("\t"));
  }
}
for (const line of await inBrowser(process.env.GITPOD_PAGE_ORIGIN, baseUrl, token)) {
  console.log(line.join("\t"));
}
// Idle connections would keep the program running.
process.exit();
