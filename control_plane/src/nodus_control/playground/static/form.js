// The form, the same job as code, and the address that carries it. The server reads what is written: limits and quoting
// have one place.

import { $, button, copy, h, say, see, text, usd } from "./dom.js";
import { Refused, call, get, isSimulated, post } from "./api.js";
import { setOutage } from "./route.js";
import { emit, on, refresh, select, task, world } from "./world.js";

const GPUS = ["h100_80gb", "a100_80gb", "a100_40gb", "l40s", "a10g"];
const TIERS = ["hyperscaler", "tier3", "neocloud"];
const LANGUAGES = { python: "Python", async: "async Python", cli: "CLI", curl: "curl" };
const FIELDS = {
	image: "an OCI image reference",
	command: "as in a shell; empty for the image’s own",
	gpu: "",
	gpu_count: "1 to 8",
	max_runtime_seconds: "60 to 172,800",
	prefer_region: "a preference",
	env: "NAME=value, one a line",
	idempotency_key: "empty: a new one",
};
const INPUTS = Object.keys(FIELDS);
const TRAIN = { image: "ghcr.io/acme/train:v3", command: ["python", "train.py", "--epochs", "10"], max_runtime_seconds: 1200 };
const EXAMPLES = {
	"Quick run": TRAIN,
	"8 GPUs for 18 h": { ...TRAIN, gpu_count: 8, max_runtime_seconds: 64800 },
	"Hyperscalers in Europe": { ...TRAIN, gpu: "a100_80gb", require_tiers: ["hyperscaler"], prefer_region: "eu-west-1" },
	"One that fails": { ...TRAIN, env: { NODUS_SIM_ERROR: "CUDA out of memory" } },
};
const HELLO = { image: "python:3", command: ["python3", "-c", "print('hello')"] };

let language = "python";
let wanted; // a spec that is to be filled in

const tiers = () => [...document.getElementsByName("tier")];

function field(name, options, label = name) {
	const note = h("small", { id: `e-${name}` }, FIELDS[name] ?? "");
	const input = h(options ? "select" : name === "env" ? "textarea" : "input", { id: name, "aria-describedby": note.id }, ...(options || []));
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
	$("examples").append(...Object.entries(EXAMPLES).map(([name, spec]) => button(name, () => fill(spec))));
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
	$("form").oninput = () => {
		world.isEditing = true;
		refresh("draft");
	};
	$("form").onsubmit = (event) => {
		event.preventDefault();
		submit();
	};
	task("draft", readDraft);
	on("job", () => ($("share").hidden = !world.job || linked().job !== world.job.id));
	const { as, spec } = linked();
	if (as === "agent") $("as").value = as;
	wanted = spec ?? (isSimulated ? TRAIN : HELLO);
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

const carry = (more) =>
	history.replaceState(null, "", `${location.search}#${new URLSearchParams({ spec: JSON.stringify(world.draft.spec), as: $("as").value, ...more })}`);

export function fill(spec) {
	wanted = spec;
	world.isEditing = true;
	return readDraft();
}

async function readDraft() {
	const asked = wanted;
	const fields = { ...Object.fromEntries(INPUTS.map((name) => [name, $(name).value])), require_tiers: tiers().filter((box) => box.checked).map((box) => box.value) };
	const draft = await post("/_dev/draft", { as: $("as").value, ...(asked ? { spec: asked } : { fields }) });
	if (asked && asked === wanted) {
		for (const name of INPUTS) $(name).value = draft.fields[name];
		for (const box of tiers()) box.checked = draft.fields.require_tiers.includes(box.value);
		wanted = null;
	}
	world.draft = draft;
	if (world.isEditing) carry();
	for (const name of INPUTS) mark(name, draft.errors[name]);
	text($("e-as"), $("as").value === "agent" ? "signed, $25 a month" : "no cap");
	text($("estimate"), draft.reserved_usd ? `at most ${usd(draft.reserved_usd)}` : "");
	show(language);
	emit("draft");
}

function mark(name, error) {
	text($(`e-${name}`), error?.replace(/^`\w+` (must be )?/, "") ?? FIELDS[name]);
	$(`e-${name}`).className = error ? "wrong" : "";
	$(name).ariaInvalid = Boolean(error);
}

const TOKENS = /("(?:[^"\\]|\\.)*"|'[^']*'|\b(?:import|with|async|await|def|as|print|export|curl|nodus run)\b)/;

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
	const parts = (code ?? "Correct what is marked in the form, and the code is here.").split(TOKENS);
	$("snippet").replaceChildren(...parts.map((part, at) => (at % 2 ? h("span", { className: /^["']/.test(part) ? "str" : "key" }, part) : part)));
}

export async function submit() {
	if ($("run").ariaDisabled === "true") return;
	$("run").ariaDisabled = "true";
	$("refusal").hidden = true;
	try {
		await readDraft();
		const [wrong] = Object.keys(world.draft.errors);
		if (wrong) {
			say(world.draft.errors[wrong]);
			$(wrong).focus();
		} else await send();
	} catch (error) {
		explain(error);
	}
	$("run").ariaDisabled = "false";
}

async function send() {
	const answer = await call("POST", "/v1/jobs", world.draft.spec, $("as").value);
	const job = await answer.json();
	carry({ ...(isSimulated && (await get(`/_dev/runs/${job.id}`))), job: job.id });
	select(job);
	see("card");
	if (answer.headers.has("Idempotent-Replayed")) tell("mild", "The same job again", "This idempotency key came before: the control plane answered with its job, and nothing ran twice.");
	refresh("jobs ledger budget hooks");
}

function tell(look, title, words, ...more) {
	$("refusal").className = look;
	$("refusal").replaceChildren(h("b", "", title), h("p", "", words), ...more);
	$("refusal").hidden = false;
	see("refusal");
}

function explain(error) {
	if (!(error instanceof Refused)) return tell("", "No answer", "Whether the job was accepted is not known. With an idempotency key of your own, running it again is safe.");
	const { payload: it } = error;
	const { spec, routing } = world.draft;
	let words = error.message;
	let acts = [];
	if (error.code === "budget_exceeded") {
		const left = it.monthly_spend_cap_usd - it.month_to_date_usd;
		const shorter = Math.floor((spec.max_runtime_seconds * left) / it.estimated_cost_usd);
		words = `The job could cost ${usd(it.estimated_cost_usd)}. Of the agent’s ${usd(it.monthly_spend_cap_usd)} a month ${usd(left)} are left: ${usd(it.realised_usd)} is spent, ${usd(it.in_flight_usd)} reserved for jobs in flight. Nothing was submitted.`;
		if (shorter >= 60) acts = [button(`Shrink it to ${shorter} s`, () => fill({ ...spec, max_runtime_seconds: shorter }))];
	} else if (error.code === "no_supplier") {
		const out = [...new Set(routing.candidates.filter((each) => each.rejected === "outage").map((each) => each.supplier))];
		words = `Every supplier that could take this job is out: ${out.join(", ")}. Nothing was submitted or reserved, and the idempotency key stays free. Try again later, allow more tiers, or end an outage.`;
		acts = out.slice(0, 3).map((name) => button(`End ${name}’s outage`, () => setOutage(name, false)));
	}
	refresh("budget");
	return tell("", `${error.status} ${error.code}`, words, h("div", "acts", ...acts),
		h("details", "", h("summary", "", "The answer as it came"), h("pre", { tabIndex: 0 }, JSON.stringify(it, null, 2))));
}
