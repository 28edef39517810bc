// The agent's budget: its cap, which is set here, its month, which jobs wait for it, and what webhooks tell of it.

import { $, button, h, keyed, plural, say, short, text, usd } from "./dom.js";
import { get } from "./api.js";
import { show } from "./panels.js";
import { act, emit, on, task, world } from "./world.js";

export function setUp() {
	let shown; // the cap in the form, lest what is typed be undone
	task("budget", async () => {
		const key = (world.agent = await get("/v1/key", "agent"));
		const cap = key.monthly_spend_cap_usd;
		const limit = cap == null ? "no cap" : usd(cap);
		const used = key.month_to_date_usd;
		const parts = { spent: key.realised_usd, reserved: key.in_flight_usd, left: key.headroom_usd };
		if (shown !== cap) {
			if (shown !== undefined) say(`The agent’s cap: ${limit}`);
			$("new-cap").value = shown = cap;
		}
		text($("cap"), `${limit} until ${key.resets_at.slice(0, 10)}`);
		Object.values(parts).slice(0, 2).forEach((part, at) => $("bar").children[at].style.setProperty("--share", cap ? part / Math.max(cap, used) : 0));
		Object.assign($("bar"), { ariaValueMax: cap ?? 0, ariaValueNow: used, ariaValueText: `${usd(used)} of ${limit}` });
		$("figures").replaceChildren(...Object.entries(parts).map(([name, part]) => h("div", { className: name }, h("dt", "", name), h("dd", "num", usd(part)))));
		emit("budget");
	});
	$("capping").onsubmit = (event) => {
		event.preventDefault();
		const given = $("new-cap").value.trim().replace(/^\$/, "");
		// What is no number is the control plane's to refuse.
		act("budget state", "/_dev/cap", { monthly_spend_cap_usd: given === "" ? null : isFinite(given) ? Number(given) : given });
	};
	on("state", showWaiting);
	on("hooks", showTold);
}

function showWaiting() {
	const waiting = world.state.waiting_for_budget;
	text($("no-waiting"), waiting.length ? "" : "None.");
	keyed($("waiting"), waiting, (each) => each.job_id, ({ job_id: id }) => {
		say(`Job ${short(id)} waits for budget`);
		return h("li", "", button(short(id), () => show(id), { className: "pick num", title: id }), " ", h("span"));
	}, (item, { detail }) => text(item.lastChild, detail));
}

function telling({ type, data }) {
	const used = `${usd(data.month_to_date_usd)} of ${usd(data.monthly_spend_cap_usd)}`;
	if (type === "budget.threshold_reached") return `${used} is spent or reserved`;
	return `${data.job_id ? `${short(data.job_id)} waits: it needs` : "refused: a job of up to"} ${usd(data.estimated_cost_usd)}, with ${used} used`;
}

function showTold() {
	const about = world.received.filter(({ event }) => event?.type.startsWith("budget."));
	const events = [...new Map(about.map((each) => [each.event.id, each])).values()].slice(-5).reverse();
	text($("no-told"), events.length ? "" : world.isRegistered ? "None yet." : "Register the inbox, and they come here too.");
	keyed($("told"), events, ({ event }) => event.id, ({ event, signature_valid: isValid }) =>
		h("li", "", h("time", "num", event.created_at.slice(11, 19)), " ", h("b", "", event.type), " ", h("span", "", telling(event)), isValid ? "" : " ✗ signature wrong"));
}
