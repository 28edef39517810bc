// The Trust Ledger: rows as they land, verified here, and tampered with in a copy.

import { $, clock, h, keyed, plural, say, short, text } from "./dom.js";
import { get } from "./api.js";
import { allEntries, on, world } from "./world.js";
import { tamper, verify } from "./proof.js";
import { telling } from "./run.js";

let forged = null; // { copy, seq, said }: this tab's altered copy

export function setUp() {
  $("verify").onclick = check;
  $("tamper").onsubmit = (event) => {
    event.preventDefault();
    forge();
  };
  $("restore").onclick = () => {
    forged = null;
    check();
  };
  on("ledger", render);
  on("anew", () => {
    forged = null;
    $("report").replaceChildren();
    render();
  });
  render();
}

function render() {
  text($("rows"), world.size ? plural(world.size, "row") : "");
  $("restore").hidden = !forged;
  const tail = forged ? forged.copy.slice(-200) : world.tail;
  keyed($("entries"), tail.length ? tail.toReversed() : [null], (entry) => (entry ? entry.seq + entry.leaf_hash + entry.leaf.length : 0), (entry) => {
    if (!entry) return h("tr", {}, h("td", { colSpan: 4, className: "empty" }, "Reading the ledger…"));
    const [title, detail] = telling(entry);
    return h("tr", { className: forged?.seq === entry.seq ? "bad" : "" },
      h("td", { className: "r num" }, String(entry.seq)),
      h("td", { className: "num" }, h("time", { dateTime: entry.at }, clock(entry.at))),
      h("td", {}, h("b", {}, title), " ", h("small", {}, [entry.job_id ? `job ${short(entry.job_id)}` : "", detail].filter(Boolean).join(" · "))),
      h("td", { className: "num opt", title: entry.leaf_hash }, entry.leaf_hash.slice(0, 10)));
  });
  if (document.activeElement !== $("victim") && !$("victim").dataset.touched) $("victim").value = String(world.size || "");
}

async function check() {
  render();
  if (!globalThis.crypto?.subtle) return report([], "This browser gives WebCrypto to 127.0.0.1 and localhost only: open the page there.");
  text($("report"), "Verifying…");
  try {
    const checkpoint = await get("/v1/ledger/checkpoint");
    const entries = (forged?.copy ?? (await allEntries())).slice(0, checkpoint.size);
    const seq = Math.min(forged?.seq ?? Number($("victim").value) ?? 0, entries.length) || entries.length;
    const inclusion = await get(`/v1/ledger/${seq}/proof?size=${checkpoint.size}`);
    const checks = await verify(entries, checkpoint, await get("/v1/ledger/key"), inclusion);
    const failed = checks.filter((each) => each.ok === false);
    const verdict = failed.length ? `Not what the control plane signed: ${failed.map((each) => each.name.toLowerCase()).join(", ")}.` : `All ${plural(entries.length, "row")} are as they were written.`;
    report(checks, (forged ? `You changed row ${forged.seq} in this tab’s copy (${forged.said}); the ledger itself is untouched. ` : "") + verdict);
  } catch (error) {
    report([], `Could not verify: ${error.message}`);
  }
  return undefined;
}

function report(checks, words) {
  $("report").replaceChildren(
    h("p", {}, words),
    h("ul", {}, ...checks.map(({ name, ok, detail }) =>
      h("li", { className: ok === null ? "open" : ok ? "good" : "bad" }, h("b", {}, `${ok === null ? "?" : ok ? "✓" : "✗"} ${name}`), " ", h("small", {}, detail)))));
}

async function forge() {
  const seq = Number($("victim").value);
  if (!Number.isInteger(seq) || seq < 1 || seq > world.size) return say(`There are rows 1 to ${world.size}`);
  const { size } = await get("/v1/ledger/checkpoint");
  forged = { seq, ...(await tamper((await allEntries()).slice(0, size), seq, Number($("cunning").value))) };
  return check();
}
