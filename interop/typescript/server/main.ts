// gitpod.v1.SecretService in memory by connect-node, for clients to be tried with. Node's servers without TLS speak either
// HTTP/1.1 or HTTP/2, so there are two: the first speaks Connect and gRPC-Web, the second gRPC as well. It prints the URL
// of each on a line, and ends when its standard input does. GITPOD_API_KEY is the token that it accepts.
import { once } from "node:events";
import http from "node:http";
import http2 from "node:http2";
import type { AddressInfo } from "node:net";

import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { createValidateInterceptor } from "@connectrpc/validate";

import { SecretService } from "../gen/gitpod/v1/secret_pb.js";
import { memory } from "./memory.js";

const authorization = `Bearer ${process.env.GITPOD_API_KEY}`;

const authenticate: Interceptor = (next) => (request) => {
  if (request.header.get("Authorization") !== authorization) {
    throw new ConnectError("no such token", Code.Unauthenticated);
  }
  return next(request);
};

const service = memory();
const handler = connectNodeAdapter({
  routes: (router) => router.service(SecretService, service),
  interceptors: [authenticate, createValidateInterceptor()],
});
for (const server of [http.createServer(handler), http2.createServer(handler)]) {
  await once(server.listen(0, "127.0.0.1"), "listening");
  console.log(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
}
await once(process.stdin.resume(), "end");
process.exit();
