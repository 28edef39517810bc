// A job spec: between the form's text, the wire, and what the manual allows. Pure.

export const DEFAULTS = { gpu: "h100_80gb", gpu_count: 1, max_runtime_seconds: 3600 };
export const GPUS = ["h100_80gb", "a100_80gb", "a100_40gb", "l40s", "a10g"];

// Splits a line as a shell does: spaces, '…', "…" and backslashes; nothing is expanded.
export function splitWords(line) {
  const words = [];
  let word = null;
  let quote = "";
  for (let i = 0; i < line.length; i += 1) {
    const mark = line[i];
    if (quote === "'") {
      if (mark === "'") quote = "";
      else word += mark;
    } else if (mark === "\\") {
      if (i + 1 === line.length) throw new Error("ends in a backslash");
      const next = line[(i += 1)];
      word = (word ?? "") + (quote && !'"\\$`'.includes(next) ? `\\${next}` : next);
    } else if (quote) {
      if (mark === '"') quote = "";
      else word += mark;
    } else if (mark === "'" || mark === '"') {
      quote = mark;
      word ??= "";
    } else if (/\s/.test(mark)) {
      if (word !== null) words.push(word);
      word = null;
    } else word = (word ?? "") + mark;
  }
  if (quote) throw new Error(`has a ${quote} that is not closed`);
  if (word !== null) words.push(word);
  return words;
}

export const quoteWord = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

function readEnv(lines) {
  const env = {};
  lines.split("\n").forEach((line, index) => {
    if (!line.trim() || line.startsWith("#")) return;
    const at = line.indexOf("=");
    const name = line.slice(0, at).trim();
    if (at < 0) throw new Error(`Line ${index + 1} has no “=”.`);
    if (!name) throw new Error(`Line ${index + 1} has no name before “=”.`);
    if (Object.hasOwn(env, name)) throw new Error(`Line ${index + 1} sets the same name again.`);
    let value = line.slice(at + 1);
    // A value in double quotes is JSON: that is how a line break gets in.
    if (value.startsWith('"')) {
      try {
        value = JSON.parse(value);
      } catch {
        throw new Error(`Line ${index + 1}: a value in double quotes must be JSON.`);
      }
    }
    Object.defineProperty(env, name, { value, enumerable: true, configurable: true });
  });
  return env;
}

const writeEnv = (env) =>
  Object.entries(env).map(([name, value]) => `${name}=${/^"|\n|\r/.test(value) ? JSON.stringify(value) : value}`).join("\n");

const isText = (value) => !value.includes("\0") && (value.isWellFormed?.() ?? true);

function whole(value, lowest, highest, unit) {
  if (!/^\d{1,9}$/.test(value.trim()) || Number(value) < lowest || Number(value) > highest) {
    throw new Error(`A whole number from ${lowest} to ${highest.toLocaleString("en")}${unit}.`);
  }
  return Number(value);
}

// Reads the form's fields; gives the spec, and what is wrong by field.
export function read(fields) {
  const spec = {};
  const errors = {};
  const take = (name, reader) => {
    try {
      const value = reader(fields[name]);
      if (value !== undefined) spec[name] = value;
    } catch (error) {
      errors[name] = error.message;
    }
  };
  take("image", (value) => {
    if (!value) throw new Error("Required: an image reference such as ghcr.io/acme/train:v3.");
    if (value.length > 512) throw new Error("At most 512 characters.");
    if (/[\s\p{C}]/u.test(value)) throw new Error("No spaces, and printable characters only.");
    return value;
  });
  take("command", (value) => {
    let words;
    try {
      words = splitWords(value);
    } catch (error) {
      throw new Error(`The line ${error.message}.`);
    }
    if (!words.every(isText)) throw new Error("No NUL characters.");
    return words.length ? words : undefined;
  });
  take("gpu", (value) => {
    if (!GPUS.includes(value)) throw new Error(`One of ${GPUS.join(", ")}.`);
    return value;
  });
  take("gpu_count", (value) => whole(value, 1, 8, ""));
  take("max_runtime_seconds", (value) => whole(value, 60, 172800, " (48 hours)"));
  take("require_tiers", (value) => (value.length ? value : undefined));
  take("prefer_region", (value) => {
    if (value.length > 128 || !isText(value)) throw new Error("At most 128 characters.");
    return value || undefined;
  });
  take("env", (value) => {
    const env = readEnv(value);
    if (!Object.entries(env).flat().every(isText)) throw new Error("No NUL characters.");
    return Object.keys(env).length ? env : undefined;
  });
  take("idempotency_key", (value) => {
    if (!/^[\x20-\x7e]{0,128}$/.test(value)) throw new Error("At most 128 printable ASCII characters.");
    return value || undefined;
  });
  return { spec, errors };
}

// Gives the form's text for a spec, whoever wrote it.
export function write(spec) {
  const list = (value) => (Array.isArray(value) ? value.map(String) : []);
  const env = spec.env && typeof spec.env === "object" ? spec.env : {};
  return {
    image: String(spec.image ?? ""),
    command: list(spec.command).map(quoteWord).join(" "),
    gpu: String(spec.gpu ?? DEFAULTS.gpu),
    gpu_count: String(spec.gpu_count ?? DEFAULTS.gpu_count),
    max_runtime_seconds: String(spec.max_runtime_seconds ?? DEFAULTS.max_runtime_seconds),
    require_tiers: list(spec.require_tiers),
    prefer_region: String(spec.prefer_region ?? ""),
    env: writeEnv(env),
    idempotency_key: String(spec.idempotency_key ?? ""),
  };
}
