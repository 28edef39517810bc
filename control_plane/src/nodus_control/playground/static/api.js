// The public API, called as the SDK calls it: bearer, idempotency key on every POST, signature for the agent's key.

export const settings = document.body.dataset;
export const isSimulated = settings.driver === "simulated";
const encoder = new TextEncoder();

export class Refused extends Error {
	constructor(status, payload) {
		super(payload.message ?? `The control plane answered ${status}.`);
		Object.assign(this, { status, payload, code: payload.error ?? "" });
	}
}

export const hex = (bytes) => Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, "0")).join("");
export const sha256 = async (bytes) => new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));

export const NO_CRYPTO = "Browsers give WebCrypto to 127.0.0.1 and localhost only.";

async function mac(secret, signed) {
	const key = await crypto.subtle.importKey("raw", encoder.encode(secret), { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
	return hex(await crypto.subtle.sign("HMAC", key, encoder.encode(signed)));
}

export const newKey = () => hex(crypto.getRandomValues(new Uint8Array(16)));

// Where commands really run, the page comes without keys. A code from behind the address's # is exchanged for them, once;
// afterwards a cookie does, with a proof from this origin's storage: cookies alone go to every port of the host.
async function enter() {
	const given = new URLSearchParams(location.hash.slice(1));
	const code = given.get("code");
	given.delete("code");
	if (code) history.replaceState(null, "", `#${given}`);
	const headers = { "Content-Type": "application/json" };
	const ask = (proof) => fetch("/_dev/page", { method: "POST", headers, body: JSON.stringify({ code, proof }) });
	let words = "The control plane did not answer, or this browser lets the page keep nothing. Open the printed address again.";
	try {
		const proof = newKey();
		let answer = code && (await ask(proof));
		if (answer?.ok) localStorage.proof = proof;
		else answer = await ask(localStorage.proof ?? proof);
		const content = await answer.json();
		if (answer.ok) return content;
		words = content.message;
	} catch {
		// Nobody answered, or there is no storage.
	}
	document.getElementById("link").textContent = "Locked";
	document.getElementById("away").textContent = words;
	document.getElementById("away").hidden = false;
	onhashchange = () => location.reload();
	return new Promise(() => {});
}

const given = settings.keys ? JSON.parse(settings.keys) : await enter();
const keys = { human: { key: given.human }, agent: { key: given.agent, secret: given.secret } };

export async function call(method, path, content, as = "human", { idempotencyKey = newKey(), ...more } = {}) {
	const { key, secret } = keys[as];
	const body = content && JSON.stringify(content);
	const headers = { Authorization: `Bearer ${key}` };
	if (body) headers["Content-Type"] = "application/json";
	if (method === "POST") headers["Idempotency-Key"] = content?.idempotency_key ?? idempotencyKey;
	if (secret) {
		if (!crypto.subtle) throw new Refused("", { message: NO_CRYPTO });
		const ts = Math.floor(Date.now() / 1000);
		const sum = hex(await sha256(encoder.encode(body ?? "")));
		headers["Nodus-Signature"] = `v1=${await mac(secret, `${ts}.${method}.${path.split("?")[0]}.${sum}`)},ts=${ts}`;
	}
	const answer = await fetch(path, { method, headers, body, cache: "no-store", ...more }).catch(() => {
		throw new Error("The control plane did not answer.");
	});
	if (!answer.ok) throw new Refused(answer.status, await answer.json().catch(() => ({})));
	return answer;
}

// Who does not answer for so long is not there.
export const get = async (path, as) => (await call("GET", path, undefined, as, { signal: AbortSignal.timeout(10_000) })).json();
export const post = async (path, content, as) => (await call("POST", path, content, as)).json();
