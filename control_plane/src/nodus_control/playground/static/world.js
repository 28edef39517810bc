// What the page knows, and when it asks again. The truth is read, never added up: the one event stream only says when to
// look, so nothing is counted twice or missed after a reload, a restart or a lost line.

import { fail } from "./dom.js";
import { Refused, call, get, post } from "./api.js";

export const world = { state: null, jobs: [], tail: [], job: null, routing: null, history: [], draft: null, agent: null, received: [], isRegistered: false, isEditing: false };

const STATE_MS = 1500;
const TAIL = 200;
const OPENING_MS = 30_000; // a stream that does not begin in so long never will: it is asked for again

const listeners = {};
const tasks = {};
const failed = new Set();
let readAt = 0;
let heard;
let epoch = 0;
let lastEvent = "latest";
let stopStream = () => {};
let isStreaming = false;
let lostAt = null; // since when nobody answers: from then on nothing is known, so no clock runs

export const on = (names, listener) => names.split(" ").forEach((name) => (listeners[name] ??= []).push(listener));
export const emit = (name, value) => listeners[name]?.forEach((listener) => listener(value));
export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Defines a read. It runs once at a time, and once more for all who asked meanwhile: each is told when one is done that
// began after they asked.
export function task(name, read) {
	let last;
	let next;
	tasks[name] = () => (next ??= last = Promise.resolve(last).then(async () => {
		next = null;
		failed.delete(name);
		await read().catch((error) => {
			failed.add(name);
			if (error.status === 401) emit("link", "keys");
		});
	}).then(() => pause(120)));
}

export const refresh = (names) => Promise.all(names.split(" ").map((name) => tasks[name]()));
const refreshAll = () => refresh(Object.keys(tasks).filter((name) => name !== "state").join(" "));

// Changes something, then reads again what that changed.
export const act = (names, path, content) => post(path, content).catch(fail).then(() => refresh(names));

// The present time of the control plane's clock, in milliseconds.
export function now() {
	const { now: then, speed, paused } = world.state;
	return Date.parse(then) + (paused || speed === "instant" ? 0 : ((lostAt ?? performance.now()) - readAt) * speed);
}

task("state", async () => {
	const state = await get("/_dev/state").catch((error) => {
		if (!(error instanceof Refused)) {
			lostAt ??= performance.now();
			emit("link", "lost");
		}
		throw error;
	});
	const isAnew = world.state && world.state.epoch !== state.epoch;
	if (lostAt !== null) stopStream();
	lostAt = null;
	world.state = state;
	readAt = performance.now();
	if (isAnew) beginAnew();
	emit("state");
	emit("link", isStreaming ? "live" : "waiting");
	// Not all that lands comes with an event; and without the stream, looking now and then must do.
	const isNews = heard !== (heard = `${state.ledger_size} ${state.webhooks}`);
	if (isNews || failed.size || !isStreaming) refreshAll();
});

// What was asked before a new beginning is no answer about it.
async function current(path) {
	const asked = epoch;
	const answer = await get(path);
	if (asked !== epoch) throw new Error("stale");
	return answer;
}

task("jobs", async () => {
	world.jobs = (await current("/v1/jobs?limit=50")).jobs;
	emit("jobs");
});

task("ledger", async () => {
	let after = Math.max(world.tail.at(-1)?.seq ?? 0, world.state.ledger_size - TAIL);
	while (after !== null) {
		const page = await current(`/v1/ledger?after=${after}&limit=200`);
		world.tail = [...world.tail, ...page.entries].slice(-TAIL);
		after = page.next_after;
	}
	emit("ledger");
});

task("job", async () => {
	const id = world.job?.id;
	if (!id) return;
	const [job, routing] = await Promise.all([current(`/v1/jobs/${id}`), current(`/v1/jobs/${id}/routing`)]);
	const history = await allEntries(`job_id=${id}&`);
	if (world.job?.id !== id) return;
	Object.assign(world, { job, routing, history });
	emit("job");
});

export async function allEntries(query = "") {
	const entries = [];
	for (let after = 0; after !== null; ) {
		const page = await current(`/v1/ledger?${query}after=${after}&limit=200`);
		entries.push(...page.entries);
		after = page.next_after;
	}
	return entries;
}

export function select(job) {
	Object.assign(world, { job, routing: null, history: [], isEditing: false });
	emit("job");
	emit("jobs");
	refresh("job");
}

function beginAnew() {
	epoch += 1;
	lastEvent = "latest";
	Object.assign(world, { jobs: [], tail: [] });
	emit("anew");
	select(null);
	stopStream();
	refreshAll();
}

// Reads server-sent events; calls back with each.
async function readEvents(body, onEvent) {
	const reader = body.pipeThrough(new TextDecoderStream()).getReader();
	let rest = "";
	for (;;) {
		const { value, done } = await reader.read();
		if (done) return;
		const blocks = (rest + value).split("\n\n");
		rest = blocks.pop();
		for (const block of blocks) {
			onEvent(Object.fromEntries(block.split("\n").map((line) => line.split(/: ?(.*)/s))));
		}
	}
}

async function stream() {
	const stopping = new AbortController();
	stopStream = () => stopping.abort();
	const opening = setTimeout(stopStream, OPENING_MS);
	try {
		const answer = await call("GET", `/v1/events?after=${lastEvent}`, undefined, "human", { signal: stopping.signal });
		clearTimeout(opening);
		isStreaming = true;
		emit("link", "live");
		refreshAll();
		await readEvents(answer.body, ({ id, data }) => {
			if (stopping.signal.aborted) return;
			if (id) lastEvent = id;
			if (data) emit("event", JSON.parse(data));
		});
	} catch {
		// Whatever ended it, it is opened again.
	}
	clearTimeout(opening);
	isStreaming = false;
}

async function keepStreaming() {
	for (;;) {
		if (!document.hidden) await stream();
		await pause(500);
	}
}

async function keepLooking() {
	for (;;) {
		if (!document.hidden) await tasks.state();
		await pause(STATE_MS);
	}
}

export function start() {
	on("event", (event) => refresh(`jobs ledger budget hooks${event.job_id === world.job?.id ? " job" : ""}`));
	// A hidden tab gives its connection back: a browser has six for all tabs of a server.
	document.addEventListener("visibilitychange", () => (document.hidden ? stopStream() : refreshAll()));
	keepLooking();
	keepStreaming();
}
