// The page, put together: panels, the run that the address names, and starting over.

import { $, button, fail, plural, text } from "./dom.js";
import { get, isSimulated, post } from "./api.js";
import * as form from "./form.js";
import * as ledger from "./ledger.js";
import * as panels from "./panels.js";
import * as route from "./route.js";
import * as run from "./run.js";
import { on, pause, refresh, select, start, world } from "./world.js";

const GONE = "Jobs, ledger, budgets, webhooks and outages of this playground are removed; the keys stay.";

// Resolves once the page has seen that the control plane began anew.
async function startOver(seed, passed_over) {
	const begun = new Promise((resolve) => on("anew", resolve));
	await post("/_dev/reset", { seed: Number(seed), passed_over: Number(passed_over) });
	refresh("state");
	await begun;
}

// Null where that is refused; asked again as long as nobody answers.
const ask = (path) => get(path).catch((error) => (error.status < 500 ? null : pause(500).then(() => ask(path))));

// The address may name a run: of this playground, to look at, or of another, to repeat.
async function openLinked() {
	const { spec, job: id, seed, passed_over: before = 0 } = form.linked();
	const found = id && (await ask(`/v1/jobs/${encodeURIComponent(id)}`));
	const jobs = (await ask("/v1/jobs?limit=1"))?.jobs;
	if (!world.job) select(found || (jobs?.[0] ?? null));
	if (found || !jobs || !seed || !isSimulated) return;
	const state = await ask("/_dev/state");
	const isOther = Number(seed) !== state.seed;
	const carried = `This link carries a run: its job is in the form, its seed is ${seed}, after ${plural(Number(before), "other job")}.`;
	if (isOther && state.is_kept) return panels.notify(`${carried} To see that run, start a playground with --seed ${seed}: this one keeps its state under seed ${state.seed}.`);
	const isFresh = !jobs.length && !isOther && Number(before) === 0;
	const repeat = async () => {
		if (!isFresh && !(await panels.isConfirmed(`Chance follows from the seed and from how many jobs came before, so the playground starts over from there. ${GONE}`))) return;
		if (!isFresh) await startOver(seed, before);
		panels.notify("");
		await form.fill(spec);
		await form.submit();
	};
	panels.notify(`${carried} ${isFresh ? "Run it, and it goes as it went." : "To go as it went, this playground must start over."}`,
		button(isFresh ? "Run it" : "Start over and run it…", () => repeat().catch(fail), { className: "primary" }),
		button("Only fill in the form", () => panels.notify("")));
}

text($("about"), isSimulated
	? "Suppliers, prices and jobs are simulated: nothing runs, nothing is charged."
	: "Commands run on this machine, as you. Suppliers and prices are simulated; images are not run.");
$("reset").onclick = async () => {
	if (await panels.isConfirmed(GONE)) startOver(world.state.seed, 0).catch(fail);
};
panels.setUp();
route.setUp();
run.setUp();
ledger.setUp();
form.setUp();
document.querySelector("main").className = "on"; // whole: nothing jumps into place
on("anew", () => panels.notify("The playground began anew: what was there before is gone."));
start();
openLinked().catch(fail);
