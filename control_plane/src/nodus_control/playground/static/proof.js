// Verifying a Trust Ledger: hashes, chain, tree, signature and inclusion, with this browser's own cryptography. Pure.

import { hex, sha256 } from "./api.js";

const encoder = new TextEncoder();
const bytesOf = (text) => Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16));
const fromBase64 = (text) => Uint8Array.from(atob(text), (mark) => mark.charCodeAt(0));

function join(...parts) {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

export const leafHash = (leaf) => sha256(join([0], encoder.encode(leaf)));
const nodeHash = (left, right) => sha256(join([1], left, right));

async function rootOf(hashes) {
  if (!hashes.length) return sha256(new Uint8Array());
  let level = hashes;
  while (level.length > 1) {
    const next = [];
    for (let i = 0; i < level.length; i += 2) {
      next.push(i + 1 < level.length ? await nodeHash(level[i], level[i + 1]) : level[i]);
    }
    level = next;
  }
  return level[0];
}

// RFC 9162, section 2.1.3.2.
async function leadsToRoot(hashed, index, size, siblings, root) {
  let [node, last, computed] = [index, size - 1, hashed];
  for (const sibling of siblings) {
    if (last === 0) return false;
    if (node % 2 || node === last) {
      computed = await nodeHash(sibling, computed);
      while (node && node % 2 === 0) [node, last] = [node >> 1, last >> 1];
    } else computed = await nodeHash(computed, sibling);
    [node, last] = [node >> 1, last >> 1];
  }
  return last === 0 && hex(computed) === hex(root);
}

// Whether the note carries the key's Ed25519 signature; null where this browser cannot tell.
async function isSigned(note, key) {
  const [signedText, lines] = note.split("\n\n");
  const line = lines.split("\n").find((each) => each.startsWith(`— ${key.origin} `));
  if (!line) return false;
  const signature = fromBase64(line.split(" ")[2]).slice(4);
  try {
    const imported = await crypto.subtle.importKey("raw", fromBase64(key.public_key), "Ed25519", false, ["verify"]);
    return await crypto.subtle.verify("Ed25519", imported, signature, encoder.encode(`${signedText}\n`));
  } catch (error) {
    if (error.name === "NotSupportedError") return null;
    throw error;
  }
}

const FIELDS = ["seq", "at", "kind", "job_id", "key_id", "principal_kind", "prev_hash"];
const sorted = (value) =>
  value && typeof value === "object" && !Array.isArray(value)
    ? Object.fromEntries(Object.keys(value).sort().map((name) => [name, sorted(value[name])]))
    : value;
const same = (one, other) => JSON.stringify(sorted(one)) === JSON.stringify(sorted(other));

// The checks, in order: `ok` is true, false or null (could not be made); `row` is where it first fails.
export async function verify(entries, checkpoint, key, inclusion) {
  const hashes = await Promise.all(entries.map((entry) => leafHash(entry.leaf)));
  const check = (name, isRight, said) => {
    const at = entries.findIndex((entry, index) => !isRight(entry, index));
    return { name, ok: at < 0, row: at < 0 ? null : entries[at].seq, detail: at < 0 ? said : `fails at row ${entries[at].seq}` };
  };
  const rows = `${entries.length} row${entries.length === 1 ? "" : "s"}`;
  const root = hex(await rootOf(hashes));
  const signed = await isSigned(checkpoint.note, key);
  const [origin, size, rootText] = checkpoint.note.split("\n");
  const says = origin === key.origin && Number(size) === entries.length && hex(fromBase64(rootText)) === root;
  const index = inclusion.seq - 1;
  const included = await leadsToRoot(hashes[index], index, inclusion.size, inclusion.hashes.map(bytesOf), bytesOf(checkpoint.root_hash));
  return [
    check("Leaf hashes", (entry, at) => entry.leaf_hash === hex(hashes[at]), `SHA-256 of ${rows}`),
    check("Chain", (entry, at) => entry.seq === at + 1 && entry.prev_hash === (at ? entries[at - 1].leaf_hash : "0".repeat(64)), "each row names the one before, no gap"),
    check("Contents", (entry) => {
      const leaf = JSON.parse(entry.leaf);
      return same(leaf.payload, entry.payload) && FIELDS.every((name) => leaf[name] === entry[name]);
    }, "what is shown is what was hashed"),
    { name: "Merkle root", ok: says, row: null, detail: says ? `${root.slice(0, 12)}… as in the checkpoint` : `${root.slice(0, 12)}…, but ${checkpoint.root_hash.slice(0, 12)}… was signed` },
    { name: "Signature", ok: signed, row: null, detail: signed === null ? "this browser has no Ed25519: use nodus ledger verify" : signed ? `Ed25519, ${key.origin}` : "is not the log’s" },
    { name: "Inclusion", ok: included, row: included ? null : inclusion.seq, detail: `row ${inclusion.seq}, ${inclusion.hashes.length} hashes${included ? "" : ": does not lead to the signed root"}` },
  ];
}

// Changes a row in a copy of the ledger. `cunning` 0 changes it alone, 1 its hash too, 2 every hash after it.
export async function tamper(entries, seq, cunning) {
  const copy = structuredClone(entries);
  const entry = copy[seq - 1];
  const leaf = JSON.parse(entry.leaf);
  const [name, value] = Object.entries({ cost_micros: 1, supplier: "nobody", gpu_count: 8, label: "someone else" }).find(
    ([field, other]) => field in leaf.payload && leaf.payload[field] !== other,
  ) ?? ["status", "altered"];
  const before = leaf.payload[name];
  leaf.payload[name] = value;
  entry.payload = leaf.payload;
  entry.leaf = JSON.stringify(leaf);
  if (cunning > 0) entry.leaf_hash = hex(await leafHash(entry.leaf));
  for (let at = seq; cunning > 1 && at < copy.length; at += 1) {
    const later = JSON.parse(copy[at].leaf);
    later.prev_hash = copy[at].prev_hash = copy[at - 1].leaf_hash;
    copy[at].leaf = JSON.stringify(later);
    copy[at].leaf_hash = hex(await leafHash(copy[at].leaf));
  }
  return { copy, said: `${name}: ${JSON.stringify(before) ?? "nothing"} → ${JSON.stringify(value)}` };
}
