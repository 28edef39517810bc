// The Trust Ledger: rows as they land, verified here, and tampered with in a copy.

import { $, does, fail, h, keyed, plural, short, text } from "./dom.js";
import { NO_CRYPTO, get } from "./api.js";
import { allEntries, on, world } from "./world.js";
import { tamper, verify } from "./proof.js";
import { telling } from "./run.js";

let forged = null; // this tab's altered copy: { seq, copy, said }

export function setUp() {
	does($("verify"), check);
	$("tamper").onsubmit = (event) => {
		event.preventDefault();
		forge().catch(fail);
	};
	$("restore").onclick = () => {
		forged = null;
		check();
	};
	on("ledger anew", render);
	on("anew", () => {
		forged = null;
		$("report").replaceChildren();
	});
}

function render() {
	const tail = forged?.copy.slice(-200) ?? world.tail;
	const more = forged ? (world.tail.at(-1)?.seq ?? 0) - forged.copy.length : 0;
	$("paused").hidden = !forged;
	text($("paused"), `Paused at this tab’s altered copy${more > 0 ? `; ${plural(more, "row")} landed since` : ""}. Put it back, and the panel follows again.`);
	text($("rows"), tail.length ? plural(tail.at(-1).seq, "row") : "");
	$("restore").hidden = !forged;
	keyed($("entries"), tail.length ? tail.toReversed() : [null], (entry) => entry && entry.leaf_hash + (forged?.seq === entry.seq), (entry) => {
		if (!entry) return h("tr", "", h("td", { colSpan: 4 }, "Reading…"));
		const [title, detail] = telling(entry);
		return h("tr", forged?.seq === entry.seq ? "bad" : "",
			h("td", "r num", entry.seq),
			h("td", "num", entry.at.slice(11, 19)),
			h("td", "", h("b", "", title), " ", h("small", "", entry.job_id ? `${short(entry.job_id)} ${detail}` : detail)),
			h("td", { className: "num opt", title: entry.leaf_hash }, entry.leaf_hash.slice(0, 8)));
	});
}

async function check() {
	render();
	text($("report"), "Verifying…");
	try {
		if (!crypto.subtle) throw new Error(NO_CRYPTO);
		const checkpoint = await get("/v1/ledger/checkpoint");
		const entries = (forged?.copy ?? (await allEntries())).slice(0, checkpoint.size);
		const seq = forged?.seq ?? entries.length;
		const inclusion = await get(`/v1/ledger/${seq}/proof?size=${checkpoint.size}`);
		const checks = await verify(entries, checkpoint, await get("/v1/ledger/key"), inclusion);
		const isRight = checks.every((each) => each.ok !== false);
		const words = forged ? `In this tab’s copy you changed row ${forged.seq}: ${forged.said}. The ledger itself is untouched. ` : "";
		report(words + (isRight ? `All ${plural(entries.length, "row")} are as they were written.` : "This copy is not what the control plane signed."), checks);
	} catch (error) {
		report(`Not verified: ${error.message}`);
	}
}

function report(words, checks = []) {
	const items = checks.map(({ name, ok, detail }) =>
		h("li", ok ? "good" : ok === false ? "bad" : "", h("b", "", `${ok ? "✓" : ok === false ? "✗" : "?"} ${name}`), " ", h("small", "", detail)));
	$("report").replaceChildren(h("p", "", words), h("ul", "", ...items));
}

async function forge() {
	const entries = await allEntries();
	const seq = Number($("victim").value || (entries.findLast((entry) => entry.kind === "job.settled") ?? entries.at(-1)).seq);
	if (!entries[seq - 1]) return report(`There are rows 1 to ${entries.length}.`);
	forged = { seq, ...(await tamper(entries, seq, $("cunning").value)) };
	return check();
}
