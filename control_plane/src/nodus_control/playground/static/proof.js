// Verifying a Trust Ledger: hashes, chain, tree, signature and inclusion, with this browser's own cryptography. Pure.

import { hex, sha256 } from "./api.js";

const encoder = new TextEncoder();
const fromHex = (text) => Uint8Array.from(text.match(/../g), (pair) => parseInt(pair, 16));
const fromBase64 = (text) => Uint8Array.from(atob(text), (mark) => mark.charCodeAt(0));
const leafHash = (leaf) => sha256(Uint8Array.of(0, ...encoder.encode(leaf)));
const nodeHash = (left, right) => sha256(Uint8Array.of(1, ...left, ...right));

async function rootOf(hashes) {
	let level = hashes;
	while (level.length > 1) {
		const next = [];
		for (let i = 0; i < level.length; i += 2) next.push(level[i + 1] ? nodeHash(level[i], level[i + 1]) : level[i]);
		level = await Promise.all(next);
	}
	return level[0];
}

// RFC 9162, section 2.1.3.2.
async function leadsToRoot(leaf, { seq, size, hashes }, root) {
	let [node, last, computed] = [seq - 1, size - 1, leaf];
	for (const sibling of hashes.map(fromHex)) {
		if (last === 0) return false;
		if (node % 2 || node === last) {
			computed = await nodeHash(sibling, computed);
			while (node && node % 2 === 0) [node, last] = [node >> 1, last >> 1];
		} else computed = await nodeHash(computed, sibling);
		[node, last] = [node >> 1, last >> 1];
	}
	return last === 0 && hex(computed) === root;
}

// Whether the key's Ed25519 signature is on the note; null where this browser cannot tell.
async function isSigned(note, key) {
	const [signed, lines] = note.split("\n\n");
	const line = lines.split("\n").find((each) => each.startsWith(`— ${key.origin} `));
	if (!line) return false;
	try {
		const imported = await crypto.subtle.importKey("raw", fromBase64(key.public_key), "Ed25519", false, ["verify"]);
		return await crypto.subtle.verify("Ed25519", imported, fromBase64(line.split(" ")[2]).slice(4), encoder.encode(`${signed}\n`));
	} catch (error) {
		if (error.name === "NotSupportedError") return null;
		throw error;
	}
}

// The checks, in order: `ok` is true, false, or null where it could not be made.
export async function verify(entries, checkpoint, key, inclusion) {
	const hashes = await Promise.all(entries.map((entry) => leafHash(entry.leaf)));
	const root = hex(await rootOf(hashes));
	const [origin, size, signedRoot] = checkpoint.note.split("\n");
	const isRoot = origin === key.origin && Number(size) === entries.length && hex(fromBase64(signedRoot)) === root;
	const signed = await isSigned(checkpoint.note, key);
	const ofRows = (name, said, isRight) => {
		const wrong = entries.find((entry, at) => !isRight(entry, at));
		return { name, ok: !wrong, detail: wrong ? `wrong at row ${wrong.seq}` : said };
	};
	return [
		ofRows("Leaf hashes", "SHA-256 of every row", (entry, at) => entry.leaf_hash === hex(hashes[at])),
		ofRows("Chain", "each row names the one before", (entry, at) => entry.seq === at + 1 && entry.prev_hash === (entries[at - 1]?.leaf_hash ?? "0".repeat(64))),
		ofRows("Contents", "what is shown is what was hashed", ({ leaf, leaf_hash: _, ...shown }) => {
			const hashed = JSON.parse(leaf);
			return Object.keys(shown).every((name) => JSON.stringify(hashed[name]) === JSON.stringify(shown[name]));
		}),
		{ name: "Merkle root", ok: isRoot, detail: isRoot ? `${root.slice(0, 12)}… of ${size} rows` : `${root.slice(0, 12)}… is not the signed ${checkpoint.root_hash.slice(0, 12)}…` },
		{ name: "Signature", ok: signed, detail: signed === null ? "this browser has no Ed25519" : `Ed25519 of ${key.origin}` },
		{ name: "Inclusion", ok: await leadsToRoot(hashes[inclusion.seq - 1], inclusion, checkpoint.root_hash), detail: `row ${inclusion.seq} by ${inclusion.hashes.length} hashes` },
	];
}

// Changes a row of a copy. `cunning` 0 changes it alone, 1 its hash too, 2 every hash after it.
export async function tamper(entries, seq, cunning) {
	const copy = structuredClone(entries);
	const rewrite = async (entry, change, isRehashed) => {
		const leaf = JSON.parse(entry.leaf);
		change(leaf);
		Object.assign(entry, { leaf: JSON.stringify(leaf), payload: leaf.payload, prev_hash: leaf.prev_hash });
		if (isRehashed) entry.leaf_hash = hex(await leafHash(entry.leaf));
	};
	let said = "";
	await rewrite(copy[seq - 1], ({ payload }) => {
		const name = ["cost_micros", "supplier", "gpu_count", "label"].find((each) => payload[each]) ?? "status";
		const forged = typeof payload[name] === "number" ? payload[name] + 1 : "forged";
		said = `${name} from ${payload[name] ?? "nothing"} to ${forged}`;
		payload[name] = forged;
	}, cunning > 0);
	for (let at = seq; cunning > 1 && at < copy.length; at += 1) {
		await rewrite(copy[at], (leaf) => (leaf.prev_hash = copy[at - 1].leaf_hash), true);
	}
	return { copy, said };
}
