// One scenario against gitpod.v1.SecretService, for Node and for browsers.
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { pathToString } from "@bufbuild/protobuf/reflect";
import { createValidator, pathFromViolationProto } from "@bufbuild/protovalidate";
import { ViolationsSchema } from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";
import { type Client, Code, ConnectError, createClient, type Interceptor, type Transport } from "@connectrpc/connect";

import { CreateSecretRequestSchema, type SecretScope, SecretScopeSchema, SecretService } from "./gen/gitpod/v1/secret_pb.js";

type Api = Client<typeof SecretService>;

/** A library, and how it is to call. */
export interface Flavour {
  library: string;
  protocol: string;
  codec: string;
  /** Opens a transport that sends each call through these interceptors. */
  open: (interceptors: Interceptor[]) => Transport;
  /** The same, with requests compressed by gzip. Absent where the library cannot. */
  openCompressed?: (interceptors: Interceptor[]) => Transport;
}

/** Runs the scenario in a project of its own. Resolves to "ok", or to the step that failed and what was wrong. */
export async function run({ open, openCompressed }: Flavour, token: string): Promise<string> {
  const api = createClient(SecretService, open([bearer(token)]));
  const scope = create(SecretScopeSchema, { scope: { case: "projectId", value: crypto.randomUUID() } });
  const ids: string[] = [];
  const steps: [string, () => Promise<unknown>][] = [
    ["create", async () => ids.push(...(await createThree(api, scope)))],
    ["conflict", () => fails(api.createSecret(environmentVariable(scope)), Code.AlreadyExists)],
    ["list", () => list(api, scope, ids)],
    ["get, update, delete", () => change(api, ids[0] ?? "")],
    ["broken rules", () => brokenRules(api, scope)],
    ["unauthenticated", () => {
      const stranger = createClient(SecretService, open([bearer("unknown")]));
      return fails(stranger.listSecrets({}), Code.Unauthenticated);
    }],
    ["deadline", () => {
      const late = createClient(SecretService, open([bearer(token), tooLate]));
      return fails(late.listSecrets({}, { timeoutMs: 1 }), Code.DeadlineExceeded);
    }],
    ["longest value", () => longestValue(api, scope, "LONGEST")],
  ];
  if (openCompressed) {
    const compressed = createClient(SecretService, openCompressed([bearer(token)]));
    steps.push(["gzip", () => longestValue(compressed, scope, "COMPRESSED")]);
  }
  for (const [name, step] of steps) {
    try {
      await step();
    } catch (error) {
      return `${name}: ${error instanceof Error ? error.message : String(error)}`;
    }
  }
  return "ok";
}

/** Adds the token to each call. */
function bearer(token: string): Interceptor {
  return (next) => (request) => {
    request.header.set("Authorization", `Bearer ${token}`);
    return next(request);
  };
}

/** Holds a call back until its deadline has passed. */
const tooLate: Interceptor = (next) => async (request) => {
  await new Promise((passed) => request.signal.addEventListener("abort", passed));
  return next(request);
};

type NewSecret = MessageInitShape<typeof CreateSecretRequestSchema> & { name: string };

function environmentVariable(scope: SecretScope): NewSecret {
  return {
    name: "DATABASE_URL",
    value: "postgresql://user:pass@localhost:5432/db",
    scope,
    mount: { case: "environmentVariable", value: true },
  };
}

/** Stores an environment variable, a file and a registry login. Resolves to their ids. */
async function createThree(api: Api, scope: SecretScope): Promise<string[]> {
  const requests: NewSecret[] = [
    environmentVariable(scope),
    {
      name: "SSH_KEY",
      value: "-----BEGIN RSA PRIVATE KEY-----\n...",
      scope,
      mount: { case: "filePath", value: "/home/gitpod/.ssh/id_rsa" },
    },
    {
      name: "DOCKER_AUTH",
      value: "username:password",
      scope,
      mount: { case: "containerRegistryBasicAuthHost", value: "https://registry.example.com" },
    },
  ];
  const ids: string[] = [];
  for (const request of requests) {
    // The rules are in the contract, so a client can check them before it sends.
    const broken = brokenBy(request);
    if (broken.length > 0) throw new Error(`protovalidate refuses ${broken.join(", ")}`);
    const { secret } = await api.createSecret(request);
    if (secret?.name !== request.name || !secret.createdAt) throw new Error("another secret came back");
    ids.push(secret.id);
  }
  return ids;
}

/** Reads the secrets of the scope two at a time. */
async function list(api: Api, scope: SecretScope, want: string[]): Promise<void> {
  const ids: string[] = [];
  let token = "";
  do {
    const page = await api.listSecrets({ pagination: { pageSize: 2, token }, filter: { scope } });
    ids.push(...page.secrets.map((secret) => secret.id));
    token = page.pagination?.nextToken ?? "";
  } while (token !== "");
  if (ids.join() !== want.join()) throw new Error(`${ids.length} secrets, or another order, instead of ${want.length}`);
}

/** Reads a value, replaces it, and removes the secret. */
async function change(api: Api, secretId: string): Promise<void> {
  await valueIs(api, secretId, "postgresql://user:pass@localhost:5432/db");
  await api.updateSecretValue({ secretId, value: "changed" });
  await valueIs(api, secretId, "changed");
  await api.deleteSecret({ secretId });
  await fails(api.getSecretValue({ secretId }), Code.NotFound);
}

async function valueIs(api: Api, secretId: string, want: string): Promise<void> {
  const { value } = await api.getSecretValue({ secretId });
  if (value !== want) throw new Error("another value came back");
}

/** Sends a request that breaks three rules. The service names the same rules as protovalidate does here. */
async function brokenRules(api: Api, scope: SecretScope): Promise<void> {
  const request: NewSecret = {
    name: "a-b",
    value: "x".repeat(10_241),
    scope,
    mount: { case: "filePath", value: "relative" },
  };
  const failure = await fails(api.createSecret(request), Code.InvalidArgument);
  const got = failure.findDetails(ViolationsSchema).flatMap(({ violations }) =>
    violations.map(({ field, ruleId }) => {
      const path = field ? pathFromViolationProto(CreateSecretRequestSchema, field) : [];
      return `${pathToString(path)} ${ruleId}`;
    }),
  );
  const want = brokenBy(request);
  if (got.sort().join() !== want.sort().join() || got.length !== 3) {
    throw new Error(`the service names [${got.join()}], protovalidate [${want.join()}]`);
  }
}

const validator = createValidator();

/** The fields and the rules that they break, by protovalidate. */
function brokenBy(request: NewSecret): string[] {
  const result = validator.validate(CreateSecretRequestSchema, create(CreateSecretRequestSchema, request));
  if (result.kind === "error") throw result.error;
  return (result.violations ?? []).map(({ field, ruleId }) => `${pathToString(field)} ${ruleId}`);
}

/** Stores the longest value, in characters of four bytes, and reads it. One more is too long. */
async function longestValue(api: Api, scope: SecretScope, name: string): Promise<void> {
  const value = "😀".repeat(10_240);
  const request: NewSecret = { name, value, scope, mount: { case: "apiOnly", value: true } };
  const { secret } = await api.createSecret(request);
  await valueIs(api, secret?.id ?? "", value);
  await fails(api.createSecret({ ...request, value: `${value}😀` }), Code.InvalidArgument);
}

/** The error of a call, which must have this code. */
async function fails(call: Promise<unknown>, code: Code): Promise<ConnectError> {
  const failure = await call.then(
    () => undefined,
    (reason: unknown) => ConnectError.from(reason),
  );
  if (failure?.code !== code) {
    throw new Error(`${failure ? failure.message : "the call succeeds"} instead of ${Code[code]}`);
  }
  return failure;
}
