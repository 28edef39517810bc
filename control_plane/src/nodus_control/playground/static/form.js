// The form, the same job as code, and the address that carries it. The server reads what is written: limits and quoting
// have one place.

import { $, button, copy, h, none, roughly, say, see, text, usd } from "./dom.js";
import { counterOffers } from "./counter.js";
import { Refused, call, get, isSimulated, newKey, post } from "./api.js";
import { setOutage } from "./route.js";
import { emit, on, pause, refresh, select, task, world } from "./world.js";

const GPUS = ["h100_80gb", "a100_80gb", "a100_40gb", "l40s", "a10g"];
const TIERS = ["hyperscaler", "tier3", "neocloud", "own"];
const LANGUAGES = { python: "Python", async: "async Python", cli: "CLI", curl: "curl" };
const FIELDS = {
	image: "an OCI image reference",
	command: "as in a shell; empty for the image’s own",
	gpu: "",
	gpu_count: "1 to 8",
	max_runtime_seconds: "1 min to 48 h",
	prefer_region: "a preference",
	env: "NAME=value, one a line",
	name: "yours; need not be unique",
	labels: "key=value, one a line",
	max_cost_usd: "it never costs more; empty for no ceiling",
	queue_timeout_seconds: "it fails if it waits longer; empty for no end",
	idempotency_key: "empty: a new one",
};
const INPUTS = Object.keys(FIELDS);
const TRAIN = { image: "ghcr.io/acme/train:v3", command: "python train.py --epochs 10", gpu: "h100_80gb", gpu_count: 1, max_runtime_seconds: 3600 };
const EXAMPLES = {
	"a short job": TRAIN,
	"8 GPUs for 18 h": { ...TRAIN, gpu_count: 8, max_runtime_seconds: 64800 },
	"one that fails": { ...TRAIN, env: "NODUS_SIM_ERROR=CUDA out of memory" },
};
const HELLO = { ...TRAIN, image: "python:3", command: "python3 -c \"print('hello')\"" };

let language = "python";
let wanted; // a spec that is to be filled in, once the server has written it as text
let turn = 0; // the latest reading of the form
let told; // the job that the box above the run is about, if any
let open; // a submission of which nobody said what became of it: sent again, it has the same key

const tiers = () => [...document.getElementsByName("tier")];

function field(name, options, label = name) {
	const note = h("small", { id: `e-${name}` }, FIELDS[name] ?? "");
	const input = h(options ? "select" : ["env", "labels"].includes(name) ? "textarea" : "input", { id: name, "aria-describedby": note.id }, ...(options || []));
	return h("div", `field ${["image", "command", "env"].includes(name) ? "wide" : ""}`, h("label", { htmlFor: name }, label), input, note);
}

function makeFields() {
	const fields = INPUTS.map((name) => field(name, name === "gpu" && GPUS.map((gpu) => h("option", "", gpu))));
	const boxes = TIERS.map((value) => h("label", "", h("input", { type: "checkbox", name: "tier", value }), value));
	fields.splice(6, 0, h("fieldset", "field wide", h("legend", "", "require_tiers"), h("div", "acts", ...boxes)));
	const callers = [["human", "you"], ["agent", "the agent"]].map(([value, words]) => h("option", { value }, words));
	$("form").prepend(...fields, field("as", callers, "submit as"));
}

export function setUp() {
	makeFields();
	$("examples").append(...Object.entries(EXAMPLES).map(([name, spec]) => button(name, () => edit(spec), { className: "pick" })));
	const names = Object.keys(LANGUAGES);
	$("tabs").append(...names.map((name) => button(LANGUAGES[name], () => show(name), { role: "tab", id: `tab-${name}`, "aria-controls": "snippet" })));
	$("tabs").onkeydown = ({ key }) => {
		const step = { ArrowRight: 1, ArrowLeft: 3 }[key];
		if (!step) return;
		show(names[(names.indexOf(language) + step) % 4]);
		$(`tab-${language}`).focus();
	};
	$("copy").onclick = () => copy($("snippet").textContent, $("copy"));
	$("share").onclick = () => copy(location.href, $("share"));
	$("form").oninput = () => edit();
	$("form").onsubmit = (event) => {
		event.preventDefault();
		submit();
	};
	on("link", (link) => ($("run").disabled = link === "lost" || link === "keys"));
	on("state", () => {
		const known = [...$("gpu").options].map((option) => option.value);
		$("gpu").append(...world.state.gpus.filter((gpu) => !known.includes(gpu)).map((gpu) => h("option", "", gpu)));
	});
	on("draft budget", estimate);
	let left; // what the agent's draft was last held against
	on("budget", () => {
		if (left !== (left = world.agent.headroom_usd) && $("as").value === "agent") refresh("draft");
	});
	on("job", () => {
		if (world.job?.id !== told) $("refusal").hidden = true;
	});
	on("anew", () => ($("refusal").hidden = true));
	task("draft", readDraft);
	on("draft job", () => ($("share").hidden = !linked().seed || linked().job !== world.job?.id));
	const { as, spec } = linked();
	if (as === "agent") $("as").value = as;
	fill(isSimulated ? TRAIN : HELLO);
	load(spec);
	refresh("draft");
}

// What the address carries behind its #, which no server sees.
export function linked() {
	const given = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
	try {
		given.spec = JSON.parse(given.spec);
	} catch {
		delete given.spec;
	}
	return given;
}

export const carry = (more, spec = world.draft?.spec) =>
	history.replaceState(null, "", `#${new URLSearchParams({ spec: JSON.stringify(spec), as: $("as").value, ...more })}`);

export const load = (spec) => (wanted = spec);

function fill(fields) {
	for (const name of INPUTS) $(name).value = fields[name] ?? "";
	for (const box of tiers()) box.checked = fields.require_tiers?.includes(box.value);
}

function edit(fields) {
	if (fields) fill(fields);
	world.isEditing = true;
	refresh("draft");
}

async function readDraft() {
	const mine = (turn += 1);
	const fields = { ...Object.fromEntries(INPUTS.map((name) => [name, $(name).value])), require_tiers: tiers().filter((box) => box.checked).map((box) => box.value) };
	const draft = await post("/_dev/draft", { as: $("as").value, ...(wanted ? { spec: wanted } : { fields }) });
	if (mine !== turn) return draft;
	if (wanted) fill(draft.fields);
	wanted = null;
	world.draft = draft;
	if (world.isEditing) carry({ job: world.job?.id ?? "" });
	for (const name of INPUTS) mark(name, draft.errors[name]);
	show(language);
	emit("draft");
	return draft;
}

// What the job may cost, and, before anybody asks, whether the agent has so much.
function estimate() {
	const isAgent = $("as").value === "agent";
	const cap = isAgent ? world.agent?.monthly_spend_cap_usd : null;
	text($("e-as"), `${isAgent ? "signed, " : ""}${cap == null ? "no cap" : `${usd(cap)} a month`}`);
	const cost = world.draft?.reserved_usd;
	const left = isAgent ? world.agent?.headroom_usd : null;
	const isOver = left != null && cost > left;
	text($("estimate"), cost ? `at most ${usd(cost)}${isOver ? `, and the agent has ${usd(left)} left` : ""}` : "");
	$("estimate").className = isOver ? "sub wrong" : "sub";
}

function mark(name, error) {
	const seconds = name === "max_runtime_seconds" && Number($(name).value);
	text($(`e-${name}`), error?.replace(/^`\w+` (must be )?/, "") ?? (seconds ? roughly(seconds) : FIELDS[name]));
	$(`e-${name}`).className = error ? "wrong" : "";
	$(name).ariaInvalid = Boolean(error);
}

function show(name) {
	language = name;
	for (const tab of $("tabs").children) {
		const isShown = tab.id === `tab-${name}`;
		tab.ariaSelected = isShown;
		tab.tabIndex = isShown ? 0 : -1;
	}
	$("snippet").setAttribute("aria-labelledby", `tab-${name}`);
	const code = world.draft?.code[name];
	$("copy").disabled = !code;
	const parts = (code ?? "Correct what is marked in the form, and the code is here.").split(/("(?:[^"\\]|\\.)*"|'[^']*')/);
	$("snippet").replaceChildren(...parts.map((part, at) => (at % 2 ? h("span", "str", part) : part)));
}

let submitting;

export async function submit() {
	if ($("run").ariaDisabled !== "true") await (submitting = submitOnce());
}

async function submitOnce() {
	$("run").ariaDisabled = "true";
	$("refusal").hidden = true;
	const as = $("as").value;
	let draft;
	try {
		draft = await readDraft();
		const [wrong] = Object.keys(draft.errors);
		if (wrong) {
			say(draft.errors[wrong]);
			$(wrong).focus();
		} else await send(draft.spec, as);
	} catch (error) {
		explain(error, draft, as);
	}
	await pause(400); // the second half of a double click is no second job
	$("run").ariaDisabled = "false";
}

async function send(spec, as) {
	const asked = JSON.stringify([spec, as]);
	const isAgain = spec.idempotency_key || open?.asked === asked;
	if (!isAgain) open = { asked, key: newKey() };
	const answer = await call("POST", "/v1/jobs", spec, as, { idempotencyKey: open?.key });
	const job = await answer.json();
	open = null;
	const run = isSimulated && (await get(`/_dev/runs/${job.id}`).catch(() => null));
	carry({ ...run, job: job.id }, spec);
	select(job);
	see("card");
	if (isAgain && answer.headers.has("Idempotent-Replayed")) tell("mild", "The same job again", "This idempotency key came before: nothing ran twice.");
}

function tell(look, title, words, ...more) {
	told = world.job?.id;
	$("refusal").className = look;
	$("refusal").replaceChildren(h("b", "", title), h("p", "", words), ...more);
	$("refusal").hidden = false;
	see("refusal");
}

// What was asked for, so changed; whatever the form says by now.
async function take(spec, as) {
	if ($("refusal").hidden) return; // a double click is one
	$("refusal").hidden = true;
	await submitting;
	wanted = spec;
	$("as").value = as;
	await submit();
	// The button that had the focus is gone.
	if ($("refusal").hidden) $("run-head").focus({ preventScroll: true });
}

function explain(error, draft, as) {
	// It is about no job: another's states beside it would pass for its own.
	select(null);
	carry({ job: "" });
	if (!(error instanceof Refused)) return tell("", "No answer", draft ? "Whether the job was accepted is not known. Run it again: the same idempotency key makes it one job." : "Nothing was submitted.");
	const { payload: it } = error;
	const { spec = {}, routing } = draft ?? {};
	let words = error.message;
	let acts = counterOffers(spec, it).map(([label, change]) => button(label, () => take({ ...spec, ...change }, as)));
	if (error.code === "budget_exceeded") {
		words += ` ${usd(it.realised_usd)} is spent, ${usd(it.in_flight_usd)} reserved for jobs in flight. Nothing was submitted.`;
		if (!acts.length) words += ` Nothing smaller fits: raise the cap, wait for jobs to end, or for ${it.resets_at.slice(0, 10)}.`;
	} else if (error.code === "no_supplier") {
		const out = [...new Set(routing.candidates.filter((each) => each.rejected === "outage").map((each) => each.supplier))];
		words += ` Out: ${out.join(", ") || none}. Nothing was submitted.`;
		acts = out.slice(0, 3).map((name) => button(`End ${name}’s outage`, () => setOutage(name, false)));
	}
	return tell("", `${error.status} ${error.code}`, words, h("div", { className: "acts", role: "group", ariaLabel: "What would be accepted" }, ...acts),
		h("details", "", h("summary", "", "The answer as it came"), h("pre", { tabIndex: 0 }, JSON.stringify(it, null, 2))));
}
