"use strict";
// The fleet: who is there and how it votes, which revision of its configuration is for whom, and what people may say to
// that: the words of `brownout fleet config`. Uses the helpers of app.js, which is read after this file and calls it.

const NAMED = 8;
const names = (all) => all.slice(0, NAMED).join(", ") + (all.length > NAMED ? ` and ${all.length - NAMED} more` : "");
const hostsOf = (count) => `${count} host${count === 1 ? "" : "s"}`;
const revision = (number) => number === 0 ? "the hosts' own files alone" : `revision ${number}`;
const sharePart = (part) => `${number(100 * part)} %`;

// --- what people say ------------------------------------------------------------------------------------------------

// Where everybody can be brought back to: what was stable before, newest first, and the hosts' own files; what was rolled
// back since goes last.
function waysBack(config) {
  if (!config.last) return [];
  const past = [...config.history].reverse();
  const before = [...new Set([...past.filter((passed) => passed.what === "stable").map((passed) => passed.revision), 0])].filter((one) => one !== config.stable);
  const failed = (one) => (past.find((passed) => passed.revision === one && ["stable", "rolled back"].includes(passed.what)) || {}).what === "rolled back";
  const ordered = [...before.filter((one) => !failed(one)), ...before.filter(failed)].slice(0, 10);
  const others = ordered.map((one) => ({ value: String(one), text: `${revision(one)}${failed(one) ? ", which was rolled back" : ""}` }));
  return config.candidate ? [{ value: "", text: `${revision(config.stable)}, as now for all others` }, ...others] : others;
}

const WORDS = {
  promote: (config) => ({ title: `Revision ${config.candidate.revision} for everybody now`, soft: "It becomes stable at once, without the rest of its steps and without baking.", word: "For everybody" }),
  rollback: (config) => ({
    title: config.candidate ? `Roll back revision ${config.candidate.revision}` : `Roll back ${revision(config.stable)}`,
    soft: "All hosts go back at once.", word: "Roll back", why: true, to: waysBack(config) }),
  acknowledge: (config) => ({ title: `Unlock after the rollback of revision ${config.locked.revision}`, soft: "Say that you know what was wrong with it. New revisions can be pushed then.", word: "Unlock" }),
};

// What the dialog is about: one of the words.
let wording = null;
function wordDialog(word, config) {
  const { title, soft, word: does, why, to } = WORDS[word](config);
  wording = { word, why };
  $("word-title").textContent = title;
  $("word-soft").textContent = soft;
  $("word-problem").textContent = "";
  $("word-reason").value = "";
  $("word-do").textContent = does;
  $("word-why").hidden = !why;
  $("word-back").hidden = !to;
  put("word-to", ...(to || []).map((way) => el("option", { value: way.value }, way.text)));
  $("word").showModal();
  $(why ? "word-reason" : "word-by").focus();
}
async function sayWord() {
  const reason = $("word-reason").value.trim(), { word, why } = wording;
  if (why && !reason) { $("word-problem").textContent = "Say why: whoever finds it later will want to know."; return; }
  const by = $("word-by").value.trim() || "page", to = $("word-to").value;
  const problem = await say("POST", `/api/v1/fleet/config/${word}`, why ? { by, why: reason, to: to === "" ? null : Number(to) } : { by });
  if (problem) $("word-problem").textContent = problem; else $("word").close();
}
function listenToWords() {
  $("word-do").addEventListener("click", sayWord);
  $("word-cancel").addEventListener("click", () => $("word").close());
  $("word").addEventListener("keydown", (event) => { if (event.key === "Enter" && event.target.tagName === "INPUT") sayWord(); });
}
const wordButton = (word, text, config) => el("button", { type: "button", "data-key": `config ${word}`, onclick: () => wordDialog(word, config) }, text);

// --- the configuration ----------------------------------------------------------------------------------------------

const baking = (candidate, now) => {
  const gone = now - seconds(candidate.baking_since);
  return el("progress", { class: "bake", max: candidate.bake_seconds || 1, value: Math.min(gone, candidate.bake_seconds || 1), "aria-label": "how much of the bake time is over" });
};

// How far it is, in words.
function progress(candidate, first, now, fleet) {
  const waits = fleet.counter ? "" : " Nobody counts: no step begins.";
  if (!candidate.since) return `No host has it yet.${waits}`;
  const part = candidate.steps[candidate.step], runs = first.filter((host) => host.runs && host.runs.revision === candidate.revision).length;
  const step = candidate.steps.length > 1 ? `Step ${candidate.step + 1} of ${candidate.steps.length}: ` : "";
  const who = `${step}${part === undefined ? "everybody" : `${sharePart(part)} of the hosts`}${first.length ? ` (${names(first.map((host) => host.name))})` : ""}`;
  if (!candidate.baked_at) return `${who}: ${runs} of ${first.length} run it since ${ago(now, candidate.since)} ago; it is rolled back if not all do within ${span(seconds(candidate.taken_by) - now)}.${waits}`;
  const left = seconds(candidate.baked_at) - now;
  return `${who} run it, ${left > 0 ? `and it bakes for another ${span(left)} of ${span(candidate.bake_seconds)}` : `and it has baked for ${span(candidate.bake_seconds)}`}.${waits}`;
}

function onItsWay(config, now, fleet) {
  const candidate = config.candidate;
  if (!candidate) return [];
  const pushed = config.history.findLast((passed) => passed.revision === candidate.revision && passed.what === "pushed");
  const first = config.hosts.filter((host) => host.first);
  // After the last share comes everybody, unless that was its last share.
  const shares = candidate.steps.some((part) => part >= 1) ? candidate.steps : [...candidate.steps, 1];
  const rungs = shares.map((part, index) => {
    const here = candidate.since && index === candidate.step;
    return el("span", { class: `rung${here ? " now" : ""}`, "aria-current": here && "step" }, part >= 1 ? "everybody" : sharePart(part));
  });
  return [el("div", { class: "why", "data-config": "candidate" },
    el("div", { class: "row" }, el("span", { class: "name" }, `revision ${candidate.revision}`), el("span", { class: "soft" }, `pushed by ${candidate.by} ${ago(now, candidate.at)} ago${pushed && pushed.why ? `: ${pushed.why}` : ""}`)),
    el("div", { class: "ladder" }, ...rungs),
    candidate.baked_at ? baking(candidate, now) : null,
    el("div", {}, progress(candidate, first, now, fleet)),
    candidate.alerts.length ? el("div", { class: "soft" }, `An alert ${candidate.alerts.join(", ")} that begins to fire on one of them rolls it back.`) : null)];
}

// What was rolled back last, and why; what is locked because of it.
function rolledBack(config, now) {
  const last = config.history.findLast((passed) => passed.what === "rolled back");
  const locked = config.locked;
  if (locked) return [el("div", { class: "why", "data-config": "locked" },
    el("div", {}, `revision ${locked.revision} was rolled back ${ago(now, locked.at)} ago${last && last.revision === locked.revision ? ` by ${last.by}` : ""}`),
    el("p", { class: "problem" }, locked.why), el("div", { class: "soft" }, "Nothing is pushed until somebody unlocks it."))];
  return last ? [el("div", { class: "why soft", "data-config": "rollback" }, `Last rollback: ${revision(last.revision)}, ${ago(now, last.at)} ago, by ${last.by}${last.why ? `: ${last.why}` : ""}`)] : [];
}

// How many hosts run what, the newest revision first.
function runningWords(hosts) {
  const running = new Map();
  for (const host of hosts) {
    const key = host.runs ? host.runs.revision : -1;
    running.set(key, [...(running.get(key) || []), host.name]);
  }
  return [...running].sort(([a], [b]) => b - a).map(([key, who]) => {
    const what = key < 0 ? "not known" : key === 0 ? "own files alone" : revision(key);
    return el("span", { class: "label", title: who.slice(0, 50).join(", ") }, `${what}: `, el("b", {}, who.length <= 3 ? who.join(", ") : hostsOf(who.length)));
  });
}

function hostRows(config, wanted) {
  // In a large fleet those that stand out go first.
  const odd = (host) => host.first || !host.runs || host.runs.refused || host.runs.revision !== config.stable;
  const ordered = [...config.hosts.filter(odd), ...config.hosts.filter((host) => !odd(host))].slice(0, 100);
  return ordered.map((host) => {
    const alerts = host.runs ? host.runs.alerts : [], refused = host.runs && host.runs.refused;
    return el("tr", {}, el("td", {}, host.name), el("td", {}, host.runs ? revision(host.runs.revision) : "not known", alerts.length ? el("div", { class: "problem" }, `fires: ${names(alerts)}`) : null),
      el("td", { class: "tight" }, refused ? el("span", { class: "tag bad" }, `refuses ${refused.revision}`) : wanted(host) === null || !host.runs || host.runs.revision === wanted(host)
        ? host.first ? el("span", { class: "tag" }, "first") : null : el("span", { class: "tag warn" }, `takes ${wanted(host)}`)));
  });
}

function historyRows(config, now) {
  return [...config.history].reverse().slice(0, 20).map((passed) => el("tr", {},
    el("td", { class: "tight" }, `${ago(now, passed.at)} ago`), el("td", { class: "tight" }, `revision ${passed.revision}`),
    el("td", {}, el("span", { class: passed.what === "rolled back" ? "tag bad" : passed.what === "stable" ? "tag good" : "tag" }, passed.what), el("div", { class: "soft" }, `${passed.by}${passed.why ? `: ${passed.why}` : ""}`))));
}

function configCard(fleet, now) {
  const config = fleet.config, candidate = config.candidate;
  if (!config.last) return el("div", { class: "item", "data-config": "card" }, el("div", { class: "name" }, "Configuration"),
    el("div", { class: "soft" }, "Nothing was ever pushed to this fleet: every host runs its own files alone. ", el("code", {}, "brownout fleet config push"), " gives rules and switches to all."));
  const wanted = (host) => candidate && host.first ? candidate.revision : config.stable;
  const refusing = config.hosts.filter((host) => host.runs && host.runs.refused);
  const behind = config.hosts.filter((host) => host.runs && host.runs.revision !== wanted(host));
  const kind = config.locked || refusing.length ? "bad" : candidate || behind.length ? "warn" : "good";
  const tag = config.locked ? ["bad", "locked"] : candidate ? ["warn", `revision ${candidate.revision} on its way`] : behind.length ? ["warn", `${hostsOf(behind.length)} to follow`] : ["good", "all run it"];
  const buttons = [candidate ? wordButton("promote", "everybody now", config) : null, waysBack(config).length ? wordButton("rollback", "roll back", config) : null, config.locked ? wordButton("acknowledge", "unlock", config) : null];
  return el("div", { class: `item ${kind}`, "data-config": "card" },
    el("div", { class: "row" }, el("span", { class: "name" }, "Configuration"), el("span", {}, `${config.stable ? revision(config.stable) : "nothing but the hosts' own files"} is stable`), el("span", { class: `tag end ${tag[0]}` }, tag[1])),
    el("div", { class: "labels" }, ...runningWords(config.hosts)),
    ...onItsWay(config, now, fleet), ...rolledBack(config, now),
    ...refusing.slice(0, NAMED).map((host) => el("p", { class: "problem" }, `${host.name} does not take revision ${host.runs.refused.revision}: ${host.runs.refused.why}`)),
    el("div", { class: "row words" }, ...buttons),
    el("details", {}, el("summary", { class: "soft", "data-key": "config hosts" }, `what each of ${hostsOf(config.hosts.length)} runs`), el("table", {}, ...hostRows(config, wanted))),
    el("details", {}, el("summary", { class: "soft", "data-key": "config history" }, "what happened"), el("table", {}, ...historyRows(config, now))));
}

// --- hosts and votes ------------------------------------------------------------------------------------------------

function fleet(state) {
  const fleet = state.fleet;
  $("fleet-section").hidden = !fleet;
  if (!fleet) return;
  const there = fleet.hosts.filter((host) => !host.gone_since);
  const head = el("div", { class: "row" }, el("span", { class: "name" }, hostsOf(there.length)), el("span", { class: "soft" }, `this is ${fleet.host}`),
    fleet.counter ? el("span", { class: "soft" }, `${fleet.counter} counts`) : el("span", { class: "tag bad" }, "nobody counts"),
    fleet.stale_since ? el("span", { class: "tag bad end" }, `store out of reach for ${ago(state.now, fleet.stale_since)}`) : null);
  const clock = fleet.own_clock_ahead_seconds === null ? null : el("div", { class: "tag warn" }, `this host's clock is ${number(fleet.own_clock_ahead_seconds)} s ahead of most others'`);
  const rows = fleet.rules.map((rule) => {
    const led = Object.entries(rule.asks).map(([place, level]) => rule.scope === "fleet" ? level : `${place}: ${level}`).join(", ");
    return el("div", { class: "rule" }, el("div", { class: "row" }, el("span", { class: "name" }, rule.rule),
      el("span", { class: "soft" }, `${rule.votes} votes, ${rule.needed} of ${number(rule.known)} needed`),
      el("span", { class: `tag end ${led ? "bad" : "good"}` }, led || "healthy")));
  });
  // In a large fleet only those that stand out are named one by one.
  const notable = fleet.hosts.filter((host) => host.gone_since || host.clock_ahead_seconds !== null || host.votes.length);
  const shown = (fleet.hosts.length > 30 ? notable : fleet.hosts).slice(0, 100);
  const hosts = shown.map((host) => {
    const votes = host.votes.map((vote) => `${vote.switch}: ${vote.level}`).join(", ");
    const tag = host.gone_since ? el("span", { class: "tag bad end" }, `vanished ${ago(state.now, host.gone_since)} ago`)
      : host.clock_ahead_seconds !== null ? el("span", { class: "tag warn end" }, `clock ${number(host.clock_ahead_seconds)} s ahead`)
      : votes ? el("span", { class: "tag bad end" }, votes) : el("span", { class: "tag good end" }, "well");
    return el("div", { class: "rule" }, el("div", { class: "row" }, el("span", { class: "name" }, host.name), el("span", { class: "soft" }, host.zone), tag));
  });
  put("fleet", el("div", { class: "item" }, head, clock, ...rows), configCard(fleet, state.now), el("details", {}, el("summary", { class: "soft", "data-key": "fleet hosts" }, `${shown.length} of ${fleet.hosts.length} hosts`), ...hosts));
}
