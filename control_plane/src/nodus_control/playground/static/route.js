// The route: every supplier with its price and score, why it was not chosen, and a switch that puts it out.

import { $, button, does, fail, h, keyed, plural, say, text, usd } from "./dom.js";
import { post } from "./api.js";
import { on, refresh, world } from "./world.js";

const WHY = {
	tier_not_allowed: "not in the required tiers",
	too_few_gpus: "has too few of this GPU",
	cannot_run: "cannot run this job",
	outage: "out",
	drained: "takes nothing new",
	unreachable: "cannot be asked now",
	already_lost: "lost this job before",
	no_capacity: "turned this job down",
	over_max_cost: "a minute costs more than max_cost_usd",
	over_budget: "more than the key has left",
	above_reserved_rate: "dearer than what was reserved", // in decisions of version 0.1 only
};

let sent = Promise.resolve(); // what was flipped before goes before
const flipped = {}; // by supplier, until the control plane has said so

export function setUp() {
	let outages;
	on("draft job", render);
	does($("outs"), async () => {
		for (const { name } of out()) await setOutage(name, false);
	});
	on("state", () => {
		if (outages !== (outages = JSON.stringify(world.state.suppliers))) refresh("draft job");
		render();
		const names = out().map(({ name }) => name).join(", ");
		$("outs").hidden = !names;
		if (names) text($("outs"), `${plural(out().length, "supplier")} out ✕`);
		Object.assign($("outs"), { title: names, ariaLabel: `End the outage of ${names}` });
	});
}

const out = () => world.state.suppliers.filter((each) => each.outage);

function render() {
	const { state, job, routing, draft, isEditing } = world;
	const ofJob = job && !isEditing;
	const decision = (ofJob && routing) || draft?.routing;
	if (!state || !decision) return;
	text($("route-of"), ofJob ? "as last decided for this run" : "if the job ran now");
	const offers = (name) => decision.candidates.filter((each) => each.supplier === name);
	const price = ({ name }) => offers(name)[0]?.usd_per_gpu_hour ?? 1e9;
	const open = [...new Set(decision.candidates.filter((each) => !each.rejected).map((each) => each.supplier))];
	// By price, so that rows stand still while scores and outages change.
	const rows = [...state.suppliers].sort((a, b) => price(a) - price(b) || a.name.localeCompare(b.name));
	keyed($("suppliers"), rows, ({ name }) => name, makeRow, (row, { name, outage }) => {
		const mine = offers(name);
		const [best] = mine;
		const rank = open.indexOf(name);
		const places = mine.slice(rank ? 0 : 1).map((each) => each.region + (rank >= 0 && each.rejected ? " ✕" : "")).sort((a, b) => b.endsWith("✕") - a.endsWith("✕"));
		const reasons = [...new Set(mine.map((each) => WHY[each.rejected] ?? each.rejected))].join("; ");
		const [, cost, score, why, out] = row.cells;
		row.className = rank < 0 ? "rejected" : rank === 0 && decision.chosen ? "chosen" : "";
		text(cost, best ? usd(best.usd_per_gpu_hour) : "");
		text(score.lastChild, best?.score.toFixed(3) ?? "");
		score.firstChild.style.setProperty("--share", best ? best.score / 1.1 : 0);
		text(why.firstChild, rank < 0 ? reasons || "does not offer this GPU" : verdict(best, rank, decision.chosen, ofJob));
		text(why.lastChild, places.slice(0, 2).join(", ") + (places.length > 2 ? ` +${places.length - 2}` : ""));
		out.firstChild.ariaChecked = flipped[name]?.on ?? outage;
	});
}

function verdict({ region, has_room: hasRoom }, rank, chosen, ofJob) {
	if (rank === 0 && chosen) return `${ofJob ? "chosen" : "would be chosen"}: ${region}`;
	return hasRoom === false ? "full: waited for" : `no. ${rank + 1}`;
}

function makeRow({ name, kind }) {
	const toggle = button("", () => setOutage(name, toggle.ariaChecked === "false"), { role: "switch", className: "switch", ariaLabel: `Simulate a supplier outage: ${name}` });
	return h("tr", {},
		h("th", { scope: "row" }, name, h("small", "", kind)),
		h("td", "r num"),
		h("td", "score", h("i"), h("span", "num")),
		h("td", "why", h("b"), h("small")),
		h("td", "", toggle));
}

export async function setOutage(name, on) {
	const flip = (flipped[name] = { on });
	render();
	sent = sent.then(() => post(`/_dev/suppliers/${name}/outage`, { on })).then(() => say(`${name} is ${on ? "out" : "back"}`), fail);
	await sent;
	await refresh("state draft job");
	if (flipped[name] === flip) delete flipped[name];
	render();
}
