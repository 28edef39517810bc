// The page, put together: panels, the run that the address names, and starting over.

import { $, h, plural, say, text } from "./dom.js";
import { get, isSimulated, post } from "./api.js";
import * as form from "./form.js";
import * as ledger from "./ledger.js";
import * as panels from "./panels.js";
import * as route from "./route.js";
import * as run from "./run.js";
import { on, pause, refreshAll, select, start, world } from "./world.js";

const GONE = "Jobs, ledger, budget, webhooks and outages of this playground are removed; the keys stay.";

text($("about"), isSimulated
  ? "Suppliers, prices and jobs are simulated: nothing runs, nothing is charged."
  : "Commands run on this machine, as you. Suppliers and prices are simulated; images are not run.");

async function shareLink() {
  const { spec } = new form.Linked();
  const repeats = isSimulated ? await run.runOf(world.job.id) : {};
  return location.origin + form.addressOf(spec ?? {}, { ...repeats, job: world.job.id });
}

async function startOver(seed, passedOver) {
  await post("/_dev/reset", { seed: Number(seed), passed_over: Number(passedOver) });
  for (let turns = 0; turns < 50 && world.jobs.length; turns += 1) {
    refreshAll();
    await pause(100);
  }
}

// The address may name a run: of this playground, to look at, or of another, to repeat.
async function openLinked() {
  const linked = new form.Linked();
  if (linked.job) {
    const job = await get(`/v1/jobs/${encodeURIComponent(linked.job)}`).catch(() => null);
    if (job) return select(job);
  }
  const { jobs } = await get("/v1/jobs?limit=1");
  if (linked.seed === null || !isSimulated) return select(jobs[0] ?? null);
  const state = await get("/_dev/state");
  const isOther = Number(linked.seed) !== state.seed;
  if (isOther && state.is_kept) {
    return panels.notify(`This link carries a run under seed ${linked.seed}; this playground keeps its state under seed ${state.seed}. Start one with --seed ${linked.seed} to see that run; the form is filled in.`);
  }
  const isFresh = !jobs.length && !isOther && Number(linked.passed_over) === 0;
  const repeat = async () => {
    if (!isFresh && !(await panels.confirmed("Start over for this run?", `What chance brings follows from the seed and from how many jobs were submitted before. ${GONE}`, "Start over and run"))) return;
    panels.notify("");
    if (!isFresh) await startOver(linked.seed, linked.passed_over ?? 0);
    form.fill(linked.spec);
    await form.submit();
  };
  const words = `This link carries a run: its spec is in the form, its seed is ${linked.seed}, after ${plural(Number(linked.passed_over), "other job")}. ${isFresh ? "Run it, and it goes as it went." : "To go as it went, the playground must start over from there."}`;
  return panels.notify(words,
    h("button", { type: "button", className: "primary", onclick: repeat }, isFresh ? "Run it" : "Start over and run it…"),
    h("button", { type: "button", onclick: () => panels.notify("") }, "Only fill in the form"));
}

$("reset").onclick = async () => {
  if (!(await panels.confirmed("Start over?", GONE, "Start over"))) return;
  await startOver(world.state.seed, 0).catch((error) => say(error.message));
};

panels.setUp();
route.setUp();
run.setUp(shareLink);
form.setUp();
ledger.setUp();
on("anew", () => panels.notify("The playground began anew: what was there before is gone."));
start();
openLinked().catch(() => {});
