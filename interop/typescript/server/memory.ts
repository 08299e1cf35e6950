import { create, equals, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { DurationSchema, timestampNow } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";

import { type Secret, SecretSchema, type SecretScope, SecretScopeSchema, type SecretService } from "../gen/gitpod/v1/secret_pb.js";

/** The handlers of a service that keeps secrets in memory. Requests have been checked by the rules of the contract. */
export function memory(): ServiceImpl<typeof SecretService> {
  /** By id, the oldest first. */
  const stored = new Map<string, { secret: Secret; value: string }>();
  const refused = new Set<string>();

  function find(id: string): { secret: Secret; value: string } {
    const found = stored.get(id);
    if (!found) throw new ConnectError("secret_id: no such secret", Code.NotFound);
    return found;
  }

  return {
    /** A name that begins with FLAKY is refused once, as by a service under load. */
    createSecret({ name, value, scope, mount }) {
      if (name.startsWith("FLAKY") && !refused.has(name)) {
        refused.add(name);
        throw tooManyCalls(10);
      }
      for (const { secret } of stored.values()) {
        if (secret.name === name && isSame(secret.scope, scope)) {
          throw new ConnectError("name: is taken in this scope", Code.AlreadyExists);
        }
      }
      const now = timestampNow();
      const secret = create(SecretSchema, { id: crypto.randomUUID(), name, mount, createdAt: now, updatedAt: now });
      if (scope) secret.scope = scope;
      stored.set(secret.id, { secret, value });
      return { secret };
    },

    updateSecretValue({ secretId, value }) {
      find(secretId).value = value;
      return {};
    },

    /** The token of a page is the number of secrets before it. */
    listSecrets({ pagination, filter }) {
      const secrets = [...stored.values()].map(({ secret }) => secret);
      const found = filter?.scope ? secrets.filter((secret) => isSame(secret.scope, filter.scope)) : secrets;
      const start = Number(pagination?.token ?? "");
      const end = start + (pagination?.pageSize || 25);
      return { secrets: found.slice(start, end), pagination: { nextToken: end < found.length ? String(end) : "" } };
    },

    deleteSecret({ secretId }) {
      find(secretId);
      stored.delete(secretId);
      return {};
    },

    getSecretValue({ secretId }) {
      return { value: find(secretId).value };
    },
  };
}

function isSame(one: SecretScope | undefined, other: SecretScope | undefined): boolean {
  return one && other ? equals(SecretScopeSchema, one, other) : one === other;
}

/** UNAVAILABLE, with the milliseconds to wait in a google.rpc.RetryInfo. It is written by hand, to need no stubs. */
function tooManyCalls(wait: number): ConnectError {
  const delay = toBinary(DurationSchema, create(DurationSchema, { nanos: wait * 1_000_000 }));
  const retryInfo = new BinaryWriter().tag(1, WireType.LengthDelimited).bytes(delay).finish();
  const failure = new ConnectError("too many calls", Code.Unavailable);
  failure.details.push({ type: "google.rpc.RetryInfo", value: retryInfo });
  return failure;
}
