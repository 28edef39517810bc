// The job of the form in four languages, ready to paste: nothing else needs to be set. Pure.

import { quoteWord } from "./spec.js";

// A JSON string is a Python string literal too.
const literal = (value) => JSON.stringify(value);

function pythonCall(spec, indent) {
  const values = {
    image: literal(spec.image),
    command: spec.command && `[${spec.command.map(literal).join(", ")}]`,
    gpu: literal(spec.gpu),
    gpu_count: spec.gpu_count,
    env: spec.env && `{${Object.entries(spec.env).map(([name, value]) => `${literal(name)}: ${literal(value)}`).join(", ")}}`,
    max_runtime_seconds: spec.max_runtime_seconds,
    require_tiers: spec.require_tiers && `[${spec.require_tiers.map((tier) => `nodus.SupplierKind.${tier.toUpperCase()}`).join(", ")}]`,
    prefer_region: spec.prefer_region && literal(spec.prefer_region),
    idempotency_key: spec.idempotency_key && literal(spec.idempotency_key),
  };
  const given = Object.entries(values).filter(([, value]) => value !== undefined);
  return given.map(([name, value]) => `${indent}${name}=${value},\n`).join("");
}

function clientArguments({ baseUrl, key, secret }) {
  const given = [`base_url=${literal(baseUrl)}`, `api_key=${literal(key)}`];
  if (secret) given.push(`signing_secret=${literal(secret)}`);
  return given.join(", ");
}

function python(spec, where) {
  return `import nodus

with nodus.Client(${clientArguments(where)}) as client:
    job = client.run(
${pythonCall(spec, "        ")}    )
    job.wait()
    print(job.status, job.supplier, job.cost_usd)
`;
}

function asyncPython(spec, where) {
  return `import asyncio

import nodus


async def main() -> None:
    async with nodus.AsyncClient(${clientArguments(where)}) as client:
        job = await client.run(
${pythonCall(spec, "            ")}        )
        await job.wait()
        print(job.status, job.supplier, job.cost_usd)


asyncio.run(main())
`;
}

function exports({ baseUrl, key, secret }) {
  const signing = secret ? ` NODUS_SIGNING_SECRET=${quoteWord(secret)}` : "";
  return `export NODUS_BASE_URL=${quoteWord(baseUrl)} NODUS_API_KEY=${quoteWord(key)}${signing}\n`;
}

function commandLine(spec, where) {
  const option = (name, value) => `--${name}${String(value).startsWith("-") ? "=" : " "}${quoteWord(String(value))}`;
  const options = [option("image", spec.image), option("gpu", spec.gpu), option("gpu-count", spec.gpu_count)];
  for (const [name, value] of Object.entries(spec.env ?? {})) options.push(option("env", `${name}=${value}`));
  options.push(option("max-runtime-seconds", spec.max_runtime_seconds));
  for (const tier of spec.require_tiers ?? []) options.push(option("require-tier", tier));
  if (spec.prefer_region) options.push(option("prefer-region", spec.prefer_region));
  if (spec.idempotency_key) options.push(option("idempotency-key", spec.idempotency_key));
  options.push("--wait");
  if (spec.command) options.push(`-- ${spec.command.map(quoteWord).join(" ")}`);
  return `${exports(where)}nodus run ${options.join(" \\\n    ")}\n`;
}

function curl(spec, where) {
  const body = quoteWord(JSON.stringify(spec));
  const request = (data, more) => `curl -sS "$NODUS_BASE_URL/v1/jobs" \\
    -H "Authorization: Bearer $NODUS_API_KEY" \\
    -H "Content-Type: application/json" \\
${more}    -d ${data}
`;
  if (!where.secret) return exports(where) + request(body, "");
  return `${exports(where)}body=${body}
ts=$(date +%s)
sum=$(printf %s "$body" | openssl dgst -sha256 -r | cut -d' ' -f1)
mac=$(printf %s "$ts.POST./v1/jobs.$sum" | openssl dgst -sha256 -hmac "$NODUS_SIGNING_SECRET" -r | cut -d' ' -f1)
${request('"$body"', '    -H "Nodus-Signature: v1=$mac,ts=$ts" \\\n')}`;
}

export const LANGUAGES = { python: ["Python", python], async: ["async Python", asyncPython], cli: ["CLI", commandLine], curl: ["curl", curl] };

const TOKENS = /("(?:[^"\\]|\\.)*"|'[^']*')|(#[^\n]*)|\b(import|with|async|await|def|as|print|export|curl|nodus run)\b/g;

// Cuts code into [text, class] for colouring.
export function coloured(code) {
  const parts = [];
  let end = 0;
  for (const match of code.matchAll(TOKENS)) {
    parts.push([code.slice(end, match.index), ""], [match[0], match[1] ? "str" : match[2] ? "com" : "key"]);
    end = match.index + match[0].length;
  }
  return [...parts, [code.slice(end), ""]];
}
