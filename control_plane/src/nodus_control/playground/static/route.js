// The route: every supplier with its price and score, why it was not chosen, and a switch that puts it out.

import { $, h, keyed, say, text } from "./dom.js";
import { get, post } from "./api.js";
import { on, refresh, task, world } from "./world.js";

const WHY = {
  tier_not_allowed: "not in the tiers you require",
  outage: "out",
  already_lost: "lost this job before",
  no_capacity: "turned this job down",
  above_reserved_rate: "dearer than what was reserved",
};
let query = "";
let preview = null;

// Shows where the form's job would go; false goes back to the job that was selected.
export function showPreviewOf(spec) {
  query = new URLSearchParams({ gpu: spec.gpu ?? "", require_tiers: (spec.require_tiers ?? []).join(","), prefer_region: spec.prefer_region ?? "" });
  refresh("preview");
}

export function setUp() {
  task("preview", async () => {
    if (!query) return;
    preview = await get(`/_dev/routing?${query}`);
    render();
  });
  on("preview", render);
  on("job", render);
  on("state", render);
}

export const previewed = () => preview;
let outages = "";

function render() {
  if (!world.state) return;
  const present = JSON.stringify(world.state.suppliers);
  if (present !== outages) {
    outages = present;
    refresh("preview");
  }
  const ofJob = world.routing && !world.editing;
  const decision = ofJob ? world.routing : preview;
  text($("route-of"), ofJob ? "as decided for this run" : world.job && !world.editing ? "deciding…" : "if you ran the job now");
  const candidates = decision?.candidates ?? [];
  const best = new Map();
  candidates.forEach((each) => best.has(each.supplier) || best.set(each.supplier, each.usd_per_gpu_hour));
  // By price, so that rows stand still while scores and outages change.
  const suppliers = [...world.state.suppliers].sort(
    (a, b) => (best.get(a.name) ?? 1e9) - (best.get(b.name) ?? 1e9) || a.name.localeCompare(b.name),
  );
  keyed($("suppliers"), suppliers, (each) => each.name, makeRow, (row, supplier) => fill(row, supplier, decision));
}

function makeRow({ name, kind }) {
  const toggle = h("button", { type: "button", role: "switch", className: "switch", ariaLabel: `Outage of ${name}` });
  toggle.onclick = () => setOutage(name, toggle.getAttribute("aria-checked") !== "true");
  return h("tr", {},
    h("th", { scope: "row" }, name, h("small", {}, kind)),
    h("td", { className: "r num" }),
    h("td", { className: "score" }, h("i"), h("span", { className: "num" })),
    h("td", { className: "why" }, h("b"), h("small")),
    h("td", { className: "out" }, toggle));
}

export async function setOutage(name, isOn) {
  await post(`/_dev/suppliers/${name}/outage`, { on: isOn }).catch((error) => say(error.message));
  say(`${name} is ${isOn ? "out" : "back"}`);
  refresh("state", "preview", "job");
}

function fill(row, supplier, decision) {
  const offers = (decision?.candidates ?? []).filter((each) => each.supplier === supplier.name);
  const chosen = decision?.chosen?.supplier === supplier.name ? decision.chosen : null;
  const open = offers.filter((each) => !each.rejected);
  const top = chosen ?? open[0] ?? offers[0];
  const ranked = decision ? decision.candidates.filter((each) => !each.rejected).map((each) => each.supplier) : [];
  const rank = [...new Set(ranked)].indexOf(supplier.name) + 1;
  const reasons = [...new Set(offers.map((each) => each.rejected).filter(Boolean))];
  const verdict = chosen ? "chosen" : open.length ? `no. ${rank}` : offers.length ? reasons.map((each) => WHY[each] ?? each).join("; ") : decision ? "does not offer this GPU" : "…";
  const [, price, score, why, out] = row.children;
  row.className = chosen ? "chosen" : open.length ? "" : "rejected";
  text(price, top ? top.usd_per_gpu_hour.toFixed(2) : "");
  score.firstChild.style.setProperty("--share", top ? Math.min(1, top.score / 1.1) : 0);
  text(score.lastChild, top ? top.score.toFixed(3) : "");
  text(why.firstChild, verdict);
  const places = chosen ? [chosen.region, ...offers.filter((each) => each !== chosen && each.region !== chosen.region).map(place)] : offers.map(place);
  text(why.lastChild, places.slice(0, 3).join(", ") + (places.length > 3 ? ` +${places.length - 3}` : ""));
  why.lastChild.title = places.join(", ");
  out.firstChild.setAttribute("aria-checked", String(supplier.outage));
}

const place = (offer) => offer.region + (offer.rejected === "already_lost" || offer.rejected === "no_capacity" ? " ✕" : "");
