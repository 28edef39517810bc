// The page, put together: panels, the run that the address names, and starting over.

import { $, button, fail, notify, plural, text } from "./dom.js";
import { get, isSimulated, post, settings } from "./api.js";
import * as budget from "./budget.js";
import * as form from "./form.js";
import * as ledger from "./ledger.js";
import * as panels from "./panels.js";
import * as route from "./route.js";
import * as run from "./run.js";
import { on, pause, refresh, select, start, world } from "./world.js";

const GONE = "Jobs, ledger, budgets, webhooks and outages are removed; the keys stay; the agent’s cap is $25.";

// Resolves once the page has seen that the control plane began anew.
async function startOver(from) {
	const begun = new Promise((resolve) => on("anew", resolve));
	await post("/_dev/reset", from);
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
	const isFresh = !jobs.length && Number(before) === 0 && Number(seed) === (await ask("/_dev/state")).seed;
	const repeat = async () => {
		if (!isFresh && !(await panels.isConfirmed(GONE))) return;
		if (!isFresh) await startOver({ seed: Number(seed), passed_over: Number(before) });
		notify("");
		form.load(spec);
		await form.submit();
	};
	notify(`This link carries a run: its job is in the form, its seed is ${seed}, after ${plural(Number(before), "other job")}. Run from there, it goes as it went.`,
		button(isFresh ? "Run it" : "Start over and run it…", () => repeat().catch(fail), { className: "primary" }));
}

text($("about"), {
	simulated: "Suppliers, prices and jobs are simulated: nothing runs, nothing is charged.",
	process: "Commands run on this machine, as you; images are not run.",
	docker: "Images run, in containers.",
}[settings.driver] ?? "Jobs run, at the suppliers of your file.");
$("reset").onclick = async () => {
	if (await panels.isConfirmed(GONE)) startOver({}).catch(fail);
};
panels.setUp();
budget.setUp();
route.setUp();
run.setUp();
ledger.setUp();
form.setUp();
document.querySelector("main").hidden = false;
on("anew", () => notify("The playground began anew: what was there is gone."));
// Another address is another run; a jump within the page leaves it as it was.
window.onhashchange = ({ oldURL }) => (location.hash === "#spec" ? history.replaceState(null, "", oldURL) : location.reload());
start();
openLinked().catch(fail);
