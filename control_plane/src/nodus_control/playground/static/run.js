// The run: its states as they come, the card of eight fields, and what happened, row by row of the ledger.

import { $, does, duration, h, keyed, none, say, text, usd } from "./dom.js";
import { setOutage } from "./route.js";
import { act, now, on, world } from "./world.js";

const STEPS = ["queued", "placed", "running", "completed"];
const CARD = {
	id: (job) => job.id,
	status: (job) => job.status,
	supplier: (job) => job.supplier,
	region: (job) => job.region,
	duration: (job) => (isRunning(job) ? `${duration(Math.max(0, now() - Date.parse(job.started_at)) / 1000)} …` : duration(job.duration_s)),
	cost_usd: (job) => usd(job.cost_usd),
	"vs retail": (job) => usd(job.retail_cost_usd),
	"you saved": (job) => usd(job.saved_usd) + (job.saved_usd && job.retail_cost_usd ? ` (${Math.round((100 * job.saved_usd) / job.retail_cost_usd)} %)` : ""),
};

const since = (first, at) => duration((Date.parse(at) - Date.parse(first)) / 1000);
const ENDS = ["completed", "failed", "cancelled"];
const isOver = (job) => ENDS.includes(job.status);
let told; // last, to screen readers
const isRunning = (job) => job.status === "running" && job.started_at && world.state;

export function setUp() {
	$("track").append(...STEPS.map(() => h("li")));
	$("card").append(...Object.keys(CARD).map((name) => h("div", "", h("dt", "", name), h("dd", "num"))));
	does($("cancel"), () => act("job jobs", `/v1/jobs/${world.job.id}/cancel`));
	does($("down"), () => setOutage(world.job.supplier, true));
	on("job", render);
	on("job state", offerOutage);
	setInterval(tick, 200);
	render();
}

// One click, where the job is seen: what takes its supplier away.
function offerOutage() {
	const { job, state } = world;
	const isUp = job && !isOver(job) && state?.suppliers.some((each) => each.name === job.supplier && !each.outage);
	$("down").hidden = !isUp;
	if (isUp) text($("down"), `Take ${job.supplier} down`);
}

function tick() {
	[...$("card").children].forEach((cell) => text(cell.lastChild, (world.job && CARD[cell.firstChild.textContent](world.job)) || none));
}

function render() {
	const { job, history } = world;
	text($("whose"), job ? `${job.simulated ? "simulated: " : ""}${job.gpu_count} × ${job.gpu}, ${job.image}` : "");
	const named = [job?.name, ...Object.entries(job?.labels ?? {}).map(([key, value]) => (value ? `${key}=${value}` : key))].filter(Boolean);
	text($("named"), named.join(" · "));
	$("named").hidden = !named.length;
	$("cancel").hidden = !job || isOver(job);
	const reached = job ? (isOver(job) ? 3 : STEPS.indexOf(job.status)) : -1;
	[...$("track").children].forEach((step, at) => {
		const status = at === 3 && reached === 3 ? job.status : STEPS[at];
		const isSkipped = job && isOver(job) && ((at === 1 && !job.supplier) || (at === 2 && !job.started_at));
		step.className = `is-${status} ${at <= reached && !isSkipped ? "on" : ""} ${at === reached && at < 3 ? "here" : ""}`;
		step.ariaCurrent = at === reached && "step";
		text(step, status);
	});
	const phase = job?.phase?.replaceAll("_", " ");
	text($("phase"), phase ? phase[0].toUpperCase() + phase.slice(1) + (job.phase_detail ? `: ${job.phase_detail}` : "") : "");
	$("card").children[1].lastChild.className = `num is-${job?.status}`;
	tick();
	if (told !== (told = job ? `Job ${job.status}${job.supplier ? ` at ${job.supplier}, ${job.region}` : ""}${phase ? `, ${phase}` : ""}` : "")) say(told);
	const list = $("timeline");
	const isAtEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
	const shown = history.filter((entry) => /^job|attempt\.(opened|ended)/.test(entry.kind) && !ENDS.includes(entry.payload.outcome));
	keyed(list, shown.length ? shown : [null], (entry) => entry?.seq ?? Boolean(job), (entry) => {
		if (!entry) return h("li", "empty", job ? "…" : "Placement, attempts, failover and settlement are written here as they happen.");
		const [title, told, look] = telling(entry);
		return h("li", `is-${look}`,
			h("time", "num", since(shown[0].at, entry.at)),
			h("div", "", h("b", "", title), " ", h("span", "", told)),
			h("small", "num", `#${entry.seq}`));
	}, (item, entry) => {
		if (entry?.payload.status === "failed") text(item.querySelector("span"), job.error_message ?? none);
	});
	if (isAtEnd) list.scrollTop = list.scrollHeight;
}

// What a row of the ledger says, for people: title, detail, look.
export function telling({ kind, payload: it }) {
	const micros = (value) => usd(value && value / 1e6);
	const told = {
		"job.submitted": () => ["Queued", `${it.gpu_count} × ${it.gpu}, at most ${micros(it.reserved_micros)} reserved`, "queued"],
		"attempt.opened": () => [`Attempt ${it.attempt}: ${it.supplier}, ${it.region}`, `at ${micros(it.micros_per_gpu_hour)} per GPU-hour, the best that is left${it.reserved_micros == null ? "" : `; ${micros(it.reserved_micros)} reserved`}`],
		"attempt.ended": () => ({
			refused: ["Turned down", "for lack of capacity: this place is excluded", "failed"],
			outage: ["Lost in an outage", "not charged; this supplier is excluded", "failed"],
			lost: ["Lost", "with its machine, not charged; this place is excluded", "failed"],
		})[it.outcome] ?? [`Attempt ${it.attempt} ${it.outcome}`, ""],
		"job.transition": () => [
			it.status === "queued" ? "Back in the queue" : it.status[0].toUpperCase() + it.status.slice(1),
			it.status === "queued" ? `failing over: ${it.reason}` : [it.supplier, it.region, it.reason].filter(Boolean).join(", "),
			it.status,
		],
		"job.reservation": () => ["Waits for budget", "what was reserved for it is released", "queued"],
		"budget.exceeded": () => ["Refused by the budget", `a job of up to ${micros(it.estimated_micros)}`],
		"budget.threshold_reached": () => ["Budget nearly used", `${it.fraction * 100} % of the cap`],
		"key.cap_set": () => ["Cap set", `to ${micros(it.monthly_cap_micros)}, from ${micros(it.previous_monthly_cap_micros)}`],
		"key.minted": () => ["Key minted", it.label],
		"webhook.attempted": () => ["Webhook sent", `${it.event_type}: ${it.status_code ?? it.error}`],
		"job.settled": () => ["Settled", `${micros(it.cost_micros)}, ${micros(it.retail_micros)} at retail; ${micros(it.released_micros)} released`],
	}[kind];
	return told?.() ?? [kind, Object.entries(it).filter(([, value]) => typeof value !== "object").slice(0, 2).map((pair) => pair.join(" ")).join(", ")];
}
