"use strict";

// Everything shown is set as text: whatever a job carries, nothing of it becomes markup.
const POLL_MS = 1000;
const settings = document.body.dataset;
const credentials = { Authorization: `Bearer ${settings.apiKey}` };
const byId = (id) => document.getElementById(id);
const dollars = (amount) => (amount === null ? "" : `$${amount.toFixed(2)}`);

function duration(seconds) {
  if (seconds === null) return "";
  const whole = Math.round(seconds);
  const parts = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60), whole % 60];
  return seconds < 60 ? `${seconds.toFixed(1)} s` : parts.map((part) => String(part).padStart(2, "0")).join(":");
}

function row(job) {
  const line = document.createElement("tr");
  const cells = [
    job.id, job.status, job.supplier, job.region, `${job.gpu_count} × ${job.gpu}`, duration(job.duration_s),
    dollars(job.cost_usd), dollars(job.retail_cost_usd), dollars(job.saved_usd),
  ];
  for (const text of cells) {
    const cell = document.createElement("td");
    cell.textContent = text ?? "";
    line.append(cell);
  }
  line.cells[0].className = "id";
  line.cells[1].className = `status ${job.status}`;
  if (job.error_message) line.cells[1].title = job.error_message;
  return line;
}

function show(jobs) {
  byId("jobs").replaceChildren(...jobs.map(row));
  byId("empty").hidden = jobs.length > 0;
  const over = jobs.filter((job) => job.finished_at !== null);
  const sum = (field) => over.reduce((total, job) => total + (job[field] ?? 0), 0);
  byId("live").textContent = String(jobs.length - over.length);
  byId("done").textContent = String(over.filter((job) => job.status === "completed").length);
  byId("spent").textContent = dollars(sum("cost_usd"));
  byId("saved").textContent = dollars(sum("saved_usd"));
}

async function fetchJson(path) {
  const answer = await fetch(path, { headers: credentials });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

async function poll() {
  try {
    const [page, state] = await Promise.all([fetchJson("/v1/jobs?limit=200"), fetchJson("/_dev/state")]);
    show(page.jobs);
    const speed = state.speed === "instant" ? "instant" : `× ${state.speed}`;
    byId("clock").textContent = `${state.now.slice(0, 19).replace("T", " ")} UTC, speed ${speed}`;
  } catch (error) {
    byId("clock").textContent = "no answer from the control plane";
  }
  setTimeout(poll, POLL_MS);
}

byId("note").textContent =
  settings.driver === "simulated"
    ? "Suppliers, prices and jobs are simulated: nothing runs, nothing is charged."
    : "Commands run on this machine; suppliers and prices are simulated, images are not run.";
poll();
