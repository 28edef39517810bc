// Elements and how values are written. Everything is set as text: whatever a job carries, none of it becomes markup.

export const $ = (id) => document.getElementById(id);

export function h(tag, properties, ...children) {
	const element = document.createElement(tag);
	// Properties as text are the class alone.
	for (const [name, value] of Object.entries(typeof properties === "string" ? { className: properties } : properties ?? {})) {
		if (name in element) element[name] = value;
		else element.setAttribute(name, value);
	}
	element.append(...children);
	return element;
}

export const button = (label, onclick, more) => h("button", { type: "button", onclick, ...more }, label);

// Only where it differs: selections and screen readers are left in peace.
export function text(element, value) {
	if (element.textContent !== value) element.textContent = value;
}

// Makes the children of `parent` those of `items`; what stays is neither made again nor moved.
export function keyed(parent, items, keyOf, make, update) {
	const present = new Map([...parent.children].map((child) => [child.dataset.key, child]));
	let place = parent.firstElementChild;
	for (const item of items) {
		const key = String(keyOf(item));
		const child = present.get(key) ?? make(item);
		present.delete(key);
		child.dataset.key = key;
		update?.(child, item);
		if (child === place) place = place.nextElementSibling;
		else parent.insertBefore(child, place);
	}
	for (const gone of present.values()) gone.remove();
}

export const see = (id) => $(id).scrollIntoView({ block: "nearest" });
export const say = (words) => text($("say"), words);

export function notify(words, ...acts) {
	$("notice").replaceChildren(h("p", "", words), ...acts, button("Dismiss", () => notify("")));
	$("notice").hidden = !words;
	if (words) say(words);
}

export const fail = (error) => notify(error.message);

// What a button does it does once at a time, and is seen to be busy.
export function does(element, work) {
	element.onclick = async () => {
		if (element.ariaDisabled === "true") return;
		element.ariaDisabled = "true";
		await work().catch(fail);
		element.ariaDisabled = "false";
	};
}

export async function copy(words, from) {
	const label = (from.dataset.label ??= from.textContent);
	text(from, await navigator.clipboard.writeText(words).then(() => "Copied", () => "Not allowed"));
	say(from.textContent);
	setTimeout(() => text(from, label), 1500);
}

export const none = "–";
// Exactly: an amount is a whole number of micro-dollars, and what is shown adds up.
export const usd = (amount) => (amount == null ? none : `${amount < 0 ? "-" : ""}$${Math.abs(amount).toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 6 })}`);
export const short = (id) => `…${id.slice(-6)}`;
export const plural = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

// As people say it: 20 min, 18 h.
export const roughly = (seconds) => duration(seconds).replace(/ 0 (s|min)$/, "");

export function duration(seconds) {
	if (seconds == null) return none;
	if (seconds < 60) return `${seconds.toFixed(1)} s`;
	const minutes = Math.floor(seconds / 60);
	return minutes < 60 ? `${minutes} min ${Math.floor(seconds % 60)} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
