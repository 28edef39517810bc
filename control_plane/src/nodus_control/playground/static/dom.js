// The document: finding, making and keeping elements, and how values are written.
// Everything is set as text: whatever a job carries, nothing of it becomes markup.

export const $ = (id) => document.getElementById(id);

export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element && name !== "list") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

// Sets text only where it differs: selections and screen readers are left in peace.
export function text(element, value) {
  if (element.textContent !== value) element.textContent = value;
}

// Makes the children of `parent` those of `items`, in order, moving and making no more than it must.
export function keyed(parent, items, keyOf, make, update) {
  const present = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let place = parent.firstElementChild;
  for (const item of items) {
    const key = String(keyOf(item));
    let child = present.get(key);
    present.delete(key);
    if (!child) {
      child = make(item);
      child.dataset.key = key;
    }
    if (update) update(child, item);
    if (child === place) place = place.nextElementSibling;
    else parent.insertBefore(child, place);
  }
  for (const gone of present.values()) gone.remove();
}

export function say(words) {
  text($("say"), words);
}

export async function copy(words, button) {
  const before = button.textContent;
  try {
    await navigator.clipboard.writeText(words);
    button.textContent = "Copied";
    say("Copied");
  } catch {
    button.textContent = "Not allowed";
    say("The browser did not allow copying");
  }
  setTimeout(() => (button.textContent = before), 1500);
}

export const wanting = "–";
export const usd = (amount, digits = 2) =>
  amount === null || amount === undefined ? wanting : `${amount < 0 ? "−" : ""}$${Math.abs(amount).toFixed(digits)}`;
export const short = (id) => (id ? `…${id.slice(-6)}` : "");
export const clock = (at) => at.slice(11, 19);
export const plural = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return wanting;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60), whole % 60];
  return hours ? `${hours} h ${String(minutes).padStart(2, "0")} min` : `${minutes} min ${String(rest).padStart(2, "0")} s`;
}
