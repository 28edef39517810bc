// The form, the same job as code beside it, and the address that carries both.

import { $, copy, h, say, text, usd } from "./dom.js";
import { Refused, call, isSimulated, keys } from "./api.js";
import { read, write } from "./spec.js";
import { LANGUAGES, coloured } from "./snippets.js";
import { previewed, setOutage, showPreviewOf } from "./route.js";
import { emit, on, refresh, select, world } from "./world.js";
import { runOf } from "./run.js";

const NAMES = ["image", "command", "gpu", "gpu_count", "max_runtime_seconds", "prefer_region", "env", "idempotency_key"];
const HINTS = { command: "as in a shell; empty for the image’s own", env: "kept in this tab until you run the job" };
const TRAIN = { image: "ghcr.io/acme/train:v3", command: ["python", "train.py", "--epochs", "10"], max_runtime_seconds: 1200 };
const EXAMPLES = {
  "Quick run": TRAIN,
  "8 GPUs, 18 hours": { ...TRAIN, gpu_count: 8, max_runtime_seconds: 64800 },
  "Hyperscalers in Europe": { ...TRAIN, gpu: "a100_80gb", require_tiers: ["hyperscaler"], prefer_region: "eu-west-1" },
  "A job that fails": { ...TRAIN, env: { NODUS_SIM_OUTCOME: "failed", NODUS_SIM_ERROR: "CUDA out of memory" } },
};
const HELLO = { image: "python:3", command: ["python3", "-c", "print('hello')"], max_runtime_seconds: 600 };

let language = "python";
let checked = { spec: {}, errors: {} };

const tiers = () => [...document.getElementsByName("tier")];
const as = () => $("as").value;

export function setUp() {
  $("examples").append(...Object.entries(EXAMPLES).map(([name, spec]) => h("button", { type: "button", onclick: () => fill(spec) }, name)));
  $("tabs").append(...Object.entries(LANGUAGES).map(([name, [label]]) =>
    h("button", { type: "button", role: "tab", id: `tab-${name}`, "aria-controls": "snippet", onclick: () => show(name) }, label)));
  $("tabs").onkeydown = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const names = Object.keys(LANGUAGES);
    if (step) show(names[(names.indexOf(language) + step + names.length) % names.length], true);
  };
  $("copy").onclick = () => copy($("snippet").textContent, $("copy"));
  $("form").oninput = () => changed(true);
  $("form").onsubmit = (event) => {
    event.preventDefault();
    submit();
  };
  on("preview", estimate);
  const { spec, as: given } = new Linked();
  $("as").value = given === "agent" ? given : "human";
  fill(spec ?? (isSimulated ? TRAIN : HELLO), false);
  show(language);
}

// What the address carries after its #: it never leaves the browser.
export class Linked {
  constructor(hash = location.hash) {
    const carried = new URLSearchParams(hash.slice(1));
    try {
      this.spec = carried.has("spec") ? JSON.parse(carried.get("spec")) : null;
    } catch {
      this.spec = null;
    }
    for (const name of ["as", "seed", "passed_over", "job"]) this[name] = carried.get(name);
  }
}

export function addressOf(spec, more = {}) {
  const carried = new URLSearchParams({ spec: JSON.stringify(spec), as: as(), ...more });
  return `${location.pathname}${location.search}#${carried}`;
}

export function fill(spec, isEdit = true) {
  const fields = write(spec);
  for (const name of NAMES) $(name).value = fields[name];
  for (const box of tiers()) box.checked = fields.require_tiers.includes(box.value);
  changed(isEdit);
}

function changed(isEdit) {
  const fields = Object.fromEntries(NAMES.map((name) => [name, $(name).value]));
  checked = read({ ...fields, require_tiers: tiers().filter((box) => box.checked).map((box) => box.value) });
  for (const name of [...NAMES, "require_tiers"]) tell(name, checked.errors[name]);
  text($("e-as"), as() === "agent" ? "signed; $25 a month" : "no cap");
  text($("run"), as() === "agent" ? "Run job as the agent" : "Run job");
  if (isEdit) {
    world.editing = true;
    history.replaceState(null, "", addressOf(checked.spec));
  }
  show(language);
  showPreviewOf(checked.spec);
}

function tell(name, error) {
  text($(`e-${name}`), error ?? HINTS[name] ?? "");
  $(`e-${name}`).className = error ? "wrong" : "";
  $(name)?.setAttribute("aria-invalid", String(Boolean(error)));
}

function show(name, isFocused = false) {
  language = name;
  for (const tab of $("tabs").children) {
    const isMine = tab.id === `tab-${name}`;
    tab.setAttribute("aria-selected", String(isMine));
    tab.tabIndex = isMine ? 0 : -1;
    if (isMine && isFocused) tab.focus();
  }
  $("snippet").setAttribute("aria-labelledby", `tab-${name}`);
  const isWhole = !Object.keys(checked.errors).length;
  const code = isWhole ? LANGUAGES[name][1](checked.spec, { baseUrl: location.origin, ...keys[as()] }) : "Correct the fields marked in the form, and the code is here.\n";
  $("snippet").firstChild.replaceChildren(...(isWhole ? coloured(code) : [[code, "com"]]).map(([part, look]) => (look ? h("span", { className: look }, part) : part)));
  $("copy").disabled = !isWhole;
}

function estimate() {
  const rate = previewed()?.reserved_usd_per_gpu_hour;
  const { gpu_count: count, max_runtime_seconds: seconds } = checked.spec;
  text($("estimate"), rate && count && seconds ? `costs at most ${usd((rate * count * seconds) / 3600)}` : "");
}

export async function submit() {
  const [wrong] = Object.keys(checked.errors);
  if (wrong) {
    $(wrong)?.focus();
    return say(checked.errors[wrong]);
  }
  const { spec } = checked;
  const button = $("run");
  if (button.getAttribute("aria-disabled") === "true") return undefined;
  button.setAttribute("aria-disabled", "true");
  $("refusal").hidden = true;
  try {
    const { payload, isReplayed } = await call("POST", "/v1/jobs", spec, as());
    world.editing = false;
    select(payload);
    if (isReplayed) refuse(null, "The same job again", "This idempotency key came before, so the control plane answered with the first job: nothing ran twice.");
    refresh("jobs", "ledger", "budget", "hooks");
    $("h-run").scrollIntoView({ block: "nearest" });
    const run = isSimulated ? await runOf(payload.id) : {};
    history.replaceState(null, "", addressOf(spec, { ...run, job: payload.id }));
  } catch (error) {
    explain(error, spec);
    $("h-run").scrollIntoView({ block: "nearest" });
  }
  button.removeAttribute("aria-disabled");
  return undefined;
}

function refuse(error, title, words, ...acts) {
  const raw = error?.payload && h("details", {}, h("summary", {}, "The answer as it came"), h("pre", { tabIndex: 0 }, JSON.stringify(error.payload, null, 2)));
  $("refusal").className = `refusal${error ? "" : " mild"}`;
  $("refusal").replaceChildren(h("b", {}, title), h("p", {}, words), h("div", { className: "acts" }, ...acts), raw ?? "");
  $("refusal").hidden = false;
}

const act = (label, onclick) => h("button", { type: "button", onclick }, label);

function explain(error, spec) {
  if (!(error instanceof Refused)) return refuse(error, "No answer", "The control plane cannot be reached. Whether the job was accepted is not known: with an idempotency key of your own, running it again is safe.");
  const title = `${error.status} ${error.code}`;
  const it = error.payload;
  if (error.code === "budget_exceeded") {
    refresh("budget");
    const left = it.monthly_spend_cap_usd - it.month_to_date_usd;
    const shorter = Math.floor((spec.max_runtime_seconds * left) / it.estimated_cost_usd);
    const words = `The job could cost up to ${usd(it.estimated_cost_usd)}, and ${usd(left)} of the agent’s ${usd(it.monthly_spend_cap_usd)} a month are left: ${usd(it.realised_usd)} is spent, ${usd(it.in_flight_usd)} is reserved for jobs in flight. Nothing was submitted.`;
    return refuse(error, title, words, shorter >= 60 ? act(`Shrink it to ${shorter} s`, () => fill({ ...spec, max_runtime_seconds: shorter })) : "");
  }
  if (error.code === "no_supplier") {
    const out = [...new Set((previewed()?.candidates ?? []).filter((each) => each.rejected === "outage").map((each) => each.supplier))];
    const words = `Every supplier that has ${spec.gpu}${spec.require_tiers ? ` in ${spec.require_tiers.join(", ")}` : ""} is out${out.length ? `: ${out.join(", ")}` : ""}. Nothing was submitted and nothing reserved, and the idempotency key stays free. The SDK raises SupplierUnavailableError after its retries: back off, allow more tiers, or end an outage.`;
    return refuse(error, title, words, ...out.slice(0, 3).map((name) => act(`End ${name}’s outage`, () => setOutage(name, false))));
  }
  if (it.field && $(`e-${it.field}`)) {
    tell(it.field, error.message);
    $(it.field)?.focus();
  }
  return refuse(error, title, error.message);
}
