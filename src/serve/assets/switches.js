"use strict";
// The switches: what each says, its measure and set point above it on one time axis, and what comes next, in the words of
// `brownout switch explain`. Uses the helpers of app.js, which is read after this file and calls it.

const WINDOW = 300;
const STEP = 2;
const LINES = 4;
// What the charts are drawn from, by switch: read again every few rounds, kept over redraws.
const drawn = new Map();

const share = (v) => `${Math.abs(v) < 5e-5 ? 0 : short(100 * v)} %`;
const clears = (condition) => condition.part === "recover" || condition.part.startsWith("clear ");
const known = (condition) => condition.truth === "true" || condition.truth === "false";
const seconds = (iso) => Date.parse(iso) / 1000;
const quoted = (text) => text.replaceAll("\\", "\\\\").replaceAll('"', '\\"');

// --- what to draw ---------------------------------------------------------------------------------------------------

// The panels above a switch: a title, how a number is shown, and the lines, each a query.
function panels(item) {
  const all = [];
  for (const dial of item.dials.filter((dial) => dial.law)) {
    const byLatency = dial.law === "klein" || dial.law === "aimd";
    const any = (name) => `${name}{rule="${quoted(dial.title)}"}`;
    all.push({ title: byLatency ? "95th percentile of the latency" : "capacity in use", show: byLatency ? (v) => `${number(v)} s` : share, top: byLatency ? 0 : 1, lines: [
      { name: "measure", query: any("brownout_control_measure") },
      { name: "set point", query: any("brownout_control_set_point"), point: true }] });
    if (item.kind === "dimmer" || item.kind === "feature") all.push({ title: "what would fit", show: share, top: 1, lines: [
      { name: "fits", query: any("brownout_control_fits"), most: 2 }, { name: "all of it", query: "1", point: true }] });
    const flying = dial.conditions.find((condition) => condition.part === "in_flight");
    if (item.kind === "limit" && flying) all.push({ title: "requests in flight", show: number, top: 0, lines: [
      { name: "in flight", query: flying.expression },
      { name: "limit", query: `brownout_switch_value{switch="${quoted(item.name)}"}`, point: true }] });
  }
  const compared = [...item.rules, ...item.rollouts].flatMap((rule) => rule.conditions.filter((condition) => condition.measure));
  for (const condition of compared) {
    const same = all.find((panel) => panel.measure === condition.measure);
    const point = { name: condition.part, query: condition.set_point, point: true };
    if (same) { if (!same.lines.some((line) => line.query === point.query)) same.lines.push(point); }
    else all.push({ title: condition.measure, code: true, measure: condition.measure, show: number, top: 0, lines: [{ name: "measure", query: condition.measure }, point] });
  }
  for (const rollout of item.rollouts) {
    const side = (part) => rollout.conditions.find((condition) => condition.part === part);
    if (side("new") && side("control")) all.push({ title: "the new version against the control group", show: number, top: 0, lines: [
      { name: "new", query: side("new").expression }, { name: "control", query: side("control").expression, point: true }] });
  }
  return all.slice(0, 3);
}

// A number needs no query: it is the same all the time.
async function line(spec, now) {
  const constant = Number(spec.query);
  if (spec.query !== "" && Number.isFinite(constant)) return [Object.assign([[now - WINDOW, constant], [now, constant]], { constant: true })];
  const answer = await ask(`/api/v1/query_range?${new URLSearchParams({ query: spec.query, start: now - WINDOW, end: now, step: STEP })}`).catch(() => null);
  const all = answer && answer.data.resultType === "matrix" ? answer.data.result.slice(0, LINES) : [];
  return all.map((series) => series.values.map(([at, value]) => [at, Number(value)]).filter(([, value]) => Number.isFinite(value)).map(([at, value]) => [at, Math.min(value, spec.most ?? Infinity)]));
}

const seen = (name) => {
  const node = document.querySelector(`[data-switch="${CSS.escape(name)}"]`);
  if (!node) return false;
  const box = node.getBoundingClientRect();
  return box.bottom > -600 && box.top < innerHeight + 600;
};

// Reads what the cards in sight are drawn from. What is out of sight is read when it comes into sight.
async function readSwitches(state) {
  const wanted = state.switches.filter((item) => item.rules.length + item.dials.length + item.rollouts.length > 0 && seen(item.name));
  await Promise.all(wanted.map(async (item) => {
    const above = await Promise.all(panels(item).map(async (panel) => ({ ...panel, lines: await Promise.all(panel.lines.map(async (spec) => ({ ...spec, series: await line(spec, state.now) }))) })));
    const value = await line({ query: `brownout_switch_value{switch="${quoted(item.name)}"}` }, state.now);
    drawn.set(item.name, { now: state.now, above, value: value[0] || [] });
  }));
}

// What came into sight is read at once.
let scrolled = null;
function watchScrolling(state) {
  scrolled = async () => {
    if (!state().switches.some((item) => !drawn.has(item.name) && seen(item.name))) return;
    await readSwitches(state());
    keep(() => switches(state()));
  };
}
addEventListener("scrollend", () => scrolled && scrolled().catch(console.error));

// --- drawing --------------------------------------------------------------------------------------------------------

const EDGE = { left: 46, right: 8, panel: 62, gap: 24, axis: 18 };

function svgText(x, y, content, attributes = {}) {
  const node = svg("text", { x, y, ...attributes });
  node.textContent = content;
  return node;
}

// A path that breaks where samples are missing.
function path(points, x, y, steps) {
  let text = "", before = null;
  for (const [at, value] of points) {
    const there = `${x(at).toFixed(1)},${y(value).toFixed(1)}`;
    if (!before || (at - before[0] > 3 * STEP && steps !== "constant")) text += `M${there}`;
    else if (steps === true) text += `H${x(at).toFixed(1)}V${y(value).toFixed(1)}`;
    else text += `L${there}`;
    before = [at, value];
  }
  return text;
}

// The switch's own panel: which numbers there are, and what they are called.
function scale(item, values) {
  if (item.kind === "feature") return { low: item.ladder.length - 1, high: 0, ticks: item.ladder.map((level, depth) => [depth, level]) };
  if (item.kind === "limit") {
    const high = Math.max(1, ...values) * 1.15;
    return { low: 0, high, ticks: [[0, "0"], [high / 1.15, number(high / 1.15)]] };
  }
  return { low: 0, high: 1, ticks: [[0, "0 %"], [0.5, "50 %"], [1, "100 %"]] };
}

const SAID = { feature: "level", dimmer: "share with the optional part", rollout: "share on the new version", limit: "limit" };

// The frame of a panel: its title on the left, what its lines say now on the right. Both are cut to what fits.
function frame(root, top, width, name, code, legend = []) {
  root.append(svg("rect", { class: "frame", x: EDGE.left, y: top, width: width - EDGE.left - EDGE.right, height: EDGE.panel }));
  const inside = width - EDGE.left - EDGE.right, words = svgText(width - EDGE.right, top - 6, "", { class: "legend" });
  let used = 0;
  for (const { text, point } of legend) {
    if (5.8 * (used + text.length) > 0.8 * inside) break;
    const part = svg("tspan", { class: point ? "point" : "now", dx: used ? 8 : 0 });
    part.textContent = text;
    words.append(part);
    used += text.length + 2;
  }
  const most = Math.max(4, Math.floor((inside - 5.8 * used - 8) / (code ? 6.5 : 5.8)));
  root.append(svgText(EDGE.left, top - 6, name.length > most ? `${name.slice(0, most - 1)}…` : name, { class: code ? "caption code" : "caption" }), words);
}

function measurePanel(root, panel, top, x, width) {
  const lasts = panel.lines.map((spec) => ({ spec, last: spec.series[0] && spec.series[0][spec.series[0].length - 1] }));
  frame(root, top, width, panel.title, panel.code, lasts.filter(({ last }) => last).map(({ spec, last }) => ({ text: `${spec.name} ${panel.show(last[1])}`, point: spec.point })));
  const values = panel.lines.flatMap((spec) => spec.series.flatMap((points) => points.map(([, value]) => value)));
  if (!values.length) { root.append(svgText(EDGE.left + 8, top + 36, "no data", { class: "tick" })); return; }
  const high = Math.max(panel.top || 0, ...values) * 1.05 || 1, low = Math.min(0, ...values);
  const y = (value) => top + EDGE.panel - 1 - ((value - low) / (high - low)) * (EDGE.panel - 2);
  root.append(svgText(EDGE.left - 5, top + 9, panel.show(high / 1.05), { class: "tick end" }), svgText(EDGE.left - 5, top + EDGE.panel, panel.show(low), { class: "tick end" }));
  for (const spec of [...panel.lines].sort((a, b) => Boolean(b.point) - Boolean(a.point))) {
    for (const points of spec.series) root.append(svg("path", { class: spec.point ? "point" : "line", d: path(points, x, y, points.constant ? "constant" : false) }));
  }
}

function switchPanel(root, item, data, top, x, width) {
  const points = [...data.value];
  const bounds = scale(item, points.map(([, value]) => value));
  const y = (value) => top + EDGE.panel - 3 - ((value - bounds.low) / (bounds.high - bounds.low || 1)) * (EDGE.panel - 6);
  frame(root, top, width, `${item.name}: ${SAID[item.kind] || "value"}`);
  for (const [value, name] of bounds.ticks) {
    root.append(svg("line", { class: "grid", x1: EDGE.left, x2: width - EDGE.right, y1: y(value), y2: y(value) }));
    root.append(svgText(EDGE.left - 5, y(value) + 4, name.length > 7 ? `${name.slice(0, 6)}…` : name, { class: "tick end" }));
  }
  if (!points.length) { root.append(svgText(EDGE.left + 8, top + 36, item.kind === "limit" && item.level === "none" ? "no limit yet" : "no data", { class: "tick" })); return; }
  const line = path(points, x, y, true);
  root.append(svg("path", { class: `fill ${item.depth ? "deep" : ""}`, d: `${line}V${top + EDGE.panel}H${x(points[0][0]).toFixed(1)}Z` }), svg("path", { class: `line ${item.depth ? "deep" : "well"}`, d: line }));
}

function chart(item, state) {
  const data = drawn.get(item.name);
  const holder = el("div", { class: "picture" });
  if (!data) return holder;
  const room = document.getElementById("switches").clientWidth - 34;
  const width = Math.max(250, room > 640 ? Math.floor(room * 0.56) - 16 : room);
  const rows = data.above.length + 1;
  const height = 16 + rows * EDGE.panel + (rows - 1) * EDGE.gap + EDGE.axis;
  // A daemon that has not run for so long shows the minutes that there are.
  const begins = [data.value, ...data.above.flatMap((panel) => panel.lines.flatMap((spec) => spec.series.filter((points) => !points.constant)))].filter((points) => points.length).map((points) => points[0][0]);
  const minutes = Math.min(WINDOW / 60, Math.max(1, Math.ceil((data.now - Math.min(data.now, ...begins)) / 60)));
  const from = data.now - 60 * minutes;
  const x = (at) => EDGE.left + (Math.max(0, at - from) / (60 * minutes)) * (width - EDGE.left - EDGE.right);
  const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img" });
  const title = svg("title", {});
  title.textContent = `The last five minutes of ${item.name}: what it goes by, the set point, and the switch`;
  root.append(title);
  data.above.forEach((panel, row) => measurePanel(root, panel, 16 + row * (EDGE.panel + EDGE.gap), x, width));
  const top = 16 + (rows - 1) * (EDGE.panel + EDGE.gap);
  switchPanel(root, item, data, top, x, width);
  for (const decision of state.decisions.filter((d) => d.switch === item.name && seconds(d.at) > from && seconds(d.at) <= data.now)) {
    const mark = svg("line", { class: `mark ${decision.mode}`, x1: x(seconds(decision.at)), x2: x(seconds(decision.at)), y1: 16, y2: top + EDGE.panel });
    const words = svg("title", {});
    words.textContent = `${decision.from} → ${decision.to}: ${decision.reason}`;
    mark.append(words);
    root.append(mark);
  }
  for (let back = minutes; back >= 0; back -= width < 420 ? minutes : 1) {
    const at = x(data.now - 60 * back);
    root.append(svgText(at, height - 4, back ? `−${back} min` : "now", { class: `tick ${back === minutes ? "" : back ? "middle" : "end"}` }));
  }
  holder.append(root);
  return holder;
}

// --- what comes next ------------------------------------------------------------------------------------------------

const later = (iso, now) => {
  const at = seconds(iso);
  return at > now ? `in ${span(at - now)}, at ${new Date(at * 1000).toLocaleTimeString()}` : "now";
};

function ladderNext(item, rule, now) {
  const depth = Math.max(0, item.ladder.indexOf(rule.level));
  const said = rule.conditions.filter((c) => !known(c)).map((c) => `no data for ${c.part}: it is neither true nor false, so it holds the switch where it is`);
  const tripped = rule.conditions.filter((c) => !clears(c) && c.truth === "true");
  for (const condition of tripped.filter((c) => item.ladder.indexOf(c.part) > depth)) {
    const needed = rule.level_for_seconds[rule.conditions.indexOf(condition)];
    const held = condition.since ? now - seconds(condition.since) : 0;
    said.push(`${condition.part} is coming in ${span(needed - held)}: its condition has been true for ${span(held)} of ${span(needed)}`);
  }
  if (depth === 0) return said.length ? said : ["nothing is asked of it: no condition is true"];
  const up = item.ladder[depth - 1];
  const left = rule.min_hold_seconds - (now - seconds(rule.moved));
  if (left > 0) said.push(`held by min_hold for another ${span(left)} of ${span(rule.min_hold_seconds)}`);
  if (rule.next_climb && rule.quiet_since) {
    said.push(`next step up to ${up} ${later(rule.next_climb, now)}, if it stays quiet (quiet for ${ago(now, rule.quiet_since)} of ${span(rule.quiet_needed_seconds)})`);
    return said;
  }
  if (tripped.some((c) => c.part === rule.level)) said.push(`held at ${rule.level}: its condition is still true`);
  const clear = rule.conditions.find((c) => c.part === `clear ${rule.level}`) || rule.conditions.find((c) => c.part === "recover");
  if (clear && clear.truth === "false") said.push(`held back: ${clear.part} is not true yet`);
  said.push(`the step up to ${up} needs ${span(rule.quiet_needed_seconds)} of quiet, which has not begun`);
  return said;
}

function dialNext(dial) {
  const view = dial.view;
  if (!view) return [];
  const said = [`${number(view.rate)} requests/s${view.cost_seconds === null ? "" : ` at ${number(1000 * view.cost_seconds)} ms for a full answer (a degraded one: ${share(view.cost_ratio)} of that)`}; ${share(view.used)} used of the set point ${share(view.target)}; ${share(view.slow_share || 0)} slow of ${number(view.samples)} answers`];
  if (view.silent_seconds > 0) return [...said, `no sample for ${span(view.silent_seconds)}: everything holds where it is`];
  if (view.cost_seconds === null) return [...said, "it does not know yet what a request costs: full service, and no limit until it does"];
  if (view.tight) said.push("even degraded answers do not all fit: the limit is tight");
  if (view.fits === null) return said;
  if ((dial.share ?? 1) >= 0.995) said.push(view.fits >= 1 ? "full service fits: nothing is to be dimmed" : "less than full service fits, but within the band");
  else if (view.fits >= 1 && view.fitting_for_seconds >= view.hold_seconds) said.push("full service has fitted for long enough: the share climbs to 100 % in steps");
  else if (view.fits >= 1) said.push(`full service fits for ${span(view.fitting_for_seconds)} of ${span(view.hold_seconds)}: the climb to 100 % begins in ${span(view.hold_seconds - view.fitting_for_seconds)} if it goes on`);
  else said.push(`${share(Math.max(0, view.fits))} of full service fits now; the return to 100 % needs ${span(view.hold_seconds)} in which all of it does`);
  return said;
}

function rolloutNext(rollout, now) {
  const said = [];
  if (rollout.why) said.push(rollout.why);
  if (rollout.silent_since) said.push(`no data for ${ago(now, rollout.silent_since)}: it holds, and is brought back if that lasts`);
  if (rollout.failing_since) said.push(`failing for ${ago(now, rollout.failing_since)}`);
  if (rollout.state === "running") said.push(rollout.baked_at && seconds(rollout.baked_at) > now ? `the step is baked ${later(rollout.baked_at, now)}` : "the step is baked: it goes on as soon as enough is known");
  if (rollout.state === "paused") said.push("a person must say `brownout rollout resume` or `abort`");
  if (rollout.state === "rolled_back") said.push("locked: a person must say `brownout rollout ack`");
  if (rollout.state === "waiting") said.push("a person must say `brownout rollout resume` to begin");
  return said;
}

function conditionRow(condition, now, input) {
  // A true condition degrades, unless it is the one that lets the switch climb back; an input of a law is there or not.
  const kinds = input ? { true: "", false: "" } : clears(condition) || condition.part === "advance_when" ? { true: "good", false: "" } : { true: "bad", false: "good" };
  const word = input && condition.truth === "true" ? "known" : condition.truth;
  const value = condition.value === null || condition.value === undefined ? "" : number(condition.value);
  if (input) return el("tr", { title: condition.expression },
    el("td", {}, el("span", {}, condition.part), " ", el("code", { class: "soft" }, condition.expression)), el("td", { class: "number" }, value),
    el("td", { class: "tight" }, el("span", { class: `tag ${kinds[condition.truth] ?? "warn"}` }, `${word === "known" ? "for" : word}${condition.since ? ` ${ago(now, condition.since)}` : ""}`)));
  return el("tr", { title: condition.expression },
    el("td", {}, el("span", { class: "name" }, condition.part), el("code", { class: "line1" }, condition.expression)), el("td", { class: "number" }, value),
    el("td", { class: "tight" }, el("span", { class: `tag ${kinds[condition.truth] ?? "warn"}` }, `${word}${condition.since ? ` ${ago(now, condition.since)}` : ""}`)));
}

function ruleBlock(title, mode, next, conditions, now, input) {
  return el("div", { class: "why" },
    el("div", { class: "row" }, el("span", {}, title), mode === "observe" ? el("span", { class: "tag warn" }, "only observes") : null),
    el("ul", { class: "next" }, ...next.map((text) => el("li", {}, text))),
    conditions.length ? el("table", { class: input ? "conditions inputs" : "conditions" }, ...conditions.map((condition) => conditionRow(condition, now, input))) : null);
}

function explained(item, now) {
  const of = (condition) => condition.part === "new" || condition.part === "control" || condition.part === "samples";
  return [
    ...item.dials.map((dial) => ruleBlock(`rule ${dial.title} ${dial.law ? `rules by ${dial.law}, so that a request takes at most ${span(dial.objective_seconds)}` : "gives the limit by its expression"}`, dial.mode, dialNext(dial), dial.conditions, now, true)),
    ...item.rollouts.map((rollout) => ruleBlock(`rule ${rollout.title} leads a rollout${rollout.version ? ` of ${rollout.version}` : ""}: ${rollout.state.replace("_", " ")}`, rollout.mode, rolloutNext(rollout, now), rollout.conditions, now, rollout.conditions.every(of))),
    ...item.rules.map((rule) => ruleBlock(`rule ${rule.title} asks for ${rule.level}`, rule.mode, ladderNext(item, rule, now), rule.conditions, now, false)),
  ];
}

// --- the card -------------------------------------------------------------------------------------------------------

function shown(item) {
  const more = [item.threshold === null || item.threshold === undefined ? null : `armed from ${number(item.threshold)} in flight`, item.kind !== "limit" && item.limit ? `limit ${number(item.limit)} in flight` : null];
  const words = item.kind === "limit" ? (item.level === "none" ? "no limit" : `${number(item.level)} ${item.unit === "requests/s" ? "requests/s" : "in flight"}`) : item.level;
  return el("div", { class: "row value" }, el("span", { class: `big ${item.depth ? "deep" : ""}` }, words), ...more.filter(Boolean).map((text) => el("span", { class: "soft" }, text)));
}

function steps(rollout) {
  return el("div", { class: "ladder" }, ...rollout.steps.map((step, index) => {
    const here = index === rollout.step && ["running", "paused", "done"].includes(rollout.state);
    return el("span", { class: `rung${here ? " now" : ""}` }, share(step.share));
  }));
}

function switchCard(item, state) {
  const now = state.now;
  const rungs = item.ladder.map((level, depth) =>
    el("button", { class: `rung${depth === item.depth ? (depth ? " now deep" : " now") : ""}`, type: "button", title: `pin to ${level}`, "data-key": `${item.name} ${level}`, "aria-current": depth === item.depth && "true", onclick: () => pinDialog(item, level) }, level));
  const ruled = item.rules.length + item.dials.length + item.rollouts.length > 0;
  return el("div", { class: `item ${item.depth ? "bad" : "good"}`, "data-switch": item.name },
    el("div", { class: "row" }, el("span", { class: "name" }, item.name), el("span", { class: "soft" }, item.description),
      el("span", { class: "soft end" }, `for ${ago(now, item.since)}`)),
    rungs.length ? el("div", { class: "ladder" }, ...rungs) : shown(item),
    ...item.rollouts.map(steps),
    item.why && !item.pin ? el("div", { class: "soft clamp", title: item.why }, item.why) : null,
    item.frozen ? el("div", { class: "tag warn" }, `frozen, no rule moves it: ${item.frozen}`) : null,
    item.held_back ? el("div", { class: "tag warn" }, item.held_back) : null,
    item.pin ? el("div", { class: "row" },
      el("span", { class: "tag warn" }, `pinned to ${item.pin.level} by ${item.pin.by} for another ${span(seconds(item.pin.until) - now)}: ${item.pin.reason}`),
      el("button", { type: "button", "data-key": `${item.name} unpin`, onclick: () => change("DELETE", item.name) }, "unpin")) : null,
    ruled ? el("div", { class: "inside" }, chart(item, state), el("div", { class: "reasons" }, ...explained(item, now)))
      : el("div", { class: "soft" }, "No rule moves it: only a pin does."));
}
