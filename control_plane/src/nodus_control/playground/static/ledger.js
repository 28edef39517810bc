// The Trust Ledger: rows as they land, verified here, and tampered with in a copy.

import { $, h, keyed, plural, short, text } from "./dom.js";
import { NO_CRYPTO, get } from "./api.js";
import { allEntries, on, world } from "./world.js";
import { tamper, verify } from "./proof.js";
import { telling } from "./run.js";

let forged = null; // this tab's altered copy: { seq, copy, said }

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
	on("ledger anew", render);
	on("anew", () => {
		forged = null;
		$("report").replaceChildren();
	});
}

function render() {
	const tail = forged?.copy.slice(-200) ?? world.tail;
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
	if (!crypto.subtle) return report(NO_CRYPTO);
	text($("report"), "Verifying…");
	try {
		const checkpoint = await get("/v1/ledger/checkpoint");
		const entries = (forged?.copy ?? (await allEntries())).slice(0, checkpoint.size);
		const seq = forged?.seq ?? (Number($("victim").value) || entries.length);
		const inclusion = await get(`/v1/ledger/${seq}/proof?size=${checkpoint.size}`);
		const checks = await verify(entries, checkpoint, await get("/v1/ledger/key"), inclusion);
		const isRight = checks.every((each) => each.ok !== false);
		const words = forged ? `In this tab’s copy you changed row ${forged.seq}: ${forged.said}. The ledger itself is untouched. ` : "";
		report(words + (isRight ? `All ${plural(entries.length, "row")} are as they were written.` : "This copy is not what the control plane signed."), checks);
	} catch (error) {
		report(`Not verified: ${error.message}`);
	}
	return undefined;
}

function report(words, checks = []) {
	const items = checks.map(({ name, ok, detail }) =>
		h("li", ok ? "good" : ok === false ? "bad" : "", h("b", "", `${ok ? "✓" : ok === false ? "✗" : "?"} ${name}`), " ", h("small", "", detail)));
	$("report").replaceChildren(h("p", "", words), h("ul", "", ...items));
}

async function forge() {
	const { size } = await get("/v1/ledger/checkpoint");
	const seq = Number($("victim").value || (world.tail.findLast((entry) => entry.kind === "job.settled")?.seq ?? size));
	if (!Number.isInteger(seq) || seq < 1 || seq > size) return report(`There are rows 1 to ${size}.`);
	forged = { seq, ...(await tamper((await allEntries()).slice(0, size), seq, $("cunning").value)) };
	return check();
}
