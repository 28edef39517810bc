// The run: its states as they come, the card of eight fields, and what happened, row by row of the ledger.

import { $, clock, copy, duration, h, keyed, plural, say, text, usd, wanting } from "./dom.js";
import { get, post } from "./api.js";
import { now, on, refresh, world } from "./world.js";

const STEPS = ["queued", "placed", "running", "completed"];
const FIELDS = ["id", "status", "supplier", "region", "duration", "cost_usd", "vs retail", "you saved"];
const ended = (job) => ["completed", "failed", "cancelled"].includes(job.status);
let announced = "";

export function setUp(shareLink) {
  $("track").append(...STEPS.map((step) => h("li", { className: "step" }, h("span", {}, step))));
  $("card").append(...FIELDS.map((name) => h("div", {}, h("dt", {}, name), h("dd", { className: "num" }, wanting))));
  $("cancel").onclick = async () => {
    const own = world.job.principal_kind === "agent" ? "agent" : "human";
    await post(`/v1/jobs/${world.job.id}/cancel`, {}, own).catch((error) => say(error.message));
    refresh("job", "jobs");
  };
  $("share").onclick = async () => copy(await shareLink(), $("share"));
  on("job", render);
  on("state", tick);
  setInterval(tick, 200);
  render();
}

function render() {
  const { job } = world;
  text($("whose"), job ? `${job.gpu_count} × ${job.gpu}, ${job.image}` : "nothing yet");
  $("cancel").hidden = !job || !job.created_at || ended(job);
  $("share").hidden = !job?.created_at;
  renderTrack(job);
  const values = job
    ? [job.id, job.status, job.supplier, job.region, null, usd(job.cost_usd, 4), usd(job.retail_cost_usd, 4), saved(job)]
    : [];
  [...$("card").children].forEach((cell, at) => {
    if (FIELDS[at] !== "duration") text(cell.lastChild, values[at] ?? wanting);
    if (FIELDS[at] === "status") cell.lastChild.className = `num is-${job?.status ?? "none"}`;
  });
  tick();
  renderTimeline();
  const words = job ? `Job ${job.status}${job.supplier && !ended(job) ? ` at ${job.supplier}, ${job.region}` : ""}` : "";
  if (words !== announced) say((announced = words));
}

function saved(job) {
  if (job.saved_usd === null) return null;
  const share = job.retail_cost_usd ? ` (${Math.round((100 * job.saved_usd) / job.retail_cost_usd)} %)` : "";
  return usd(job.saved_usd, 4) + share;
}

function renderTrack(job) {
  const last = job && ended(job) ? job.status : "completed";
  const reached = job ? (ended(job) ? 3 : STEPS.indexOf(job.status)) : -1;
  [...$("track").children].forEach((step, at) => {
    const name = at === 3 ? last : STEPS[at];
    const skipped = job && ended(job) && ((at === 1 && !job.supplier) || (at === 2 && !job.started_at));
    step.className = `step is-${name}${at <= reached && !skipped ? " on" : ""}${at === reached && !ended(job) ? " here" : ""}`;
    text(step.firstChild, name);
    if (at === reached) step.setAttribute("aria-current", "step");
    else step.removeAttribute("aria-current");
  });
}

// A running job's duration, as it grows; the rest of the card waits for the control plane.
function tick() {
  const { job } = world;
  const cell = $("card").children[FIELDS.indexOf("duration")].lastChild;
  const isRunning = job?.status === "running" && job.started_at && world.state;
  const so_far = isRunning ? Math.max(0, (now() - Date.parse(job.started_at)) / 1000) : job?.duration_s;
  text(cell, duration(so_far) + (isRunning ? " so far" : ""));
}

// What a row of the ledger says, for people: [title, detail, look].
export function telling(entry) {
  const it = entry.payload;
  const micros = (value) => usd(value === null ? null : value / 1e6);
  switch (entry.kind) {
    case "job.submitted":
      return ["Queued", `${it.gpu_count} × ${it.gpu} asked for; ${micros(it.reserved_micros)} reserved at most`, "queued"];
    case "attempt.opened":
      return [`Attempt ${it.attempt}: ${it.supplier}, ${it.region}`, `the best of the candidates, ${usd(it.micros_per_gpu_hour / 1e6, 3)} per GPU-hour`, "none"];
    case "attempt.ended":
      if (it.outcome === "refused") return ["Turned down", `no capacity: excluded for this job`, "failed"];
      if (it.outcome === "outage" || it.outcome === "lost") {
        return [`Lost: ${it.outcome === "outage" ? "the supplier is out" : "the machine is gone"}`, "not charged; excluded from what follows", "failed"];
      }
      return [`Attempt ${it.attempt} ended`, it.outcome, "none"];
    case "job.transition":
      if (it.status === "queued") return ["Back in the queue", `after ${it.reason ?? "a loss"}: failing over`, "queued"];
      return [it.status[0].toUpperCase() + it.status.slice(1), [it.supplier, it.region, it.reason].filter(Boolean).join(", "), it.status];
    case "job.settled":
      return [`Settled: ${micros(it.cost_micros)}`, `${micros(it.retail_micros)} at retail; ${micros(it.released_micros)} released`, "none"];
    default: {
      const details = Object.entries(it).filter(([, value]) => value !== null && typeof value !== "object");
      return [entry.kind, details.slice(0, 3).map(([name, value]) => `${name} ${value}`).join(", "), "none"];
    }
  }
}

function renderTimeline() {
  const list = $("timeline");
  const told = world.history.filter((entry) => /^(job|attempt)\./.test(entry.kind));
  const first = Date.parse(told[0]?.at);
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  const before = list.childElementCount;
  keyed(list, told.length ? told : [null], (entry) => entry?.seq ?? 0, (entry) => {
    if (!entry) return h("li", { className: "empty" }, "Run a job, and what becomes of it is written here: placement, attempts, failover, settlement.");
    const [title, detail, look] = telling(entry);
    return h("li", { className: `is-${look}` },
      h("time", { className: "num", dateTime: entry.at, title: `${clock(entry.at)} UTC` }, `+${duration((Date.parse(entry.at) - first) / 1000)}`),
      h("div", {}, h("b", {}, title), " ", h("span", {}, detail)),
      h("small", { className: "num", title: "Row of the Trust Ledger" }, `#${entry.seq}`));
  });
  text($("h-time"), world.job?.attempts > 1 ? `What happened, in ${plural(world.job.attempts, "placement")}` : "What happened");
  if (atEnd && list.childElementCount > before) list.scrollTop = list.scrollHeight;
}

export const runOf = (id) => get(`/_dev/runs/${id}`);
