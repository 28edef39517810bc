// The public API, called as the SDK calls it: bearer, idempotency key on every POST, signature for the agent's key.

const settings = document.body.dataset;
export const driver = settings.driver;
export const isSimulated = driver === "simulated";
export const keys = {
  human: { key: settings.apiKey },
  agent: { key: settings.agentKey, secret: settings.agentSecret },
};
const encoder = new TextEncoder();

export class Refused extends Error {
  constructor(status, payload) {
    super(payload.message || `The control plane answered ${status}.`);
    Object.assign(this, { status, payload, code: payload.error || "http_error" });
  }
}

export const hex = (bytes) => Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, "0")).join("");

export async function sha256(bytes) {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
}

// HMAC-SHA256 over `ts.METHOD.path.sha256(body)`: requests and webhook deliveries alike.
export async function mac(secret, ts, method, path, body) {
  const signed = `${ts}.${method}.${path}.${hex(await sha256(encoder.encode(body)))}`;
  const key = await crypto.subtle.importKey("raw", encoder.encode(secret), { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return hex(await crypto.subtle.sign("HMAC", key, encoder.encode(signed)));
}

export async function headers(method, path, body, as) {
  const made = { Authorization: `Bearer ${keys[as].key}`, Accept: "application/json" };
  if (body) made["Content-Type"] = "application/json";
  if (keys[as].secret) {
    const ts = Math.floor(Date.now() / 1000);
    made["Nodus-Signature"] = `v1=${await mac(keys[as].secret, ts, method, path.split("?")[0], body)},ts=${ts}`;
  }
  return made;
}

export async function call(method, path, content, as = "human") {
  const body = content === undefined ? "" : JSON.stringify(content);
  const sent = await headers(method, path, body, as);
  if (method === "POST") sent["Idempotency-Key"] = content?.idempotency_key || crypto.randomUUID();
  const answer = await fetch(path, { method, headers: sent, body: body || undefined, cache: "no-store" });
  const payload = answer.status === 204 ? {} : await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(answer.status, payload);
  return { payload, isReplayed: answer.headers.get("Idempotent-Replayed") === "true" };
}

export const get = async (path, as) => (await call("GET", path, undefined, as)).payload;
export const post = async (path, content = {}, as) => (await call("POST", path, content, as)).payload;
