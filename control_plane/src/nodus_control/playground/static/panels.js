// The smaller panels: the connection, the clock, the agent's budget, the webhook inbox, recent jobs.

import { $, clock, duration, h, keyed, plural, say, short, text, usd, wanting } from "./dom.js";
import { call, get, hex, isSimulated, mac, post } from "./api.js";
import { emit, now, on, refresh, refreshAll, select, task, world } from "./world.js";

const INBOX = "/_dev/inbox/page";
const LINKS = {
  waiting: ["Connecting…"],
  live: ["Live"],
  lost: ["Disconnected", "The control plane does not answer. What you see is the last that was heard; the page goes on by itself when it is back. If you stopped it, start it again with nodus playground."],
  keys: ["Other keys", "The playground was started again, with other keys: open the page that it printed."],
};

export function notify(words, ...acts) {
  $("notice").replaceChildren(h("p", {}, words), ...acts);
  $("notice").hidden = !words;
}

export function setUp() {
  on("link", (link) => {
    const [label, words] = LINKS[link];
    text($("link"), label);
    document.body.dataset.link = $("link").dataset.link = link;
    if (words) notify(words);
    else if (link === "live" && $("notice").dataset.of !== "link") notify("");
  });
  clockPanel();
  budgetPanel();
  hooksPanel();
  jobsPanel();
}

function clockPanel() {
  const set = (change) => post("/_dev/clock", change).catch((error) => say(error.message)).finally(() => refresh("state"));
  $("speed").onchange = () => set({ speed: $("speed").value === "instant" ? "instant" : Number($("speed").value) });
  $("pause").onclick = () => set({ paused: !world.state?.paused });
  $("skip").onclick = async () => {
    await post("/_dev/clock/advance", { seconds: 3600 }).catch((error) => say(error.message));
    refreshAll();
  };
  on("state", ({ state } = world) => {
    const speed = String(state.speed);
    if (![...$("speed").options].some((option) => option.value === speed)) $("speed").add(new Option(`${speed}×`, speed));
    if (document.activeElement !== $("speed")) $("speed").value = speed;
    text($("pause"), state.paused ? "Go on" : "Pause");
    $("pause").setAttribute("aria-pressed", String(state.paused));
  });
  setInterval(() => world.state && text($("now"), new Date(now()).toISOString().slice(0, 19).replace("T", " ")), 250);
}

function budgetPanel() {
  task("budget", async () => {
    const key = await get("/v1/key", "agent");
    const cap = key.monthly_spend_cap_usd;
    text($("cap"), `${usd(cap)} a month, until ${key.resets_at.slice(0, 10)}`);
    const parts = { spent: key.realised_usd, reserved: key.in_flight_usd, left: key.headroom_usd };
    [parts.spent, parts.reserved].forEach((part, at) => $("bar").children[at].style.setProperty("--share", cap ? part / cap : 0));
    $("bar").ariaValueMax = cap;
    $("bar").ariaValueNow = key.month_to_date_usd;
    $("bar").ariaValueText = `${usd(key.month_to_date_usd)} of ${usd(cap)}`;
    keyed($("figures"), Object.entries(parts), ([name]) => name,
      ([name]) => h("div", { className: name }, h("dt", {}, name), h("dd", { className: "num" })),
      (cell, [, part]) => text(cell.lastChild, usd(part)));
  });
}

function hooksPanel() {
  let seen = -1;
  $("register").onclick = async () => {
    const events = ["job.placed", "job.completed", "job.failed", "job.cancelled", "budget.threshold_reached", "budget.exceeded"];
    const made = await post("/v1/webhooks", { url: location.origin + INBOX, events }).catch((error) => say(error.message));
    if (made) sessionStorage.setItem(made.id, made.secret);
    refresh("hooks");
  };
  task("hooks", async () => {
    const { webhooks } = await get("/v1/webhooks");
    const mine = webhooks.find((each) => each.url.endsWith(INBOX) && !each.disabled_at);
    const { deliveries } = mine ? await get(`/v1/webhooks/${mine.id}/deliveries?limit=20`) : { deliveries: [] };
    const received = mine ? (await get("/_dev/inbox")).deliveries : [];
    $("register").hidden = Boolean(mine);
    text($("no-hooks"), deliveries.length ? "" : mine ? "Registered: what happens to the next job is delivered here, signed." : "The playground has a receiver of its own. Register it, and every event of a job is delivered to it, signed.");
    const shown = await Promise.all(deliveries.map(async (each) => {
      const receipts = received.filter((receipt) => receipt.event?.id === each.event_id);
      return { ...each, hook: mine.id, receipts, check: receipts.length ? await checked(receipts.at(-1), mine.id) : null };
    }));
    keyed($("deliveries"), shown, (each) => each.id, makeDelivery, fillDelivery);
  });
  on("state", () => {
    if (world.state.inbox_received !== seen) refresh("hooks");
    seen = world.state.inbox_received;
  });
}

// Checks a delivery here where this tab knows the secret; else says what the receiver found.
async function checked(receipt, hook) {
  const secret = sessionStorage.getItem(hook);
  if (!secret) return receipt.signature_valid ? ["good", "signature valid"] : ["bad", "signature wrong"];
  const header = receipt.headers["nodus-signature"] ?? "";
  const made = await mac(secret, /ts=(\d+)/.exec(header)?.[1], "POST", INBOX, receipt.body);
  return header.includes(`v1=${made}`) ? ["good", "signature valid, checked here"] : ["bad", "signature wrong"];
}

function makeDelivery(each) {
  const again = h("button", { type: "button", ariaLabel: `Replay ${each.event_type}` }, "Replay");
  again.onclick = async () => {
    await post(`/v1/webhooks/${each.hook}/deliveries/${each.id}/replay`).catch((error) => say(error.message));
    refresh("hooks");
  };
  return h("li", {}, h("details", {}, h("summary", {}, h("b", {}, each.event_type), " ", h("small"), " ", h("em")), h("pre", { tabIndex: 0, className: "num" })), again);
}

function fillDelivery(item, each) {
  const [summary, pre] = item.firstChild.children;
  const last = each.attempts.at(-1);
  const of = each.receipts.at(-1);
  text(summary.children[1], `${short(of?.event?.data?.job_id)} ${each.status}, ${plural(each.attempts.length, "attempt")}${last ? `, ${last.status_code ?? last.error} in ${last.latency_ms} ms` : ""}`);
  text(summary.children[2], each.check?.[1] ?? "");
  summary.children[2].className = each.check?.[0] ?? "";
  text(pre, of ? `Nodus-Signature: ${of.headers["nodus-signature"]}\n\n${JSON.stringify(of.event, null, 2)}` : "Not received yet.");
}

function jobsPanel() {
  on("selected", render);
  on("jobs", render);
  on("anew", render);
  function render() {
    const scroll = $("jobs").closest(".scroll");
    scroll.hidden = !world.jobs.length;
    text($("no-jobs"), world.jobs.length ? "" : "No jobs yet. Run one above, or paste the code into a terminal: it appears here.");
    const saved = world.jobs.reduce((sum, job) => sum + (job.saved_usd ?? 0), 0);
    text($("totals"), world.jobs.length ? `${plural(world.jobs.length, "job")}, ${usd(saved)} saved` : "");
    keyed($("jobs"), world.jobs, (job) => job.id, (job) => {
      const pick = h("button", { type: "button", className: "pick num", title: job.id }, short(job.id));
      pick.onclick = () => {
        world.editing = false;
        select(job);
        $("h-run").scrollIntoView({ block: "nearest" });
      };
      return h("tr", {}, h("th", { scope: "row" }, pick), ...[1, 2, 3, 4, 5, 6].map((at) => h("td", { className: ["", "status", "", "opt", "r num opt", "r num", "r num opt"][at] })));
    }, (row, job) => {
      [job.status, job.supplier ?? wanting, `${job.gpu_count} × ${job.gpu}`, duration(job.duration_s), usd(job.cost_usd), usd(job.saved_usd)].forEach((value, at) => text(row.cells[at + 1], value));
      row.cells[1].className = `status is-${job.status}`;
      row.cells[0].firstChild.setAttribute("aria-current", String(job.id === world.job?.id));
    });
  }
}

// Asks before everything goes; true if it is to go.
export function confirmed(title, words, sure) {
  text($("h-dialog"), title);
  text($("ask"), words);
  text($("sure"), sure);
  $("dialog").returnValue = "";
  $("dialog").showModal();
  return new Promise((resolve) => $("dialog").addEventListener("close", () => resolve($("dialog").returnValue === "yes"), { once: true }));
}
