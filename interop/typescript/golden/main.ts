// Checks the vectors of a folder, ../golden if none is given, with protobuf-es and protovalidate-es. It prints a line for
// the messages and one for the rules: library, what was checked, codecs and result, with tabs between them.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";

import {
  createRegistry,
  type DescMessage,
  fromBinary,
  fromJson,
  type JsonValue,
  type Message,
  toBinary,
  toJson,
} from "@bufbuild/protobuf";
import { base64Decode } from "@bufbuild/protobuf/wire";
import { pathToString } from "@bufbuild/protobuf/reflect";
import { createValidator } from "@bufbuild/protovalidate";

import { file_gitpod_v1_secret } from "../gen/gitpod/v1/secret_pb.js";

/** An entry of either file. The README of the folder says what it has. */
interface Vector {
  name: string;
  type: string;
  json: JsonValue;
  binary: string;
  other_json?: JsonValue[];
  other_binary?: string[];
  violations: string[];
}

const folder = process.argv[2] ?? "../golden";
const registry = createRegistry(file_gitpod_v1_secret);
const validator = createValidator();

/** "ok", or what differs in the first vector that does, and how many do. */
function check(file: string, differs: (vector: Vector, type: DescMessage) => string): string {
  const vectors: Vector[] = JSON.parse(readFileSync(join(folder, file), "utf8"));
  const failures = vectors.flatMap((vector) => {
    const type = registry.getMessage(vector.type);
    const found = type ? attempt(() => differs(vector, type)) : "no such type";
    return found ? [`${vector.name}: ${found}`] : [];
  });
  if (vectors.length === 0) return "no vectors";
  return failures.length > 0 ? `${failures.length} of ${vectors.length} differ: ${failures[0]}` : "ok";
}

function attempt(differs: () => string): string {
  try {
    return differs();
  } catch (error) {
    return String(error);
  }
}

/** Reads and writes a message in each of its forms. */
function messageDiffers(vector: Vector, type: DescMessage): string {
  const hasJson = (form: string): boolean =>
    isDeepStrictEqual(toJson(type, fromBinary(type, base64Decode(form))), vector.json);
  const written = (read: Message): string => Buffer.from(toBinary(type, read)).toString("base64");
  const want = written(fromBinary(type, base64Decode(vector.binary)));

  if (!hasJson(vector.binary)) return "binary: has another JSON form";
  if (!(vector.other_binary ?? []).every(hasJson)) return "other_binary: has another JSON form";
  if (written(fromJson(type, vector.json)) !== want) return "json: has another binary form";
  const others = (vector.other_json ?? []).map((form) => written(fromJson(type, form)));
  return others.every((binary) => binary === want) ? "" : "other_json: has another binary form";
}

/** Reads an input and looks for the rules that it breaks. */
function rulesDiffer(vector: Vector, type: DescMessage): string {
  const result = validator.validate(type, fromJson(type, vector.json));
  if (result.kind === "error") throw result.error;
  const found = (result.violations ?? []).map(({ field, ruleId }) => `${pathToString(field)} ${ruleId}`).sort();
  return isDeepStrictEqual(found, vector.violations) ? "" : `breaks [${found.join(", ")}]`;
}

console.log(["protobuf-es", "golden messages", "binary+json", check("messages.json", messageDiffers)].join("\t"));
console.log(["protovalidate-es", "golden rules", "json", check("rules.json", rulesDiffer)].join("\t"));
