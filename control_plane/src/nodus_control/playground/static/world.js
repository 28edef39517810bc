// What the page knows of the control plane, and when it asks again. The truth is always read, never added up: the one
// event stream only says when to look, so nothing is counted twice or missed after a reload, a restart or a lost line.

import { Refused, get, headers } from "./api.js";

export const world = { state: null, readAt: 0, jobs: [], tail: [], size: 0, job: null, history: [], link: "waiting" };

const STATE_MS = 1500;
const QUIET_MS = 40_000; // the stream carries a heartbeat every 15 s
const TAIL = 200;

const listeners = {};
const tasks = {};
const stale = new Set();
let epoch = 0;
let lastEvent = null;
let streaming = null;

export const on = (name, listener) => (listeners[name] ??= []).push(listener);
export const emit = (name, value) => (listeners[name] ?? []).forEach((listener) => listener(value));
export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Defines a read. However often it is asked for, it runs once at a time, and once more for what came meanwhile.
export function task(name, read) {
  let state = "idle";
  tasks[name] = async () => {
    if (state !== "idle") {
      state = "again";
      return;
    }
    do {
      state = "busy";
      try {
        await read();
        stale.delete(name);
      } catch (error) {
        stale.add(name);
        if (error instanceof Refused && error.status === 401) setLink("keys");
        else if (!(error instanceof Refused || error instanceof TypeError)) console.error(error);
      }
      await pause(120);
    } while (state === "again");
    state = "idle";
  };
}

export const refresh = (...names) => names.forEach((name) => tasks[name]());
export const refreshAll = () => refresh(...Object.keys(tasks));

function setLink(link) {
  if (world.link === "keys" || world.link === link) return;
  world.link = link;
  emit("link", link);
}

// The present time of the control plane's clock, in milliseconds.
export function now() {
  const { state } = world;
  if (!state) return null;
  const passed = state.paused || state.speed === "instant" ? 0 : (performance.now() - world.readAt) * state.speed;
  return Date.parse(state.now) + passed;
}

task("state", async () => {
  let state;
  try {
    state = await get("/_dev/state");
  } catch (error) {
    if (error instanceof TypeError) setLink("lost");
    throw error;
  }
  const isAnew = world.state && world.state.epoch !== state.epoch;
  Object.assign(world, { state, readAt: performance.now() });
  if (isAnew) startAnew();
  emit("state");
  if (streaming?.isOpen) setLink("live");
  stale.delete("state");
  if (stale.size) refresh(...stale);
});

task("jobs", async () => {
  const started = epoch;
  const { jobs } = await get("/v1/jobs?limit=50");
  if (started !== epoch) return;
  world.jobs = jobs;
  emit("jobs");
});

task("ledger", async () => {
  const started = epoch;
  let after = world.tail.at(-1)?.seq ?? Math.max(0, (await get("/v1/ledger/checkpoint")).size - TAIL);
  for (let pages = 0; after !== null; pages += 1) {
    if (pages === 5) after = Math.max(after, (await get("/v1/ledger/checkpoint")).size - TAIL);
    const page = await get(`/v1/ledger?after=${after}&limit=200`);
    if (started !== epoch) return;
    const known = world.tail.at(-1)?.seq ?? 0;
    world.tail = [...world.tail, ...page.entries.filter((entry) => entry.seq > known)].slice(-TAIL);
    after = page.next_after;
  }
  world.size = world.tail.at(-1)?.seq ?? 0;
  emit("ledger");
});

task("job", async () => {
  const id = world.job?.id;
  if (!id) return;
  const job = await get(`/v1/jobs/${id}`);
  const routing = await get(`/v1/jobs/${id}/routing`);
  const history = await allEntries(`job_id=${id}`);
  if (world.job?.id !== id) return;
  Object.assign(world, { job, routing, history });
  emit("job");
});

export async function allEntries(query = "") {
  const entries = [];
  for (let after = 0; after !== null; ) {
    const page = await get(`/v1/ledger?${query}&after=${after}&limit=200`);
    entries.push(...page.entries);
    after = page.next_after;
  }
  return entries;
}

export function select(job) {
  Object.assign(world, { job, routing: null, history: [] });
  emit("selected");
  emit("job");
  if (job) refresh("job");
}

function startAnew() {
  epoch += 1;
  lastEvent = null;
  Object.assign(world, { jobs: [], tail: [], size: 0 });
  select(null);
  streaming?.abort();
  emit("anew");
  refreshAll();
}

// Reads one server-sent event stream; calls back with each event, and whenever there is a sign of life.
export async function readEvents(body, onEvent, onBytes) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    onBytes();
    const blocks = (rest + value).replaceAll("\r\n", "\n").split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const event = {};
      for (const line of block.split("\n")) {
        const [, name, content] = /^(\w+): ?(.*)$/.exec(line) ?? [];
        if (name) event[name] = name === "data" && "data" in event ? `${event.data}\n${content}` : content;
      }
      onEvent(event);
    }
  }
}

async function stream() {
  const stopping = new AbortController();
  const mine = { isOpen: false, abort: () => stopping.abort() };
  streaming = mine;
  let quiet;
  const listen = () => {
    clearTimeout(quiet);
    quiet = setTimeout(mine.abort, QUIET_MS);
  };
  try {
    listen();
    const answer = await fetch(`/v1/events?after=${lastEvent ?? "latest"}`, {
      headers: { ...(await headers("GET", "/v1/events", "", "human")), Accept: "text/event-stream" },
      signal: stopping.signal,
      cache: "no-store",
    });
    if (!answer.ok) throw new Error(`the stream answered ${answer.status}`);
    mine.isOpen = true;
    refreshAll();
    await readEvents(answer.body, (event) => {
      if (streaming !== mine) return;
      if (event.id) lastEvent = event.id;
      if (event.data) emit("event", JSON.parse(event.data));
    }, listen);
  } catch {
    // Whatever ended it, it is opened again.
  }
  clearTimeout(quiet);
  mine.isOpen = false;
  if (!document.hidden) setLink("lost");
}

async function keepStreaming() {
  for (;;) {
    const started = performance.now();
    if (document.hidden) await new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
    else await stream();
    await pause(performance.now() - started > 5000 ? 100 : 700);
  }
}

async function keepLooking() {
  for (;;) {
    if (!document.hidden) await tasks.state();
    await pause(STATE_MS);
  }
}

export function start() {
  on("event", (event) => {
    refresh("jobs", "ledger", "budget", "hooks");
    if (event.job_id === world.job?.id) refresh("job");
  });
  // A hidden tab gives its connections back: a browser has six for all tabs of a server.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) streaming?.abort();
    else refreshAll();
  });
  keepLooking();
  keepStreaming();
}
