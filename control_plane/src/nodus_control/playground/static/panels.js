// The smaller panels: connection, clock, webhook inbox, recent jobs.

import { $, button, does, duration, h, keyed, none, plural, see, short, text, usd } from "./dom.js";
import { get } from "./api.js";
import { carry } from "./form.js";
import { act, emit, now, on, refresh, select, task, world } from "./world.js";

const INBOX = "/_dev/inbox/page";
const EVENTS = "job.placed job.completed job.failed job.cancelled budget.threshold_reached budget.exceeded".split(" ");
const LINKS = {
	waiting: ["Connecting…", ""],
	live: ["Live", ""],
	lost: ["Disconnected", "The control plane does not answer. You see what was heard last; the page goes on when it is back."],
	keys: ["Other keys", "The playground started again with other keys: open the address that it printed."],
};

export function setUp() {
	let link = "";
	on("link", (next) => {
		if (link === "keys") return;
		link = next;
		const [label, words] = LINKS[next];
		text($("link"), label);
		$("link").className = `link ${next}`;
		document.body.classList.toggle("away", Boolean(words));
		text($("away"), words);
		$("away").hidden = !words;
	});
	setUpClock();
	setUpHooks();
	setUpJobs();
}

function setUpClock() {
	const set = (change) => act("state", "/_dev/clock", change).finally(() => (shown = ""));
	const mark = (paused) => {
		text($("pause"), paused ? "Go on" : "Pause");
		$("pause").classList.toggle("on", paused);
	};
	const offer = (speed) => $("speed").add(new Option(speed === "instant" ? speed : `${speed}×`, speed));
	[1, 60, 300, 3600, "instant"].forEach(offer);
	let shown; // the pace that the controls show: written where it changes, lest a choice be undone
	$("speed").onchange = ({ target }) => set({ speed: Number(target.value) || target.value });
	$("pause").onclick = () => {
		const paused = !$("pause").classList.contains("on");
		mark(paused);
		set({ paused });
	};
	does($("skip"), () => act("state", "/_dev/clock/advance", { seconds: 3600 }));
	on("state", () => {
		const { speed, paused } = world.state;
		$("pause").disabled = false;
		if (shown === (shown = `${speed} ${paused}`)) return;
		if (![...$("speed").options].some((option) => option.value === String(speed))) offer(speed);
		$("speed").value = speed;
		mark(paused);
	});
	setInterval(() => world.state && text($("now"), new Date(now()).toISOString().slice(0, 19).replace("T", " ") + " UTC"), 200);
}

function setUpHooks() {
	does($("register"), () => act("hooks", "/v1/webhooks", { url: location.origin + INBOX, events: EVENTS }));
	task("hooks", async () => {
		const { webhooks } = await get("/v1/webhooks");
		const mine = webhooks.find((each) => each.url.endsWith(INBOX));
		const { deliveries } = mine ? await get(`/v1/webhooks/${mine.id}/deliveries?limit=20`) : { deliveries: [] };
		const received = mine ? (await get("/_dev/inbox?limit=100")).deliveries : [];
		Object.assign(world, { received, isRegistered: Boolean(mine) });
		emit("hooks");
		$("register").hidden = Boolean(mine);
		text($("no-hooks"), deliveries.length ? "" : mine ? "Registered: events are delivered here, signed." : "Register the playground’s own receiver, and every event is delivered to it, signed.");
		keyed($("deliveries"), deliveries, (each) => each.id, (each) => makeDelivery(each, mine.id), (item, each) =>
			fillDelivery(item.firstChild.children, each, received.filter((receipt) => receipt.event?.id === each.event_id)));
	});
}

function makeDelivery({ id, event_type: type }, hook) {
	const replay = () => act("hooks", `/v1/webhooks/${hook}/deliveries/${id}/replay`);
	return h("li", {},
		h("details", "", h("summary", "", h("b", "", type), " ", h("small"), " ", h("small")), h("pre", { tabIndex: 0 })),
		button("Replay", replay, { ariaLabel: `Replay ${type}` }));
}

function fillDelivery([summary, pre], { status, attempts }, receipts) {
	const [, facts, check] = summary.children;
	const receipt = receipts.at(-1);
	const last = attempts.at(-1);
	const job = receipt?.event.data.job_id;
	text(facts, [job && short(job), status, plural(attempts.length, "attempt"), last && (last.status_code ?? last.error)].filter(Boolean).join(", "));
	text(check, receipt ? (receipt.signature_valid ? "✓ signature valid" : "✗ signature wrong") : "");
	check.className = receipt?.signature_valid ? "good" : "bad";
	text(pre, receipt ? `Nodus-Signature: ${receipt.headers["nodus-signature"]}\n\n${JSON.stringify(receipt.event, null, 2)}` : "");
}

function setUpJobs() {
	on("jobs anew", () => {
		const { jobs, job: selected } = world;
		$("all-jobs").hidden = !jobs.length;
		$("no-jobs").hidden = jobs.length > 0;
		text($("no-jobs"), "None yet: run one here, or paste the code into a terminal.");
		keyed($("jobs"), jobs, (job) => job.id, makeJob, (row, job) => {
			const values = [job.status, job.supplier ?? none, `${job.gpu_count} × ${job.gpu}`, duration(job.duration_s), usd(job.cost_usd), usd(job.saved_usd)];
			values.forEach((value, at) => text(row.cells[at + 1], value));
			row.cells[1].className = `is-${job.status}`;
			row.cells[0].firstChild.ariaCurrent = job.id === selected?.id;
		});
	});
}

export async function show(id) {
	select(world.jobs.find((each) => each.id === id) ?? (await get(`/v1/jobs/${id}`)));
	carry({ job: id });
	see("card");
}

function makeJob(job) {
	const looks = ["", "", "opt", "r num opt", "r num", "r num opt"];
	return h("tr", "", h("th", { scope: "row" }, button(short(job.id), () => show(job.id), { className: "pick num", title: job.id })), ...looks.map((className) => h("td", className)));
}

// Asks before everything goes; resolves to whether it is to go.
export function isConfirmed(words) {
	text($("ask"), words);
	$("dialog").returnValue = "";
	$("dialog").showModal();
	return new Promise((resolve) => ($("dialog").onclose = () => resolve($("dialog").returnValue === "yes")));
}
